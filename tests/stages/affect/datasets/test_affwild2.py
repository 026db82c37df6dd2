"""Aff-Wild2: both releases and the multi-task file, by name, line by line."""

import numpy as np
import pytest

from facer.stages.affect.datasets.affwild2 import read_affwild2, validation_videos
from facer.stages.affect.datasets.image_files import CropFiles
from facer.stages.affect.datasets.samples import NoSplitError
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS

EXPR8 = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
AU12 = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
VA, EXPR, AU = "VA_Estimation_Challenge", "EXPR_Classification_Challenge", "AU_Detection_Challenge"


def unit(data, number):
    return data.au[:, ACTION_UNITS.index(number)]


@pytest.fixture
def root(tmp_path, put_image):
    for video, frames in (("1-30-1280x720", 4), ("7_left", 2)):
        for frame in range(1, frames + 1):
            put_image(tmp_path / "cropped_aligned" / video / f"{frame:05d}.jpg", value=40 * frame)
    return tmp_path


def annotate(root, put_text, task, video, text, split="Train_Set"):
    return put_text(root / task / split / f"{video}.txt", text)


def test_line_i_is_frame_i_and_invalid_markers_are_unlabelled(root, put_text):
    text = "valence,arousal\n0.1,0.2\n-5,-5\n-0.5,1\n0.3,-5.0\n"
    annotate(root, put_text, VA, "1-30-1280x720", text)
    data = read_affwild2(root, "train")
    np.testing.assert_allclose(data.va, [[0.1, 0.2], [-0.5, 1]], atol=1e-6)
    assert isinstance(data.images, CropFiles)
    assert [data.images.path(i).name for i in data.indices] == ["00001.jpg", "00003.jpg"]
    assert [data.image_name(row) for row in range(2)] == [
        "1-30-1280x720/00001.jpg", "1-30-1280x720/00003.jpg",
    ]  # fmt: skip
    assert [int(data.crop(row).max()) for row in range(2)] == pytest.approx([40, 120], abs=4)
    assert not np.isfinite(data.expression).any()
    assert not data.va_is_weak


@pytest.mark.parametrize("release", ["annotations", "."])
def test_tasks_of_one_frame_are_joined(root, put_text, release):
    base = root / release
    annotate(base, put_text, VA, "7_left", "valence,arousal\n0.5,0.5\n-5,-5\n")
    annotate(base, put_text, EXPR, "7_left", f"{EXPR8}\n4\n7\n")
    annotate(base, put_text, AU, "7_left", AU12 + "\n0,0,0,1,0,0,1,0,0,0,-1,0\n" + "-1," * 11 + "1")
    data = read_affwild2(root, "train")
    assert len(data) == 2
    assert data.expression_class.tolist() == [EXPRESSIONS.index("happiness"), -1]
    assert unit(data, 12).tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert unit(data, 26).tolist() == [0, 1]
    assert np.isnan(unit(data, 25)).all()
    assert np.isnan(unit(data, 5)).all()  # not annotated in Aff-Wild2
    assert np.isnan(data.va[1]).all()


def test_labels_that_differ_between_two_files_of_a_video_are_told(root, put_text):
    for release, valence in (("abaw3", 0.1), ("abaw5", 0.9)):
        annotate(root / release, put_text, VA, "7_left", f"valence,arousal\n{valence},0.5\n")
    data = read_affwild2(root, "train")
    assert data.va.tolist() == [[pytest.approx(0.1), 0.5]]
    assert data.notes == (
        "affwild2: 1 of 1 videos have other labels in one file than in another; the first by path "
        "counts: 7_left",
    )


def test_images_that_are_counted_from_0_are_told(root, put_text, put_image):
    annotate(root, put_text, VA, "7_left", "valence,arousal\n0.1,0.5\n0.2,0.5\n")
    assert read_affwild2(root, "train").notes == ()
    put_image(root / "cropped_aligned" / "7_left" / "00000.jpg", value=9)
    (note,) = read_affwild2(root, "train").notes
    assert "1 of 1 folders hold 00000.jpg; line 1 is frame 00001.jpg" in note


def test_older_release_has_seven_classes_and_eight_units(root, put_text):
    annotate(root, put_text, "EXPR_Set", "7_left", EXPR8.removesuffix(",Other") + "\n6\n-1\n")
    annotate(root, put_text, "AU_Set", "7_left", "AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25\n" + "1," * 7
             + "0\n")  # fmt: skip
    data = read_affwild2(root, "train")
    assert data.expression_class.tolist() == [EXPRESSIONS.index("surprise")]
    assert (unit(data, 20)[0], unit(data, 25)[0]) == (1, 0)
    assert np.isnan(unit(data, 7)[0])


