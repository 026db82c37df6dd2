from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError, read_labels, read_predictions, write_predictions
from facer.storage.labels.options import LabelKind

REACTION = ("Adoration", "Amusement", "Anxiety", "Disgust", "Empathic-Pain", "Fear", "Surprise")
MIXED = ("fear", "Surprise", "Adoration", "Amusement", "Anxiety", "Disgust", "Empathic Pain")
EMI = ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy")


def values(clips: int, names: Sequence[str]) -> np.ndarray:
    return np.random.default_rng(0).random((clips, len(names)), np.float32)


@pytest.mark.parametrize("kind", ["eri", "muse"])
@pytest.mark.parametrize("brackets", [True, False])
def test_reaction_files(tmp_path: Path, kind: LabelKind, brackets: bool) -> None:
    path = tmp_path / "new" / "p.csv"
    written = values(2, MIXED)
    write_predictions(path, kind, ["val/00012", "[10001]"], MIXED, written, brackets)
    lines = path.read_text().splitlines()
    assert lines[0] == "File_ID," + ",".join(REACTION)
    ids = [line.split(",")[0] for line in lines[1:]]
    assert ids == (["[00012]", "[10001]"] if brackets else ["00012", "10001"])
    found = read_predictions(path)
    assert found.names == REACTION
    order = [2, 3, 4, 5, 6, 0, 1]  # by name, whatever the order was
    np.testing.assert_array_equal(found.values, written[:, order])


def test_emi_file(tmp_path: Path) -> None:
    written = values(1, EMI)
    write_predictions(tmp_path / "p.csv", "emi", ["00007"], EMI, written)
    assert (tmp_path / "p.csv").read_text().startswith(f"Filename,{','.join(EMI)}\n00007,")
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.csv").values, written)


def test_mimic_file(tmp_path: Path) -> None:
    names = ("Uncertainty", "Approval", "Disappointment")
    write_predictions(tmp_path / "p.csv", "mimic", ["a"], names, np.array([[1, 2, 3]], np.float32))
    text = (tmp_path / "p.csv").read_text()
    assert text == "filename,Approval,Disappointment,Uncertainty\na,2.0,3.0,1.0\n"


def test_plain_file_reads_back_as_predictions_and_as_labels(tmp_path: Path) -> None:
    ids = ["a/1", "[2]", 'odd, "name"', "ü"]
    written = values(4, ("x", "y")) * np.float32(1e-7)
    write_predictions(tmp_path / "p.csv", "plain", ids, ("x", "y"), written)
    found = read_predictions(tmp_path / "p.csv")
    assert (found.clip_ids, found.names) == (tuple(ids), ("x", "y"))
    np.testing.assert_array_equal(found.values, written)
    np.testing.assert_array_equal(read_labels(tmp_path / "p.csv").values, written)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("eri", REACTION[:6]), ("emi", REACTION), ("muse", (*REACTION, "Joy")), ("mimic", EMI)],
)
def test_names_that_are_not_the_formats(
    tmp_path: Path, kind: LabelKind, names: tuple[str, ...]
) -> None:
    with pytest.raises(FacerError, match=r"found intensities .*, expected A.*use the plain"):
        write_predictions(tmp_path / "p.csv", kind, ["a"], names, values(1, names))
    assert not (tmp_path / "p.csv").exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    two = values(2, ("x",))
    with pytest.raises(FacerError, match=r"found predictions of shape \(2, 1\), expected \(1, 1\)"):
        write_predictions(path, "plain", ["a"], ("x",), two)
    with pytest.raises(FacerError, match="found two clips that would be '00001', expected one"):
        write_predictions(path, "emi", ["a/00001", "b/00001"], EMI, values(2, EMI))
    two[1] = np.nan
    with pytest.raises(FacerError, match="clip 'b': found a prediction that is not finite"):
        write_predictions(path, "plain", ["a", "b"], ("x",), two)
    with pytest.raises(FacerError, match="prediction format: found 'xml', expected one of plain"):
        write_predictions(path, "xml", ["a"], ("x",), two)  # type: ignore[arg-type]
    assert not path.exists()


def test_reading_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,x\na,1\na,2\n")
    with pytest.raises(FacerError, match=r"p\.csv:3: found id 'a' again.*first in .*p\.csv:2"):
        read_predictions(path)
    path.write_text("id,x\na,one\n")
    with pytest.raises(FacerError, match=r"p\.csv:2: column 'x': found 'one'"):
        read_predictions(path)


@pytest.mark.parametrize(
    ("header", "names", "columns"),
    [
        ("affect+,affect-", ("affect+", "affect-"), (1, 2)),
        ("😢,😀", ("😀", "😢"), (2, 1)),
        ("joy,awe,Joy", ("joy", "awe"), (1, 2)),
        ("Joy,Awe!", ("awe", "joy"), (2, 1)),
    ],
)
def test_a_column_of_the_very_name_comes_first(
    tmp_path: Path, header: str, names: tuple[str, ...], columns: tuple[int, ...]
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"clip_id,{header}\na,1,2{',3' * (header.count(',') - 1)}\n", "utf-8")
    assert read_predictions(path, names).values.tolist() == [list(columns)]


@pytest.mark.parametrize(
    ("header", "names"),
    [("Joy", ("Joy", "joy")), ("Joy,JOY", ("joy",)), ("😢", ("😀",)), ("joy", ("awe",))],
)
def test_a_column_that_may_be_another_s_is_refused(
    tmp_path: Path, header: str, names: tuple[str, ...]
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(f"clip_id,{header}\na,1{',2' * header.count(',')}\n", "utf-8")
    with pytest.raises(FacerError, match=f"found no column {names[-1]}, or several"):
        read_predictions(path, names)


def test_only_predictions_are_replaced(tmp_path: Path) -> None:
    path, empty = tmp_path / "p.csv", tmp_path / "empty.csv"
    empty.touch()
    for place in (path, path, empty):
        write_predictions(place, "plain", ["a"], ("x",), values(1, "x"), status=["ok"])
    write_predictions(path, "plain", ["a"], ("y",), values(1, "y"))
    write_predictions(path, "plain", ["a"], ("y",), values(1, "y"))
    for there in ("clip_id,x\na,1\n", "{\n", "\0\xff"):
        path.write_text(there)
        with pytest.raises(FacerError, match=r"p\.csv: found another file there .*another name"):
            write_predictions(path, "plain", ["a"], ("x",), values(1, "x"), status=["ok"])
        assert path.read_text() == there
    with pytest.raises(FacerError, match="a folder, expected a csv of predictions"):
        write_predictions(tmp_path, "plain", ["a"], ("x",), values(1, "x"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,59%\nb,60\n", "found '59%', expected no percent sign as elsewhere"),
        ('a,"1,257"\nb,900\n', "found '1,257', which may be 1257 or 1.257"),
        ("a,0.5\nb,1e39\n", r"p\.csv:3: column 'joy': found 1e\+39, expected numbers up to 3.4e"),
    ],
)
def test_numbers_of_two_ways_or_too_large_are_refused(
    tmp_path: Path, rows: str, message: str
) -> None:
    (tmp_path / "p.csv").write_text(f"clip_id,joy\n{rows}")
    with pytest.raises(FacerError, match=message):
        read_predictions(tmp_path / "p.csv", ("joy",))
