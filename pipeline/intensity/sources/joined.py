"""Several stores of the same clips as one: columns ``NAME.column`` follow the first store's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.stages.intensity.sequences import (
    EMBEDDING,
    FeatureChoice,
    Sequences,
    choose_features,
    prepare,
    without_empty,
)
from facer.stages.intensity.streams import Stream, join
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError, named
from facer.storage.loading import Ragged
from facer.storage.schema import Record
from facer.storage.text.typed_json import to_json

FIRST = "the first store"


class JoinedStore:
    """A first store, and others by name, joined by clip id; its clips are those of the first."""

    def __init__(self, first: FeatureStore, config: StreamsConfig) -> None:
        self.first, self.config = first, config
        self.others: Mapping[str, FeatureStore] = {
            name: FeatureStore.open(place) for name, place in config.places.items()
        }
        for name, store in self.others.items():
            if any(column.startswith(f"{name}.") for column in first.feature_names):
                raise FacerError(
                    f"{named('with_')} {name}: {first.path} has columns {name}.*; take another name"
                )
            if not set(first.clip_ids) & set(store.clip_ids):
                ids = [next(iter(one.clip_ids), "none") for one in (first, store)]
                raise FacerError(
                    f"{named('with_')} {name}={store.path}: found no clip of {first.path} (ids "
                    f"such as {ids[1]!r}, not {ids[0]!r}), expected a store of the same clips"
                )

    @property
    def path(self) -> str:
        """Path or URL of the first store."""
        return self.first.path

    @property
    def provenance(self) -> Provenance:
        """What made the first store's features."""
        return self.first.provenance

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Every clip of the first store."""
        return self.first.clip_ids

    def record(self, clip_id: str) -> Record:
        """The first store's."""
        return self.first.record(clip_id)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The first store's columns, then those of each other as ``NAME.column``."""
        others = (f"{name}.{c}" for name, store in self.others.items() for c in store.feature_names)
        return (*self.first.feature_names, *others)

    def status(self, clip_id: str) -> str:
        """Status of a clip: of the first store, or no_stream where it lacks one.

        Under the rule ``fill`` a clip of the first store that has frames is ok if any stream is.
        """
        record = self.first.record(clip_id)
        there = [_measured(store, clip_id) for store in self.others.values()]
        if self.config.lacking == "fill":
            return "ok" if record.n_frames and any(there) else record.status
        return record.status if record.status != "ok" or all(there) else "no_stream"

    def counts(self, clip_ids: Sequence[str]) -> Mapping[str, int]:
        """Of how many of some clips each other store has a measured row, by name."""
        return {n: sum(_measured(s, clip) for clip in clip_ids) for n, s in self.others.items()}

    def arranged(self, choice: FeatureChoice) -> FeatureChoice:
        """The same columns, stream by stream."""
        ordered = [c for name in ("", *self.others) for c in self._columns(choice, name, True)]
        return FeatureChoice(tuple(ordered), choice.embedding)

    def _columns(self, choice: FeatureChoice, name: str, whole: bool = False) -> list[str]:
        """The columns of one stream; "" is the first."""
        if not name:
            prefixes = tuple(f"{other}." for other in self.others)
            return [c for c in choice.columns if not c.startswith(prefixes)]
        prefix = f"{name}."
        cut = 0 if whole else len(prefix)
        return [c[cut:] for c in choice.columns if c.startswith(prefix)]

    def sequences(
        self, clip_ids: Sequence[str], config: SequenceConfig, choice: FeatureChoice
    ) -> Sequences:
        """Join some clips, embedding after the chosen columns as a stream of its own."""
        quality = config.min_quality is not None
        columns = self._columns(choice, "")
        ragged = self.first.load(clip_ids, columns, embedding=choice.embedding, quality=quality)
        streams = [Stream(FIRST, _part(ragged, slice(len(columns))))]
        for name, store in self.others.items():
            if own := self._columns(choice, name):
                streams.append(Stream(name, _load(store, clip_ids, own)))
        if choice.embedding:
            streams.append(Stream(EMBEDDING, _part(ragged, slice(len(columns), None))))
        return join(streams, config, self.config)


def _measured(store: FeatureStore, clip_id: str) -> bool:
    return clip_id in store and store.record(clip_id).status == "ok"


Source: TypeAlias = FeatureStore | JoinedStore
"""Where sequences come from."""


def open_source(store: str | FeatureStore, config: StreamsConfig) -> Source:
    """Open a store, joined with others where there are any."""
    opened = store if isinstance(store, FeatureStore) else FeatureStore.open(store)
    return JoinedStore(opened, config) if config.stores else opened


def stream_provenance(store: Source) -> Mapping[str, Mapping[str, Any]]:
    """Return what made the features of each joined store, by name."""
    others = store.others if isinstance(store, JoinedStore) else {}
    return {name: to_json(other.provenance) for name, other in others.items()}


def status_of(store: Source, clip_id: str) -> str:
    """Return ok, no_face, failed or no_stream."""
    if isinstance(store, JoinedStore):
        return store.status(clip_id)
    return store.record(clip_id).status


def choose_columns(store: Source, config: SequenceConfig) -> FeatureChoice:
    """Resolve the settings' groups and names against a store's columns, stream by stream."""
    choice = choose_features(config.features, store.feature_names)
    return store.arranged(choice) if isinstance(store, JoinedStore) else choice


def prepared(
    store: Source, clip_ids: Sequence[str], config: SequenceConfig, choice: FeatureChoice
) -> Sequences:
    """Read the sequences of some clips, without those that nothing was measured of."""
    if isinstance(store, JoinedStore):
        return without_empty(store.sequences(clip_ids, config, choice))
    quality = config.min_quality is not None
    ragged = store.load(clip_ids, choice.columns, embedding=choice.embedding, quality=quality)
    return without_empty(prepare(ragged, config))


def blocks_of(store: Source, clip_ids: Sequence[str], n_bytes: int) -> Iterator[Sequence[str]]:
    """Yield clips whose float32 features, of all streams, take about so many bytes."""
    start, total = 0, 0
    for place, clip_id in enumerate(clip_ids):
        total += _row_bytes(store, clip_id)
        if total >= n_bytes or place == len(clip_ids) - 1:
            yield clip_ids[start : place + 1]
            start, total = place + 1, 0


def _row_bytes(store: Source, clip_id: str) -> int:
    stores = [store.first, *store.others.values()] if isinstance(store, JoinedStore) else [store]
    frames = store.record(clip_id).n_frames
    return sum(
        4 * len(one.feature_names) * (one.record(clip_id).n_frames + frames)
        for one in stores
        if clip_id in one
    )


def _part(ragged: Ragged, columns: slice) -> Ragged:
    return replace(ragged, features=np.ascontiguousarray(ragged.features[:, columns]))


def _load(store: FeatureStore, clip_ids: Sequence[str], columns: Sequence[str]) -> Ragged:
    """Read clips of a store; those that it lacks have no rows."""
    there = [clip for clip in clip_ids if clip in store and store.record(clip).status == "ok"]
    ragged = store.load(there, columns)
    lengths = dict(zip(there, np.diff(ragged.offsets).tolist(), strict=True))
    offsets = np.cumsum([0, *(lengths.get(clip, 0) for clip in clip_ids)], dtype=np.int64)
    return replace(ragged, offsets=offsets, clip_ids=tuple(clip_ids))