def test_columns_and_classes_are_found_by_name(root, put_text):
    annotate(root, put_text, VA, "7_left", "arousal, valence\n0.9,-0.1\n")
    annotate(root, put_text, EXPR, "7_left", "Surprise,Happiness,Neutral\n1\n")
    annotate(root, put_text, AU, "7_left", "AU26,AU1\n1,0\n")
    data = read_affwild2(root, "train")
    np.testing.assert_allclose(data.va[0], [-0.1, 0.9], atol=1e-6)
    assert data.expression_class.tolist() == [EXPRESSIONS.index("happiness")]
    assert (unit(data, 1)[0], unit(data, 26)[0]) == (0, 1)


MULTI = "image,valence,arousal,expression"


@pytest.mark.parametrize("units", ["aus", AU12])
def test_multi_task_file(root, put_text, units):
    text = (
        f"{MULTI},{units}\n"
        "1-30-1280x720/00002.jpg,0.25,-0.5,5,0,0,1,0,0,0,0,1,0,0,0,0\n"
        "7_left/00001.jpg,-5,-5,-1,1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1\n"
        "7_left/00002.jpg,-5,-5,7,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1,-1\n"
    )
    put_text(root / "MTL_Challenge" / "training_set_annotations.txt", text)
    data = read_affwild2(root, "train")
    assert len(data) == 2  # the third has no label
    assert data.expression_class.tolist() == [EXPRESSIONS.index("sadness"), -1]
    assert unit(data, 4).tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert unit(data, 1).tolist() == [0, 1]
    assert int(data.crop(0).max()) == pytest.approx(80, abs=4)
    with pytest.raises(FacerError, match="no Aff-Wild2 annotation of the val split"):
        read_affwild2(root, "val")


def test_an_image_that_a_multi_task_file_has_twice_is_refused(root, put_text):
    """Seen: its frame counted twice, with both labels, where no other task labelled the video."""
    rows = [f"7_left/00001.jpg,0.5,{arousal},4,1" for arousal in (0.1, 0.9)]
    put_text(root / "MTL" / "train_set.txt", "\n".join([f"{MULTI},AU1", *rows]))
    with pytest.raises(FacerError, match=r"train_set\.txt:3: found the image .* \(first in .*:2\)"):
        read_affwild2(root, "train")


def test_multi_task_columns_are_found_by_name(root, put_text):
    text = "expression,AU12,image,arousal,valence\n4,1,7_left/00001.jpg,0.5,0.75\n"
    put_text(root / "train_set.csv", text)
    data = read_affwild2(root, "train")
    assert data.va[0].tolist() == [0.75, 0.5]
    assert data.expression_class.tolist() == [EXPRESSIONS.index("happiness")]
    assert unit(data, 12).tolist() == [1]


def test_no_video_of_another_task_s_validation_set_is_trained_on(root, put_text, put_image):
    """Seen: a video in train of one task and in val of another, trained on and scored."""
    annotate(root, put_text, VA, "1-30-1280x720", "valence,arousal\n0.1,0.1\n")
    annotate(root, put_text, VA, "7_left", "valence,arousal\n0.1,0.1\n")
    annotate(root, put_text, EXPR, "7_left", f"{EXPR8}\n0\n0\n", "Validation_Set")
    train, val = read_affwild2(root, "train"), read_affwild2(root, "val")
    assert _videos(train) == {"1-30-1280x720"}
    assert (len(train), len(val)) == (1, 2)
    assert not np.isfinite(val.va).any()
    assert "1 of 2 training videos are left out: they are in the validation" in train.notes[0]
    assert train.notes[0].endswith(": 7_left")


def test_the_other_person_of_a_validation_video_is_not_trained_on(root, put_text, put_image):
    put_image(root / "cropped_aligned" / "7_right" / "00001.jpg")
    put_image(root / "cropped_aligned" / "7" / "00001.jpg")
    for video in ("7_right", "7", "1-30-1280x720"):
        annotate(root, put_text, AU, video, AU12 + "\n" + "1," * 11 + "1\n")
    annotate(root, put_text, EXPR, "7_left", f"{EXPR8}\n0\n", "Validation_Set")
    assert _videos(read_affwild2(root, "train")) == {"1-30-1280x720"}


def test_videos_of_a_multi_task_validation_file_are_not_trained_on(root, put_text):
    for video in ("1-30-1280x720", "7_left"):
        annotate(root, put_text, VA, video, "valence,arousal\n0.1,0.1\n")
    put_text(root / "validation_set.txt", f"{MULTI},AU1\n7_left/00001.jpg,0,0,0,1\n")
    assert validation_videos(root) == {"7"}
    assert _videos(read_affwild2(root, "train")) == {"1-30-1280x720"}
    assert _videos(read_affwild2(root, "train", frozenset({"x"}))) == {"1-30-1280x720"}
    with pytest.raises(NoSplitError, match=r"train split.*2 of 2 training videos are left out"):
        read_affwild2(root, "train", frozenset({"1-30-1280x720"}))


