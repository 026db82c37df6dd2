"""Which labelled clips a cross-validation holds out in which fold: settings and plan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from facer.pipeline.intensity.config import SUBJECTS, FoldConfig
from facer.pipeline.intensity.labelled import join_labels, read_trainable, without_label
from facer.pipeline.intensity.sources.joined import Source
from facer.stages.intensity.folds import assign_folds, fold_splits
from facer.storage import IntensityLabels, LabelOptions, read_labels
from facer.storage.errors import FacerError, named
from facer.storage.files.csv_table import csv_text
from facer.storage.schema import I64
from facer.storage.text.names import some


@dataclass(frozen=True)
class FoldRecord(FoldConfig):
    """The folds of a run, as its ``config.json`` keeps them."""

    unit: str = "clip"
    n_folds: int = 0
    rule: str = ""
    sha256: str = ""

    @property
    def config(self) -> FoldConfig:
        """How the clips were divided."""
        return FoldConfig(self.folds, self.by, self.splits)


@dataclass(frozen=True)
class FoldPlan:
    """The fold that holds each of R rows of the labels out."""

    label_ids: tuple[str, ...]  # (R,)
    unit: str  # subject or clip
    groups: tuple[str, ...]  # (R,) the row's subject or clip
    n_folds: int
    fold_of: I64  # (R,) -1 for a row that takes no part
    rule: str  # in words

    def splits(self, fold: int) -> tuple[str, ...]:
        """What each row is in one fold: test (held out), val, train, or "", (R,)."""
        rows = np.flatnonzero(self.fold_of >= 0)
        splits = [""] * len(self.fold_of)
        inner = fold_splits([self.groups[row] for row in rows], self.fold_of[rows], fold)
        for row, split in zip(rows, inner, strict=True):
            splits[row] = split
        return tuple(splits)

    def as_csv(self) -> str:
        """One line a clip: its id, its subject or clip, and the fold that holds it out."""
        header = ("clip_id", "subject" if self.unit == "subject" else "unit", "fold")
        rows = zip(self.label_ids, self.groups, self.fold_of.tolist(), strict=True)
        return csv_text([header, *(row for row in rows if row[-1] >= 0)])

    def record(self, config: FoldConfig) -> FoldRecord:
        """As a run's ``config.json`` keeps it."""
        digest = hashlib.sha256(self.as_csv().encode()).hexdigest()
        return FoldRecord(**vars(config), unit=self.unit, n_folds=self.n_folds, rule=self.rule,
                          sha256=digest)  # fmt: skip


def plan_folds(labels: IntensityLabels, config: FoldConfig) -> FoldPlan:
    """Divide the labelled rows; the same for every store, feature set and seed.

    Raises FacerError without labelled rows, for subjects that the file does not name, and for
    too few of them.
    """
    labelled = np.isfinite(labels.values).any(axis=1)
    has_splits = any(labels.splits)
    part = labelled & (np.isin(labels.splits, config.splits) | (not has_splits))
    rows = np.flatnonzero(part)
    if not len(rows):
        raise FacerError(
            f"{named('folds')}: {labels.source} has no labelled row in {', '.join(config.splits)}"
        )
    unit = _unit(labels, rows, config)
    groups = labels.subjects if unit == "subject" else labels.clip_ids
    chosen = [groups[row] for row in rows]
    n_folds = len(set(chosen)) if config.folds == SUBJECTS else int(config.folds)
    fold_of = np.full(len(part), -1, np.int64)
    fold_of[rows] = assign_folds(chosen, n_folds)
    among = f" of the splits {', '.join(config.splits)}" if has_splits else ""
    rule = (
        f"{n_folds} folds by {unit} over {len(rows)} labelled clips{among}; in each, about 15 % of "
        f"the others, whole {unit}s, choose the epoch"
    )
    return FoldPlan(labels.clip_ids, unit, tuple(groups), n_folds, fold_of, rule)


def read_planned(
    path: str, options: LabelOptions, store: Source, config: FoldConfig | None
) -> tuple[IntensityLabels, FoldPlan | None]:
    """Read the labels to train on, and divide them into folds where that is asked for."""
    if config is None:
        return read_trainable(path, options, store), None
    return plan_trainable(read_labels(path, options), config, store)


def plan_trainable(
    labels: IntensityLabels, config: FoldConfig, store: Source
) -> tuple[IntensityLabels, FoldPlan]:
    """Labels without the targets that some fold has no label to train on, and their folds.

    Those are named in the notes; nothing is left out where no target can be trained.
    """
    usable = join_labels(labels, store).usable
    while True:
        plan, lacking = plan_folds(labels, config), set[str]()
        for fold in range(plan.n_folds):
            train = usable & (np.array(plan.splits(fold)) == "train")
            lacking |= {*without_label(labels, train)}
        kept = [name for name in labels.names if name not in lacking]
        if not lacking or not kept:
            return labels, plan
        names = ", ".join(sorted(lacking))
        note = f"some fold has no label of {names} to train on: not trained, and not predicted"
        labels = replace(labels.only(kept), notes=(*labels.notes, note))


def _unit(labels: IntensityLabels, rows: I64, config: FoldConfig) -> str:
    all_named = all(labels.subjects[row] for row in rows)
    wanted = "subject" if config.folds == SUBJECTS else config.by
    if wanted == "subject" and not all_named:
        raise FacerError(
            f"{named('by')} subject: {labels.source} names no subject; add a column subject, "
            f"name it by {named('subject_column')}, or use {named('by')} clip"
        )
    return "clip" if wanted == "clip" or not all_named else "subject"


def recorded_plan(labels: IntensityLabels, record: FoldRecord) -> FoldPlan:
    """The plan of a run of folds; FacerError when these labels would give another one."""
    plan = plan_folds(labels, record.config)
    if plan.record(record.config).sha256 != record.sha256:
        raise FacerError(
            f"{labels.source}: divides into other folds than the run's, so that held-out clips "
            "could be ones that were trained on; give the labels that the run was trained on"
        )
    return plan


def crossing(labels: IntensityLabels, plan: FoldPlan) -> tuple[str, ...]:
    """Subjects of whom several folds hold clips out."""
    rows = np.flatnonzero(plan.fold_of >= 0)
    pairs = {(labels.subjects[row], int(plan.fold_of[row])) for row in rows}
    subjects = [subject for subject, _ in pairs if subject]
    return tuple(sorted({subject for subject in subjects if subjects.count(subject) > 1}))


def fold_notes(labels: IntensityLabels, plan: FoldPlan) -> tuple[str, ...]:
    """What a reader of figures out of fold must know of the labels; their splits are not used."""
    if not (found := crossing(labels, plan)):
        return labels.notes
    note = (
        f"clips of {len(found)} subjects are in several folds, so that people who are scored were "
        f"trained on: {some(found)}"
    )
    return (*labels.notes, note)


def labels_in_fold(labels: IntensityLabels, plan: FoldPlan, fold: int) -> IntensityLabels:
    """Labels with the splits that one fold gives them; the held-out clips are its test split."""
    return replace(labels, splits=plan.splits(fold))
