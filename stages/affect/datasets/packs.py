"""Crop packs: HDF5 files with JPEG crops and label arrays, NaN for unlabelled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

    def name(self, index: int) -> str:
        """The row of the pack, counted from 0."""
        return str(index)


Shape = tuple[int | None, ...]
"""Of a row of a column; None for any length."""
_COLUMNS: dict[str, Shape] = {
    "jpeg": (), "split": (), "expression_votes": (None,), "expression_label": (), "au": (None,),
}  # fmt: skip
_MORE: dict[str, Shape] = {"frame": (4, 2), "points": (5, 2), "source": ()}


@contextmanager
def open_pack(
    path: Path, columns: Mapping[str, Shape], what: str = "a crop pack",
    more: Mapping[str, Shape] | None = None,
) -> Iterator[h5py.File]:  # fmt: skip
    """Open an HDF5 file that has ``columns``, and perhaps ``more``, all of them of as many rows.

    ``FacerError`` for ``what`` is not there or of another kind, and for what leads out of itself.
    """
    if not path.is_file():
        raise FacerError(f"{path}: no such file, expected {what} (HDF5)")
    try:
        with h5py.File(path, "r") as file:
            refuse_links_out(path, file)
            _check_columns(file, path, columns, what, more or {})
            yield file
    except OSError as error:
        raise FacerError(f"{path}: not an HDF5 file ({error}); expected {what}") from error


def _check_columns(
    file: h5py.File, path: Path, columns: Mapping[str, Shape], what: str, more: Mapping[str, Shape]
) -> None:
    n_rows: dict[int, str] = {}
    for name, shape in {**more, **columns}.items():
        if name not in file:
            if name in columns:
                raise FacerError(f"{path}: found no array {name!r}, expected {what}")
            continue
        where = refuse_values_elsewhere(path, file[name])
        found = file[name].shape
        fits = len(found) == 1 + len(shape) and all(
            wanted in (None, size) for wanted, size in zip(shape, found[1:], strict=True)
        )
        if not fits:
            wanted = ", ".join(["rows", *("columns" if n is None else str(n) for n in shape)])
            raise FacerError(f"{where}: found shape {found}, expected ({wanted})")
        n_rows.setdefault(found[0], name)
    if len(n_rows) > 1:
        (a, one), (b, other), *_ = n_rows.items()
        raise FacerError(f"{path}: found {a} rows of {one!r} and {b} of {other!r}, expected as "
                         "many of each")  # fmt: skip


def read_pack(path: str | Path, split: str) -> AffectSet:
    """One split (``train`` or ``val``) of a crop pack, columns taken by name.

    Expressions are vote shares among the seven; a row without a majority is unlabelled. Packs
    carry no valence-arousal, so it is derived from the votes (:func:`circumplex_va`) and
    marked weak. ``FacerError`` for a file of another kind, one that leads out of itself, and
    labels out of their range.
    """
    path = Path(path)
    with open_pack(path, _COLUMNS, more=_MORE) as file:
        return _read(file, path, split)


def _read(file: h5py.File, path: Path, split: str) -> AffectSet:
    splits = read_texts(path, file["split"])
    rows = np.flatnonzero(splits == split)
    if len(rows) == 0:
        raise NoSplitError(
            f"{path}: no row has split {split!r}, found {', '.join(sorted(set(splits))[:9])}"
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
    """All of a column of texts, (n,); ``FacerError`` where they are in other files, or none."""
    where = refuse_values_elsewhere(path, dataset)
    if h5py.check_string_dtype(dataset.dtype) is None:
        raise FacerError(f"{where}: found values of type {dataset.dtype}, expected texts")
    try:
        return np.asarray(dataset.asstr("utf-8")[:], object)
    except UnicodeDecodeError as error:
        raise FacerError(f"{where}: found texts that are not UTF-8 ({error})") from error


def read_jpegs(path: Path, dataset: Any, rows: I64) -> list[U8]:
    """Some rows, in rising order, of a pack's crops; no others stay in memory."""
    where = refuse_values_elsewhere(path, dataset)
    if h5py.check_vlen_dtype(dataset.dtype) != np.uint8:
        raise FacerError(
            f"{where}: found values of type {dataset.dtype}, expected encoded images, uint8 of "
            "variable length"
        )
    found: list[U8] = []
    for start in range(0, len(dataset), _BLOCK_ROWS):
        inside = rows[(rows >= start) & (rows < start + _BLOCK_ROWS)] - start
        if len(inside):
            found.extend(dataset[start : start + _BLOCK_ROWS][inside])
    return found


