"""Clips one after another with all their arrays, in flat memory, each chunk read about once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from facer.storage.layout.parts import ARRAYS
from facer.storage.loading import check_valid
from facer.storage.schema import ClipFeatures, Record
from facer.storage.store import FeatureStore

_FRAMES = 60_000  # of a batch
_SPARE = 4  # rows that may be read for each that is wanted


def stream(store: FeatureStore, clip_ids: Sequence[str]) -> Iterator[tuple[Record, ClipFeatures]]:
    """Yield clips in their order, a failed one without frames.

    Raises FacerError for an unknown clip and a damaged part.
    """
    batch: list[str] = []
    frames = 0
    for clip_id in clip_ids:
        batch.append(clip_id)
        frames += store.record(clip_id).n_frames
        if frames >= _FRAMES:
            yield from store.retrying(partial(_read, store, batch))
            batch, frames = [], 0
    yield from store.retrying(partial(_read, store, batch))


def _read(store: FeatureStore, batch: Sequence[str]) -> list[tuple[Record, ClipFeatures]]:
    by_part: dict[str, list[Record]] = defaultdict(list)
    wanted = [store.record(clip_id) for clip_id in batch]
    for record in wanted:
        by_part[record.part].append(record)
    found = {}
    for part, records in by_part.items():
        start, stop = min(r.start for r in records), max(r.stop for r in records)
        if stop - start > _SPARE * sum(r.n_frames for r in records):
            spans = [(r.start, r.stop, [r]) for r in records]
        else:
            spans = [(start, stop, records)]
        arrays = {name: store.array(part, name) for name in ARRAYS}
        for first, last, inside in spans:
            values = {name: array.read(first, last) for name, array in arrays.items()}
            for r in inside:
                rows = slice(r.start - first, r.stop - first)
                clip = ClipFeatures(**{name: all_[rows] for name, all_ in values.items()})
                check_valid(store.objects, r, clip.valid)
                found[r.clip_id] = clip
    return [(record, found[record.clip_id]) for record in wanted]
