"""Two runs on the same clips: which is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.stages.intensity.statistics.intervals import Comparison, compare
from facer.storage import LabelOptions
from facer.storage.errors import FacerError
from facer.storage.schema import F32


@dataclass(frozen=True)
class RunComparison:
    """Both runs' scores, and the first one's mean Pearson less the second's."""

    first: Evaluation
    second: Evaluation
    first_seeds: tuple[int, ...]  # as many as of the second: averages of more predict better
    second_seeds: tuple[int, ...]
    pearson: Comparison  # of the mean predictions over these seeds

    def to_json(self) -> dict[str, Any]:
        """As ``facer evaluate --against --json`` prints it."""
        seeds = {"run": list(self.first_seeds), "against": list(self.second_seeds)}
        return {
            "run": self.first.to_json(),
            "against": self.second.to_json(),
            "comparison": asdict(self.pearson) | {"seeds": seeds},
        }


def compare_runs(
    first: Path,
    second: Path,
    split: str | None = None,
    labels: str | None = None,
    store: str | None = None,
    reading: LabelOptions | None = None,
    by: str | None = None,
    stores: Sequence[str] = (),
) -> RunComparison:
    """Score two runs on one split and compare them by paired bootstrap (subjects where known).

    The same number of seeds of each is averaged: of the run that has more, those that the other
    has too come first, then the lowest. ``store`` and ``stores`` stand in
    for the first run's, and ``by`` groups its scores.

    Raises FacerError when they predict other clips or intensities, or nothing is labelled.
    """
    one = evaluate(first, split, labels, store, reading, by, stores)
    two = evaluate(second, split, labels, reading=reading)
    if (one.label_ids, one.names) != (two.label_ids, two.names):
        raise FacerError(
            f"{first} and {second}: score other clips or intensities on {one.split}, expected the "
            "same; give both one label file by --labels"
        )
    if one.ensemble is None:
        raise FacerError(f"{first}: split {one.split} has no labels to compare on")
    if not np.array_equal(one.targets, two.targets, equal_nan=True):
        raise FacerError(
            f"{first} and {second}: were trained on other labels of the clips of {one.split}; give "
            "both one label file by --labels"
        )
    ours, theirs = _paired(one, two), _paired(two, one)
    found = compare(_mean(one, ours), _mean(two, theirs), one.targets, one.subjects)
    return RunComparison(one, two, ours, theirs, found)


def _paired(found: Evaluation, other: Evaluation) -> tuple[int, ...]:
    """The seeds of a run that are compared with another's, as many of both."""
    count = min(found.n_seeds, other.n_seeds)
    ranked = sorted(found.by_seed, key=lambda seed: (seed not in other.by_seed, seed))
    return tuple(sorted(ranked[:count]))


def _mean(found: Evaluation, seeds: tuple[int, ...]) -> F32:
    """Mean prediction over some seeds, (n, E)."""
    mean: F32 = np.mean([found.by_seed[seed] for seed in seeds], axis=0).astype(np.float32)
    return mean
