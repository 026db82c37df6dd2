"""One flipped bit anywhere in a store is told, or changes nothing that is read."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facer.storage import FacerError, FeatureStore
from facer.storage.verify import verify_store

FLIPS = 1200


def everything(path: Path) -> tuple[Any, ...]:
    """All that a store says: FacerError or a warning when it is damaged."""
    store = FeatureStore.open(path)
    clips = [
        [
            getattr(value, "tobytes", lambda: None)()
            for value in vars(store.read(r.clip_id)).values()
        ]
        for r in store.records
        if r.status != "failed"
    ]
    return (
        repr(store.root),
        repr(store.records),
        clips,
        store.load(store.clip_ids).features.tobytes(),
    )


def is_told(path: Path, expected: tuple[Any, ...], caplog: pytest.LogCaptureFixture) -> bool:
    """Whether reading refuses, warns or reads what was written; and verify says so."""
    caplog.clear()
    try:
        found = everything(path)
    except FacerError:
        return True
    assert found == expected or caplog.messages, "read something else in silence"
    return bool(caplog.messages)


def verify_tells(path: Path) -> bool:
    try:
        found = verify_store(FeatureStore.open(path), 1)
    except FacerError:
        return True
    return bool(found.group or any(p.state != "whole" or p.relaid for p in found.parts))


@pytest.mark.parametrize("where", ["records", "metadata", "chunks"])
def test_no_flipped_bit_is_silent(
    store: FeatureStore, where: str, caplog: pytest.LogCaptureFixture,
    make_entry: Callable[..., Any],
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    store.write_part([make_entry("e", 6, embedding=3), make_entry("f", 2, embedding=3)])
    path = Path(store.path)
    kinds: dict[str, Callable[[Path], bool]] = {
        "records": lambda file: file.name == "zarr.json" and (file.parent / "valid").exists(),
        "metadata": lambda file: file.name == "zarr.json" and not (file.parent / "valid").exists(),
        "chunks": lambda file: file.name != "zarr.json",
    }
    files = sorted(file for file in path.rglob("*") if file.is_file() and kinds[where](file))
    expected = everything(path)
    generator = random.Random(13)
    told: Counter[bool] = Counter()
    for _ in range(FLIPS // 3):
        file = generator.choice(files)
        before = file.read_bytes()
        flipped = bytearray(before)
        flipped[generator.randrange(len(before))] ^= 1 << generator.randrange(8)
        file.write_bytes(flipped)
        told[is_told(path, expected, caplog)] += 1
        verified = verify_tells(path)
        assert verified or json_means_the_same(before, bytes(flipped)), (file, flipped)
        file.write_bytes(before)
    assert told[True] >= FLIPS // 4  # the rest was read right
    assert everything(path) == expected


def json_means_the_same(before: bytes, after: bytes) -> bool:
    """A flip such as E for e in a number or in an escape, which changes no value."""
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False
