"""What does not fit is refused at the moment of writing, with both numbers."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.core import sync

from facer.storage import FacerError, FeatureStore, Record
from facer.storage.files.objects import LocalObjects
from facer.storage.layout.parts import new_part_id, part_id_after

Make = Callable[..., Any]


def refuse(store: FeatureStore, entries: list[Any], message: str) -> None:
    before = sorted(Path(store.path).rglob("*"))
    with pytest.raises(FacerError, match=message) as refused:
        store.write_part(entries)
    assert "\n" not in str(refused.value)
    assert sorted(Path(store.path).rglob("*")) == before


@pytest.mark.parametrize(
    ("array", "values", "message"),
    [
        (
            "features",
            np.zeros((5, 25), "f4"),
            r"features: found shape \(5, 25\) float32, expected \(5, 26\)",
        ),
        ("features", np.zeros((5, 26)), r"float64, expected \(5, 26\) float32"),
        ("valid", np.ones(6, np.bool_), r"n_valid: found \d in the record, 6 in the arrays"),
        ("det_score", np.zeros(4, "f4"), r"det_score: found shape \(4,\) float32, expected \(5,\)"),
        ("bbox_px", np.zeros((5, 5), "f4"), r"bbox_px: found shape \(5, 5\)"),
        ("keypoints_px", np.zeros((5, 10), "f4"), r"expected \(5, 5, 2\) float32"),
        ("n_faces", np.zeros(5, "i8"), r"n_faces: found shape \(5,\) int64, expected \(5,\) int16"),
        (
            "embedding",
            np.zeros((4, 8), "f2"),
            r"embedding: found shape \(4, 8\) float16, expected \(5, 8\)",
        ),
        ("features", np.zeros((5, 26), "f4"), "found numbers in frames that are not valid"),
    ],
)
def test_arrays_that_do_not_fit(
    store: FeatureStore, make_entry: Make, array: str, values: Any, message: str
) -> None:
    record, clip = make_entry("bad", seed=2)
    refuse(store, [(record, replace(clip, **{array: values}))], f"clip 'bad': .*{message}")


def test_a_thread_that_zarr_is_refused_is_asked_for_again(
    store: FeatureStore, make_entry: Make
) -> None:
    """Seen: zarr waited for the thread of the first try, for ever."""
    entry, before = make_entry("a"), threading.stack_size()
    sync.cleanup_resources()
    threading.stack_size(1 << 46)
    try:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                store.write_part([entry])
    finally:
        threading.stack_size(before)
    store.write_part([entry])
    assert "a" in store


def test_records_that_do_not_fit(store: FeatureStore, make_entry: Make) -> None:
    record, clip = make_entry("bad")
    refuse(store, [(replace(record, n_frames=4), clip)], "n_frames: found 4 in the record, 5 in")
    refuse(store, [(replace(record, n_valid=0), clip)], "n_valid: found 0 in the record, [1-5] in")
    refuse(store, [(replace(record, status="fine"), clip)], "found status 'fine', expected one of")
    refuse(store, [(record, None)], "found status ok with no features")
    refuse(store, [(replace(record, status="failed"), clip)], "found status failed with features")
    refuse(store, [(Record("x", "failed", 3), None)], "n_frames: found 3 in the record, 0 in")
    refuse(store, [(replace(record, source_mtime_ns=2**63), clip)], "mtime_ns 92.*not be read")


def test_clips_that_do_not_fit_each_other(store: FeatureStore, make_entry: Make) -> None:
    refuse(store, [], "found a part of no clips")
    refuse(store, [make_entry("x"), make_entry("x")], "clip 'x': found an empty or repeated")
    refuse(store, [make_entry("")], "empty or repeated")
    mixed = [make_entry("x", embedding=4), make_entry("y")]
    refuse(store, mixed, "clip 'y': embedding: found width None, expected 4")
    refuse(store, mixed[::-1], "clip 'x': embedding: found width 4, expected None")
    some = [make_entry("x", quality=True), make_entry("y")]
    refuse(store, some, "clip 'y': quality: expected it for all clips of a part or for none")


def test_a_part_of_failures_only(store: FeatureStore) -> None:
    store.write_part([(Record("x", "failed", 0, reason="r"), None)])
    assert FeatureStore.open(store.path).record("x").reason == "r"


def test_part_ids_increase_whatever_the_clock_does(
    store: FeatureStore, make_entry: Make, same_clip: Make
) -> None:
    """A clock that jumps back: what is written last still counts."""
    last = "29991231T235959999999Z-ffffffff"
    (first,) = (part for part in store.parts if store.record("c").part == part)
    (Path(store.path) / "parts" / first).rename(Path(store.path) / "parts" / last)
    store = FeatureStore.open(store.path)
    entries = [make_entry("c", frames) for frames in (2, 3)]
    ids = [store.write_part([entry]) for entry in entries]
    assert [last, *ids] == sorted([last, *ids])
    for found in (store, FeatureStore.open(store.path)):
        same_clip(found.read("c"), entries[1][1])
    assert new_part_id(["zz", "notes", ids[0]]) > ids[0]


def test_part_ids_sort_by_time() -> None:
    ids = [new_part_id() for _ in range(100)]
    assert sorted({i.split("-")[0] for i in ids}) == list(
        dict.fromkeys(i.split("-")[0] for i in ids)
    )
    assert len(set(ids)) == 100


def test_there_is_room_for_ids_after_every_id_that_is_drawn() -> None:
    time = "20261128T000000000000Z"
    assert all(int(new_part_id()[-8:], 16) < 1 << 31 for _ in range(50))
    for part in (f"{time}-7fffffff", f"{time}-fff5e3d4"):  # the second of an earlier version
        assert part < part_id_after(part) < "20261128T000000000001Z"
    with pytest.raises(FacerError, match="found no room"):
        part_id_after(f"{time}-ffffffff")


@pytest.mark.parametrize("writes", [0, 1, 5, 14, 20, 33])  # 14 objects, their folders, records
@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "No space left on device; free some space"), (errno.EACCES, "Permission")],
)
def test_a_disk_that_refuses_leaves_the_store_as_it_was(
    store: FeatureStore,
    make_entry: Make,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    code: int,
    message: str,
) -> None:
    before = sorted(Path(store.path).rglob("*"))
    done: list[int] = []

    def fsync(file: int) -> None:
        if len(done) == writes:
            raise OSError(code, os.strerror(code))
        done.append(file)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FacerError, match=message) as refused:
        store.write_part([make_entry("d")])
    assert store.path in str(refused.value)
    assert ("features" in str(refused.value)) == (writes < 2)
    assert sorted(Path(store.path).rglob("*")) == before
    monkeypatch.setattr(os, "fsync", done.append)
    store.write_part([make_entry("d")])
    assert "d" in FeatureStore.open(store.path).clip_ids


def test_an_interrupt_leaves_no_part(
    store: FeatureStore, make_entry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(Path(store.path).rglob("*"))

    def fsync(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        store.write_part([make_entry("d")])
    assert [p for p in sorted(Path(store.path).rglob("*")) if p not in before] == []


def test_readers_never_see_half_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = LocalObjects(tmp_path)
    objects.put("a/zarr.json", b"old")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(objects.get("a/zarr.json")))
    objects.put("a/zarr.json", b"new")
    assert seen == [b"old", b"new"]  # the file, then its folder
    assert objects.get("a/zarr.json") == b"new"
    assert objects.children("a") == ["zarr.json"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(store: FeatureStore, make_entry: Make) -> None:
    parts = Path(store.path) / "parts"
    parts.chmod(0o500)
    try:
        with pytest.raises(FacerError, match="cannot write: Permission denied"):
            store.write_part([make_entry("d")])
    finally:
        parts.chmod(0o700)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FacerError, match=r"file/x/y: cannot write"):
        LocalObjects(tmp_path / "file").put("x/y", b"")
