"""Two runs on the same clips: which is better, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import EvaluateConfig
from facer.pipeline.intensity.scoring.evaluate import evaluate
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.stages.intensity.statistics.intervals import Comparison, compare
from facer.storage.errors import FacerError, named
from facer.storage.schema import F32
from facer.storage.text.names import some


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


def compare_runs(config: EvaluateConfig, second: Path) -> RunComparison:
    """Score two runs on one split and compare them by paired bootstrap (subjects where known).

    The same number of seeds of each is averaged: of the run that has more, those that the other
    has too come first, then the lowest. ``store`` and ``stores`` stand in
    for the first run's, and ``by`` groups its scores.

    Raises FacerError when they predict other clips or intensities, or nothing is labelled.
    """
    first = config.run
    one = evaluate(config)
    two = evaluate(replace(config, run=second, store=None, stores=(), by=None))
    check_same_clips(one, two, f"{first} and {second}: ")
    if one.ensemble is None:
        raise FacerError(f"{first}: split {one.split} has no labels to compare on")
    ours, theirs = _paired(one, two), _paired(two, one)
    found = compare(_mean(one, ours), _mean(two, theirs), one.targets, one.subjects, one.label_ids)
    return RunComparison(one, two, ours, theirs, found)


def check_same_clips(one: Evaluation, two: Evaluation, runs: str) -> None:
    """``FacerError`` unless two runs were scored on the same clips, intensities and labels."""
    if one.names != two.names:
        raise FacerError(
            f"{runs}predict {', '.join(one.names)} and {', '.join(two.names)}, expected the same "
            f"intensities in the same order; train both with the same {named('targets')}"
        )
    if one.label_ids != two.label_ids:
        first, second = (f"{len(of.label_ids)} clips" for of in (one, two))
        found = f"score other clips on {one.split} ({first}; {second})"
        if first == second:
            odd = sorted({*one.label_ids} ^ {*two.label_ids})
            how = f"such as {some(odd)}" if odd else "in another order"
            found = f"score clips of other ids or order on {one.split} ({how})"
        raise FacerError(
            f"{runs}{found}, expected the same; give both one label file by {named('labels')}"
        )
    if not np.array_equal(one.targets, two.targets, equal_nan=True):
        raise FacerError(
            f"{runs}were trained on other labels of the clips of {one.split}; give "
            f"both one label file by {named('labels')}"
        )


def _paired(found: Evaluation, other: Evaluation) -> tuple[int, ...]:
    """The seeds of a run that are compared with another's, as many of both."""
    count = min(found.n_seeds, other.n_seeds)
    ranked = sorted(found.by_seed, key=lambda seed: (seed not in other.by_seed, seed))
    return tuple(sorted(ranked[:count]))


def _mean(found: Evaluation, seeds: tuple[int, ...]) -> F32:
    """Mean prediction over some seeds, (n, E)."""
    return np.asarray(np.mean([found.by_seed[seed] for seed in seeds], axis=0), np.float32)
