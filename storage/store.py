"""The feature store: stage one writes parts, stage two reads clips.

Format: docs/store-format.md.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from facer.storage.clip import Clip, as_columns, column_indices, frames_table
from facer.storage.errors import DamagedError, FacerError
from facer.storage.files.objects import Objects, open_objects
from facer.storage.layout.arrays import StoredArray, encode_arrays, seal
from facer.storage.layout.documents import group_json
from facer.storage.loading import (
    ArraySource,
    Ragged,
    check_valid,
    embedding_width,
    gather,
    part_array,
    part_embedding,
)
from facer.storage.parts import (
    ARRAYS,
    EMBEDDING,
    PARTS,
    QUALITY,
    Entry,
    Part,
    check_entries,
    concatenate,
    new_part_id,
    parse_part,
    part_id_after,
    part_json,
)
from facer.storage.root import Root, check_names, differences, parse_root, root_json
from facer.storage.schema import (
    FEATURE_NAMES,
    STORE_VERSION,
    ClipFeatures,
    Provenance,
    Record,
)
from facer.storage.text import notebook
from facer.storage.text.likeness import did_you_mean

if TYPE_CHECKING:
    import pandas
    import xarray

_ROOT = "zarr.json"
_TRIES = 5  # at what another process changes meanwhile
_log = logging.getLogger("facer")
_Read = TypeVar("_Read")

StorePath = str | os.PathLike[str]


class FeatureStore:
    """Per-frame features of many clips, in parts that are written once and never changed.

    Open one with :meth:`open`, :meth:`create` or :meth:`open_or_create`. The list of clips is
    read at first use and again by :meth:`refresh`; a clip that is in several parts counts as
    it is in the latest one. A part whose records are damaged is left out, and a warning of the
    logger ``facer`` says so: see :attr:`damaged`.
    """

    def __init__(self, objects: Objects, root: Root) -> None:
        self._objects = objects
        self.root = root
        self._parts: dict[str, Part] | None = None
        self._damaged: dict[str, DamagedError] = {}
        self._latest: dict[str, Record] | None = None

    @classmethod
    def open(cls, path: StorePath) -> FeatureStore:
        """Open the store at a local path or fsspec URL.

        Raises FacerError when there is none, or when a newer facer wrote it.
        """
        objects = open_objects(path)
        data = objects.get(_ROOT)
        if data is None:
            found = "something else" if objects.exists() else "nothing"
            raise FacerError(
                f"{objects.location}: found {found} there, expected a feature store; "
                f"give the path that facer extract wrote"
            )
        return cls(objects, parse_root(data, objects.location))

    @classmethod
    def create(
        cls,
        path: StorePath,
        provenance: Provenance,
        *,
        feature_names: Sequence[str] = FEATURE_NAMES,
        weak_features: Sequence[str] = (),
    ) -> FeatureStore:
        """Make an empty store of ``feature_names`` (the columns of ``features``, in order).

        Raises FacerError when anything but an empty folder is there already.
        """
        root = Root(STORE_VERSION, tuple(feature_names), tuple(weak_features), provenance)
        check_names(root)
        objects = open_objects(path)
        if any(not name.startswith(".") for name in objects.children("")):
            raise FacerError(
                f"{objects.location}: found files there, expected a new path for a feature store; "
                f"give another path or remove it"
            )
        objects.put(_ROOT, root_json(root))
        return cls(objects, root)

    @classmethod
    def open_or_create(
        cls,
        path: StorePath,
        provenance: Provenance,
        *,
        feature_names: Sequence[str] = FEATURE_NAMES,
        weak_features: Sequence[str] = (),
    ) -> FeatureStore:
        """Open the store to add to it, or make it when there is none.

        Raises FacerError when the store's features were made otherwise: the message names each
        field that differs, with both values. ``facer_version`` may differ.
        """
        objects = open_objects(path)
        if objects.get(_ROOT) is None:
            try:
                cls.create(
                    path, provenance, feature_names=feature_names, weak_features=weak_features
                )
            except FacerError:
                if objects.get(_ROOT) is None:  # else another process was first
                    raise
        store = cls.open(path)
        if store.provenance.of_sound != provenance.of_sound:
            raise FacerError(
                f"{store.path}: found a store of {_measured(store.provenance)}, expected one of "
                f"{_measured(provenance)}; use another store"
            )
        wanted = Root(store.version, tuple(feature_names), tuple(weak_features), provenance)
        found = differences(store.root, wanted)
        if found:
            raise FacerError(
                f"{store.path}: the store and this run differ in {'; '.join(found)}; "
                f"use the same settings or another store"
            )
        return store

    @property
    def path(self) -> str:
        """Path or URL of the store."""
        return self._objects.location

    @property
    def objects(self) -> Objects:
        """What the store is made of."""
        return self._objects

    @property
    def version(self) -> int:
        """Version of the store's format."""
        return self.root.version

    @property
    def provenance(self) -> Provenance:
        """What made the features."""
        return self.root.provenance

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the feature columns, in order, (F,)."""
        return self.root.feature_names

    @property
    def weak_features(self) -> tuple[str, ...]:
        """Names of the features that were learnt from weak labels."""
        return self.root.weak_features

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Every clip that has a record, sorted."""
        return tuple(self._index())

    @property
    def records(self) -> tuple[Record, ...]:
        """The latest record of every clip, sorted by clip_id."""
        return tuple(self._index().values())

    def record(self, clip_id: str) -> Record:
        """Return a clip's record; FacerError when the store has none."""
        try:
            return self._index()[clip_id]
        except KeyError:
            raise FacerError(
                f"{self.path}: found no clip {clip_id!r} among its {len(self._index())}"
                f"{did_you_mean(clip_id, self._index())}"
            ) from None

    def __len__(self) -> int:
        return len(self._index())

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip_ids)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._index()

    def __bool__(self) -> bool:
        return True  # a store without clips is a store

    def __getitem__(self, clip_id: str) -> Clip:
        """Read a clip, as :meth:`read` does, with its columns by name."""
        clip = self.read(clip_id)
        return Clip(**vars(clip), record=self.record(clip_id), feature_names=self.feature_names)

    def to_dataframe(
        self, columns: Sequence[str] | None = None, clip_ids: Sequence[str] | None = None
    ) -> pandas.DataFrame:
        """Return a table with a row a frame: clip_id, frame_index, timestamp_s, valid, columns.

        ``columns`` chooses features by name and ``clip_ids`` clips (default: all). A clip
        without frames, such as a failed one, has no rows. Raises FacerError without pandas.
        """
        ids = dict.fromkeys(self.clip_ids if clip_ids is None else as_columns(clip_ids))
        names = self.feature_names if columns is None else as_columns(columns)
        ragged = self.load([clip for clip in ids if self.record(clip).n_frames], names)
        return frames_table(ragged, names)

    def to_xarray(self, clip_id: str) -> xarray.Dataset:
        """Return a clip as :meth:`Clip.to_xarray` does."""
        return self[clip_id].to_xarray()

    def __repr__(self) -> str:
        return f"<FeatureStore {notebook.summary(self.path, self.records, self.feature_names)}>"

    def _repr_html_(self) -> str:
        title = notebook.summary(self.path, self.records, self.feature_names)
        return notebook.records_table(title, self.records)

    @property
    def parts(self) -> Mapping[str, Part]:
        """Every part that is read, by id, in the order in which they were written."""
        if self._parts is None:
            self.refresh()
        return MappingProxyType(self._parts or {})

    @property
    def damaged(self) -> Mapping[str, DamagedError]:
        """Parts whose records are damaged, with the reason: their clips are not in the list."""
        self._index()
        return MappingProxyType(self._damaged)

    def refresh(self) -> None:
        """Look for parts that were written or removed since the list was read."""
        known, damaged = self._parts or {}, self._damaged
        for _ in range(_TRIES):  # a part that goes after it was listed leaves its clips in another
            names = self.part_names()
            new = [name for name in names if name not in known]
            found = self._objects.get_many([f"{PARTS}/{name}/{_ROOT}" for name in new])
            if None not in found or self.part_names() == names:
                break
        parts = {name: known[name] for name in names if name in known}
        self._damaged = {}
        for name, data in zip(new, found, strict=True):
            try:
                if isinstance(data, DamagedError):
                    raise data
                part = None if data is None else parse_part(data, name, self.path, self.version)
                if part is not None:
                    parts[name] = part
            except DamagedError as error:
                self._damaged[name] = error
                if name not in damaged:
                    _log.warning("%s", error)
        self._parts = {name: parts[name] for name in sorted(parts)}
        self._latest = None

    def part_names(self) -> list[str]:
        """Ids of all parts, sorted; also of those whose writer has not committed them."""
        names = self._objects.children(PARTS)
        return [name for name in names if name != _ROOT and not name.startswith(".")]

    def retrying(self, read: Callable[[], _Read]) -> _Read:
        """Read again where parts went meanwhile because others have their clips now.

        That is what ``facer compact`` does. Raises what ``read`` raises when no part went.
        """
        for _ in range(_TRIES):
            before = set(self.parts)
            try:
                return read()
            except DamagedError:
                self.refresh()
                if before <= set(self.parts):
                    raise
        return read()

    def _index(self) -> dict[str, Record]:
        if self._parts is None:
            self.refresh()
        if self._latest is None:
            latest = {r.clip_id: r for part in self.parts.values() for r in part.records}
            self._latest = dict(sorted(latest.items()))
        return self._latest

    def array(self, part_id: str, name: str) -> StoredArray:
        """Open one array of a part, to read rows of many clips at a time."""
        return part_array(self._objects, self.parts[part_id], name, len(self.feature_names))

    def read(self, clip_id: str) -> ClipFeatures:
        """Return all that is stored of one clip; FacerError when it failed or is unknown."""
        return self.retrying(lambda: self.read_record(self.record(clip_id)))

    def read_record(self, record: Record) -> ClipFeatures:
        """Return what is stored of a clip where its record says, which may be an older part."""
        if record.status == "failed":
            raise FacerError(f"{self.path}: clip {record.clip_id!r} failed: {record.reason}")
        arrays: dict[str, Any] = {
            name: self.array(record.part, name).read(record.start, record.stop) for name in ARRAYS
        }
        check_valid(self._objects, record, arrays["valid"])
        embedding = part_embedding(self._objects, self.parts[record.part])
        if embedding is not None:
            arrays[EMBEDDING] = embedding.read(record.start, record.stop)
        if QUALITY in self.parts[record.part].seals:
            arrays[QUALITY] = self.array(record.part, QUALITY).read(record.start, record.stop)
        return ClipFeatures(**arrays)

    def load(
        self,
        clip_ids: Sequence[str],
        columns: Sequence[str] | None = None,
        *,
        embedding: bool = False,
        quality: bool = False,
    ) -> Ragged:
        """Read the features of many clips into one matrix, in the order of ``clip_ids``.

        Beside them are the frames' times and which are valid.

        ``columns`` chooses features by name (default: all); ``embedding`` puts the embedding's
        columns after them, ``quality`` that of each frame beside them. Each part is read once;
        memory is the matrix and a few chunks. A failed clip has no rows. Raises FacerError when
        an embedding or the quality is asked for and absent.
        """
        names, where = self.feature_names, self.path
        picks = None if columns is None else column_indices(names, columns, where)
        return self.retrying(lambda: self._load(clip_ids, picks, embedding, quality))

    def _load(
        self, clip_ids: Sequence[str], picks: Sequence[int] | None, embedding: bool, quality: bool
    ) -> Ragged:
        records = [self.record(clip_id) for clip_id in clip_ids]
        sources = [ArraySource("features", len(self.feature_names), picks)]
        if embedding:
            parts = sorted({record.part for record in records if record.n_frames})
            width = embedding_width(self._objects, [self.parts[part] for part in parts])
            sources.append(ArraySource(EMBEDDING, width))
        return gather(self._objects, sources, records, self.parts, quality)

    def write_part(self, entries: Sequence[Entry], after: str = "") -> str:
        """Write clips as one new part and return its id; all of them are there, or none.

        Each entry is a clip's record and features; features are None for a failed clip, and
        only for it. The record's ``part`` and ``start`` are set here. The part is the latest, or
        comes right ``after`` another. Raises FacerError when an entry does not fit (nothing is
        written then) or the place refuses (nothing is left).
        """
        check_entries(entries, len(self.feature_names), self.path)
        arrays = concatenate(entries, len(self.feature_names))
        objects = encode_arrays(arrays)
        seals = {
            name: seal(values, objects[f"{name}/{_ROOT}"]) for name, (values, _) in arrays.items()
        }
        commit = part_json(entries, seals)
        if self._objects.get(_ROOT) is None:
            raise FacerError(f"{self.path}: the store is gone; run the same command again")
        if self._objects.get(f"{PARTS}/{_ROOT}") is None:
            self._objects.put(f"{PARTS}/{_ROOT}", group_json({}))
        part = part_id_after(after) if after else new_part_id(self._objects.children(PARTS))
        prefix = f"{PARTS}/{part}"
        try:
            self._objects.put_many({f"{prefix}/{key}": data for key, data in objects.items()})
        except BaseException:
            self._objects.delete(prefix)
            raise
        try:
            self._objects.put(f"{prefix}/{_ROOT}", commit)
        except FacerError:  # an interrupt leaves the part whole or invisible
            self._objects.delete(prefix)
            raise
        if self._parts is not None:
            written = parse_part(commit, part, self.path, STORE_VERSION)
            parts = self._parts | ({part: written} if written else {})
            self._parts, self._latest = {name: parts[name] for name in sorted(parts)}, None
        return part

    def drop_part(self, part_id: str) -> None:
        """Delete a part as a whole; its clips are then no longer in it."""
        self.drop_parts([part_id])

    def drop_parts(self, part_ids: Sequence[str]) -> None:
        """Delete parts, each as a whole; FacerError for one that cannot be deleted."""
        for part_id in part_ids:
            self._objects.delete(f"{PARTS}/{part_id}/{_ROOT}")  # from now on it is none
            self._objects.delete(f"{PARTS}/{part_id}")
        for part_id in set(part_ids) & set(self.part_names()):
            raise FacerError(
                f"{self.path}/{PARTS}/{part_id}: cannot be deleted; change its permissions"
            )
        self.refresh()

    def drop_clips(self, clip_ids: Collection[str]) -> None:
        """Delete clips, their earlier records too; others of their parts are written anew first."""
        gone = set(clip_ids)
        while parts := {record.part for record in self.records if record.clip_id in gone}:
            part = min(parts)
            kept = [r for r in self.records if r.part == part and r.clip_id not in gone]
            if kept:
                self.write_part([
                    (r, None if r.status == "failed" else self.read(r.clip_id)) for r in kept
                ])  # fmt: skip
            self.drop_part(part)


def _measured(provenance: Provenance) -> str:
    return "sound" if provenance.of_sound else "faces"


def open_store(path: StorePath) -> FeatureStore:
    """Open a store at a local path or fsspec URL; FacerError when there is none."""
    return FeatureStore.open(path)
