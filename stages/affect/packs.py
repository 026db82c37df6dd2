"""Crop packs: HDF5 files with JPEG crops and label arrays, NaN for unlabelled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from facer.stages.affect.samples import AffectSet, circumplex_va
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
        image = cv2.imdecode(np.frombuffer(self.jpegs[index], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise FacerError(f"{self.path}: image {index} is not a JPEG; expected one per row")
        return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


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
        raise FacerError(
            f"{path}: no row has split {split!r}, found {', '.join(sorted(set(splits)))}"
        )
    expression = _expression(file)[rows]
    trust = np.nan_to_num(np.asarray(file.attrs.get("au_trust", np.ones(17)), np.float32))
    frame = file["frame"][:][rows].astype(np.float32) if "frame" in file else None
    return AffectSet(
        name=path.stem,
        images=JpegPack(path, list(file["jpeg"][:])),
        indices=rows.astype(np.int64),
        expression=expression,
        va=circumplex_va(expression),
        au=_action_units(file, path)[rows],
        au_trust=trust,
        va_is_weak=True,
        frame_px=frame,
    )


def _columns(file: h5py.File, name: str, default: tuple[str, ...]) -> list[str]:
    """A list attribute, stored as an array of strings or as JSON."""
    values = file.attrs.get(name)
    if values is None:
        return list(default)
    if isinstance(values, str):
        values = json.loads(values)
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _expression(file: h5py.File) -> F32:
    columns = _columns(file, "expression_columns", EXPRESSIONS)
    votes = file["expression_votes"][:].astype(np.float32)
    votes = votes[:, [columns.index(name) for name in EXPRESSIONS]]
    total = votes.sum(1)
    usable = (file["expression_label"][:] >= 0) & (total > 0)
    if "source" in file:
        usable &= ~np.isin(file["source"].asstr()[:], _UNRELIABLE_EXPRESSION_SOURCES)
    shares = votes / np.maximum(total, 1)[:, None]
    return np.where(usable[:, None], shares, np.nan).astype(np.float32)


def _action_units(file: h5py.File, path: Path) -> F32:
    columns = [_unit(name) for name in _columns(file, "au_columns", AU_NAMES)]
    values = file["au"][:].astype(np.float32)
    if values.shape[1] != len(columns):
        raise FacerError(
            f"{path}: au has {values.shape[1]} columns, "
            f"its attribute au_columns names {len(columns)}"
        )
    result = np.full((len(values), len(ACTION_UNITS)), np.nan, np.float32)
    for position, unit in enumerate(ACTION_UNITS):
        if unit in columns:
            result[:, position] = values[:, columns.index(unit)]
    return result


def _unit(name: str) -> int:
    return int("".join(c for c in name if c.isdigit()))
