"""Whether a store is whole: every record and every chunk is read.

A clip is ``whole``; ``damaged``: what is there is proved not to be what was written;
``absent``: something of it is gone; ``unknown``: it cannot be read here, which proves nothing
(a permission, a codec that this zarr-python lacks). A part's state is the worst of its clips'.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from facer.storage.errors import AbsentError, DamagedError, FacerError, broken
from facer.storage.files.json_files import parse_json
from facer.storage.files.objects import Objects
from facer.storage.layout.arrays import Expected, StoredArray, check_values, own_array, value_bytes
from facer.storage.layout.documents import parse_group
from facer.storage.layout.part_list import DOCUMENT
from facer.storage.layout.parts import ARRAYS, EMBEDDING, OPTIONAL, PARTS, Part
from facer.storage.loading import part_array
from facer.storage.schema import U8, Bools
from facer.storage.store import FeatureStore

ClipState = Literal["whole", "absent", "damaged", "unknown"]
_SEVERITY: tuple[ClipState, ...] = ("whole", "unknown", "absent", "damaged")

_MOST_FAILURES = 1000  # of an array that are told one by one


@dataclass
class PartReport:
    """What was found of one part."""

    part: str
    committed: bool = True  # False: no records, as an interrupted writer leaves it
    state: ClipState = "whole"
    reasons: list[str] = field(default_factory=list)
    clips: dict[str, ClipState] = field(default_factory=dict)  # those that are not whole
    clip_ids: tuple[str, ...] = ()  # all that are known to be in it
    relaid: tuple[str, ...] = ()  # arrays in another layout than facer's
    n_bytes: int = 0  # of values that were read

    def note(self, state: ClipState, reason: str, clip_ids: Iterable[str]) -> None:
        """Take down what is wrong with some clips."""
        self.state = _worse(self.state, state)
        self.reasons.append(reason)
        for clip_id in clip_ids:
            self.clips[clip_id] = _worse(self.clips.get(clip_id, "whole"), state)


@dataclass(frozen=True)
class StoreReport:
    """What was found of a store whose root is whole."""

    parts: tuple[PartReport, ...]
    group: str  # what is wrong with parts/zarr.json, which only other programs read

    @property
    def clips(self) -> dict[str, ClipState]:
        """State of each clip, by its latest part."""
        latest = {
            clip_id: part.clips.get(clip_id, "whole")
            for part in self.parts
            for clip_id in part.clip_ids
        }
        return dict(sorted(latest.items()))

    def parts_of_state(self, *states: ClipState) -> tuple[PartReport, ...]:
        """Parts of some states."""
        return tuple(part for part in self.parts if part.state in states)


def verify_store(store: FeatureStore, jobs: int) -> StoreReport:
    """Read all of a store, several parts at a time."""
    names = store.part_names()
    with ThreadPoolExecutor(jobs) as pool:
        parts = tuple(pool.map(lambda name: verify_part(store, name), names))
    return StoreReport(parts, _group_problem(store.objects) if names else "")


def _worse(one: ClipState, other: ClipState) -> ClipState:
    return max(one, other, key=_SEVERITY.index)


def _state(error: FacerError) -> ClipState:
    if isinstance(error, AbsentError):
        return "absent"
    return "damaged" if isinstance(error, DamagedError) else "unknown"


def _group_problem(objects: Objects) -> str:
    try:
        data = objects.get(f"{PARTS}/{DOCUMENT}")
        if data is None:
            return "it is missing"
        parse_group(data, strict=True)
    except (ValueError, KeyError, TypeError, FacerError) as error:
        return str(error)
    return ""


def verify_part(store: FeatureStore, name: str) -> PartReport:
    """Read all of one part, by its id."""
    report = PartReport(name)
    data: bytes | None = None
    try:
        data = store.objects.get(f"{PARTS}/{name}/{DOCUMENT}")
        part = None if data is None else store.parse(name, data)
    except FacerError as error:
        report.clip_ids = _legible_ids(data)
        report.note(_state(error), str(error), report.clip_ids)
        return report
    if part is None:
        report.committed = False
        return report
    report.clip_ids = tuple(record.clip_id for record in part.records)
    buffer = _Buffer()
    for array in _arrays_of(store.objects, part):
        _verify_array(store, part, array, report, buffer)
    return report


class _Buffer:
    """Memory that chunks are unpacked into, one after another."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def of(self, array: StoredArray) -> U8 | None:
        """Room for a chunk of an array; None for one that is in memory as a whole."""
        if array.values is not None:
            return None
        if len(self._bytes) < array.chunk_bytes:
            self._bytes = np.empty(array.chunk_bytes, np.uint8)
        return self._bytes


