"""A part: a group of clips whose frames lie one after another in ragged arrays."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np

from facer.storage.arrays import Array, Expected, Seal
from facer.storage.documents import (
    CHECKSUM,
    check_seal,
    parse_group,
    sealed_group_json,
)
from facer.storage.errors import DamagedError, FacerError, broken
from facer.storage.objects import DOCUMENT_BYTES
from facer.storage.schema import ClipFeatures, Record, Status

PARTS = "parts"
EMBEDDING = "embedding"

Entry = tuple[Record, ClipFeatures | None]

# name: (dtype, dimension names, shape of one frame; None is the number of columns)
LAYOUT: Mapping[str, tuple[str, tuple[str, ...], tuple[int | None, ...]]] = {
    "features": ("float32", ("frame", "feature"), (None,)),
    "timestamp_s": ("float64", ("frame",), ()),
    "valid": ("bool", ("frame",), ()),
    "det_score": ("float32", ("frame",), ()),
    "bbox_px": ("float32", ("frame", "edge"), (4,)),
    "keypoints_px": ("float32", ("frame", "point", "axis"), (5, 2)),
    "n_faces": ("int16", ("frame",), ()),
    EMBEDDING: ("float16", ("frame", "embedding_unit"), (None,)),
}
ARRAYS = tuple(name for name in LAYOUT if name != EMBEDDING)
"""Arrays of every part; ``embedding`` may be there as well."""

_STATUSES = get_args(Status)
_WRITTEN = tuple(f.name for f in fields(Record) if f.name not in ("part", "start", "n_frames"))


_ID = re.compile(r"(\d{8})T(\d{12})Z-[0-9a-f]{8}")
_LIMIT = 2**48  # rows and bytes that a record may speak of
_NUMBERS = ("width_px", "height_px", "source_size", "n_valid", "track_switches")
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(_WRITTEN, (str,)),
    **dict.fromkeys((*_NUMBERS, "source_mtime_ns"), (int,)),
    "fps": (float, int, type(None)),
    "seconds": (float, int),
}
_USUAL = {  # types of a record's values as facer writes them, which need no second look
    tuple(number if name == "fps" else _KINDS[name][0] for name in _WRITTEN)
    for number in (float, type(None))
}
_REQUIRED = ("clip_id", "status", "n_valid")
SEALED = ("records", "arrays")
"""Attributes of a part that its checksum is over."""


@dataclass(frozen=True)
class Part:
    """What a part's ``zarr.json`` says."""

    id: str
    records: tuple[Record, ...]
    seals: Mapping[str, Seal]  # by array; none in a part of version 1

    @property
    def rows(self) -> int:
        """Rows of every array."""
        return self.records[-1].stop if self.records else 0

    def expected(self, name: str, n_columns: int) -> Expected:
        """What one of its arrays must be."""
        dtype, _, frame_shape = LAYOUT[name]
        columns = n_columns if name == "features" else None
        shape = (self.rows, *(columns if size is None else size for size in frame_shape))
        return Expected(shape, dtype, self.seals.get(name))


def new_part_id(others: Iterable[str] = ()) -> str:
    """Return an id that sorts after those of ``others``, whatever the clock says."""
    digits = f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    known = ["".join(found.groups()) for found in map(_ID.fullmatch, others) if found]
    if known and (last := max(known)) >= digits:
        digits = f"{int(last) + 1:020d}"
    return f"{digits[:8]}T{digits[8:]}Z-{secrets.token_hex(4)}"


def check_entries(entries: Sequence[Entry], n_columns: int, where: str) -> None:
    """Refuse entries that do not fit each other, their records or the layout."""
    if not entries:
        raise FacerError(f"{where}: found a part of no clips, expected at least one")
    seen: set[str] = set()
    embedding: int | None = None
    first = True
    for record, clip in entries:
        here = f"{where}: clip {record.clip_id!r}"
        if not record.clip_id or record.clip_id in seen:
            raise FacerError(f"{here}: found an empty or repeated clip_id, expected one a clip")
        seen.add(record.clip_id)
        _check_record(record, clip, here)
        if clip is None:
            continue
        width = None if clip.embedding is None else clip.embedding.shape[-1]
        if not first and width != embedding:
            raise FacerError(
                f"{here}: embedding: found width {width}, expected {embedding} as in the part's "
                f"first clip; give all clips of a part an embedding or none"
            )
        first, embedding = False, width
        _check_arrays(clip, n_columns, here)


def _check_record(record: Record, clip: ClipFeatures | None, here: str) -> None:
    if record.status not in _STATUSES:
        raise FacerError(f"{here}: found status {record.status!r}, expected one of {_STATUSES}")
    if (clip is None) != (record.status == "failed"):
        have = "no features" if clip is None else "features"
        raise FacerError(
            f"{here}: found status {record.status} with {have}; "
            f"expected features unless the clip failed"
        )
    frames = 0 if clip is None else clip.n_frames
    valid = 0 if clip is None else int(np.count_nonzero(clip.valid))
    for name, found, expected in (
        ("n_frames", record.n_frames, frames),
        ("n_valid", record.n_valid, valid),
    ):
        if found != expected:
            raise FacerError(
                f"{here}: {name}: found {found} in the record, {expected} in the arrays"
            )


def _check_arrays(clip: ClipFeatures, n_columns: int, here: str) -> None:
    for name, (dtype, _, frame_shape) in LAYOUT.items():
        values: Array | None = getattr(clip, name)
        if values is None:
            continue
        width = n_columns if name == "features" else values.shape[-1]
        expected = (clip.n_frames, *(width if n is None else n for n in frame_shape))
        if values.shape != expected or values.dtype != dtype:
            raise FacerError(
                f"{here}: {name}: found shape {values.shape} {values.dtype}, "
                f"expected {expected} {dtype}"
            )
    if not np.isnan(clip.features[~clip.valid]).all():
        raise FacerError(
            f"{here}: features: found numbers in frames that are not valid, expected NaN"
        )


