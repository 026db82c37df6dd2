"""Scores within groups of clips: subjects, folds, or the values of a column of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.metrics import METRICS, Scores, defined, mean_defined, score, std_of
from facer.stages.intensity.statistics.intervals import Interval, bootstrap, ends_of
from facer.storage.schema import F64

LEAST_LABELLED = 3
"""Labelled clips of an intensity from which on its correlation in a group says anything."""
_LEAST_UNITS = 5  # clips or subjects of a group from which on an interval says anything
_CORRELATIONS = ("pearson", "spearman", "ccc")


@dataclass(frozen=True)
class GroupScores:
    """Scores of one group, the mean over seeds; nan where not defined."""

    group: str
    n: int  # clips with a label
    seeds: tuple[Scores, ...]  # of each seed; none without labels
    interval: Interval | None  # 95 % of the mean Pearson; None for fewer than 5 units

    def mean(self, metric: str) -> float:
        """Mean over seeds of the mean over emotions."""
        return float(np.mean([one.mean(metric) for one in self.seeds])) if self.seeds else np.nan

    def to_json(self) -> dict[str, Any]:
        """Counts and scores; null where not defined."""
        values = {m: [getattr(one, m) for one in self.seeds] for m in METRICS}
        emotions = zip(self.seeds[0].names, self.seeds[0].n, strict=True) if self.seeds else ()
        return {
            "n": self.n,
            "mean": {metric: defined(self.mean(metric)) for metric in METRICS},
            "pearson_95": ends_of(self.interval),
            "per_emotion": {
                name: {m: defined(np.mean(values[m], axis=0)[i]) for m in METRICS} | {"n": int(n)}
                for i, (name, n) in enumerate(emotions)
            },
        }


@dataclass(frozen=True)
class Groups:
    """The scores of all groups, and what they are groups of."""

    column: str
    scores: tuple[GroupScores, ...]

    def values(self, metric: str) -> F64:
        """A metric of the groups in which it is defined."""
        found = np.array([one.mean(metric) for one in self.scores], np.float64)
        return found[~np.isnan(found)]

    def mean(self, metric: str) -> float:
        """Mean over the groups in which a metric is defined; each counts the same."""
        return mean_defined(self.values(metric))

    def std(self, metric: str) -> float:
        """Standard deviation over these groups (n - 1); nan for fewer than two."""
        found = std_of(self.values(metric))
        return np.nan if found is None else found

    def to_json(self) -> dict[str, Any]:
        """The groups by name, and mean and spread over them."""
        return {
            "column": self.column,
            "groups": {one.group: one.to_json() for one in self.scores},
            "mean_over_groups": {metric: defined(self.mean(metric)) for metric in METRICS},
            "std_over_groups": {metric: defined(self.std(metric)) for metric in METRICS},
            "n_groups": {metric: len(self.values(metric)) for metric in METRICS},
        }


def score_groups(
    column: str,
    groups: Sequence[str],
    predictions: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    names: Sequence[str],
    subjects: Sequence[str] = (),
    clips: Sequence[str] = (),
) -> Groups:
    """Score predictions of S seeds (S, C, E) within each group of the C clips.

    An intensity with fewer than :data:`LEAST_LABELLED` labels in a group has no correlation there.
    Intervals draw subjects where a group has several, else clips.
    """
    of = np.array(groups)
    scores = []
    for group in sorted(set(groups), key=natural):
        rows = np.flatnonzero((of == group) & np.isfinite(targets).any(axis=1))
        chosen, labels = predictions[:, rows], targets[rows]
        seeds = tuple(_scored(one, labels, names) for one in chosen) if len(rows) else ()
        its = [subjects[row] for row in rows.tolist()] if len(subjects) else []
        interval = None
        units = its if len(set(its)) > 1 else ()
        n_units = len(set(units)) if units and all(units) else len(rows)
        if n_units >= _LEAST_UNITS and not np.isnan(seeds[0].mean("pearson")):
            enough = seeds[0].n >= LEAST_LABELLED
            ids = [clips[row] for row in rows.tolist()] if len(clips) else ()
            interval = bootstrap(chosen[:, :, enough], labels[:, enough], units, ids).mean
        scores.append(GroupScores(group, len(rows), seeds, interval))
    return Groups(column, tuple(scores))


def _scored(
    predictions: npt.NDArray[Any], targets: npt.NDArray[Any], names: Sequence[str]
) -> Scores:
    found = score(predictions, targets, names)
    few = found.n < LEAST_LABELLED
    kept: dict[str, Any] = {m: np.where(few, np.nan, getattr(found, m)) for m in _CORRELATIONS}
    return replace(found, **kept)


def natural(text: str) -> tuple[int, float, str]:
    """Order of groups: numbers by value, then words."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text
