from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError, IntensityLabels, match_clips, read_labels
from facer.storage.labels.challenges import canonical_split
from facer.storage.labels.options import LabelKind

DATA = Path(__file__).parents[2] / "data" / "labels"
REACTION = ("Adoration", "Amusement", "Anxiety", "Disgust", "Empathic-Pain", "Fear", "Surprise")

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def refused(path: Path, kind: LabelKind | str = "auto") -> str:
    with pytest.raises(FacerError) as error:
        read_labels(path, kind)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    return str(error.value)


def test_plain() -> None:
    labels = read_labels(DATA / "plain.csv")
    assert labels.kind == "plain"
    assert labels.source == str(DATA / "plain.csv")
    assert labels.names == ("Calm", "Joy")
    assert labels.clip_ids == ("train/0001", "train/0002", "odd, name", "0004")
    assert labels.splits == ("train", "val", "val", "test")
    assert labels.subjects == ("s1", "s1", "s2", "s3")
    assert labels.values.dtype == np.float32
    nan = np.nan
    expected = np.array([[0.25, 1], [0.5, nan], [0, 0.125], [nan, nan]], np.float32)
    np.testing.assert_array_equal(labels.values, expected)


@pytest.mark.parametrize("path", ["muse", "muse/labels.csv"])
def test_muse(path: str) -> None:
    labels = read_labels(DATA / path)
    assert labels.kind == "muse"
    assert labels.names == REACTION
    assert labels.clip_ids == ("[10000]", "[00012]", "[10002]", "[10003]")
    assert labels.splits == ("train", "val", "test", "test")
    np.testing.assert_allclose(labels.values[0], np.arange(1, 8) / 10)
    assert np.isnan(labels.values[2:]).all()


@pytest.mark.parametrize("path", ["eri", "eri/data_info.csv"])
def test_eri(path: str) -> None:
    labels = read_labels(DATA / path)
    assert labels.kind == "eri"
    assert labels.names == REACTION  # neither Age nor the id is an emotion
    assert labels.clip_ids == ("[11526]", "[00007]", "[11528]")
    assert labels.columns["split"] == "Split"
    assert [name for name, _ in labels.left_out] == ["Age", "Country"]
    assert labels.splits == ("train", "val", "test")
    np.testing.assert_allclose(labels.values[0], np.arange(1, 8) / 10)
    assert np.isnan(labels.values[2]).all()


def test_emi_folder_and_file() -> None:
    labels = read_labels(DATA / "emi")
    assert labels.kind == "emi"
    assert labels.names[3] == "Empathic Pain"
    assert labels.clip_ids == ("00001", "00002", "00003")
    assert labels.splits == ("train", "train", "val")
    np.testing.assert_array_equal(labels.values[0], labels.values[2])  # columns moved
    single = read_labels(DATA / "emi" / "valid_split.csv")
    assert (single.kind, single.splits) == ("emi", ("val",))


@pytest.mark.parametrize("path", ["mimic", "mimic/labels.csv"])
def test_mimic(path: str) -> None:
    labels = read_labels(DATA / path)
    assert labels.kind == "mimic"
    assert labels.names == ("Approval", "Disappointment", "Uncertainty")
    assert labels.clip_ids == ("0_1", "0_2", "0_3")
    assert labels.splits == ("train", "val", "test")


@pytest.mark.parametrize("kind", ["muse", "eri", "emi", "mimic", "plain"])
def test_a_forced_kind_is_what_is_read(kind: LabelKind) -> None:
    path = DATA / ("plain.csv" if kind == "plain" else kind)
    assert read_labels(path, kind).kind == kind


def test_forcing_the_wrong_kind_says_what_is_missing() -> None:
    message = refused(DATA / "plain.csv", "eri")
    assert "plain.csv: found columns clip_id, split, " in message
    assert "expected also Adoration" in message
    assert "expected one of auto, plain, eri" in refused(DATA / "plain.csv", "hume")


def test_columns_are_found_by_name_whatever_their_order(write: Write) -> None:
    rows = [line.split(",") for line in (DATA / "eri/data_info.csv").read_text().splitlines()]
    order = list(range(len(rows[0])))
    random.Random(3).shuffle(order)
    moved = write("data_info.csv", "\n".join(",".join(r[i] for i in order) for r in rows))
    expected = read_labels(DATA / "eri")
    found = read_labels(moved)
    assert (found.kind, found.names, found.clip_ids) == ("eri", REACTION, expected.clip_ids)
    np.testing.assert_array_equal(found.values, expected.values)


def test_values_keep_their_column_and_the_id_is_no_emotion(write: Write) -> None:
    """Rows are not sorted, and a numeric id column is not averaged in."""
    path = write("l.csv", "video,joy,fear\n10000,0.9,0.1\n10001,0.2,0.8\n")
    labels = read_labels(path)
    assert labels.names == ("joy", "fear")
    assert labels.clip_ids == ("10000", "10001")
    np.testing.assert_allclose(labels.values, [[0.9, 0.1], [0.2, 0.8]])


