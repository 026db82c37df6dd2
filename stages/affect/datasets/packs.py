"""Crop packs: HDF5 files with JPEG crops and label arrays, NaN for unlabelled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from facer.stages.affect.datasets.image_files import decode_crop
from facer.stages.affect.datasets.label_files import unit_of
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError, circumplex_va
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, AU_NAMES, EXPRESSIONS, F32, U8

_UNRELIABLE_EXPRESSION_SOURCES = ("muxspace-film",)  # colour predicts the class there


@dataclass
class JpegPack:
    """Crops of a pack, decoded when asked for; the JPEG bytes stay in memory."""

    path: Path
    jpegs: list[Any] = field(repr=False)  # variable-length uint8 arrays

    def crop(self, index: int) -> U8:
        """RGB uint8 (112, 112, 3)."""
        return decode_crop(self.jpegs[index], f"{self.path}: image {index}")


def read_pack(path: str | Path, split: str) -> AffectSet:
    """One split (``train`` or ``val``) of a crop pack, columns taken by name.

    Expressions are vote shares among the seven; a row without a majority is unlabelled. Packs
    carry no valence-arousal, so it is derived from the votes (:func:`circumplex_va`) and
    marked weak. ``FacerError`` for a file of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise FacerError(f"{path}: no such file, expected a crop pack (HDF5)")
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, split)
    except OSError as error:
        raise FacerError(f"{path}: not an HDF5 file ({error}); expected a crop pack") from error


def _read(file: h5py.File, path: Path, split: str) -> AffectSet:
    for name in ("jpeg", "split", "expression_votes", "expression_label", "au"):
        if name not in file:
            raise FacerError(f"{path}: found no array {name!r}, expected a crop pack")
    splits = file["split"].asstr()[:]
    rows = np.flatnonzero(splits == split)
    if len(rows) == 0:
        raise NoSplitError(
            f"{path}: no row has split {split!r}, found {', '.join(sorted(set(splits)))}"
        )
    expression = _expression(file, path)[rows]
    au, trust = _action_units(file, path)
    frame = file["frame"][:][rows].astype(np.float32) if "frame" in file else None
    points = file["points"][:][rows].astype(np.float32) if "points" in file else None
    return AffectSet(
        name=path.stem, images=JpegPack(path, list(file["jpeg"][:])),
        indices=rows.astype(np.int64), expression=expression, va=circumplex_va(expression),
        au=au[rows], au_trust=trust, va_is_weak=True, frame_px=frame, keypoints_px=points,
    )  # fmt: skip


def _columns(file: h5py.File, name: str, default: tuple[str, ...]) -> list[str]:
    """A list attribute, stored as an array of strings or as JSON."""
    values = file.attrs.get(name)
    if values is None:
        return list(default)
    if isinstance(values, str):
        values = json.loads(values)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _expression(file: h5py.File, path: Path) -> F32:
    columns = _columns(file, "expression_columns", EXPRESSIONS)
    votes = file["expression_votes"][:].astype(np.float32)
    if set(columns) != set(EXPRESSIONS) or votes.shape[1] != len(columns):
        raise FacerError(
            f"{path}: expression_votes has {votes.shape[1]} columns, named {', '.join(columns)}; "
            f"expected one for each of {', '.join(EXPRESSIONS)}"
        )
    votes = votes[:, [columns.index(name) for name in EXPRESSIONS]]
    total = votes.sum(1)
    usable = (file["expression_label"][:] >= 0) & (total > 0)
    if "source" in file:
        usable &= ~np.isin(file["source"].asstr()[:], _UNRELIABLE_EXPRESSION_SOURCES)
    shares = votes / np.maximum(total, 1)[:, None]
    return np.where(usable[:, None], shares, np.nan).astype(np.float32)


def _action_units(file: h5py.File, path: Path) -> tuple[F32, F32]:
    """Labels (n, 17) and trust (17,), both in facer's order of units."""
    columns = [_unit(name, path) for name in _columns(file, "au_columns", AU_NAMES)]
    values = file["au"][:].astype(np.float32)
    given = np.asarray(file.attrs.get("au_trust", np.ones(len(columns))), np.float32)
    if values.shape[1] != len(columns) or given.shape != (len(columns),):
        raise FacerError(
            f"{path}: au has {values.shape[1]} columns and au_trust {given.size} values, "
            f"the attribute au_columns names {len(columns)}; expected as many of each"
        )
    au = np.full((len(values), len(ACTION_UNITS)), np.nan, np.float32)
    trust = np.zeros(len(ACTION_UNITS), np.float32)
    for position, unit in enumerate(ACTION_UNITS):
        if unit in columns:
            au[:, position] = values[:, columns.index(unit)]
            trust[position] = np.nan_to_num(given[columns.index(unit)])
    return au, trust


def _unit(name: str, path: Path) -> int:
    unit = int(name) if name.isdigit() else unit_of(name)
    if unit is None:
        raise FacerError(f"{path}: found {name!r} in au_columns, expected an action unit's name")
    return unit
