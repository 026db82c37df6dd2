"""A part's list of records, as it is stored: checked column by column, which takes the time of few.

Opening a store reads them all, so what is done to each counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_args

from facer.storage.schema import Record, Status

STATUSES = get_args(Status)

_WRITTEN = tuple(f.name for f in fields(Record) if f.name not in ("part", "start", "n_frames"))
_REQUIRED = ("clip_id", "status", "n_valid", "start", "stop")
_DEFAULTS = {f.name: f.default for f in fields(Record) if f.default is not MISSING}
_DEFAULTS["fps"] = None  # as JSON has it; NaN in a record
_LIMIT = 2**48  # rows and bytes that a record may speak of
_NUMBERS = ("width_px", "height_px", "source_size", "n_valid", "track_switches")
_KINDS: Mapping[str, frozenset[type]] = {
    **dict.fromkeys(_WRITTEN, frozenset({str})),
    **dict.fromkeys((*_NUMBERS, "source_mtime_ns"), frozenset({int})),
    **dict.fromkeys(("fps", "quality"), frozenset({float, int, type(None)})),
    "seconds": frozenset({float, int}),
}


def record_row(record: Record) -> dict[str, object]:
    """Return a record as it is stored; its part is not in it."""
    row: dict[str, object] = {name: getattr(record, name) for name in _WRITTEN}
    row["fps"] = None if math.isnan(record.fps) else record.fps
    return row | {"start": record.start, "stop": record.stop}


def parse_records(rows: Sequence[Mapping[str, Any]], part_id: str) -> tuple[Record, ...]:
    """Return the records of stored rows.

    Raises ValueError, KeyError, TypeError or AttributeError when one is none.
    """
    columns = {name: [row[name] for row in rows] for name in _REQUIRED}
    for name in _WRITTEN:
        if name not in columns:
            default = _DEFAULTS[name]
            columns[name] = [row.get(name, default) for row in rows]
    _check_values(columns)
    _check_rows(columns)
    columns["fps"] = [math.nan if fps is None else fps for fps in columns["fps"]]
    columns["n_frames"] = list(map(int.__sub__, columns["stop"], columns["start"]))
    columns["part"] = [part_id] * len(rows)
    return tuple(map(Record, *(columns[f.name] for f in fields(Record))))


def check_tiling(records: Sequence[Record]) -> None:
    """Raise ValueError unless the records cover the part's rows one after another."""
    stop = 0
    for record in records:
        if record.start != stop:
            raise ValueError(f"clip {record.clip_id!r} starts at row {record.start}, not {stop}")
        stop += record.n_frames
    if len({record.clip_id for record in records}) != len(records):
        raise ValueError("a clip that is there twice")


def _check_values(columns: Mapping[str, Sequence[Any]]) -> None:
    for name, kinds in _KINDS.items():
        if not kinds.issuperset(map(type, columns[name])):
            odd = next(value for value in columns[name] if type(value) not in kinds)
            raise TypeError(f"{name} {str(odd)[:40]!r}")
    for name in _NUMBERS:
        _check_range(name, columns[name], 0, _LIMIT)
    _check_range("source_mtime_ns", columns["source_mtime_ns"], 1 - 2**63, 2**63)
    for name in ("fps", "seconds", "quality"):  # None is none; JSON has infinities but no NaN
        _check_range(name, [value or 0 for value in columns[name]], -_LIMIT, _LIMIT)


def _check_range(name: str, values: Sequence[float], low: int, high: int) -> None:
    for value in (min(values, default=low), max(values, default=low)):
        if not low <= value < high:
            raise ValueError(f"{name} {str(value)[:40]}")


def _check_rows(columns: Mapping[str, Sequence[Any]]) -> None:
    """Refuse records that contradict themselves."""
    for clip_id, status, n_valid, start, stop in zip(
        *(columns[name] for name in _REQUIRED), strict=True
    ):
        if status not in STATUSES or not clip_id:
            raise ValueError(f"clip {clip_id!r} of status {status!r}")
        if not (type(start) is type(stop) is int and 0 <= start <= stop < _LIMIT):
            raise ValueError(f"rows {str(start)[:40]} to {str(stop)[:40]}")
        most = 0 if status != "ok" else stop - start
        if n_valid > most or (status == "failed" and stop > start):
            raise ValueError(f"{n_valid} valid of {stop - start} rows, status {status}")
