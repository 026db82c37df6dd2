"""Dataclasses to JSON and back; what a stranger's or an older file says is told, not raised."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from facer.storage import LabelOptions
from facer.storage.errors import FacerError
from facer.storage.text.typed_json import from_json, to_json


@dataclass(frozen=True)
class Inner:
    width: Annotated[int, "a note"] = 3
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise FacerError(f"width: found {self.width}, expected 1 or more")


@dataclass(frozen=True)
class Outer:
    path: Path
    inner: Inner
    names: tuple[str, ...] = ()
    mode: Literal["a", "b"] = "a"
    counts: Mapping[str, int] = field(default_factory=dict)
    parts: tuple[Inner, ...] = ()
    limit: int | None = None
    ema_decay: float = field(default=0.9, metadata={"was": "ema"})


def read(**values):
    return from_json(Outer, {"path": "x", "inner": {}} | values, "c.json", "facer train-head")


def test_what_is_written_is_read_again():
    one = Outer(Path("a/b"), Inner(2), ("x",), "b", {"n": 1}, (Inner(), Inner(7)), 4, 0.5)
    assert from_json(Outer, json.loads(json.dumps(to_json(one))), "", "") == one
    run = LabelOptions(id_column="a", missing_values=("-1", "x"), kind="plain")
    assert from_json(LabelOptions, to_json(run), "", "") == run


def test_older_names_later_names_and_whole_numbers():
    found = read(ema=0.5, later="?", inner={"rate": 1, "more": 2})
    assert found.ema_decay == 0.5
    assert found.inner.rate == 1.0
    assert found.limit is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"width": "3"}}, "inner.width: found '3', expected a whole number"),
        ({"inner": {"width": True}}, "inner.width: found 'True', expected a whole number"),
        ({"inner": []}, "inner: found .*, expected an object"),
        ({"path": 3}, "path: found '3', expected"),
        ({"names": "ab"}, "names: found 'ab', expected a list"),
        ({"names": [1]}, "names: found '1', expected text"),
        ({"mode": "c"}, "mode: found 'c', expected a or b"),
        ({"mode": []}, "mode: found .*, expected a or b"),
        ({"counts": {"n": "x"}}, "counts.n: found 'x', expected a whole number"),
        ({"limit": "x"}, "limit: found 'x', expected a whole number"),
        ({"parts": [{"rate": None}]}, "parts.rate: found 'None', expected a number"),
    ],
)
def test_another_type_is_told_in_a_line(values, message):
    with pytest.raises(FacerError, match=rf"^c.json: {message}.*; this is not a config that facer"):
        read(**values)


def test_what_the_dataclass_refuses_names_the_file():
    with pytest.raises(FacerError, match=r"^c.json: width: found 0, expected 1 or more"):
        read(inner={"width": 0})


def test_what_is_absent_is_told():
    with pytest.raises(FacerError, match=r"c.json: inner: found 'None', expected a value"):
        from_json(Outer, {"path": "x"}, "c.json", "facer train-head")