def concatenate(
    entries: Sequence[Entry], n_columns: int
) -> dict[str, tuple[Array, tuple[str, ...]]]:
    """Return each array of the part with its dimension names, clips one after another."""
    clips = [clip for _, clip in entries if clip is not None]
    arrays: dict[str, tuple[Array, tuple[str, ...]]] = {}
    for name, (dtype, dimensions, frame_shape) in LAYOUT.items():
        if name == EMBEDDING and not any(clip.embedding is not None for clip in clips):
            continue
        if clips:
            values = np.concatenate([getattr(clip, name) for clip in clips])
        else:
            values = np.empty((0, *(n_columns if n is None else n for n in frame_shape)), dtype)
        arrays[name] = (values, dimensions)
    return arrays


def part_json(entries: Sequence[Entry], seals: Mapping[str, Seal]) -> bytes:
    """Return the part's ``zarr.json``, whose ``records`` make the part exist."""
    rows: list[dict[str, object]] = []
    start = 0
    for record, _ in entries:
        rows.append(record_row(replace(record, start=start)))
        start += record.n_frames
    arrays = {name: seal._asdict() for name, seal in seals.items()}
    data = sealed_group_json({"records": rows, "arrays": arrays})
    if len(data) > DOCUMENT_BYTES:
        raise FacerError(
            f"a part of {len(entries)} clips: its records take {len(data)} bytes, expected at most "
            f"{DOCUMENT_BYTES}; write fewer clips a part"
        )
    return data


def record_row(record: Record) -> dict[str, object]:
    """Return a record as it is stored; its part is not in it."""
    row: dict[str, object] = {name: getattr(record, name) for name in _WRITTEN}
    row["fps"] = None if math.isnan(record.fps) else record.fps
    return row | {"start": record.start, "stop": record.stop}


def parse_part(data: bytes, part_id: str, where: str, version: int) -> Part | None:
    """Return what a part's ``zarr.json`` says; None when it is not committed (version 1 only).

    Raises DamagedError when that is not what was written, or does not fit together.
    """
    try:
        attributes = parse_group(data, strict=version > 1)
        if version == 1 and "records" not in attributes:
            return None
        check_seal(attributes, SEALED, required=version > 1)
        records = tuple(parse_record(row, part_id) for row in attributes["records"])
        _check_tiling(records)
        seals = {name: _parse_seal(row) for name, row in attributes.get("arrays", {}).items()}
        if CHECKSUM in attributes and not set(ARRAYS) <= set(seals):
            raise ValueError(f"seals of {', '.join(seals)}")
    except (ValueError, KeyError, TypeError, AttributeError, DamagedError) as error:
        reason = error if isinstance(error, DamagedError) else repr(error)
        text = f"its zarr.json holds no sound list of records ({reason})"
        raise DamagedError(broken(where, f"{PARTS}/{part_id}", text)) from error
    return Part(part_id, records, seals)


def _parse_seal(row: Mapping[str, Any]) -> Seal:
    seal = Seal(row["crc32"], row["metadata"])
    if type(seal.crc32) is not int or type(seal.metadata) is not str:
        raise TypeError(f"seal {row}")
    return seal


def _check_tiling(records: Sequence[Record]) -> None:
    """Raise ValueError unless the records cover the part's rows one after another."""
    stop = 0
    for record in records:
        if record.start != stop:
            raise ValueError(f"clip {record.clip_id!r} starts at row {record.start}, not {stop}")
        stop = record.stop
    if len({record.clip_id for record in records}) != len(records):
        raise ValueError("a clip that is there twice")


def parse_record(row: Mapping[str, Any], part_id: str) -> Record:
    """Return the record of a stored row; ValueError, KeyError or TypeError when it is none."""
    values = {name: row[name] for name in _WRITTEN if name in row or name in _REQUIRED}
    if tuple(map(type, values.values())) not in _USUAL:
        for name, value in values.items():
            if type(value) not in _KINDS[name]:
                raise TypeError(f"{name} {str(value)[:40]!r}")
    for name in _NUMBERS:
        if not 0 <= values.get(name, 0) < _LIMIT:
            raise ValueError(f"{name} {str(values[name])[:40]}")
    if values["status"] not in _STATUSES or not values["clip_id"]:
        raise ValueError(f"clip {values['clip_id']!r} of status {values['status']!r}")
    if values.get("fps", 0) is None:
        values["fps"] = math.nan
    elif not all(math.isfinite(values.get(name, 0)) for name in ("fps", "seconds")):
        raise ValueError(f"fps {values.get('fps')}, seconds {values.get('seconds')}")
    if abs(values.get("source_mtime_ns", 0)) >= 2**63:
        raise ValueError("source_mtime_ns out of range")
    start, stop, n_valid = row["start"], row["stop"], values["n_valid"]
    if not (type(start) is type(stop) is int and 0 <= start <= stop < _LIMIT):
        raise ValueError(f"rows {str(start)[:40]} to {str(stop)[:40]}")
    most = 0 if values["status"] != "ok" else stop - start
    if n_valid > most or (values["status"] == "failed" and stop > start):
        raise ValueError(f"{n_valid} valid of {stop - start} rows, status {values['status']}")
    return Record(n_frames=stop - start, part=part_id, start=start, **values)
