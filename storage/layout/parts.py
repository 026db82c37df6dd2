"""A part: a group of clips whose frames lie one after another in ragged arrays."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import numpy as np

from facer.storage.errors import DamagedError, FacerError, broken
from facer.storage.files.objects import DOCUMENT_BYTES
from facer.storage.layout.arrays import Array, Expected, Seal
from facer.storage.layout.documents import (
    CHECKSUM,
    check_seal,
    parse_group,
    sealed_group_json,
)
from facer.storage.layout.records import STATUSES, check_tiling, parse_records, record_row
from facer.storage.schema import ClipFeatures, Record

PARTS = "parts"
EMBEDDING = "embedding"
QUALITY = "quality"
OPTIONAL = (EMBEDDING, QUALITY)
"""Arrays that a part may lack; they are there for all of its clips or for none."""

Entry = tuple[Record, ClipFeatures | None]

Columns = TypeVar("Columns", bound=int | None)


class ArrayLayout(NamedTuple):
    """How an array of a part is stored, a row a frame."""

    dtype: str
    dimensions: tuple[str, ...]  # their names
    of_frame: tuple[int | None, ...]  # shape of a row; None is the number of columns

    def shape(self, rows: int, columns: Columns) -> tuple[int | Columns, ...]:
        """The array's shape; ``columns`` None leaves their number open."""
        row: list[int | Columns] = [columns if size is None else size for size in self.of_frame]
        return (rows, *row)


LAYOUT: Mapping[str, ArrayLayout] = {
    "features": ArrayLayout("float32", ("frame", "feature"), (None,)),
    "timestamp_s": ArrayLayout("float64", ("frame",), ()),
    "valid": ArrayLayout("bool", ("frame",), ()),
    "det_score": ArrayLayout("float32", ("frame",), ()),
    "bbox_px": ArrayLayout("float32", ("frame", "edge"), (4,)),
    "keypoints_px": ArrayLayout("float32", ("frame", "point", "axis"), (5, 2)),
    "n_faces": ArrayLayout("int16", ("frame",), ()),
    EMBEDDING: ArrayLayout("float16", ("frame", "embedding_unit"), (None,)),
    QUALITY: ArrayLayout("float32", ("frame",), ()),
}
ARRAYS = tuple(name for name in LAYOUT if name not in OPTIONAL)
"""Arrays of every part; those of ``OPTIONAL`` may be there as well."""

_ID = re.compile(r"(\d{8})T(\d{12})Z-([0-9a-f]{8})")
_BESIDE = 1 << 20  # ids right after another that are chosen from
ROOT = "root"
"""Key beside the seal of a part's ``features``: the checksum of its store's root."""
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
        layout = LAYOUT[name]
        shape = layout.shape(self.rows, n_columns if name == "features" else None)
        return Expected(shape, layout.dtype, self.seals.get(name))


def new_part_id(others: Iterable[str] = ()) -> str:
    """Return an id that sorts after those of ``others``, whatever the clock says."""
    digits = f"{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    known = [found[1] + found[2] for found in map(_ID.fullmatch, others) if found]
    if known and (last := max(known)) >= digits:
        digits = f"{int(last) + 1:020d}"
    lower_half = secrets.randbelow(1 << 31)  # room for ids after it, at every compaction
    return f"{digits[:8]}T{digits[8:]}Z-{lower_half:08x}"


def is_part_id(name: str) -> bool:
    """Whether a name is one that facer gives a part."""
    return _ID.fullmatch(name) is not None


def part_id_after(other: str) -> str:
    """Return an id that sorts after ``other``, and before every part that is written later."""
    found = _ID.fullmatch(other)
    room = 0 if found is None else min(_BESIDE, (1 << 32) - 1 - int(found[3], 16))
    if found is None or room == 0:
        raise FacerError(f"part {other}: found no room for another id after it")
    return f"{other[:-8]}{int(found[3], 16) + 1 + secrets.randbelow(room):08x}"


def written_at(part_id: str) -> datetime | None:
    """When a part was written, by its id; None where the id does not tell."""
    found = _ID.fullmatch(part_id)
    try:
        return datetime.strptime(f"{found[1]}{found[2]}Z", "%Y%m%d%H%M%S%f%z") if found else None
    except ValueError:
        return None