def test_an_index_column_without_name_is_no_target(write: Write) -> None:
    labels = read_labels(write("l.csv", ",clip_id,joy\n0,a,0.5\n1,b,0.25\n"))
    assert (labels.clip_ids, labels.names) == (("a", "b"), ("joy",))


def test_spaces_blank_lines_and_missing_words(write: Write) -> None:
    labels = read_labels(write("l.csv", "clip_id , joy\n a , 0.5 \n\n,\nb,nan\nc,NA\n"))
    assert labels.clip_ids == ("a", "b", "c")
    assert labels.names == ("joy",)
    assert labels.values[0] == 0.5
    assert np.isnan(labels.values[1:]).all()


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("devel", "val"),
        ("Val", "val"),
        ("valid", "val"),
        ("validation", "val"),
        ("dev", "val"),
        ("Train", "train"),
        ("training", "train"),
        (" TEST ", "test"),
        ("", ""),
        ("holdout", None),
    ],
)
def test_words_for_splits(word: str, split: str | None) -> None:
    assert canonical_split(word) == split


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,joy\na,0.5\nb,high\n", "l.csv:3: column 'joy': found 'high', expected a number"),
        ("clip_id,joy\na,inf\nb,1", "l.csv:2: column 'joy': found 'inf', expected a number"),
        ("clip_id,joy\na,1_0\nb,1", "l.csv:2: column 'joy': found '1_0', expected a number"),
        (
            "clip_id,joy\na,1\nb,2\na,3\n",
            "l.csv:4: found id 'a' again, expected it once",
        ),
        ("clip_id,joy\n[a],1\na,2\n", "l.csv:3: found id 'a' again"),
        ("clip_id,joy\na,1,2\n", "l.csv:2: found 3 cells, expected 2 as in the header"),
        ("clip_id,joy,joy\na,1,2\n", "l.csv:1: found column 'joy' twice"),
        (
            "clip_id,joy,split\na,1,holdout\n",
            "l.csv:2: column 'split': found 'holdout'",
        ),
        ("clip_id,joy\n,1\n", "l.csv:2: column 'clip_id': found nothing, expected a clip's id"),
        ("clip_id,note\na,x\n", "found columns clip_id, note, expected a column of numbers"),
        ("clip_id,joy\n", "found a header and no rows under it"),
        ("clip_id~joy\na~1\n", "l.csv:1: found the single column 'clip_id~joy', expected several"),
        ("", "l.csv: found an empty file, expected a header line"),
        ('clip_id,joy\n"a,1\n', "cannot be read as utf-8 csv: unexpected end of data"),
    ],
)
def test_mistakes_are_shown_with_their_line(write: Write, text: str, message: str) -> None:
    assert message in refused(write("l.csv", text))


def test_the_first_of_two_equal_ids_is_named(write: Write) -> None:
    path = write("l.csv", "clip_id,joy\nx,1\ny,2\nx,3\n")
    assert f"(first in {path}:2)" in refused(path)


def test_equal_ids_in_two_files_name_both(write: Write) -> None:
    header = "Filename,Admiration,Amusement,Determination,Empathic Pain,Excitement,Joy\n"
    train = write("train_split.csv", header + "00001,0,0,0,0,0,0\n")
    valid = write("valid_split.csv", header + "00001,0,0,0,0,0,0\n")
    message = refused(train.parent)
    assert f"{valid}:2: found id '00001' again" in message
    assert f"(first in {train}:2)" in message


def test_a_folder_with_labels_alone_says_what_is_missing(write: Write) -> None:
    folder = write("labels.csv", "clip_id,split,joy\na,train,0.5\n").parent
    assert "found labels.csv but no partition.csv, expected both (MuSe)" in refused(folder)


def test_a_label_without_partition_is_refused(write: Write) -> None:
    labels = write("labels.csv", (DATA / "mimic" / "labels.csv").read_text())
    assert "partition.csv: no such file" in refused(labels, "mimic")
    write("partition.csv", "filename,partition\n0_1,train\n")
    assert "labels.csv:3: found '0_2', expected an id that partition.csv has" in refused(labels)
    write("partition.csv", "filename,partition\n0_1,train\n0_2,test\n0_1,test\n")
    assert "partition.csv:4: found id '0_1' again" in refused(labels)
    write("partition.csv", "filename,partition\n0_1,train\n0_2,later\n")
    assert "partition.csv:3: column 'partition': found 'later'" in refused(labels)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "found no such file or folder" in refused(tmp_path / "x.csv")
    assert "found no label files in this folder, expected labels.csv" in refused(tmp_path)
    (tmp_path / "b.csv").write_bytes(b"clip_id,joy\n\xff\xfe,1\n")
    assert "cannot be read as utf-8 csv" in refused(tmp_path / "b.csv")
    (tmp_path / "e.csv").write_text("Filename,Joy\n1,1\n")
    message = refused(tmp_path / "e.csv", "emi")
    assert "found this file name, expected one of train_split.csv" in message


