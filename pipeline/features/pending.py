"""Which clips a store still lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from facer.storage import FeatureStore
from facer.storage.schema import Record
from facer.storage.study.faces import FacePoints


@dataclass(frozen=True)
class ClipTask:
    """One clip to do."""

    clip_id: str
    path: str  # relative to the place of the videos
    replaces: str = ""  # id of the part whose record of it is to be replaced
    points: FacePoints = ()  # where somebody pointed at the face that is meant


def video_id(record: Record, policy: str) -> str:
    """The video that a record belongs to; under ``all`` its id is video#0, video#1 ..."""
    return record.clip_id.rpartition("#")[0] if policy == "all" else record.clip_id


def pending_clips(
    store: FeatureStore, clips: Sequence[ClipTask], policy: str
) -> tuple[list[ClipTask], tuple[Record, ...]]:
    """Clips that are still to do, and the records of those that a run has committed by now."""
    records: dict[str, list[Record]] = {}
    for record in store.records:
        records.setdefault(video_id(record, policy), []).append(record)
    pending: list[ClipTask] = []
    committed: list[Record] = []
    for clip in clips:
        found = records.get(clip.clip_id, [])
        if not found or any(record.part == clip.replaces for record in found):
            pending.append(clip)
        else:
            committed += found
    return pending, tuple(committed)
