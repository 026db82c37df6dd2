"""How a label file joins a store, and what its targets and its features are like."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facer.pipeline.intensity.labelled import LabelTable, join_labels, untrained
from facer.pipeline.intensity.sources.splits import label_notes, shared_subjects
from facer.stages.intensity.sequences import FeatureChoice, choose_features
from facer.storage import FeatureStore
from facer.storage.labels.challenges import SPLITS
from facer.storage.labels.table import IntensityLabels
from facer.storage.schema import F32, Bools
from facer.storage.text.typed_json import to_json

HUME_REACTION_SPLITS = {"train": 15_806, "val": 4_657, "test": 4_604}
"""Clips per split of Hume-Reaction (Kollias et al. 2023, section 4)."""
_BLOCK_CLIPS = 500  # whose features are in memory at a time


@dataclass(frozen=True)
class SplitCount:
    """How many rows of a split can be used."""

    rows: int  # of the label file
    joined: int  # of them, those that mean a clip of the store
    usable: int  # of these, those with a face and at least one target
    published: int | None = None  # rows of Hume-Reaction, where the labels look like that set


@dataclass(frozen=True)
class TargetCheck:
    """The labels of one target, over all rows of the file."""

    n: int
    min: float | None  # None where nothing is labelled, as mean and max
    mean: float | None
    max: float | None
    absent_share: float  # of the rows, in [0, 1]
    trained: bool  # some clip of train that has features has a label
    does_not_vary_in: tuple[str, ...]  # splits with labels of a single value: no correlation
    no_label_in: tuple[str, ...]


@dataclass(frozen=True)
class UsedSplit:
    """A split as train-head uses it."""

    clips: int  # with a face and at least one target
    subjects: int | None  # that these show; None where the file names none


@dataclass(frozen=True)
class FeatureCheck:
    """The chosen features of the labelled clips that have a face."""

    columns: tuple[str, ...]
    empty_columns: tuple[str, ...]  # without a value in any clip
    empty_clips: tuple[str, ...]  # without a frame in which all of them are measured
    frames: int
    filled_share: float | None  # of the frames: not measured, so that a head sees filled ones


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
    no_face: tuple[str, ...]  # labelled clips without any face, or any sound
    without_targets: tuple[str, ...]  # joined, but every cell is empty (normal for test)
    overlong: tuple[str, ...]  # more frames than t
    t: int
    facts: tuple[str, ...]  # what the file was taken for, and each column
    columns: Mapping[str, str]  # id, split, subject: the column's name
    left_out: tuple[tuple[str, str], ...]  # columns that were not read, and why
    targets: dict[str, TargetCheck]
    split_rule: str  # where the splits that train-head uses come from
    used_splits: dict[str, UsedSplit]
    shared_subjects: Mapping[str, tuple[str, ...]]  # in more than one split
    look_alikes: tuple[tuple[str, str, str], ...]  # (id, clip, how they differ)
    features: FeatureCheck
    notes: tuple[str, ...]

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
            **to_json(self),
            "usable": self.usable,
            "ambiguous": {k: list(v) for k, v in self.ambiguous},
            "left_out": dict(self.left_out),
        }


def check_labels(
    store: FeatureStore, labels: IntensityLabels, t: int = 480, features: Sequence[str] = ("all",)
) -> LabelCheck:
    """Join labels and store and list what does not fit; ``features`` are those of a head.

    ``FacerError`` when no label matches any clip at all.
    """
    table = join_labels(labels, store)
    joined, trained = table.clip_ids != "", set(labels.names) - set(untrained(table))
    frames = {record.clip_id: record.n_frames for record in store.records}
    choice = choose_features(features, store.feature_names)
    return LabelCheck(
        labels=labels.source,
        kind=labels.kind,
        names=labels.names,
        n_labels=len(labels.clip_ids),
        n_clips=len(frames),
        splits=_split_counts(table, joined),
        labels_without_clip=table.match.labels_only,
        clips_without_label=table.match.store_only,
        ambiguous=table.match.ambiguous,
        failed=table.clips(table.status == "failed"),
        no_face=table.clips(table.status == "no_face") + table.clips(table.status == "no_sound"),
        without_targets=table.clips(joined & ~table.labelled),
        overlong=tuple(clip for clip in table.clips(joined) if frames[clip] > t),
        t=t,
        facts=labels.facts,
        columns=labels.columns,
        left_out=labels.left_out,
        targets={
            name: _target_check(values, table, name in trained)
            for name, values in zip(labels.names, labels.values.T, strict=True)
        },
        split_rule=table.split_rule,
        used_splits={split: _used_split(table, split) for split in SPLITS},
        shared_subjects=shared_subjects(labels, table.splits),
        look_alikes=table.match.alike,
        features=check_features(store, table.clips(table.usable), choice),
        notes=label_notes(labels, table.splits),
    )


def _target_check(values: F32, table: LabelTable, trained: bool) -> TargetCheck:
    known = values[np.isfinite(values)].astype(np.float64)
    by_split = {split: values[table.of(split)] for split in SPLITS}
    labelled = {split: rows[np.isfinite(rows)] for split, rows in by_split.items() if len(rows)}
    return TargetCheck(
        n=len(known),
        min=float(known.min()) if len(known) else None,
        mean=float(known.mean()) if len(known) else None,
        max=float(known.max()) if len(known) else None,
        absent_share=1 - len(known) / len(values),
        trained=trained,
        does_not_vary_in=tuple(s for s, found in labelled.items() if len(set(found.tolist())) == 1),
        no_label_in=tuple(s for s, found in labelled.items() if not len(found)),
    )


def _used_split(table: LabelTable, split: str) -> UsedSplit:
    subjects = table.subjects[table.of(split) & table.usable & table.labelled]
    return UsedSplit(len(subjects), len(set(subjects)) if any(table.subjects) else None)


def check_features(
    store: FeatureStore, clip_ids: Sequence[str], choice: FeatureChoice
) -> FeatureCheck:
    """Which of the chosen features some clips have, and in how many frames; a block at a time."""
    empty: list[str] = []
    frames = measured = 0
    there = np.zeros(len(choice.columns), np.bool_)
    for start in range(0, len(clip_ids), _BLOCK_CLIPS):
        block = clip_ids[start : start + _BLOCK_CLIPS]
        ragged = store.load(block, choice.columns, embedding=choice.embedding)
        known = np.isfinite(ragged.features) & ragged.valid[:, None]
        there |= known[:, : len(there)].any(axis=0)
        whole = np.atleast_1d(known.all(axis=1))
        frames, measured = frames + len(whole), measured + int(whole.sum())
        spans = itertools.pairwise(ragged.offsets)
        empty += [clip for clip, (a, b) in zip(block, spans, strict=True) if not whole[a:b].any()]
    return FeatureCheck(
        columns=choice.columns,
        empty_columns=tuple(n for n, any_ in zip(choice.columns, there, strict=True) if not any_),
        empty_clips=tuple(empty),
        frames=frames,
        filled_share=1 - measured / frames if frames else None,
    )


def _split_counts(table: LabelTable, joined: Bools) -> dict[str, SplitCount]:
    """Counts of train, val, test and whatever else there is, where the file has any."""
    published = HUME_REACTION_SPLITS if _like_hume_reaction(table.labels) else {}
    own = np.array(table.labels.splits, object)  # which the file may not have
    rows, met = Counter(own), Counter(own[joined])
    usable = Counter(own[table.usable & table.labelled])
    return {
        split: SplitCount(rows[split], met[split], usable[split], published.get(split))
        for split in (*HUME_REACTION_SPLITS, "")
        if rows[split] or split in published
    }


def _like_hume_reaction(labels: IntensityLabels) -> bool:
    """Labels of that set's kinds, and not far from its size."""
    total = sum(HUME_REACTION_SPLITS.values())
    return labels.kind in ("eri", "muse") and total / 2 < len(labels.clip_ids) < 2 * total
