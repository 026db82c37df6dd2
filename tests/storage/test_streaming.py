"""Clips one after another, in whatever order they are asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from facer.storage import ClipFeatures, FeatureStore
from facer.storage.layout.arrays import StoredArray
from facer.storage.streaming import stream


def test_clips_come_in_the_order_asked_for_and_each_chunk_is_read_once(
    store: FeatureStore, make_entry: Any, same_clip: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_part([make_entry(f"d{number}", 5, seed=number) for number in range(20)])
    order = ["d0", "c", "broken", "d19", "a", "c", "d7", "b/1"]
    expected = {clip: store.read(clip) for clip in order if clip != "broken"}
    chunks: Counter[tuple[str, int]] = Counter()
    read = StoredArray.chunk

    def counted(self: StoredArray, index: int, out: Any = None) -> Any:
        chunks[self.key, index] += 1
        return read(self, index, out)

    monkeypatch.setattr(StoredArray, "chunk", counted)
    found = list(stream(store, order))
    assert [record.clip_id for record, _ in found] == order
    assert set(chunks.values()) == {1}
    for record, clip in found:
        assert isinstance(clip, ClipFeatures)
        if record.clip_id in expected:
            same_clip(clip, expected[record.clip_id])
        else:
            assert clip.n_frames == 0
