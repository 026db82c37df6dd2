"""A stranger's rows are no records, whatever number stands in them."""

from __future__ import annotations

from typing import Any

import pytest

from facer.storage.layout.records import parse_records, record_row
from facer.storage.schema import Record

RECORD = Record("a", "ok", 5, fps=25.0, n_valid=3, seconds=0.5)


def test_rows_come_back_as_they_were() -> None:
    records = (RECORD, Record("b", "failed", 0, reason="no", start=5))
    found = parse_records([record_row(record) for record in records], "")
    assert found[0] == records[0]
    assert repr(found[1]) == repr(records[1])  # whose fps is nan


def test_what_an_older_facer_left_out_has_its_default() -> None:
    row = {"clip_id": "a", "status": "ok", "n_valid": 0, "start": 0, "stop": 2}
    (found,) = parse_records([row], "p")
    assert (found.reason, found.seconds, found.part, found.n_frames) == ("", 0.0, "p", 2)
    with pytest.raises(KeyError, match="n_valid"):
        parse_records([{name: row[name] for name in row if name != "n_valid"}], "p")


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": 10**400},
        {"fps": float("inf")},
        {"seconds": float("-inf")},
        {"seconds": 10**400},
        {"width_px": 10**400},
        {"source_mtime_ns": -(10**400)},
        {"fps": True},
        {"n_valid": 2.0},
        {"reason": None},
        {"stop": None},
        {"start": -1},
    ],
)
def test_odd_values_are_told(changes: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        parse_records([record_row(RECORD) | changes], "")
