"""Which face of a clip is meant, where a person pointed at it: faces.csv, as ``facer view`` writes.

``facer extract --faces faces.csv`` follows those faces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from facer.storage.errors import FacerError, named
from facer.storage.files.csv_table import csv_text, read_table
from facer.storage.study.ids import known_clips

FACE_COLUMNS = ("clip_id", "time_s", "x_px", "y_px", "who", "when")
_FURTHEST_PX = 100_000


class FacePoint(NamedTuple):
    """A place in an upright frame, on the face that is meant."""

    time_s: float
    x_px: float
    y_px: float

    def __str__(self) -> str:
        return f"{self.time_s:.10g} s ({self.x_px:.5g}, {self.y_px:.5g})"


FacePoints = tuple[FacePoint, ...]
"""Of one clip."""


def points_text(points: FacePoints) -> str:
    """Return points as a record keeps them.

    >>> points_text((FacePoint(1.5, 320.0, 200.0), FacePoint(2.0, 310.0, 200.0)))
    '1.5,320,200;2,310,200'
    """
    return ";".join(",".join(f"{value:.10g}" for value in point) for point in points)


def parse_points(text: str) -> FacePoints:
    """Return the points of :func:`points_text`; none for a text that is not of it."""
    try:
        rows = [tuple(map(float, row.split(","))) for row in text.split(";") if row]
        return tuple(FacePoint(*row) for row in rows)
    except (ValueError, TypeError):
        return ()


def faces_text(points: Mapping[str, FacePoints]) -> str:
    """Return a faces.csv that says the points of clips."""
    rows = [(clip, *point) for clip, several in points.items() for point in several]
    return csv_text([FACE_COLUMNS[:4], *rows])


class Pointed(NamedTuple):
    """What a faces.csv says."""

    points: Mapping[str, FacePoints]  # by clip
    unknown: tuple[str, ...]  # its ids that are no clip


def read_faces(path: Path, clip_ids: Sequence[str]) -> Pointed:
    """Read faces.csv: clip_id, time_s, x_px, y_px; FacerError for a row that is no place.

    Ids are joined as those of labels are.
    """
    if not path.exists():
        raise FacerError(
            f"{path}: no such file, expected faces of facer view, which writes it with the first "
            f"click on another face; where none was made, leave {named('faces')} out"
        )
    table = read_table(path)
    clip, *places = table.required(*FACE_COLUMNS[:4])
    ids = table.column(clip)
    clip_of = known_clips(path, ids, clip_ids)
    found: dict[str, list[FacePoint]] = defaultdict(list)
    for row, name in enumerate(ids):
        point = FacePoint(*(table.number(row, place) for place in places))
        if not (abs(point.time_s) < 1e7 and 0 <= min(point[1:]) <= max(point[1:]) < _FURTHEST_PX):
            raise FacerError(
                f"{table.at(row)}: found {point}, expected a time in seconds and a place in the "
                "frame in pixels"
            )
        if name in clip_of:
            found[clip_of[name]].append(FacePoint(*(float(f"{v:.10g}") for v in point)))
    points = {name: tuple(several) for name, several in found.items()}
    return Pointed(points, tuple(name for name in dict.fromkeys(ids) if name not in clip_of))
