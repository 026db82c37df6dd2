"""Stores as functions take them: open, or by their path."""

from __future__ import annotations

import os

from facer.storage import FeatureStore

Place = str | os.PathLike[str]


def place_of(store: FeatureStore | Place | None) -> str | None:
    """Return the path or URL of a store that may be open."""
    if store is None or isinstance(store, FeatureStore):
        return None if store is None else store.path
    return os.fspath(store)


def opened(store: FeatureStore | Place) -> FeatureStore:
    """Return a store that may be open already; FacerError where there is none."""
    return store if isinstance(store, FeatureStore) else FeatureStore.open(store)