def check_entries(entries: Sequence[Entry], n_columns: int, where: str) -> None:
    """Refuse entries that do not fit each other, their records or the layout."""
    if not entries:
        raise FacerError(f"{where}: found a part of no clips, expected at least one")
    seen: set[str] = set()
    optional: tuple[int | None, bool] | None = None
    for record, clip in entries:
        here = f"{where}: clip {record.clip_id!r}"
        if not record.clip_id or record.clip_id in seen:
            raise FacerError(f"{here}: found an empty or repeated clip_id, expected one a clip")
        seen.add(record.clip_id)
        _check_record(record, clip, here)
        if clip is None:
            continue
        width = None if clip.embedding is None else clip.embedding.shape[-1]
        if optional is not None and width != optional[0]:
            raise FacerError(
                f"{here}: embedding: found width {width}, expected {optional[0]} as in the part's "
                f"first clip; give all clips of a part an embedding or none"
            )
        if optional is not None and (clip.quality is not None) != optional[1]:
            raise FacerError(f"{here}: quality: expected it for all clips of a part or for none")
        optional = width, clip.quality is not None
        _check_arrays(clip, n_columns, here)


def _check_record(record: Record, clip: ClipFeatures | None, here: str) -> None:
    if record.status not in STATUSES:
        raise FacerError(f"{here}: found status {record.status!r}, expected one of {STATUSES}")
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
    for name, layout in LAYOUT.items():
        values: Array | None = getattr(clip, name)
        if values is None:
            continue
        columns = n_columns if name == "features" else values.shape[-1]
        expected = layout.shape(clip.n_frames, columns)
        if values.shape != expected or values.dtype != layout.dtype:
            raise FacerError(
                f"{here}: {name}: found shape {values.shape} {values.dtype}, "
                f"expected {expected} {layout.dtype}"
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
    for name, layout in LAYOUT.items():
        if name in OPTIONAL and all(getattr(clip, name) is None for clip in clips):
            continue
        if clips:
            values = np.concatenate([getattr(clip, name) for clip in clips])
        else:
            values = np.empty(layout.shape(0, n_columns), layout.dtype)
        arrays[name] = (values, layout.dimensions)
    return arrays


def part_json(entries: Sequence[Entry], seals: Mapping[str, Seal], root_checksum: str) -> bytes:
    """Return the part's ``zarr.json``, whose ``records`` make the part exist."""
    rows: list[dict[str, object]] = []
    start = 0
    for record, _ in entries:
        rows.append(record_row(replace(record, start=start)))
        start += record.n_frames
    arrays = {name: seal._asdict() for name, seal in seals.items()}
    if root_checksum:
        arrays["features"][ROOT] = root_checksum
    try:
        data = sealed_group_json({"records": rows, "arrays": arrays})
        if len(data) > DOCUMENT_BYTES:
            raise FacerError(
                f"a part of {len(entries)} clips: its records take {len(data)} bytes, expected at "
                f"most {DOCUMENT_BYTES}; write fewer clips a part"
            )
        parse_records(parse_group(data, strict=True)["records"], "")  # as a reader will find them
    except (ValueError, TypeError) as error:
        raise FacerError(
            f"a part of {len(entries)} clips: {error} in a record, which could not be read again"
        ) from error
    return data


def parse_part(
    data: bytes, part_id: str, where: str, version: int, root_checksum: str
) -> Part | None:
    """Return what a part's ``zarr.json`` says; None when it is not committed (version 1 only).

    Raises DamagedError when that is not what was written, does not fit together, or was written
    to a store of another root than that of ``root_checksum``, which "" leaves open.
    """
    try:
        attributes = parse_group(data, strict=version > 1)
        if version == 1 and "records" not in attributes:
            return None
        check_seal(data, attributes, SEALED, required=version > 1)
        records = parse_records(attributes["records"], part_id)
        check_tiling(records)
        seals = {name: _parse_seal(row) for name, row in attributes.get("arrays", {}).items()}
        if CHECKSUM in attributes and not set(ARRAYS) <= set(seals):
            raise ValueError(f"seals of {', '.join(seals)}")
        own = attributes.get("arrays", {}).get("features", {}).get(ROOT, root_checksum)
    except (ValueError, KeyError, TypeError, AttributeError, DamagedError) as error:
        reason = error if isinstance(error, DamagedError) else repr(error)
        text = f"its zarr.json holds no sound list of records ({reason})"
        raise DamagedError(broken(where, f"{PARTS}/{part_id}", text)) from error
    if root_checksum and own != root_checksum:
        text = (
            "it is a part of another store, of other networks, settings or columns: move it back "
            "there if this is its only copy"
        )
        raise DamagedError(broken(where, f"{PARTS}/{part_id}", text))
    return Part(part_id, records, seals)


def _parse_seal(row: Mapping[str, Any]) -> Seal:
    seal = Seal(row["crc32"], row["metadata"])
    if type(seal.crc32) is not int or type(seal.metadata) is not str:
        raise TypeError(f"seal {row}")
    return seal
