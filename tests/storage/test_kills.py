"""A writer that is killed at any moment of a part loses that part at most."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from facer.storage import FeatureStore
from facer.storage.verify import verify_store

SCRIPT = Path(__file__).with_name("killed_writer.py")


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import importlib

    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("killed_writer")


def test_a_kill_at_every_call_inside_write_part(
    tmp_path: Path, writer: Any, same_clip: Callable[..., None]
) -> None:
    """SIGKILL before each open, mkdir, fsync, rename ...; the same write again makes it whole."""
    found = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, check=True, text=True
    )
    n_calls = int(found.stdout)
    assert n_calls > 60
    stores = sorted(tmp_path.iterdir())
    assert len(stores) == n_calls + 1  # and one that nothing disturbed
    there = []
    for path in stores:
        store = FeatureStore.open(path)
        there.append(len(store.clip_ids))
        assert not store.damaged
        for record in store.records:
            same_clip(store.read(record.clip_id), dict_of(writer)[record.clip_id])
        report = verify_store(store, 1)
        assert all(part.state == "whole" for part in report.parts)
        if not store.clip_ids:
            store.write_part(writer.entries())
        again = FeatureStore.open(path)
        for clip_id, clip in dict_of(writer).items():
            same_clip(again.read(clip_id), clip)
    assert set(there) == {0, 2}  # all of the part, or nothing
    assert there == sorted(there)


def dict_of(writer: Any) -> dict[str, Any]:
    return {record.clip_id: clip for record, clip in writer.entries()}
