"""Another tool's features become a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.exchange.tables import import_features
from facer.storage.exchange.tools.imported import Imported
from facer.storage.files.objects import Objects, open_objects
from facer.storage.layout.part_list import DOCUMENT
from facer.storage.layout.parts import PARTS, Entry, is_part_id
from facer.storage.schema import ClipFeatures

PART_CLIPS = 50


class ImportResult(NamedTuple):
    """What an import made."""

    store: FeatureStore
    added: int  # clips
    changed: tuple[str, ...]  # ids of clips that the store has with other features, and keeps


def import_into_store(kind: Any, path: Path, store: str, fps: float | None = None) -> ImportResult:
    """Import features into a new or existing store; the same call again does what is missing.

    An import that fails leaves nothing of its own behind, and all that was there before.
    """
    imported = _read_first(import_features(kind, path, fps=fps))
    new = open_objects(store).get(DOCUMENT) is None
    with suppress(FacerError):  # no store yet, or one that is refused below
        imported = _in_order_of(FeatureStore.open(store), imported)
    opened = FeatureStore.open_or_create(
        store, imported.provenance, feature_names=imported.feature_names,
        weak_features=imported.weak_features,
    )  # fmt: skip
    changed: list[str] = []
    try:
        added = _write(opened, _new(opened, imported, changed))
    except BaseException:
        if new:
            _remove_if_empty(open_objects(opened.path))
        raise
    return ImportResult(opened, added, tuple(changed))


def _remove_if_empty(objects: Objects) -> None:
    """Remove a store without parts; what else lies in its folder, and the folder then, stay."""
    if any(is_part_id(name) for name in objects.children(PARTS)):
        return  # of another import, that runs beside this one
    objects.delete(PARTS)
    objects.delete(DOCUMENT)
    if not objects.children(""):
        objects.delete("")


def _new(store: FeatureStore, imported: Imported, changed: list[str]) -> Iterator[Entry]:
    """The clips that a store lacks; the ids of those that it has otherwise go to ``changed``."""
    known = set(store.clip_ids)
    for record, clip in imported.clips:
        if record.clip_id not in known:
            yield record, clip
        elif not _is_stored(store, record.clip_id, clip):
            changed.append(record.clip_id)


def _write(store: FeatureStore, entries: Iterator[Entry]) -> int:
    """Write all entries or none; the number of clips."""
    added, parts = 0, []
    try:
        while part := list(itertools.islice(entries, PART_CLIPS)):
            parts.append(store.write_part(part))
            added += len(part)
    except BaseException:  # a file that cannot be read, a full disk, Ctrl-C
        store.drop_parts(parts)
        raise
    return added


def _is_stored(store: FeatureStore, clip_id: str, clip: ClipFeatures | None) -> bool:
    """Whether a clip's features and times are those that the store has."""
    if clip is None or store.record(clip_id).status == "failed":
        return clip is None and store.record(clip_id).status == "failed"
    stored = store.read(clip_id)
    return all(
        np.array_equal(getattr(clip, name), getattr(stored, name), equal_nan=True)
        for name in ("features", "timestamp_s", "valid")
    )


def _read_first(imported: Imported) -> Imported:
    """Read the first clip, so that files of another kind leave no empty store behind."""
    first = list(itertools.islice(imported.clips, 1))
    return replace(imported, clips=itertools.chain(first, imported.clips))


def _in_order_of(store: FeatureStore, imported: Imported) -> Imported:
    """The same columns in the store's order; as they are when the names differ."""
    names = store.feature_names
    if names == imported.feature_names or set(names) != set(imported.feature_names):
        return imported
    order = [imported.feature_names.index(name) for name in names]
    clips = (
        (record, clip and replace(clip, features=clip.features[:, order]))
        for record, clip in imported.clips
    )
    return replace(imported, feature_names=names, clips=clips)
