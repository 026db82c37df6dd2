"""Many small parts of a store become few: what a year of nightly runs leaves.

A merged part has the id right after the last of those that it replaces, so that whatever was or
will be written later still counts as later. It is written and read back whole before they go: a
kill at any moment leaves every clip as it was. Readers that look for a part that went find its
clips in the merged one (:meth:`FeatureStore.retrying`).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.files.objects import DOCUMENT_BYTES
from facer.storage.layout.arrays import Array, check_values, value_bytes
from facer.storage.layout.parts import EMBEDDING, LAYOUT, PARTS, QUALITY, Entry, Part, is_part_id
from facer.storage.layout.records import record_row
from facer.storage.loading import part_arrays, part_embedding
from facer.storage.schema import ClipFeatures, OnCount, Record
from facer.storage.store import FeatureStore
from facer.storage.verify import verify_part

_DOCUMENT_SHARE = 0.75  # of what a part's records may take
Optional = tuple[int, bool]
"""Width of the embedding (0: none), and whether there is a quality."""


class Compaction(NamedTuple):
    """What was done."""

    path: str
    clips: int  # in the store
    parts_before: int
    parts: int
    superseded: int  # earlier records of clips that have a later one, which are gone now
    left: tuple[str, ...]  # why some parts were left as they are


@dataclass
class _Merge:
    """Parts that lie one after another, and which of their records stay."""

    parts: list[Part]
    kept: list[Record]
    n_bytes: int = 0  # of values
    text_bytes: int = 0  # of records
    optional: Optional | None = None  # None: failed clips alone

    @property
    def useful(self) -> bool:
        """Whether anything changes."""
        return len(self.parts) > 1 or len(self.kept) < len(self.parts[0].records)


def compact(store: FeatureStore, part_bytes: int, progress: OnCount | None = None) -> Compaction:
    """Merge parts until none can be joined with the next under ``part_bytes`` of values.

    Clips, records and values stay the same, bit for bit; earlier records of a clip that has a
    later one go. Raises FacerError for a damaged part, which ``facer verify --repair`` drops;
    what was merged by then stays merged.
    """
    store.refresh()
    before = len(store.parts)
    left = [str(error) for error in store.damaged.values()]
    known = store.part_names()
    merges = [merge for merge in _plan(store, known, part_bytes) if merge.useful]
    superseded = 0
    for done, merge in enumerate(merges, 1):
        problem = _merge(store, merge, set(known))
        left += [problem] if problem else []
        if not problem:
            superseded += sum(len(part.records) for part in merge.parts) - len(merge.kept)
        if progress is not None:
            progress(done, len(merges))
    return Compaction(
        store.path, len(store), before, len(store.parts), superseded, tuple(left)
    )  # fmt: skip


def _plan(store: FeatureStore, names: Sequence[str], part_bytes: int) -> Iterator[_Merge]:
    """Yield parts to merge; none goes beyond a part that is not committed or cannot be read."""
    latest = {record.clip_id: record.part for record in store.records}
    merge: _Merge | None = None
    for name in names:
        part = store.parts.get(name)
        if part is None or not is_part_id(name):  # perhaps somebody is writing it
            yield from [merge] if merge else []
            merge = None
            continue
        one = _alone(store, part, latest)
        joined = merge and _joined(merge, one, part_bytes)
        yield from [merge] if merge and not joined else []
        merge = joined or one
    yield from [merge] if merge else []


def _alone(store: FeatureStore, part: Part, latest: dict[str, str]) -> _Merge:
    kept = [record for record in part.records if latest[record.clip_id] == part.id]
    frames, has_arrays = sum(r.n_frames for r in kept), any(r.status != "failed" for r in kept)
    embedding = part_embedding(store.objects, part) if has_arrays else None
    width = 0 if embedding is None else embedding.shape[1]
    quality = QUALITY in part.seals
    text = sum(len(json.dumps(record_row(record))) for record in kept)
    size = frames * _row_bytes(len(store.feature_names), width, quality)
    return _Merge([part], kept, size, text, (width, quality) if has_arrays else None)


def _joined(one: _Merge, other: _Merge, part_bytes: int) -> _Merge | None:
    """Both as one; None where that is too large, or one has an array that the other lacks."""
    optional = one.optional or other.optional
    n_bytes, text = one.n_bytes + other.n_bytes, one.text_bytes + other.text_bytes
    fits = n_bytes <= part_bytes and text <= _DOCUMENT_SHARE * DOCUMENT_BYTES
    if not fits or other.optional not in (None, optional):
        return None
    return _Merge(one.parts + other.parts, one.kept + other.kept, n_bytes, text, optional)


def _row_bytes(columns: int, embedding: int, quality: bool) -> int:
    """Bytes of the values of one frame."""
    widths = {"features": columns, EMBEDDING: embedding, QUALITY: int(quality)}
    return sum(
        np.dtype(layout.dtype).itemsize * widths.get(name, prod(layout.shape(1, 0)))
        for name, layout in LAYOUT.items()
    )


def _merge(store: FeatureStore, merge: _Merge, known: AbstractSet[str]) -> str:
    """Write the merged part and drop what it replaces; why not, where others changed the store."""
    names = [part.id for part in merge.parts]
    made = ""
    if merge.kept:
        made = store.write_part(_entries(store, merge), after=names[-1])
        report = verify_part(store, made)
        if report.state != "whole":
            store.drop_parts([made])
            raise FacerError(f"{report.reasons[0]}; the parts that it was merged from are kept")
    now = set(store.part_names())
    new = [name for name in now - known if names[0] < name < made]  # it would no longer count
    if set(names) <= now and not new:
        store.drop_parts(names)
        return ""
    store.drop_parts([made] if made else [])
    return f"parts {names[0]} to {names[-1]} were changed by another process; compact again"


def _entries(store: FeatureStore, merge: _Merge) -> list[Entry]:
    """What is kept, part by part, each array read whole and compared with its checksum."""
    entries: list[Entry] = []
    for part in merge.parts:
        kept = [record for record in merge.kept if record.part == part.id]
        arrays = _arrays(store, part) if any(r.status != "failed" for r in kept) else {}
        entries += [(r, None if r.status == "failed" else _clip(arrays, r)) for r in kept]
    return entries


def _clip(arrays: Mapping[str, Array], record: Record) -> ClipFeatures:
    values: Any = {name: all_[record.start : record.stop] for name, all_ in arrays.items()}
    return ClipFeatures(**values)


def _arrays(store: FeatureStore, part: Part) -> dict[str, Array]:
    arrays = part_arrays(store.objects, part, len(store.feature_names))
    found = {name: array.read(0, part.rows) for name, array in arrays.items()}
    for name, values in found.items():
        key, crc32 = f"{PARTS}/{part.id}/{name}", zlib.crc32(value_bytes(values))
        check_values(store.path, key, crc32, part.seals.get(name))
    return found
