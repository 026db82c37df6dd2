"""Crop packs: HDF5 files with JPEG crops and label arrays, NaN for unlabelled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from facer.stages.affect.datasets.image_files import decode_crop
from facer.stages.affect.datasets.label_files import unit_of
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError, circumplex_va
from facer.storage.errors import FacerError
from facer.storage.exchange.hdf5_guard import (
    read_dataset,
    refuse_links_out,
    refuse_values_elsewhere,
)
from facer.storage.schema import ACTION_UNITS, AU_NAMES, EXPRESSIONS, F32, I64, U8

Texts = npt.NDArray[np.object_]

_UNRELIABLE_EXPRESSION_SOURCES = ("muxspace-film",)  # colour predicts the class there
_BLOCK_ROWS = 1024  # of JPEGs read at a time


@dataclass
class JpegPack:
    """Crops of one split of a pack, decoded when asked for; their JPEG bytes stay in memory."""

    path: Path
    n_rows: int  # of the pack
    jpegs: Mapping[int, Any] = field(repr=False)  # uint8 arrays by their row in the pack

    def crop(self, index: int) -> U8:
        """RGB uint8 (112, 112, 3)."""
        return decode_crop(self.jpegs[index], f"{self.path}: image {index}")


def read_pack(path: str | Path, split: str) -> AffectSet:
    """One split (``train`` or ``val``) of a crop pack, columns taken by name.

    Expressions are vote shares among the seven; a row without a majority is unlabelled. Packs
    carry no valence-arousal, so it is derived from the votes (:func:`circumplex_va`) and
    marked weak. ``FacerError`` for a file of another kind, and one that leads out of itself.
    """
    path = Path(path)
    if not path.is_file():
        raise FacerError(f"{path}: no such file, expected a crop pack (HDF5)")
    try:
        with h5py.File(path, "r") as file:
            refuse_links_out(path, file)
            return _read(file, path, split)
    except OSError as error:
        raise FacerError(f"{path}: not an HDF5 file ({error}); expected a crop pack") from error


def _read(file: h5py.File, path: Path, split: str) -> AffectSet:
    for name in ("jpeg", "split", "expression_votes", "expression_label", "au"):
        if name not in file:
            raise FacerError(f"{path}: found no array {name!r}, expected a crop pack")
    splits = read_texts(path, file["split"])
    rows = np.flatnonzero(splits == split)
    if len(rows) == 0:
        raise NoSplitError(
            f"{path}: no row has split {split!r}, found {', '.join(sorted(set(splits)))}"
        )
    expression = _expression(file, path)[rows]
    au, trust = _action_units(file, path)
    frame, points = (
        read_dataset(path, file[name])[rows].astype(np.float32) if name in file else None
        for name in ("frame", "points")
    )
    jpegs = dict(zip(rows.tolist(), read_jpegs(path, file["jpeg"], rows), strict=True))
    return AffectSet(
        name=path.stem, images=JpegPack(path, len(splits), jpegs),
        indices=rows.astype(np.int64), expression=expression, va=circumplex_va(expression),
        au=au[rows], au_trust=trust, va_is_weak=True, frame_px=frame, keypoints_px=points,
    )  # fmt: skip


def read_texts(path: Path, dataset: Any) -> Texts:
    """All of a column of texts, (n,); ``FacerError`` where they are in other files."""
    refuse_values_elsewhere(path, dataset)
    return np.asarray(dataset.asstr()[:], object)


def read_jpegs(path: Path, dataset: Any, rows: I64) -> list[U8]:
    """Some rows, in rising order, of a pack's crops; no others stay in memory."""
    refuse_values_elsewhere(path, dataset)
    found: list[U8] = []
    for start in range(0, len(dataset), _BLOCK_ROWS):
        inside = rows[(rows >= start) & (rows < start + _BLOCK_ROWS)] - start
        if len(inside):
            found.extend(dataset[start : start + _BLOCK_ROWS][inside])
    return found


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
    votes = read_dataset(path, file["expression_votes"]).astype(np.float32)
    if set(columns) != set(EXPRESSIONS) or votes.shape[1] != len(columns):
        raise FacerError(
            f"{path}: expression_votes has {votes.shape[1]} columns, named {', '.join(columns)}; "
            f"expected one for each of {', '.join(EXPRESSIONS)}"
        )
    votes = votes[:, [columns.index(name) for name in EXPRESSIONS]]
    total = votes.sum(1)
    usable = (read_dataset(path, file["expression_label"]) >= 0) & (total > 0)
    if "source" in file:
        usable &= ~np.isin(read_texts(path, file["source"]), _UNRELIABLE_EXPRESSION_SOURCES)
    shares = votes / np.maximum(total, 1)[:, None]
    return np.where(usable[:, None], shares, np.nan).astype(np.float32)


def _action_units(file: h5py.File, path: Path) -> tuple[F32, F32]:
    """Labels (n, 17) and trust (17,), both in facer's order of units."""
    columns = [_unit(name, path) for name in _columns(file, "au_columns", AU_NAMES)]
    values = read_dataset(path, file["au"]).astype(np.float32)
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