def _legible_ids(data: bytes | None) -> tuple[str, ...]:
    """Clips of a part that still can be told from its damaged records."""
    try:
        rows = parse_json(data or b"")["attributes"]["records"]
        return tuple(row["clip_id"] for row in rows if isinstance(row["clip_id"], str))
    except (ValueError, KeyError, TypeError):
        return ()


def _arrays_of(objects: Objects, part: Part) -> Sequence[str]:
    if part.seals:
        return [name for name in (*ARRAYS, *OPTIONAL) if name in part.seals]
    embedding = objects.get(f"{PARTS}/{part.id}/{EMBEDDING}/{DOCUMENT}") is not None
    return (*ARRAYS, EMBEDDING) if embedding else ARRAYS


def _verify_array(
    store: FeatureStore, part: Part, name: str, report: PartReport, buffer: _Buffer
) -> None:
    """Read all of an array and take down which clips lie in what fails."""
    expected = part.expected(name, len(store.feature_names))
    key = f"{PARTS}/{part.id}/{name}"
    try:
        array = part_array(store.objects, part, name, len(store.feature_names))
    except FacerError as error:
        state = _state(error)
        if state == "unknown" and _is_whole_beneath(store.objects, key, expected):
            state = "damaged"  # for the array's zarr.json alone is not what was written
        report.note(state, str(error), _with_rows(part, 0, part.rows))
        return
    report.relaid += (name,) if array.values is not None else ()
    crc32, failures = 0, 0
    valid: list[Bools] = []
    for index, first, stop in array.chunks():
        try:
            rows = array.chunk(index, buffer.of(array))[: stop - first]
            crc32 = zlib.crc32(value_bytes(rows), crc32)
            if name == "valid":
                valid.append(rows.copy())
            report.n_bytes += (stop - first) * array.row_bytes
        except FacerError as error:
            failures += 1
            report.note(_state(error), str(error), _with_rows(part, first, stop))
        if failures == _MOST_FAILURES:  # a stranger's array may lack millions
            text = f"{key}: {failures} chunks are damaged or missing, those after are not looked at"
            report.note("unknown", text, _with_rows(part, stop, part.rows))
            break
    if failures:
        return
    try:
        check_values(store.path, key, crc32, expected.seal)
    except DamagedError as error:
        report.note("damaged", str(error), _with_rows(part, 0, part.rows))
        return
    if valid and (wrong := _miscounted(part, np.concatenate(valid))):
        text = broken(store.path, key, "not as many valid frames as the records say")
        report.note("damaged", text, wrong)


def _miscounted(part: Part, valid: Bools) -> list[str]:
    before = np.concatenate([[0], np.cumsum(valid)])  # valid frames before each row
    rows = np.array([(r.start, r.stop, r.n_valid) for r in part.records], np.int64).reshape(-1, 3)
    wrong = before[rows[:, 1]] - before[rows[:, 0]] != rows[:, 2]
    return [part.records[index].clip_id for index in np.flatnonzero(wrong).tolist()]


def _is_whole_beneath(objects: Objects, key: str, expected: Expected) -> bool:
    """Whether facer's own chunks of an array are there and whole, and its ``zarr.json`` is read."""
    array = own_array(objects, key, expected)
    if array is None or expected.seal is None:
        return False
    crc32 = 0
    try:
        objects.get(f"{key}/{DOCUMENT}")
        for index, first, stop in array.chunks():
            crc32 = zlib.crc32(value_bytes(array.chunk(index)[: stop - first]), crc32)
    except FacerError:
        return False
    return crc32 == expected.seal.crc32


def _with_rows(part: Part, first: int, stop: int) -> Iterator[str]:
    """Clips that have rows among ``first`` to ``stop``."""
    return (r.clip_id for r in part.records if r.start < stop and r.stop > first)
