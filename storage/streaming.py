"""Clips one after another with all their arrays, in flat memory, each chunk read about once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from math import prod

import numpy as np

from facer.storage.files.memory import affordable
from facer.storage.layout.arrays import Array
from facer.storage.layout.parts import ARRAYS, LAYOUT
from facer.storage.loading import check_valid, rows_by_part
from facer.storage.schema import ClipFeatures, Record
from facer.storage.store import FeatureStore

_FRAMES = 240_000  # of a batch: clips in another order than the parts' share few chunks


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


def _room(store: FeatureStore, frames: int) -> dict[str, Array]:
    """Arrays for so many frames; FacerError where they do not fit in memory."""
    shapes = {name: LAYOUT[name].shape(frames, len(store.feature_names)) for name in ARRAYS}
    types = {name: np.dtype(LAYOUT[name].dtype) for name in ARRAYS}
    n_bytes = sum(prod(shape) * types[name].itemsize for name, shape in shapes.items())
    affordable(store.objects.location, n_bytes)
    return {name: np.empty(shape, types[name]) for name, shape in shapes.items()}


def _read(store: FeatureStore, batch: Sequence[str]) -> list[tuple[Record, ClipFeatures]]:
    """Clips in the order of ``batch``, each chunk read once."""
    records = [store.record(clip_id) for clip_id in batch]
    offsets = [0, *accumulate(record.n_frames for record in records)]
    values = _room(store, offsets[-1])
    for part, wanted in rows_by_part(records, offsets).items():
        for name, out in values.items():
            store.array(part, name).scatter(wanted, out)
    found = []
    for record, start, stop in zip(records, offsets, offsets[1:], strict=False):
        clip = ClipFeatures(**{name: array[start:stop] for name, array in values.items()})
        check_valid(store.objects, record, clip.valid)
        found.append((record, clip))
    return found