def labels_of(ids: Sequence[str]) -> IntensityLabels:
    blank = ("",) * len(ids)
    values = np.zeros((len(ids), 1), np.float32)
    return IntensityLabels("plain", "x", ("joy",), tuple(ids), values, blank, blank)


@pytest.mark.parametrize(
    ("label", "clip"),
    [
        ("train/11526", "train/11526"),
        ("[11526]", "11526"),
        ("11526", "[11526]"),
        ("[11526]", "train/11526"),
        ("00001", "videos/train/00001"),
        ("train/00001", "videos/train/00001"),
        ("videos/train/00001", "train/00001"),
        ("videos/00001.mp4", "00001"),
        ("00001.MP4", "train/00001"),
    ],
)
def test_ids_that_mean_the_same_clip(label: str, clip: str) -> None:
    match = match_clips(labels_of([label]), [clip, "other"])
    assert match.pairs == ((0, clip),)
    assert match.store_only == ("other",)
    assert match.labels_only == ()
    assert match.ambiguous == ()


@pytest.mark.parametrize(
    ("label", "clip"),
    [
        ("1", "001"),
        ("00001", "1"),
        ("train/7", "val/7"),
        ("7", "17"),
        ("a/7", "7/a"),
        ("7", "7/x"),
    ],
)
def test_ids_that_mean_other_clips(label: str, clip: str) -> None:
    match = match_clips(labels_of([label]), [clip])
    assert (match.pairs, match.labels_only, match.store_only) == ((), (label,), (clip,))


def test_the_same_stem_in_two_folders_is_ambiguous() -> None:
    match = match_clips(
        labels_of(["[7]", "train/8", "9"]), ["train/7", "val/7", "train/8", "val/8"]
    )
    assert match.pairs == ((1, "train/8"),)
    assert match.ambiguous == (("[7]", ("train/7", "val/7")),)
    assert match.labels_only == ("9",)
    assert match.store_only == ("val/8",)


def test_a_clip_that_two_rows_could_mean_goes_to_the_exact_one() -> None:
    match = match_clips(labels_of(["a/7", "7", "b/7"]), ["a/7", "c"])
    assert match.pairs == ((0, "a/7"),)
    assert match.ambiguous == (("7", ("a/7",)),)
    assert match.labels_only == ("b/7",)
    assert match.store_only == ("c",)


def test_an_exact_name_beats_an_ending() -> None:
    match = match_clips(labels_of(["7"]), ["train/7", "7"])
    assert match.pairs == ((0, "7"),)


def test_columns_of_a_partition_are_found_by_name(tmp_path: Path) -> None:
    """A subject's number in front is no clip's, though it looks like one."""
    (tmp_path / "labels.csv").write_text(
        "filename,Approval,Disappointment,Uncertainty\n1,0,1,2\n2,0,1,2\n3,0,1,2\n"
    )
    for text in (
        "subject_id,filename,partition\n1,3,train\n2,2,devel\n3,1,test\n",
        "partition,filename,frames\ntrain,3,9\ndevel,2,9\ntest,1,9\n",
        "subject_id,clip,Proposal\n1,3,train\n2,2,devel\n3,1,test\n",
    ):
        (tmp_path / "partition.csv").write_text(text)
        assert read_labels(tmp_path).splits == ("test", "val", "train")
    (tmp_path / "partition.csv").write_text("1,train\n2,devel\n3,test\n")
    with pytest.raises(FacerError, match=r"partition\.csv: found 1, train in the first line"):
        read_labels(tmp_path)


def test_names_of_a_challenge_without_spaces_are_its_targets(tmp_path: Path) -> None:
    text = (DATA / "emi" / "train_split.csv").read_text()
    (tmp_path / "train_split.csv").write_text(text.replace("Empathic Pain", "EmpathicPain"))
    labels = read_labels(tmp_path / "train_split.csv")
    assert (labels.kind, set(labels.splits)) == ("emi", {"train"})


def test_an_emi_folder_may_call_its_second_file_val(tmp_path: Path) -> None:
    emi = DATA / "emi"
    for name in ("train_split.csv", "valid_split.csv"):
        new = tmp_path / name.replace("valid", "val")
        new.write_text((emi / name).read_text())
    assert set(read_labels(tmp_path).splits) == {"train", "val"}
    (tmp_path / "test_split.csv").write_text("Filename\n99998\n99999\n")  # labels are not public
    labels = read_labels(tmp_path)
    assert labels.clip_ids[-2:] == ("99998", "99999")
    assert labels.splits[-2:] == ("test", "test")
    assert np.isnan(labels.values[-2:]).all()
