"""Many clips into one matrix: each part is read once, straight into place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from facer.storage.errors import AbsentError, DamagedError, FacerError, broken
from facer.storage.files.memory import affordable
from facer.storage.files.objects import Objects
from facer.storage.layout.arrays import Rows, StoredArray
from facer.storage.layout.parts import ARRAYS, EMBEDDING, PARTS, QUALITY, Part
from facer.storage.schema import F32, F64, I64, Bools, Record


@dataclass(frozen=True)
class Ragged:
    """The frames of C clips, one after another: N rows in all.

    Clip ``i`` has rows ``offsets[i]`` to ``offsets[i + 1]``, in order of time. Rows of frames
    without a face are NaN and not ``valid``.

    - ``features`` (N, F)
    - ``valid`` (N,)
    - ``offsets`` (C + 1,)
    - ``clip_ids`` (C,)
    - ``timestamp_s`` (N,): as the store has them; empty for sequences that were not read from
      one
    - ``quality`` (N,): where it was asked for
    """

    features: F32
    valid: Bools
    offsets: I64
    clip_ids: tuple[str, ...]
    timestamp_s: F64 = field(default_factory=lambda: np.empty(0))
    quality: F32 | None = None

    @property
    def lengths(self) -> I64:
        """Number of frames of each clip, (C,)."""
        return np.diff(self.offsets)


def part_array(objects: Objects, part: Part, name: str, n_columns: int) -> StoredArray:
    """Return one array of a part; FacerError when the part lacks it."""
    key = f"{PARTS}/{part.id}/{name}"
    array = StoredArray.open(objects, key, part.expected(name, n_columns))
    if array is None:
        text = f"found no array {name!r}, expected one"
        raise AbsentError(broken(objects.location, key, text))
    return array


def part_embedding(objects: Objects, part: Part) -> StoredArray | None:
    """Return the embedding of a part, None when it was written without one."""
    if EMBEDDING in part.seals:
        return part_array(objects, part, EMBEDDING, 0)
    key = f"{PARTS}/{part.id}/{EMBEDDING}"
    return StoredArray.open(objects, key, part.expected(EMBEDDING, 0))


def part_arrays(objects: Objects, part: Part, n_columns: int) -> dict[str, StoredArray]:
    """Return all arrays of a part, those that it may lack where it has them."""
    names = (*ARRAYS, *([QUALITY] if QUALITY in part.seals else []))
    found = {name: part_array(objects, part, name, n_columns) for name in names}
    embedding = part_embedding(objects, part)
    return found if embedding is None else {**found, EMBEDDING: embedding}


@dataclass(frozen=True)
class ArraySource:
    """An array of a store's parts, stored as (N, ``width``), or some columns of it."""

    name: str
    width: int
    columns: Sequence[int] | None = None  # None: all

    @property
    def wanted(self) -> int:
        """How many columns are read."""
        return self.width if self.columns is None else len(self.columns)

    def of(self, objects: Objects, part: Part) -> StoredArray:
        """Return the array of a part; FacerError where it has another number of columns."""
        stored = part_array(objects, part, self.name, self.width)
        if stored.shape[1:] != (self.width,):
            raise FacerError(
                f"{objects.location}/{PARTS}/{part.id}/{self.name}: found shape {stored.shape}, "
                f"expected {self.width} columns"
            )
        return stored


def gather(
    objects: Objects,
    sources: Sequence[ArraySource],
    records: Sequence[Record],
    parts: Mapping[str, Part],
    quality: bool = False,
) -> Ragged:
    """Read arrays of several clips, side by side, into one matrix.

    The result follows ``records``. Its memory and a few chunks are all that is used. FacerError
    when ``quality`` is wanted and a part has none.
    """
    offsets = np.zeros(len(records) + 1, np.int64)
    np.cumsum([record.n_frames for record in records], out=offsets[1:])
    width = sum(source.wanted for source in sources)
    affordable(objects.location, (4 * width + 9) * int(offsets[-1]))
    values = np.empty((offsets[-1], width), np.float32)
    valid = np.empty(len(values), np.bool_)
    times_s = np.empty(len(values), np.float64)
    qualities = np.empty(len(values), np.float32) if quality else None
    rows = rows_by_part(records, offsets.tolist())

    def read_part(part_id: str) -> None:
        part, first = parts[part_id], 0
        for source in sources:
            block = values[:, first : first + source.wanted]
            source.of(objects, part).scatter(rows[part_id], block, source.columns)
            first += source.wanted
        part_array(objects, part, "timestamp_s", 0).scatter(rows[part_id], times_s)
        part_array(objects, part, "valid", 0).scatter(rows[part_id], valid)
        if qualities is not None:
            _quality(objects, part).scatter(rows[part_id], qualities)

    with ThreadPoolExecutor(objects.parallel) as pool:
        for _ in pool.map(read_part, sorted(rows)):
            pass
    for record, start in zip(records, offsets.tolist(), strict=False):
        check_valid(objects, record, valid[start : start + record.n_frames])
    clip_ids = tuple(record.clip_id for record in records)
    return Ragged(values, valid, offsets, clip_ids, times_s, qualities)


def rows_by_part(records: Sequence[Record], targets: Sequence[int]) -> dict[str, list[Rows]]:
    """Return the rows of some clips in each part, and where they go: from ``targets`` (C,) on."""
    rows: dict[str, list[Rows]] = defaultdict(list)
    for record, target in zip(records, targets, strict=False):
        if record.n_frames:
            rows[record.part].append(Rows(record.start, record.stop, target))
    return rows


def _quality(objects: Objects, part: Part) -> StoredArray:
    if QUALITY not in part.seals:
        raise FacerError(
            f"{objects.location}: found clips without a quality (part {part.id}), expected one for "
            "all; facer extract of this version writes it, into another store"
        )
    return part_array(objects, part, QUALITY, 0)


def check_valid(objects: Objects, record: Record, valid: Bools) -> None:
    """Refuse a clip with more or fewer valid frames than its record says."""
    found = int(np.count_nonzero(valid))
    if found != record.n_valid:
        text = (
            f"clip {record.clip_id!r}: found {found} valid frames, its record says {record.n_valid}"
        )
        raise DamagedError(broken(objects.location, f"{PARTS}/{record.part}/valid", text))


def embedding_width(objects: Objects, parts: Sequence[Part]) -> int:
    """Columns of the embedding of these parts; FacerError when one has none."""
    width = 0
    for part in parts:
        array = part_embedding(objects, part)
        if array is None:
            raise FacerError(
                f"{objects.location}: found clips without an embedding (part {part.id}), expected "
                "one for all; facer extract --embedding into another store writes it"
            )
        width = width or array.shape[1]
    return width
