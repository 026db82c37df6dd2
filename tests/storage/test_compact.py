"""Compaction keeps every clip as it was, whatever happens meanwhile."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from facer.storage import FeatureStore, Record
from facer.storage.compact import compact
from facer.storage.errors import DamagedError, FacerError
from facer.storage.files.objects import LocalObjects
from facer.storage.streaming import stream
from facer.storage.verify import verify_store

MANY = 1 << 30


@pytest.fixture
def nightly(store: FeatureStore, make_entry: Callable[..., Any]) -> FeatureStore:
    """Seven parts: two of ``store``, three nights, clips made again, one that failed."""
    for night in range(3):
        store.write_part([make_entry(f"night/{night}", 4 + night, seed=night, face=night > 0)])
    store.write_part([make_entry("a", 9, seed=40), make_entry("broken", 2, seed=41)])
    store.write_part([(Record("late", "failed", 0, reason="no video stream"), None)])
    return store


def contents(store: FeatureStore) -> dict[str, tuple[Record, dict[str, bytes]]]:
    """Every record without its place, and the bytes of its arrays."""
    found = {}
    for record in store.records:
        clip = {} if record.status == "failed" else vars(store.read(record.clip_id))
        arrays = {k: v.tobytes() for k, v in clip.items() if v is not None}
        found[record.clip_id] = (replace(record, part="", start=0, fps=0.0), arrays)
    return found


def is_whole(store: FeatureStore) -> bool:
    return all(part.state == "whole" for part in verify_store(store, 1).parts)


def test_many_parts_become_one_of_the_same_values(nightly: FeatureStore) -> None:
    before = contents(nightly)
    assert is_whole(nightly)
    done = compact(nightly, MANY)
    assert (done.parts_before, done.parts, done.superseded, done.left) == (7, 1, 2, ())
    again = FeatureStore.open(nightly.path)
    assert contents(again) == before == contents(nightly)
    assert len(again.part_names()) == 1
    assert is_whole(again)
    assert compact(again, MANY).parts == 1
    assert again.part_names() == nightly.part_names()  # nothing was left to do


def test_parts_stay_below_the_size_that_is_asked_for(nightly: FeatureStore) -> None:
    before = contents(nightly)
    frame_bytes = 26 * 4 + 8 + 1 + 4 + 16 + 40 + 2
    assert compact(nightly, 15 * frame_bytes).parts == 3
    for part in nightly.parts.values():
        assert part.rows <= 15
    assert contents(FeatureStore.open(nightly.path)) == before


def test_what_is_written_later_stays_later(
    nightly: FeatureStore, make_entry: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that is made again while parts are merged counts as it was made again."""
    other, write = FeatureStore.open(nightly.path), FeatureStore.write_part
    newer = make_entry("a", 12, seed=99)

    def slow(self: FeatureStore, entries: Any, after: str = "") -> str:
        if after and len(other.parts) == 7:
            write(other, [newer])
        return write(self, entries, after)

    monkeypatch.setattr(FeatureStore, "write_part", slow)
    done = compact(nightly, MANY)
    assert done.parts == 2
    assert nightly.read("a").features.tobytes() == newer[1].features.tobytes()
    assert compact(nightly, MANY).parts == 1
    assert nightly.read("a").features.tobytes() == newer[1].features.tobytes()


def test_nothing_is_merged_across_a_part_that_somebody_is_writing(nightly: FeatureStore) -> None:
    before, names = contents(nightly), nightly.part_names()
    unfinished = f"{int(names[2][9:21]) + 1:012d}".join((names[2][:9], "Z-00000000"))
    nightly.objects.put(f"parts/{unfinished}/features/zarr.json", b"{}")
    assert compact(nightly, MANY).parts == 2
    assert unfinished in nightly.part_names()
    assert contents(FeatureStore.open(nightly.path)) == before


