"""What a store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facer.storage import FeatureStore
from facer.storage.schema import Record


@dataclass(frozen=True)
class StoreStatus:
    """Counts over all records of a store."""

    path: str
    clips: dict[str, int]  # by status; with --face all these are sequences, one of each face
    videos: int
    frames: int
    face_frames: int  # with a measured face; of sound, windows of which all is there
    quality: float | None  # mean over the frames with a face of which it is known, 0 to 1
    seconds_spent: float
    failures: tuple[tuple[str, str], ...]  # (clip_id, reason)
    notes: tuple[tuple[str, str], ...]  # (clip_id, what was odd) of clips that are there
    damaged: tuple[str, ...]  # what is wrong with parts that are left out
    provenance: dict[str, Any]

    @property
    def face_share(self) -> float | None:
        """Frames with a measured face over all frames, in [0, 1]; None without frames."""
        return self.face_frames / self.frames if self.frames else None

    def to_json(self) -> dict[str, Any]:
        """As ``facer status --json`` prints it."""
        what = "sound" if "no_sound" in self.clips else "face"
        return {
            "store": self.path, "clips": sum(self.clips.values()), **self.clips,
            "videos": self.videos, "frames": self.frames, f"frames_with_{what}": self.face_frames,
            f"{what}_share": self.face_share, "quality": self.quality,
            "seconds_spent": self.seconds_spent, "failures": dict(self.failures),
            "notes": dict(self.notes), "damaged_parts": self.damaged,
            "not_looked_at": "chunks and videos; facer verify does", "provenance": self.provenance,
        }  # fmt: skip


def store_status(store: FeatureStore) -> StoreStatus:
    """Counts, failures and provenance of a store, from its records alone."""
    records = store.records
    counts = Counter(r.status for r in records)
    return StoreStatus(
        path=store.path,
        clips={status: counts.get(status, 0) for status in store.provenance.statuses},
        videos=len({r.source or r.clip_id for r in records}),
        frames=sum(r.n_frames for r in records),
        face_frames=sum(r.n_valid for r in records),
        quality=_mean_quality(records),
        seconds_spent=sum(r.seconds for r in records),
        failures=tuple((r.clip_id, r.reason) for r in records if r.status == "failed"),
        notes=tuple((r.clip_id, r.reason) for r in records if r.reason and r.status != "failed"),
        damaged=tuple(map(str, store.damaged.values())),
        provenance={
            **vars(store.provenance),
            "settings": dict(store.provenance.settings),
            "weak_features": list(store.weak_features),
        },
    )


def _mean_quality(records: Sequence[Record]) -> float | None:
    known = [(r.quality, r.n_valid) for r in records if r.n_valid and r.quality is not None]
    frames = sum(n for _, n in known)
    return sum(quality * n for quality, n in known) / frames if frames else None
