"""Any file of predictions scored against labels: facer's own or another program's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import ScoreConfig
from facer.pipeline.intensity.scoring.evaluate import evaluation_of, grouped
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.pipeline.intensity.sources.splits import FROM_FILE, OTHER_SCALE, split_rows
from facer.stages.intensity.statistics.intervals import Comparison, compare
from facer.storage import IntensityLabels, match_clips, read_labels
from facer.storage.errors import FacerError, named
from facer.storage.labels.groups import label_column
from facer.storage.labels.predictions import read_predictions
from facer.storage.labels.values import find_outliers
from facer.storage.schema import F32, Bools
from facer.storage.text.names import some

_OF_A_RUN = ("n_filled_with_train_mean", "seeds", "calibrated_on", "std_over_seeds", "ensemble")


@dataclass(frozen=True)
class FileScores:
    """Scores of a file, and what of it or of the labels was left out."""

    path: Path
    scores: Evaluation
    missing: tuple[str, ...]  # labelled clips without a prediction: not scored
    without_label: tuple[str, ...]  # predictions of clips that have no labels here
    ambiguous: tuple[str, ...]  # labelled clips that several predictions could mean

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the figures must know, beside the warnings of the scores."""
        found = []
        if self.missing:
            found.append(
                f"{self.path}: {len(self.missing)} labelled clips have no prediction and are not "
                f"scored: {some(self.missing)}; the figures are of the others"
            )
        if self.ambiguous:
            found.append(
                f"{self.path}: several predictions could mean {some(self.ambiguous)}: not scored"
            )
        return (*found, *self._codes(), *self._other_scale())

    def _codes(self) -> Iterator[str]:
        """Say which predictions are far from all others and no label, as -1 where there is none."""
        of = self.scores
        names: dict[float, list[str]] = {}
        for name, labels, column in zip(of.names, of.targets.T, of.predictions.T, strict=True):
            low = np.floor(np.nanmin(labels, initial=0))  # of the scale, in whole numbers
            high = np.ceil(np.nanmax(labels, initial=0))
            kept = np.where(column % 1, column.clip(low), column)  # a head's go a little below
            for odd in find_outliers(name, kept.astype(np.float64)):
                if low <= odd.value <= high:
                    continue
                names.setdefault(odd.value, []).append(f"{name} ({len(odd.rows)} clips)")
        for value, where in names.items():
            yield (
                f"{self.path}: predictions of {', '.join(where)} are {value:g}, far from all "
                "others, and are scored so; leave the cell empty where nothing is predicted"
            )

    def _other_scale(self) -> Iterator[str]:
        """Say which predictions are many times as large, or as small, as the labels."""
        of = self.scores
        for name, labels, predicted in zip(of.names, of.targets.T, of.predictions.T, strict=True):
            there = np.isfinite(labels)
            sizes = [float(np.abs(v[there]).max(initial=0)) for v in (labels, predicted)]
            if min(sizes) > 0 and max(sizes) >= OTHER_SCALE * min(sizes):
                yield (
                    f"{self.path}: predictions of {name} go up to {sizes[1]:.4g}, labels to "
                    f"{sizes[0]:.4g}: ccc, mse and mae are wrong if they are on two scales"
                )

    def to_json(self) -> dict[str, Any]:
        """As ``facer score --json`` prints it: the keys of evaluate that a file has, and more."""
        found = self.scores.to_json()
        warnings = [*self.warnings, *found.get("warnings", ())]
        return {key: value for key, value in found.items() if key not in _OF_A_RUN} | {
            "path": str(self.path),
            "by_unit": self.scores.intervals.unit if self.scores.intervals else None,
            "n_units": self.scores.intervals.n_units if self.scores.intervals else None,
            "missing_predictions": list(self.missing),
            "ambiguous_predictions": list(self.ambiguous),
            "n_without_label": len(self.without_label),
            "warnings": warnings,
        }


