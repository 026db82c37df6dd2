"""Many clips into one matrix: each part is read once, straight into place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from facer.storage.arrays import Rows, StoredArray
from facer.storage.errors import FacerError
from facer.storage.objects import Objects
from facer.storage.parts import EMBEDDING, PARTS
from facer.storage.schema import F32, Record


@dataclass(frozen=True)
class Ragged:
    """The frames of C clips, one after another: N rows in all.

    Clip ``i`` has rows ``offsets[i]`` to ``offsets[i + 1]``, in order of time. Rows of frames
    without a face are NaN and not ``valid``.
    """

    features: F32  # (N, F)
    valid: npt.NDArray[np.bool_]  # (N,)
    offsets: npt.NDArray[np.int64]  # (C + 1,)
    clip_ids: tuple[str, ...]  # (C,)
    timestamp_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(N,) As the store has them; empty for sequences that were not read from one."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of frames of each clip, (C,)."""
        return np.diff(self.offsets)


def part_array(objects: Objects, part: str, name: str) -> StoredArray:
    """Return one array of a part; FacerError when the part lacks it."""
    array = StoredArray.open(objects, f"{PARTS}/{part}/{name}")
    if array is None:
        raise FacerError(
            f"{objects.location}/{PARTS}/{part}: found no array {name!r}, expected one; "
            f"delete this folder and run the same extraction again"
        )
    return array


@dataclass(frozen=True)
class Source:
    """An array of a store's parts, stored as (N, ``width``), or some columns of it."""

    name: str
    width: int
    columns: Sequence[int] | None = None  # None: all

    @property
    def wanted(self) -> int:
        """How many columns are read."""
        return self.width if self.columns is None else len(self.columns)


def gather(objects: Objects, sources: Sequence[Source], records: Sequence[Record]) -> Ragged:
    """Read arrays of several clips, side by side, into one matrix.

    The result follows ``records``. Its memory and a few chunks are all that is used.
    """
    offsets = np.zeros(len(records) + 1, np.int64)
    np.cumsum([record.n_frames for record in records], out=offsets[1:])
    values = np.empty((offsets[-1], sum(source.wanted for source in sources)), np.float32)
    valid = np.empty(len(values), np.bool_)
    times_s = np.empty(len(values), np.float64)
    rows: dict[str, list[Rows]] = defaultdict(list)
    for record, target in zip(records, offsets.tolist(), strict=False):
        if record.n_frames:
            rows[record.part].append(Rows(record.start, record.stop, target))

    def read_part(part: str) -> None:
        first = 0
        for source in sources:
            stored = part_array(objects, part, source.name)
            if stored.shape[1:] != (source.width,):
                raise FacerError(
                    f"{objects.location}/{PARTS}/{part}/{source.name}: found shape "
                    f"{stored.shape}, expected {source.width} columns"
                )
            block = values[:, first : first + source.wanted]
            stored.scatter(rows[part], block, source.columns)
            first += source.wanted
        part_array(objects, part, "timestamp_s").scatter(rows[part], times_s)
        part_array(objects, part, "valid").scatter(rows[part], valid)

    with ThreadPoolExecutor(objects.parallel) as pool:
        for _ in pool.map(read_part, sorted(rows)):
            pass
    return Ragged(values, valid, offsets, tuple(record.clip_id for record in records), times_s)


def embedding_width(objects: Objects, parts: Sequence[str]) -> int:
    """Columns of the embedding of these parts; FacerError when one has none."""
    width = 0
    for part in parts:
        array = StoredArray.open(objects, f"{PARTS}/{part}/{EMBEDDING}")
        if array is None:
            raise FacerError(
                f"{objects.location}: found clips without an embedding (part {part}), expected "
                "one for all; facer extract --embedding into another store writes it"
            )
        width = width or array.shape[1]
    return width
