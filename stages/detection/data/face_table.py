"""``faces.csv`` and ``frames.csv`` of labelled people, read strictly.

Complaints name file and line: a wrong box is never seen again, it is a face that no detector finds
and teaches what is none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.schema import F32, I64, Bools

POSES = ("frontal", "three-quarter", "profile")
_BOX = ("x1", "y1", "x2", "y2")
_POINTS = tuple(
    f"{name}_{axis}"
    for name in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    for axis in "xy"
)
_FLAGS = {"status": ("sure", "doubtful"), "points_agree": ("1", "0")}
_LEAST_PX = 1.0  # of a box's sides; smaller ones are shares of the picture, not pixels


@dataclass(frozen=True)
class FaceRows:
    """n labelled faces; doubtful ones, which are not ``sure``, may have no points and roll (NaN)
    and no ``yaw_class`` ("").
    """

    file: tuple[str, ...]
    source: tuple[str, ...]  # of a photograph; the file of a clip
    frame: I64  # (n,) of a clip; 0 of photographs
    bbox_px: F32  # (n, 4)
    keypoints_px: F32  # (n, 5, 2)
    sure: Bools  # (n,)
    agreed: Bools  # (n,) two detectors put the points in the same places
    yaw_class: tuple[str, ...]
    roll: F32  # (n,) degrees in the picture

    def take(self, rows: list[int]) -> FaceRows:
        """Some of the rows."""
        values: dict[str, Any] = {
            name: tuple(value[row] for row in rows) if isinstance(value, tuple) else value[rows]
            for name, value in vars(self).items()
        }
        return FaceRows(**values)


def read_faces(path: Path, of_clips: bool) -> FaceRows:
    """The faces of photographs, which say their ``source``, or of clips, which say the ``frame``.

    ``FacerError`` with file and line for a cell that is not what its column holds, a box without
    extent, a sure face whose points are not in its box, a face that is there twice, and for a
    file most of whose faces have left and right exchanged.
    """
    table = read_table(path)
    file = table.column(table.where("file"))
    for name, known in _FLAGS.items():
        _check_words(table, name, known)
    sure = np.array([cell == "sure" for cell in table.column(table.where("status"))], np.bool_)
    _check_words(table, "yaw_class", POSES, sure)
    agree, yaw = (table.column(table.where(name)) for name in ("points_agree", "yaw_class"))
    bbox = _numbers(table, _BOX)
    points = _numbers(table, _POINTS).reshape(-1, 5, 2)
    roll = _numbers(table, ("roll",))[:, 0]
    found = FaceRows(
        tuple(file), tuple(file if of_clips else table.column(table.where("source"))),
        _whole(table, "frame") if of_clips else np.zeros(len(file), np.int64),
        bbox, points, sure, np.array([cell == "1" for cell in agree], np.bool_), tuple(yaw), roll,
    )  # fmt: skip
    _check_places(table, found)
    _check_repeated(table, found)
    return found


def read_frames(path: Path) -> dict[str, dict[int, int]]:
    """The frames that were looked at, and how many faces each has, by clip."""
    table = read_table(path)
    columns = table.column(table.where("file")), _whole(table, "frame"), _whole(table, "faces")
    found: dict[str, dict[int, int]] = {}
    for row, (name, frame, faces) in enumerate(zip(*columns, strict=True)):
        if int(frame) in found.setdefault(name, {}):
            raise FacerError(f"{table.at(row)}: found frame {frame} of {name} twice")
        found[name][int(frame)] = int(faces)
    return found


def _check_words(
    table: CsvTable, name: str, known: tuple[str, ...], needed: Bools | None = None
) -> None:
    """Refuse cells that are none of ``known``, but empty ones where none is ``needed``."""
    for row, cell in enumerate(table.column(table.where(name))):
        if cell not in known and (cell or needed is None or needed[row]):
            raise FacerError(f"{table.at(row)}: {name}: found {cell!r}, expected "
                             f"{', '.join(known[:-1])} or {known[-1]}")  # fmt: skip


def _numbers(table: CsvTable, names: tuple[str, ...]) -> F32:
    return table.numbers([table.where(name) for name in names]).astype(np.float32)


def _whole(table: CsvTable, name: str) -> I64:
    """A column of whole numbers from 0 on."""
    values = table.numbers([table.where(name)])[:, 0]
    good = np.isfinite(values) & (values >= 0) & (values == np.floor(values))
    if not good.all():
        row = int(np.argmin(good))
        cell = table.rows[row][table.where(name)]
        raise FacerError(f"{table.at(row)}: {name}: found {cell!r}, expected 0, 1, 2 ...")
    return values.astype(np.int64)


def _check_places(table: CsvTable, faces: FaceRows) -> None:
    box, points, sure = faces.bbox_px, faces.keypoints_px, faces.sure
    sides, centre = box[:, 2:] - box[:, :2], points.mean(axis=1)
    inside = ((centre >= box[:, :2]) & (centre <= box[:, 2:])).all(axis=1)
    for good, expected in (
        ((sides >= _LEAST_PX).all(axis=1),
         "a box x1,y1,x2,y2 in pixels, its left upper corner and its right lower one"),
        (~sure | np.isfinite(points).all(axis=(1, 2)), "five points of a sure face"),
        (~sure | inside, "the five points of a sure face in its box x1,y1,x2,y2"),
        (~sure | np.isfinite(faces.roll), "the roll of a sure face in degrees"),
    ):  # fmt: skip
        if not good.all():
            row = int(np.argmin(good))
            corners = ",".join(f"{value:g}" for value in box[row])
            raise FacerError(f"{table.at(row)}: found the face {corners}, expected {expected}")
    frontal = sure & np.array([yaw != "profile" for yaw in faces.yaw_class], np.bool_)
    refuse_exchanged(str(table.path), points[frontal])


def _check_repeated(table: CsvTable, faces: FaceRows) -> None:
    """Refuse a face that is there twice, and a photograph of two sources."""
    keys = list(zip(faces.file, faces.frame.tolist(), faces.bbox_px.tolist(), strict=True))
    counts = Counter(str(key) for key, sure in zip(keys, faces.sure, strict=True) if sure)
    sources: dict[str, str] = {}
    for row, key in enumerate(keys):
        if counts[str(key)] > 1 and faces.sure[row]:
            raise FacerError(f"{table.at(row)}: found a face twice, expected it once")
        if sources.setdefault(key[0], faces.source[row]) != faces.source[row]:
            raise FacerError(f"{table.at(row)}: found {key[0]} of the sources {sources[key[0]]} "
                             f"and {faces.source[row]}, expected one")  # fmt: skip


def refuse_exchanged(where: str, points_px: F32) -> None:
    """``FacerError`` when most of n faces' points (n, 5, 2) have left and right exchanged.

    Seen from the front, going from the left eye of the picture to the right one and then down to
    the mouth turns clockwise, however the face is rolled.
    """
    across = points_px[:, 1] - points_px[:, 0]
    down = points_px[:, 3:].mean(axis=1) - points_px[:, :2].mean(axis=1)
    turn = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    if (turn < 0).sum() > len(points_px) / 2:
        raise FacerError(
            f"{where}: found left and right exchanged in {(turn < 0).sum()} of {len(points_px)} "
            "faces, expected the eye and mouth corner on the left of the picture first"
        )
