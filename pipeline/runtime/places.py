"""Stores as functions take them: open, or by their path."""

from __future__ import annotations

import os

from facer.storage import FeatureStore
from facer.storage.errors import OptionError, named

Place = str | os.PathLike[str]


def place_of(store: FeatureStore | Place | None) -> str | None:
    """Return the path or URL of a store that may be open."""
    if store is None or isinstance(store, FeatureStore):
        return None if store is None else store.path
    return os.fspath(store)


def opened(store: FeatureStore | Place) -> FeatureStore:
    """Return a store that may be open already; FacerError where there is none."""
    return store if isinstance(store, FeatureStore) else FeatureStore.open(os.fspath(store))


def refuse_no_path(name: str, value: object) -> None:
    """OptionError for what is no path, such as a list of files or a table in memory."""
    if not isinstance(value, str | os.PathLike):
        raise OptionError(
            f"{named(name)}: found {type(value).__name__}, expected one path; several files go "
            "into a folder, a table into a csv file"
        )
