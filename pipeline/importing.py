"""Another tool's features become a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from facer.storage import FeatureStore
from facer.storage.parts import Entry
from facer.storage.tables import import_features

_PART_CLIPS = 50


def import_into_store(
    kind: Any, path: Path, store: str, fps: float | None = None
) -> tuple[FeatureStore, int]:
    """Import features into a new or existing store; returns it and how many clips were added.

    Clips that the store has already are left as they are, so the same call again goes on.
    """
    imported = import_features(kind, path, fps=fps)
    opened = FeatureStore.open_or_create(
        store,
        imported.provenance,
        feature_names=imported.feature_names,
        weak_features=imported.weak_features,
    )
    known = set(opened.clip_ids)
    added = 0
    for part in _in_parts(entry for entry in imported.clips if entry[0].clip_id not in known):
        opened.write_part(part)
        added += len(part)
    return opened, added


def _in_parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while part := list(itertools.islice(iterator, _PART_CLIPS)):
        yield part