def _videos(data):
    return {data.images.path(i).parent.name for i in data.indices}


def test_missing_images_are_counted_and_named(root, put_text):
    annotate(root, put_text, VA, "7_left", "valence,arousal\n" + "0,0\n" * 20)
    annotate(root, put_text, VA, "gone", "valence,arousal\n0,0\n")
    data = read_affwild2(root, "train")
    assert len(data) == 2
    gone = [f"7_left/{number:05d}.jpg" for number in range(3, 21)] + ["gone/00001.jpg"]
    assert data.notes == (f"affwild2: 19 of 21 labelled frames have no image: {', '.join(gone)}",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("valence,arousal\n0,0\n0.1,x\n", r"7_left.txt:3: found 'x', expected a number"),
        ("valence,arousal\n0,0\n\n0,0\n", r"7_left.txt:3: found 1 cells, expected 2"),
        ("valence,arousal\n0,0\n0,0,0\n", r"7_left.txt:3: found 3 cells, expected 2"),
        ("valence,arousal\n0,1.5\n", r"7_left.txt:2: found 1.5, expected valence and arousal in"),
        ("valence,arousal\n0,nan\n", r"7_left.txt:2: found 'nan', expected a number"),
        (f"{EXPR8}\n0\n8\n", r"7_left.txt:3: found 8, expected a class from 0 to 7, or -1"),
        (f"{EXPR8}\n0\n\n1\n", r"7_left.txt:3: found '', expected a number"),
        (f"{EXPR8}\n0.5\n", r"7_left.txt:2: found 0.5, expected a class"),
        ("Neutral,Bored\n0\n", r"7_left.txt:1: found class 'Bored', expected one of neutral"),
        ("AU1,AU2\n0,2\n", r"7_left.txt:2: found 2, expected 0, 1 or -1"),
        ("frame,score\n0,2\n", r"7_left.txt:1: found the header 'frame,score', expected valence"),
        ("0.1,0.2\n0.1,0.2\n", r"7_left.txt:1: found the header '0.1,0.2', expected valence"),
        ("", r"7_left.txt: found an empty file"),
    ],
)  # fmt: skip
def test_bad_lines_are_named_with_file_and_line(root, put_text, text, message):
    annotate(root, put_text, VA, "7_left", text)
    with pytest.raises(FacerError, match=message):
        read_affwild2(root, "train")


@pytest.mark.parametrize("image", ["../secret/00001.jpg", "/etc/00001.jpg", "a/../../x.jpg", ""])
def test_paths_never_leave_the_folder(root, put_text, image):
    put_text(root / "train_set.txt", f"{MULTI},AU1\n{image},0,0,0,1\n")
    with pytest.raises(FacerError, match=r"train_set.txt:2: found the path .* below the data"):
        read_affwild2(root, "train")


def test_folders_that_are_something_else(tmp_path, root, put_text, put_image):
    with pytest.raises(FacerError, match="no such folder"):
        read_affwild2(tmp_path / "nowhere", "train")
    annotate(root, put_text, VA, "other", "valence,arousal\n0,0\n")
    with pytest.raises(FacerError, match="found none of the 1 labelled images"):
        read_affwild2(root, "train")
    put_image(root / "cropped_aligned" / "other" / "00001.jpg", (96, 80))
    with pytest.raises(FacerError, match="an image of 96x80 px, expected an aligned crop"):
        read_affwild2(root, "train")
    annotate(tmp_path / "b", put_text, VA, "v", "valence,arousal\n0,0\n")
    with pytest.raises(FacerError, match="no folder cropped_aligned"):
        read_affwild2(tmp_path / "b", "train")


def test_large_files_are_read_fast(root, put_text):
    lines = "valence,arousal\n" + "0.125,-0.25\n" * 200_000
    annotate(root, put_text, VA, "7_left", lines)
    assert len(read_affwild2(root, "train")) == 2


def test_a_file_with_a_header_alone_labels_nothing(root, put_text):
    annotate(root, put_text, VA, "7_left", "valence,arousal\n0.5,0.5\n")
    for task, header in ((VA, "valence,arousal"), (EXPR, EXPR8), (AU, AU12)):
        annotate(root, put_text, task, "1-30-1280x720", f"{header}\n")
    assert len(read_affwild2(root, "train")) == 1


@pytest.mark.parametrize(
    ("task", "header"),
    [(AU, AU12.replace("AU2,", "AU01,")), (EXPR, EXPR8.replace("Anger", "fear"))],
)
def test_a_column_that_is_there_twice_is_refused(root, put_text, task, header):
    rows = ",".join("0" * (header.count(",") + 1)) if task == AU else "3"
    annotate(root, put_text, task, "7_left", f"{header}\n{rows}\n")
    with pytest.raises(FacerError, match=r"7_left.txt:1: found column '.*' twice"):
        read_affwild2(root, "train")
