"""A part: a group of clips whose frames lie one after another in ragged arrays."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np

from facer.storage.arrays import Array
from facer.storage.errors import FacerError
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


def new_part_id() -> str:
    """Return an id that sorts after the ids of parts written earlier."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"


def group_json(attributes: Mapping[str, object]) -> bytes:
    """Return the ``zarr.json`` of a Zarr v3 group."""
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(group, separators=(",", ":"), allow_nan=False).encode()


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


def records_json(entries: Sequence[Entry]) -> bytes:
    """Return the part's ``zarr.json``, whose ``records`` make the part exist."""
    rows: list[dict[str, object]] = []
    start = 0
    for record, _ in entries:
        rows.append(record_row(replace(record, start=start)))
        start += record.n_frames
    return group_json({"records": rows})


def record_row(record: Record) -> dict[str, object]:
    """Return a record as it is stored; its part is not in it."""
    row: dict[str, object] = {name: getattr(record, name) for name in _WRITTEN}
    row["fps"] = None if math.isnan(record.fps) else record.fps
    return row | {"start": record.start, "stop": record.stop}


def parse_records(data: bytes, part_id: str, where: str) -> tuple[Record, ...] | None:
    """Return the records of a part's ``zarr.json``; None when it holds none (not committed)."""
    try:
        rows = json.loads(data)["attributes"].get("records")
        return None if rows is None else tuple(parse_record(row, part_id) for row in rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FacerError(
            f"{where}/{PARTS}/{part_id}: broken part: its zarr.json holds no list of records "
            f"({error!r}); delete this folder and run the same extraction again"
        ) from error


def parse_record(row: Mapping[str, Any], part_id: str) -> Record:
    """Return the record of a stored row; ValueError, KeyError or TypeError when it is none."""
    values = {name: row[name] for name in _WRITTEN if name in row}
    if values["status"] not in _STATUSES:
        raise ValueError(f"status {values['status']!r}")
    if values.get("fps", 0) is None:
        values["fps"] = float("nan")
    start, stop = int(row["start"]), int(row["stop"])
    if not 0 <= start <= stop:
        raise ValueError(f"rows {start} to {stop}")
    return Record(n_frames=stop - start, part=part_id, start=start, **values)