@dataclass(frozen=True)
class ScoreResult:
    """One file's scores, or two files' on the clips that both predict."""

    file: FileScores
    against: FileScores | None = None
    pearson: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """As ``facer score --json`` prints it: one file's scores, or those of both by name."""
        if self.against is None or self.pearson is None:
            return self.file.to_json()
        return {
            "file": self.file.to_json(),
            "against": self.against.to_json(),
            "comparison": asdict(self.pearson),
        }


def score_files(config: ScoreConfig) -> ScoreResult:
    """Score a file, and compare it with another in pairs.

    Ids join the labels by the rules by which labels join a store. Two files are both scored on
    the clips that both predict. Raises FacerError when an intensity has no column, nothing
    joins, or nothing is labelled.
    """
    labels = read_labels(config.labels, config.reading)
    paths = [config.predictions] if config.against is None else [config.predictions, config.against]
    files = [_Joined(path, labels, config.prediction_id_column) for path in paths]
    wanted, title, notes = _wanted(labels, files, config.split)
    rows: Bools = np.all([wanted, *(file.there for file in files)], axis=0)
    if not rows.any():
        raise FacerError(
            f"{' and '.join(map(str, paths))}: found no labelled clip of {title} with a prediction "
            f"of each intensity, expected some; {named('targets')} A,B scores some intensities"
        )
    scores = [_scored(file, labels, wanted, rows, title, config.by, notes) for file in files]
    if len(scores) == 1:
        return ScoreResult(scores[0])
    ours, theirs = (file.values[rows] for file in files)
    of = scores[0].scores
    found = compare(ours, theirs, of.targets, of.subjects, of.label_ids)
    return ScoreResult(scores[0], scores[1], found)


class _Joined:
    """A file's predictions by the rows of the labels; NaN where there is none."""

    def __init__(self, path: Path, labels: IntensityLabels, id_column: str | None) -> None:
        table = read_predictions(path, labels.names, id_column)
        match = match_clips(labels, table.clip_ids)
        if not match.pairs:
            raise FacerError(
                f"{path}: none of its {len(table.clip_ids)} ids matches one of {labels.source}; "
                f"found ids like {table.clip_ids[0]!r}, expected ones like {labels.clip_ids[0]!r}"
            )
        row_of = {clip: row for row, clip in enumerate(table.clip_ids)}
        self.path = path
        self.values: F32 = np.full((len(labels.clip_ids), len(labels.names)), np.nan, np.float32)
        for row, clip in match.pairs:
            self.values[row] = table.values[row_of[clip]]
        self.there: Bools = np.asarray(np.isfinite(self.values).all(axis=1))
        self.without_label = match.store_only
        self.ambiguous = tuple(label_id for label_id, _ in match.ambiguous)


def _wanted(
    labels: IntensityLabels, files: Sequence[_Joined], split: str | None
) -> tuple[Bools, str, tuple[str, ...]]:
    """Rows to score, whether or not they are predicted, what they are called, and by whom."""
    made, rule = split_rows(labels)
    splits = np.array(labels.splits if split is None else made)
    predicted = np.any([file.there for file in files], axis=0)
    chosen = sorted(set(splits[predicted])) if split is None else [split]
    wanted = np.asarray(np.isfinite(labels.values).any(axis=1)) & np.isin(splits, chosen)
    notes = []
    if split is not None and rule != FROM_FILE:
        notes.append(f"{labels.source} names no splits: {split} is {rule}")
    return wanted, ", ".join(filter(None, chosen)) or "all", tuple(notes)


def _scored(
    file: _Joined, labels: IntensityLabels, wanted: Bools, rows: Bools, title: str, by: str | None,
    notes: tuple[str, ...],
) -> FileScores:  # fmt: skip
    found = replace(evaluation_of(title, labels, rows, {0: file.values[rows]}), notes=notes)
    if by is not None:
        groups = list(compress(label_column(labels, by), rows))
        found = replace(found, by=grouped(found, by, groups))
    missing = tuple(compress(labels.clip_ids, wanted & ~file.there))
    return FileScores(file.path, found, missing, file.without_label, file.ambiguous)
