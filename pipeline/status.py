"""What a store holds, and how a label file joins it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.labels import IntensityLabels
from facer.storage.matching import match_clips, no_match_message
from facer.storage.schema import Record

HUME_REACTION_SPLITS = {"train": 15_806, "val": 4_657, "test": 4_604}
"""Clips per split of Hume-Reaction (Kollias et al. 2023, section 4)."""


@dataclass(frozen=True)
class StoreStatus:
    """Counts over all records of a store."""

    path: str
    clips: dict[str, int]  # by status; with --face all these are sequences, one of each face
    videos: int
    frames: int
    face_frames: int
    seconds_spent: float
    failures: tuple[tuple[str, str], ...]  # (clip_id, reason)
    notes: tuple[tuple[str, str], ...]  # (clip_id, what was odd) of clips that are there
    provenance: dict[str, Any]

    @property
    def face_share(self) -> float | None:
        """Frames with a measured face over all frames, in [0, 1]; None without frames."""
        return self.face_frames / self.frames if self.frames else None

    def to_json(self) -> dict[str, Any]:
        """As ``facer status --json`` prints it."""
        return {
            "store": self.path,
            "clips": sum(self.clips.values()),
            **self.clips,
            "videos": self.videos,
            "frames": self.frames,
            "frames_with_face": self.face_frames,
            "face_share": self.face_share,
            "seconds_spent": self.seconds_spent,
            "failures": dict(self.failures),
            "notes": dict(self.notes),
            "provenance": self.provenance,
        }


def store_status(store: FeatureStore) -> StoreStatus:
    """Counts, failures and provenance of a store, from its records alone."""
    records = store.records
    counts = Counter(r.status for r in records)
    return StoreStatus(
        path=store.path,
        clips={status: counts.get(status, 0) for status in ("ok", "no_face", "failed")},
        videos=len({r.source or r.clip_id for r in records}),
        frames=sum(r.n_frames for r in records),
        face_frames=sum(r.n_valid for r in records),
        seconds_spent=sum(r.seconds for r in records),
        failures=tuple((r.clip_id, r.reason) for r in records if r.status == "failed"),
        notes=tuple((r.clip_id, r.reason) for r in records if r.reason and r.status != "failed"),
        provenance=_plain(store),
    )


def _plain(store: FeatureStore) -> dict[str, Any]:
    values = dict(vars(store.provenance))
    values["settings"] = dict(store.provenance.settings)
    values["weak_features"] = list(store.weak_features)
    return values


@dataclass(frozen=True)
class SplitCount:
    """How many rows of a split can be used."""

    rows: int  # of the label file
    joined: int  # of them, those that mean a clip of the store
    usable: int  # of these, those with a face and at least one target
    published: int | None = None  # rows of Hume-Reaction, where the labels look like that set


@dataclass(frozen=True)
class LabelCheck:
    """How labels and store join."""

    labels: str
    kind: str
    names: tuple[str, ...]
    n_labels: int
    n_clips: int
    splits: dict[str, SplitCount]  # by split, "" for rows without one
    labels_without_clip: tuple[str, ...]
    clips_without_label: tuple[str, ...]
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]
    failed: tuple[str, ...]  # labelled clips that failed
    no_face: tuple[str, ...]  # labelled clips without any face
    without_targets: tuple[str, ...]  # joined, but every cell is empty (normal for test)
    overlong: tuple[str, ...]  # more frames than t
    t: int

    @property
    def usable(self) -> dict[str, int]:
        """Clips that a head can be trained or scored on, by split."""
        return {split: count.usable for split, count in self.splits.items()}

    @property
    def hume_reaction(self) -> bool:
        """Whether the labels look like Hume-Reaction's."""
        return any(count.published is not None for count in self.splits.values())

    def to_json(self) -> dict[str, Any]:
        """As ``facer check --json`` prints it."""
        return {
            **vars(self),
            "splits": {split: asdict(count) for split, count in self.splits.items()},
            "usable": self.usable,
            "ambiguous": {k: list(v) for k, v in self.ambiguous},
        }


def check_labels(store: FeatureStore, labels: IntensityLabels, t: int = 480) -> LabelCheck:
    """Join labels and store and list what does not fit.

    ``FacerError`` when no label matches any clip at all.
    """
    match = match_clips(labels, store.clip_ids)
    if not match.pairs:
        raise FacerError(no_match_message(labels, store.clip_ids))
    records = {r.clip_id: r for r in store.records}
    joined = [(row, records[clip_id]) for row, clip_id in match.pairs]
    has_target = np.atleast_1d(np.isfinite(labels.values).any(axis=1))
    return LabelCheck(
        labels=labels.source,
        kind=labels.kind,
        names=labels.names,
        n_labels=len(labels.clip_ids),
        n_clips=len(records),
        splits=_split_counts(labels, joined, has_target),
        labels_without_clip=match.labels_only,
        clips_without_label=match.store_only,
        ambiguous=match.ambiguous,
        failed=_ids(joined, "failed"),
        no_face=_ids(joined, "no_face"),
        without_targets=tuple(r.clip_id for row, r in joined if not has_target[row]),
        overlong=tuple(r.clip_id for _, r in joined if r.n_frames > t),
        t=t,
    )


def _ids(joined: Sequence[tuple[int, Record]], status: str) -> tuple[str, ...]:
    return tuple(record.clip_id for _, record in joined if record.status == status)


def _split_counts(
    labels: IntensityLabels,
    joined: Sequence[tuple[int, Record]],
    has_target: npt.NDArray[np.bool_],
) -> dict[str, SplitCount]:
    """Counts of train, val, test and whatever else there is, where the file has any."""
    published = HUME_REACTION_SPLITS if _like_hume_reaction(labels) else {}
    rows = Counter(labels.splits)
    met = Counter(labels.splits[row] for row, _ in joined)
    usable = Counter(
        labels.splits[row] for row, record in joined if record.status == "ok" and has_target[row]
    )
    return {
        split: SplitCount(rows[split], met[split], usable[split], published.get(split))
        for split in (*HUME_REACTION_SPLITS, "")
        if rows[split] or split in published
    }


def _like_hume_reaction(labels: IntensityLabels) -> bool:
    """Labels of that set's kinds, and not far from its size."""
    total = sum(HUME_REACTION_SPLITS.values())
    return labels.kind in ("eri", "muse") and total / 2 < len(labels.clip_ids) < 2 * total


def no_match_message(labels: IntensityLabels, clip_ids: Sequence[str]) -> str:
    """The one line that explains why nothing joined, with an example from each side."""
    example = clip_ids[0] if clip_ids else "(the store is empty)"
    faces = " (with --face all, every face of a clip has its own)" if "#" in example else ""
    return (
        f"{labels.source}: none of its {len(labels.clip_ids)} ids matches one of the "
        f"{len(clip_ids)} clips; found ids like {labels.clip_ids[0]!r}, expected ones like "
        f"{example!r}{faces}"
    )
