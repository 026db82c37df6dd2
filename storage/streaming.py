"""Clips one after another with all their arrays, in flat memory, each chunk read about once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from facer.storage.loading import check_valid
from facer.storage.parts import ARRAYS
from facer.storage.schema import ClipFeatures, Record
from facer.storage.store import FeatureStore

_FRAMES = 60_000  # of a batch
_SPARE = 4  # rows that may be read for each that is wanted


def stream(store: FeatureStore, clip_ids: Sequence[str]) -> Iterator[tuple[Record, ClipFeatures]]:
    """Yield clips in their order, a failed one without frames.

    Raises FacerError for an unknown clip and a damaged part.
    """
    batch: list[Record] = []
    for clip_id in clip_ids:
        batch.append(store.record(clip_id))
        if sum(record.n_frames for record in batch) >= _FRAMES:
            yield from _read(store, batch)
            batch = []
    yield from _read(store, batch)


def _read(store: FeatureStore, batch: Sequence[Record]) -> Iterator[tuple[Record, ClipFeatures]]:
    by_part: dict[str, list[Record]] = defaultdict(list)
    for record in batch:
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
    for record in batch:
        yield record, found[record.clip_id]