def test_a_part_that_others_took_away_is_not_brought_back(
    nightly: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, write = FeatureStore.open(nightly.path), FeatureStore.write_part

    def slow(self: FeatureStore, entries: Any, after: str = "") -> str:
        if after:
            other.drop_clips(["night/1"])
        return write(self, entries, after)

    monkeypatch.setattr(FeatureStore, "write_part", slow)
    done = compact(nightly, MANY)
    assert "were changed by another process" in done.left[0]
    assert "night/1" not in FeatureStore.open(nightly.path)
    assert is_whole(FeatureStore.open(nightly.path))


def test_a_damaged_part_is_not_merged(nightly: FeatureStore) -> None:
    part = nightly.record("night/2").part
    key = f"parts/{part}/features/c/0/0"
    data = nightly.objects.get(key)
    assert data is not None
    nightly.objects.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    names = nightly.part_names()
    with pytest.raises(DamagedError, match="verify"):
        compact(nightly, MANY)
    assert nightly.part_names() == names


def test_embeddings_are_merged_with_their_like(
    store: FeatureStore, make_entry: Callable[..., Any]
) -> None:
    for i, (embedding, quality) in enumerate([(8, True), (8, True), (None, True), (8, False)]):
        entry = make_entry(f"e{i}", 5, seed=i, embedding=embedding, quality=quality)
        store.write_part([entry])
    before = contents(store)
    assert compact(store, MANY).parts == 4
    assert contents(FeatureStore.open(store.path)) == before


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_a_stop_at_any_write_or_delete_loses_nothing(
    nightly: FeatureStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each change that compaction makes, what is on disk is whole and has what it had."""
    store = nightly if place == "folder" else copy_of(nightly, f"memory://{uuid.uuid4().hex}.zarr")
    before, changes = contents(nightly), 0

    def then_look(name: str) -> Callable[..., None]:
        change = getattr(type(store.objects), name)

        def changed(self: Any, *arguments: Any) -> None:
            nonlocal changes
            change(self, *arguments)
            changes += 1
            now = FeatureStore.open(store.path)
            assert contents(now) == before
            assert is_whole(now)
            if changes in stops:
                raise KeyboardInterrupt

        return changed

    monkeypatch.setattr(type(store.objects), "put_many", then_look("put_many"))
    monkeypatch.setattr(type(store.objects), "delete", then_look("delete"))
    stops = {1, 4}  # among the arrays of the new part; when some of the old ones are gone
    for _ in stops:
        with pytest.raises(KeyboardInterrupt):
            compact(FeatureStore.open(store.path), MANY)
    stops = set()
    assert compact(FeatureStore.open(store.path), MANY).parts == 1
    assert changes > 10
    assert contents(FeatureStore.open(store.path)) == before


def copy_of(store: FeatureStore, path: str) -> FeatureStore:
    copy = FeatureStore.create(path, store.provenance, weak_features=store.weak_features)
    for part in store.parts.values():
        entries = [
            (r, None if r.status == "failed" else store.read_record(r)) for r in part.records
        ]
        copy.write_part(entries)
    return copy


def test_readers_go_on_while_parts_are_merged(nightly: FeatureStore) -> None:
    """What was opened before reads the same clips after, in every way of reading."""
    ways: list[Callable[[FeatureStore], Any]] = [
        contents,
        lambda s: s.load(["a", "b/1", "night/2"]).features.tobytes(),
        lambda s: [(r.clip_id, c.features.tobytes()) for r, c in stream(s, s.clip_ids)],
    ]
    readers = [FeatureStore.open(nightly.path) for _ in ways]
    before = [way(reader) for way, reader in zip(ways, readers, strict=True)]
    compact(nightly, MANY)
    for way, reader, expected in zip(ways, readers, before, strict=True):
        assert len(reader.parts) == 7
        assert way(reader) == expected


def test_a_reader_that_listed_parts_which_then_went_lists_them_again(
    nightly: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, get_many = contents(nightly), LocalObjects.get_many
    reader = FeatureStore.open(nightly.path)

    def slow(self: LocalObjects, keys: Any) -> Any:
        monkeypatch.setattr(LocalObjects, "get_many", get_many)
        compact(FeatureStore.open(nightly.path), MANY)
        return get_many(self, keys)

    monkeypatch.setattr(LocalObjects, "get_many", slow)
    assert contents(reader) == before


def test_a_chunk_that_is_gone_alone_is_told(nightly: FeatureStore) -> None:
    nightly.objects.delete(f"parts/{nightly.record('a').part}/features/c/0/0")
    with pytest.raises(FacerError, match="this chunk is missing"):
        nightly.read("a")


def test_nan_payloads_survive(store: FeatureStore, make_entry: Callable[..., Any]) -> None:
    record, clip = make_entry("odd", 6, seed=5)
    bits = clip.features.view(np.uint32)
    bits[~clip.valid] = 0x7FC01234
    store.write_part([(record, clip)])
    compact(store, MANY)
    assert store.read("odd").features.view(np.uint32)[~clip.valid].tolist() == (
        bits[~clip.valid].tolist()
    )