def _columns(file: h5py.File, path: Path, name: str, default: tuple[str, ...]) -> list[str]:
    """A list attribute, stored as an array of strings or as JSON; no name is there twice."""
    values = file.attrs.get(name, default)
    try:
        values = json.loads(values) if isinstance(values, str) else values
        found = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    except (TypeError, ValueError):
        found = []
    if not found or len(set(found)) < len(found):
        raise FacerError(
            f"{path}: attribute {name}: found {str(values)[:80]!r}, expected a list of names, each "
            "once"
        )
    return found


def _expression(file: h5py.File, path: Path) -> F32:
    columns = _columns(file, path, "expression_columns", EXPRESSIONS)
    votes = read_dataset(path, file["expression_votes"]).astype(np.float32)
    if set(columns) != set(EXPRESSIONS) or votes.shape[1] != len(columns):
        raise FacerError(
            f"{path}: expression_votes has {votes.shape[1]} columns, named {', '.join(columns)}; "
            f"expected one for each of {', '.join(EXPRESSIONS)}"
        )
    label = read_dataset(path, file["expression_label"])
    _check(path, "expression_votes", votes, (votes >= 0) & np.isfinite(votes), "0 or more")
    _check(path, "expression_label", label, np.isin(label, range(-1, len(columns))), "-1 to 6")
    most = votes[np.arange(len(votes)), np.maximum(label, 0).astype(np.int64)]
    told = (label < 0) | ((most == votes.max(1)) & (most > 0))
    _check(path, "expression_label", label, told, "a class with the most expression_votes, or -1")
    votes = votes[:, [columns.index(name) for name in EXPRESSIONS]]
    total = votes.sum(1)
    usable = (label >= 0) & (total > 0)
    if "source" in file:
        usable &= ~np.isin(read_texts(path, file["source"]), _UNRELIABLE_EXPRESSION_SOURCES)
    shares = votes / np.where(total > 0, total, 1)[:, None]
    return np.where(usable[:, None], shares, np.nan).astype(np.float32)


def _action_units(file: h5py.File, path: Path) -> tuple[F32, F32]:
    """Labels (n, 17) and trust (17,), both in facer's order of units."""
    columns = [_unit(name, path) for name in _columns(file, path, "au_columns", AU_NAMES)]
    values = read_dataset(path, file["au"]).astype(np.float32)
    given = _trust(file, path, len(columns))
    if values.shape[1] != len(columns) or len(set(columns)) < len(columns):
        raise FacerError(
            f"{path}: au has {values.shape[1]} columns, the attribute au_columns names "
            f"{', '.join(map(str, columns))}; expected as many, each unit once"
        )
    unknown = np.isnan(values)
    _check(path, "au", values, unknown | ((values >= 0) & (values <= 1)), "0 to 1, NaN for unknown")
    au = np.full((len(values), len(ACTION_UNITS)), np.nan, np.float32)
    trust = np.zeros(len(ACTION_UNITS), np.float32)
    for position, unit in enumerate(ACTION_UNITS):
        if unit in columns:
            au[:, position] = values[:, columns.index(unit)]
            trust[position] = given[columns.index(unit)]
    return au, trust


def _trust(file: h5py.File, path: Path, n: int) -> F32:
    """The attribute au_trust (n,), 0 for NaN."""
    given = file.attrs.get("au_trust", np.ones(n))
    try:
        trust = np.nan_to_num(np.asarray(given, np.float32))
    except (TypeError, ValueError):
        trust = np.zeros(0, np.float32)
    if trust.shape != (n,) or not ((trust >= 0) & (trust <= 1)).all():
        raise FacerError(
            f"{path}: attribute au_trust: found {str(given)[:80]!r}, expected a weight from 0 to 1 "
            f"for each of the {n} units of au_columns"
        )
    return trust


def _check(path: Path, name: str, values: Any, good: Any, expected: str) -> None:
    """``FacerError`` naming the first row with a value that is not good."""
    bad = np.argwhere(~good)
    if len(bad):
        raise FacerError(
            f"{path}: {name!r}, row {bad[0, 0]}: found {values[tuple(bad[0])]:g}, expected "
            f"{expected}"
        )


def _unit(name: str, path: Path) -> int:
    unit = int(name) if name.isdigit() else unit_of(name)
    if unit is None:
        raise FacerError(f"{path}: found {name!r} in au_columns, expected an action unit's name")
    return unit
