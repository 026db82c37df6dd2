"""Crops by what may make REC worse for them: skin tone, turn of the head, sharpness, light.

These are measured on the crop itself; what else is known of the faces comes from a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.features.quality import SIGNALS, signals, yaw_deg
from facer.storage.errors import FacerError
from facer.storage.files.cells import is_absent
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.schema import F64, I64, U8

_CHEEKS = ((slice(68, 84), slice(28, 44)), (slice(68, 84), slice(68, 84)))  # rows, columns
_COLOURED = 4.0  # mean chroma from which on a crop is no grey picture
_SKIN = (
    ("dark", -90, -30),
    ("brown", -30, 10),
    ("tan", 10, 28),
    ("intermediate", 28, 41),
    ("light", 41, 55),
    ("very light", 55, 90),
)
"""Classes of the individual typology angle in degrees (Del Bino & Bernerd 2013)."""
SKIN_TONES = tuple(name for name, _, _ in _SKIN)
_TURNED = (("under 15", 0, 15), ("15 to 30", 15, 30), ("30 and more", 30, 181))
_THIRDS = {
    "sharpness": ("blurred", "between", "sharp"),
    "light": ("dark", "between", "bright"),
}
_IMAGE = "image"  # a table's column that says which crop a row is about
_MOST_GROUPS = 20  # of a column; of more values it is no column of groups


@dataclass(frozen=True)
class Group:
    """Some rows of a set: ``attribute`` is skin, yaw_deg, sharpness, light or a table's column."""

    attribute: str
    name: str
    rows: I64


def groups_of(data: AffectSet) -> tuple[Group, ...]:
    """The rows of a set by skin tone, turn, sharpness and light; rows may be in none.

    Skin tone is told of coloured crops only, turn where the set has the five points. Sharpness
    and light are thirds of the set.
    """
    crops = [data.crop(row) for row in range(len(data))]
    found: list[Group] = []
    found += _between("skin", _SKIN, np.array([typology_angle_deg(crop) for crop in crops]))
    if data.keypoints_px is not None:
        turn = np.full(len(data), np.nan)
        known = np.isfinite(data.keypoints_px).all(axis=(1, 2))
        turn[known] = np.abs(yaw_deg(data.keypoints_px[known]))
        found += _between("yaw_deg", _TURNED, turn)
    place = np.zeros((1, 5, 2), np.float32)
    blur = SIGNALS.index("sharpness")
    values = {
        "sharpness": np.array([-signals(crop[None], place)[0, blur] for crop in crops]),
        "light": np.array([float(crop[20:92, 20:92].mean()) for crop in crops]),
    }
    for attribute, names in _THIRDS.items():
        rank = np.argsort(np.argsort(values[attribute], kind="stable"), kind="stable")
        edges = np.linspace(0, len(data), len(names) + 1)
        cuts = [(n, *pair) for n, pair in zip(names, pairwise(edges), strict=True)]
        found += _between(attribute, tuple(cuts), rank.astype(np.float64))
    return tuple(found)


def table_groups(path: Path, data: AffectSet) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """The rows of a set by the columns of a table (csv), and notes on what of it is not used.

    Its column ``image`` names a crop (:meth:`AffectSet.image_name`); each other column is an
    attribute, its values are the groups, sorted, and an empty cell is in none. Columns of more
    than 20 values are left out. Rows of other images, such as another split's, are passed over.
    ``FacerError`` with file and line for an image that is there twice, and for a table that has
    none of the set's images or no column of groups.
    """
    table = read_table(path)
    line_of = _lines_by_image(table)
    names = [data.image_name(row) for row in range(len(data))]
    known = np.array([row for row, name in enumerate(names) if name in line_of], np.int64)
    if len(known) == 0:
        raise FacerError(
            f"{path}: found none of the {len(names)} images of {data.name} in column {_IMAGE!r}, "
            f"expected some, such as {names[0]!r}"
        )
    lines = [line_of[names[row]] for row in known]
    absent = len(names) - len(known)
    notes = [f"{path}: has no row of {absent} of {len(names)} images"] if absent else []
    found: list[Group] = []
    for column, attribute in enumerate(table.header):
        cells = np.array([table.rows[line][column] for line in lines])
        values = sorted({str(cell) for cell in cells if not is_absent(str(cell))})
        if attribute == _IMAGE or not values:
            continue
        if len(values) > _MOST_GROUPS:
            notes.append(f"{path}: column {attribute!r} has {len(values)} values, expected at "
                         f"most {_MOST_GROUPS} groups")  # fmt: skip
            continue
        found += [Group(attribute, value, known[cells == value]) for value in values]
    if not found:
        raise FacerError(
            f"{path}: found no column of groups, expected one beside {_IMAGE!r} with 1 to "
            f"{_MOST_GROUPS} values, such as sex or age_group"
        )
    return tuple(found), tuple(notes)


def _lines_by_image(table: CsvTable) -> dict[str, int]:
    found: dict[str, int] = {}
    for line, name in enumerate(table.column(table.where(_IMAGE))):
        if found.setdefault(name, line) != line:
            raise FacerError(f"{table.at(line)}: found the image {name!r} twice, expected it once")
    return found


def typology_angle_deg(crop: U8) -> float:
    """The individual typology angle of an aligned crop's cheeks in degrees; NaN of a grey one.

    atan((L - 50) / b) in CIELAB (Chardon et al. 1991): from -90, dark, to 90. It changes with the
    light that a photograph was taken in, and no colour card is in it.
    """
    lab = cv2.cvtColor(crop.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cheeks = np.concatenate([lab[place].reshape(-1, 3) for place in _CHEEKS])
    light, a, b = np.median(cheeks, axis=0)
    if float(np.hypot(lab[..., 1], lab[..., 2]).mean()) < _COLOURED or np.hypot(a, b) < _COLOURED:
        return float("nan")
    return float(np.degrees(np.arctan2(light - 50, max(b, 1e-6))))


def skin_tone(crop: U8) -> str | None:
    """Which of :data:`SKIN_TONES` an aligned crop shows; None of a grey one."""
    angle = typology_angle_deg(crop)
    return next((name for name, low, high in _SKIN if low <= angle < high), None)


def _between(attribute: str, classes: tuple[tuple[str, float, float], ...], v: F64) -> list[Group]:
    rows = {name: np.flatnonzero((v >= low) & (v < high)) for name, low, high in classes}
    return [Group(attribute, name, found) for name, found in rows.items() if len(found)]
