"""Late fusion: the predictions of several runs on the same clips, averaged by weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import EvaluateConfig, FuseConfig
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.scoring.compare import check_same_clips
from facer.pipeline.intensity.scoring.evaluate import evaluate, rescored
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.stages.intensity.fusion import fit_weights
from facer.stages.intensity.statistics.holm import holm
from facer.stages.intensity.statistics.intervals import Comparison, compare
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.labels.challenges import Split
from facer.storage.schema import F32, F64


@dataclass(frozen=True)
class FusionResult:
    """Scores of the fusion and of each run, and how much the fusion is better than each."""

    runs: tuple[Path, ...]  # (R,)
    weights: F64  # (R, E), of sum 1 over the runs
    weights_from: str  # equal or val
    fusion: Evaluation
    members: tuple[Evaluation, ...]  # (R,), on as many seeds as the fusion
    gains: tuple[Comparison | None, ...]  # (R,) over each run, in mean Pearson; None: no labels
    p_holm: tuple[float | None, ...]  # (R,) corrected for the number of runs

    def to_json(self) -> dict[str, Any]:
        """As ``facer fuse --json`` prints it."""
        return {
            "weights_from": self.weights_from,
            "fusion": self.fusion.to_json(),
            "runs": [
                {
                    "run": str(run),
                    "weights": dict(zip(self.fusion.names, weights.tolist(), strict=True)),
                    "mean": member.to_json()["mean"],
                    "gain": None if gain is None else asdict(gain) | {"p_holm": p},
                }
                for run, weights, member, gain, p in zip(
                    self.runs, self.weights, self.members, self.gains, self.p_holm, strict=True
                )
            ],
        }


def fuse(config: FuseConfig) -> FusionResult:
    """Fuse runs on a split, seed by seed, with the scores and intervals of ``evaluate``.

    The k-th seed of the fusion is the weighted mean of the runs' k-th seeds; the lowest seeds of
    each are taken, as many as all have. FacerError for runs of other clips, labels or intensities.
    """
    if len(config.runs) < 2:
        raise OptionError(f"runs: found {len(config.runs)}, expected two or more to fuse")
    found = [_scored(run, config.split, config) for run in config.runs]
    count = min(len(one.by_seed) for one in found)
    stacked = _stacked(config.runs, found, count)
    weights = np.full((len(found), len(found[0].names)), 1 / len(found))
    if config.weights == "val":
        weights = _weights_of_val(config, count)
    fused = np.einsum("re,rsne->sne", weights, stacked).astype(np.float32)
    first = found[0]
    states = zip(*(one.status for one in found), strict=True)
    status = tuple(next((s for s in of_clip if s != "ok"), "ok") for of_clip in states)
    scores = replace(
        rescored(first, dict(enumerate(fused))),
        status=status,
        n_filled=len(status) - status.count("ok"),
        calibrate="val" if "val" in {one.calibrate for one in found} else first.calibrate,
        notes=_notes(config, found),
    )
    members = tuple(
        rescored(one, dict(enumerate(values))) for one, values in zip(found, stacked, strict=True)
    )
    gains = tuple(_gain(scores, one) for one in members)
    p_values = [None if gain is None else gain.p_value for gain in gains]
    corrected = iter(holm([p for p in p_values if p is not None]))
    p_holm = tuple(None if p is None else next(corrected) for p in p_values)
    return FusionResult(config.runs, weights, config.weights, scores, members, gains, p_holm)


def _gain(fusion: Evaluation, one: Evaluation) -> Comparison | None:
    """How much better the fusion is than a run; None without labels, as of a challenge's test."""
    if fusion.ensemble is None:
        return None
    labels = fusion.targets, fusion.subjects, fusion.label_ids
    return compare(fusion.predictions, one.predictions, *labels)


def _scored(run: Path, split: Split | None, config: FuseConfig) -> Evaluation:
    return evaluate(EvaluateConfig(run, split, labels=config.labels, reading=config.reading))


def _notes(config: FuseConfig, found: Sequence[Evaluation]) -> tuple[str, ...]:
    """What to know of a fusion: of its runs, their labels, and the scales that meet in it."""
    notes = [
        f"{run}: {text}"
        for run, one in zip(config.runs, found, strict=True)
        for text in one.not_as_trained
    ]
    notes += dict.fromkeys(note for one in found for note in one.notes)
    if config.weights == "equal" and (scales := _scales(config, found)):
        wider = "the widest outweighs the others, unless the weights are fitted on val"
        notes.append(f"the runs predict on other scales ({scales}): {wider}")
    if config.weights == "val" and found[0].split == "val":
        notes.append("the weights were fitted on val: scores of val flatter the fusion")
    return tuple(notes)


def _scales(config: FuseConfig, found: Sequence[Evaluation]) -> str:
    """In what the scales of the runs' predictions differ; "" where they are one."""
    calibrations = sorted({one.calibrate for one in found})
    if "none" in calibrations and len(calibrations) > 1:
        return f"calibrated on {' and '.join(calibrations)}"
    means = [read_run(run).train_mean for run in config.runs]  # of the labels, None for folds
    for e, name in enumerate(found[0].names):
        known = found[0].targets[:, e][np.isfinite(found[0].targets[:, e])]
        own = [mean[e] for mean in means if mean is not None]
        if len(known) and own and max(own) - min(own) > np.ptp(known):
            return f"trained on labels of {name} with means {min(own):.3g} and {max(own):.3g}"
    return ""


def _stacked(runs: Sequence[Path], found: Sequence[Evaluation], count: int) -> F32:
    """Predictions of some runs' first seeds on the same clips, (R, S, n, E)."""
    for run, one in zip(runs[1:], found[1:], strict=True):
        check_same_clips(found[0], one, f"{runs[0]} and {run}: ")
    seeds = [sorted(one.by_seed)[:count] for one in found]
    return np.stack([
        np.stack([one.by_seed[seed] for seed in own]) for one, own in zip(found, seeds, strict=True)
    ])  # fmt: skip


def _weights_of_val(config: FuseConfig, count: int) -> F64:
    """Weights (R, E) by the val split's labels, of the mean predictions over the seeds."""
    for run in config.runs:
        if read_run(run).is_whole_of_folds:
            raise FacerError(
                f"{run}: a run of folds has no val split to fit weights on; use {named('weights')} "
                "equal"
            )
    found = [_scored(run, "val", config) for run in config.runs]
    return fit_weights(_stacked(config.runs, found, count).mean(1), found[0].targets)
