"""The feature store: stage one writes parts, stage two reads clips.

Format: docs/store-format.md.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facer.storage.clip import Clip, as_names, column_indices, frames_table
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.objects import Objects, open_objects
from facer.storage.files.regular import refuse_tilde
from facer.storage.layout.arrays import StoredArray
from facer.storage.layout.part_list import DOCUMENT, PartList
from facer.storage.layout.parts import EMBEDDING, PARTS, Entry, check_entries, is_part_id
from facer.storage.layout.writing import write_part
from facer.storage.loading import (
    ArraySource,
    Ragged,
    check_valid,
    embedding_width,
    gather,
    part_array,
    part_arrays,
)
from facer.storage.root import Root, check_names, parse_root, refuse_other_run, root_json
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


StorePath = str | os.PathLike[str]


class FeatureStore(PartList):
    """Per-frame features of many clips, in parts that are written once and never changed.

    Open one with :meth:`open`, :meth:`create` or :meth:`open_or_create`. The list of clips is
    read at first use and again by :meth:`refresh`; a clip that is in several parts counts as
    it is in the latest one. A part whose records are damaged is left out, and a warning of the
    logger ``facer`` says so: see :attr:`damaged`.
    """

    def __init__(self, objects: Objects, root: Root) -> None:
        super().__init__(objects, root.version, root.checksum)
        self.root = root

    @classmethod
    def open(cls, path: StorePath) -> FeatureStore:
        """Open the store at a local path or fsspec URL.

        Raises FacerError when there is none, or when a newer facer wrote it.
        """
        objects = open_objects(path)
        data = objects.get(DOCUMENT)
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
        refuse_tilde(Path(path))
        objects = open_objects(path)
        if any(not name.startswith(".") for name in objects.children("")):
            raise FacerError(
                f"{objects.location}: found files there, expected a new path for a feature store; "
                f"give another path or remove it"
            )
        data = root_json(root)
        objects.put(DOCUMENT, data)
        return cls(objects, parse_root(data, objects.location))

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
        columns = {"feature_names": feature_names, "weak_features": weak_features}
        if objects.get(DOCUMENT) is None:
            try:
                cls.create(path, provenance, **columns)
            except FacerError:
                if objects.get(DOCUMENT) is None:  # else another process was first
                    raise
        store = cls.open(path)
        wanted = Root(store.version, tuple(feature_names), tuple(weak_features), provenance)
        refuse_other_run(store.path, store.root, wanted)
        return store

    @property
    def path(self) -> str:
        """Path or URL of the store."""
        return self.objects.location

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
        except (KeyError, TypeError):  # a list is no id
            raise FacerError(
                f"{self.path}: found no clip {clip_id!r} among its {len(self._index())}"
                f"{did_you_mean(clip_id, self._index())}"
            ) from None

    def __len__(self) -> int:
        return len(self._index())

    def __iter__(self) -> Iterator[str]:
        return iter(self.clip_ids)

    def __contains__(self, clip_id: object) -> bool:
        return isinstance(clip_id, str) and clip_id in self._index()

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
        ids = dict.fromkeys(self.clip_ids if clip_ids is None else as_names("clip_ids", clip_ids))
        names = self.feature_names if columns is None else as_names("columns", columns)
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

    def array(self, part_id: str, name: str) -> StoredArray:
        """Open one array of a part, to read rows of many clips at a time."""
        return part_array(self.objects, self.parts[part_id], name, len(self.feature_names))

    def read(self, clip_id: str) -> ClipFeatures:
        """Return all that is stored of one clip; FacerError when it failed or is unknown."""
        return self.retrying(lambda: self.read_record(self.record(clip_id)))

    def read_record(self, record: Record) -> ClipFeatures:
        """Return what is stored of a clip where its record says, which may be an older part."""
        if record.status == "failed":
            raise FacerError(f"{self.path}: clip {record.clip_id!r} failed: {record.reason}")
        part = self.parts[record.part]
        arrays = part_arrays(self.objects, part, len(self.feature_names))
        values: dict[str, Any] = {
            name: array.read(record.start, record.stop) for name, array in arrays.items()
        }
        check_valid(self.objects, record, values["valid"])
        return ClipFeatures(**values)

    def load(
        self, clip_ids: Sequence[str], columns: Sequence[str] | None = None, *,
        embedding: bool = False, quality: bool = False,
    ) -> Ragged:  # fmt: skip
        """Read the features of many clips into one matrix, in the order of ``clip_ids``.

        Beside them are the frames' times and which are valid.

        ``columns`` chooses features by name (default: all); ``embedding`` puts the embedding's
        columns after them, ``quality`` that of each frame beside them. Each part is read once;
        memory is the matrix and a few chunks. A failed clip has no rows. Raises FacerError when
        an embedding or the quality is asked for and absent.
        """
        names, where = self.feature_names, self.path
        if isinstance(columns, set | frozenset):
            raise OptionError(f"{named('columns')}: found a set, expected them in their order")
        chosen = names if columns is None else as_names("columns", columns)
        picks = None if columns is None else column_indices(names, chosen, where)
        ids = as_names("clip_ids", clip_ids)
        return self.retrying(lambda: self._load(ids, picks, embedding, quality))

    def _load(
        self, clip_ids: Sequence[str], picks: Sequence[int] | None, embedding: bool, quality: bool
    ) -> Ragged:
        records = [self.record(clip_id) for clip_id in clip_ids]
        sources = [ArraySource("features", len(self.feature_names), picks)]
        if embedding:
            parts = sorted({record.part for record in records if record.n_frames})
            width = embedding_width(self.objects, [self.parts[part] for part in parts])
            sources.append(ArraySource(EMBEDDING, width))
        return gather(self.objects, sources, records, self.parts, quality)

    def write_part(self, entries: Sequence[Entry], after: str = "") -> str:
        """Write clips as one new part and return its id; all of them are there, or none.

        Each entry is a clip's record and features; features are None for a failed clip, and
        only for it. The record's ``part`` and ``start`` are set here. The part is the latest, or
        comes right ``after`` another. Raises FacerError when an entry does not fit (nothing is
        written then) or the place refuses (nothing is left).
        """
        check_entries(entries, len(self.feature_names), self.path)
        if self.objects.get(DOCUMENT) is None:
            raise FacerError(f"{self.path}: the store is gone; run the same command again")
        part = write_part(self.objects, entries, len(self.feature_names), self.root.checksum, after)
        self._add(part)
        return part.id

    def drop_parts(self, part_ids: Sequence[str]) -> None:
        """Delete parts, each as a whole, with their clips; FacerError for one that cannot be."""
        for part_id in part_ids:
            self.objects.delete(f"{PARTS}/{part_id}/{DOCUMENT}")  # from now on it is none
            self.objects.delete(f"{PARTS}/{part_id}")
        for part_id in set(part_ids) & set(self.part_names()):
            raise FacerError(
                f"{self.path}/{PARTS}/{part_id}: cannot be deleted; change its permissions"
            )
        self.refresh()

    def drop_clips(self, clip_ids: Collection[str]) -> None:
        """Delete clips, their earlier records too; others of their parts are written anew first.

        They take their part's place: what was or is written later, as by another process, still is.
        """
        gone = set(clip_ids)
        while parts := {record.part for record in self.records if record.clip_id in gone}:
            part = min(parts)
            kept = [r for r in self.records if r.part == part and r.clip_id not in gone]
            if kept:
                self.write_part([
                    (r, None if r.status == "failed" else self.read(r.clip_id)) for r in kept
                ], part if is_part_id(part) else "")  # fmt: skip
            self.drop_parts([part])


def open_store(path: StorePath) -> FeatureStore:
    """Open a store at a local path or fsspec URL; FacerError when there is none."""
    return FeatureStore.open(path)
