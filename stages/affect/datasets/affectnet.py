"""AffectNet (Mollahosseini et al. 2017), old release (csv) and new (one npy file a label)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facer.stages.affect.datasets.aligned import FACE, Aligner, Photographs, left_out
from facer.stages.affect.datasets.label_files import (
    Split,
    folders_below,
    inside,
    names_in,
    one_hot,
)
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError
from facer.storage.errors import FacerError
from facer.storage.files.cells import parse_number
from facer.storage.files.csv_table import iterate_rows
from facer.storage.files.numpy_files import read_npy
from facer.storage.schema import ACTION_UNITS, F32

CLASSES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
"""Expressions 0 to 6; 7 contempt, 8 none, 9 uncertain and 10 non-face are not used."""

_N_CLASSES = 11
_NO_VA = -2.0
_CSV = {"train": "training.csv", "val": "validation.csv"}
_NPY = {"train": "train_set", "val": "val_set"}
_COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
_EYES_NOSE_MOUTH = ([*range(36, 42)], [*range(42, 48)], [30], [48], [54])  # of the 68 landmarks


class _Row(NamedTuple):
    """One photograph and its labels."""

    name: str
    expression: int  # of CLASSES; -1 for another one
    va: tuple[float, float]  # NaN for none
    box: F32
    points: F32

    @property
    def is_labelled(self) -> bool:
        """Whether a label is of use."""
        return self.expression >= 0 or not np.isnan(self.va[0])


def read_affectnet(root: str | Path, split: Split, aligner: Aligner) -> AffectSet:
    """One split (``train`` or ``val``) of AffectNet in either release.

    Photographs are aligned once: the face is the one in the annotated box, and where the
    detector finds none, the five points come from the 68 annotated ones. ``FacerError`` with
    file and line for a bad row.
    """
    root = Path(root)
    if not root.is_dir():
        raise FacerError(f"{root}: no such folder, expected the folder of AffectNet")
    for folder in folders_below(root, 2, skip="annotations"):
        if (folder / _NPY[split] / "annotations").is_dir():
            rows, unlabelled = _labelled(_read_npy(folder / _NPY[split]))
            images = folder / _NPY[split] / "images"
            break
        if (path := folder / _CSV[split]).is_file():
            rows, unlabelled = _labelled(_read_csv(path))
            images = _image_root(root, [row.name for row in rows])
            break
    else:
        raise NoSplitError(
            f"{root}: found no {_CSV[split]} (old release) and no {_NPY[split]}/annotations "
            "(new release); expected one of them"
        )
    return _to_set(images, rows, unlabelled, aligner)


def _labelled(found: Iterable[_Row]) -> tuple[list[_Row], int]:
    """The rows with a label of use, and how many have none."""
    rows, unlabelled = [], 0
    for row in found:
        if row.is_labelled:
            rows.append(row)
        else:
            unlabelled += 1
    return rows, unlabelled


def _to_set(images: Path, rows: list[_Row], unlabelled: int, aligner: Aligner) -> AffectSet:
    if not rows:
        raise FacerError(f"{images}: found no labelled image, expected some with a usable label")
    names, expression, va, boxes, points = zip(*rows, strict=True)
    photographs = Photographs(images, names, np.stack(boxes), np.stack(points))
    crops, outcome = aligner.align(photographs)
    keep = np.flatnonzero(outcome == FACE)
    notes = left_out("affectnet", names, outcome)
    if unlabelled:
        notes += (f"affectnet: {unlabelled} images have no label of use",)
    if len(keep) == 0:
        raise FacerError(f"{images}: none of {len(names)} images can be used; {'; '.join(notes)}")
    return AffectSet(
        name="affectnet", images=crops, indices=keep,
        expression=one_hot(CLASSES, np.array(expression))[keep], va=np.array(va, np.float32)[keep],
        au=np.full((len(keep), len(ACTION_UNITS)), np.nan, np.float32),
        au_trust=np.ones(len(ACTION_UNITS), np.float32), notes=notes,
    )  # fmt: skip


def _read_csv(path: Path) -> Iterator[_Row]:
    """The old release: one row a photograph, columns by name."""
    table = iterate_rows(path)
    line, header = next(table)
    absent = [name for name in _COLUMNS if name not in header]
    if absent:
        raise FacerError(f"{path}:{line}: found no column {absent[0]!r}, expected {_COLUMNS}")
    at = {name: header.index(name) for name in _COLUMNS}
    for line, cells in table:
        where = f"{path}:{line}"
        cell = {name: cells[column] for name, column in at.items()}
        x, y, width, height = (_number(cell[name], where, name) for name in _COLUMNS[1:5])
        valence, arousal = (_number(cell[name], where, name) for name in _COLUMNS[7:])
        box = np.array([x, y, x + width, y + height], np.float32)
        yield _Row(
            inside(cell["subDirectory_filePath"], where),
            _expression(_number(cell["expression"], where, "expression"), where),
            _valence_arousal(valence, arousal, where),
            box if width > 0 and height > 0 else np.full(4, np.nan, np.float32),
            _five_points(cell["facial_landmarks"].split(";"), where),
        )


def _image_root(root: Path, names: Sequence[str]) -> Path:
    """The folder that the paths in the csv start from: the one that has most of a sample."""
    sample = names[:: max(1, len(names) // 50)]
    folders = folders_below(root, 2, skip=".")
    return max(folders, key=lambda folder: sum((folder / name).is_file() for name in sample))


def _read_npy(folder: Path) -> Iterator[_Row]:
    """The new release: ``images/N.jpg`` and ``annotations/N_{exp,val,aro,lnd}.npy``."""
    annotations = folder / "annotations"
    suffix = "_exp.npy"
    numbers = [n.removesuffix(suffix) for n in names_in(annotations) if n.endswith(suffix)]
    for number in sorted(numbers, key=lambda text: (len(text), text)):
        path = annotations / f"{number}{suffix}"
        valence, arousal = (annotations / f"{number}_{kind}.npy" for kind in ("val", "aro"))
        landmarks = annotations / f"{number}_lnd.npy"
        yield _Row(
            f"{number}.jpg",
            _expression(_only(path), str(path)),
            _valence_arousal(_only(valence), _only(arousal), str(valence)),
            np.full(4, np.nan, np.float32),
            _five_points(list(_load(landmarks)) if landmarks.is_file() else [""], str(landmarks)),
        )


def _load(path: Path) -> Iterator[str]:
    """The values of a npy file as text: the release has numbers and numbers as strings."""
    values = read_npy(path, "a label in a npy file")
    return (str(value) for value in values.ravel())


def _only(path: Path) -> float:
    values = list(_load(path))
    if len(values) != 1:
        raise FacerError(f"{path}: found {len(values)} values, expected one")
    return _number(values[0], str(path), "value")


def _number(text: str, where: str, name: str) -> float:
    value = parse_number(text)
    if value is None or np.isnan(value):
        raise FacerError(f"{where}: {name}: found {text!r}, expected a number")
    return value


def _expression(value: float, where: str) -> int:
    if value not in range(_N_CLASSES):
        raise FacerError(
            f"{where}: found expression {value:g}, expected a class from 0 to {_N_CLASSES - 1}"
        )
    return int(value) if value < len(CLASSES) else -1


def _valence_arousal(valence: float, arousal: float, where: str) -> tuple[float, float]:
    if _NO_VA in (valence, arousal):
        return float("nan"), float("nan")
    if max(abs(valence), abs(arousal)) > 1:
        raise FacerError(
            f"{where}: found valence {valence:g} and arousal {arousal:g}, "
            f"expected [-1, 1], or {_NO_VA:g} for none"
        )
    return valence, arousal


def _five_points(cells: Sequence[str], where: str) -> F32:
    """Eyes, nose and mouth corners (5, 2) of 68 landmarks; NaN when there are no landmarks."""
    if len(cells) == 1 and not cells[0].strip():
        return np.full((5, 2), np.nan, np.float32)
    numbers = [parse_number(cell.strip()) for cell in cells]
    if len(numbers) != 2 * 68 or None in numbers:
        raise FacerError(
            f"{where}: found {len(numbers)} landmark values, expected 68 points as x;y;x;y..."
        )
    points = np.array(numbers, np.float32).reshape(68, 2)
    return np.stack([points[rows].mean(axis=0) for rows in _EYES_NOSE_MOUTH])
