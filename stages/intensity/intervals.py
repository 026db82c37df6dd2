"""How sure a score is: bootstrap over clips or subjects, and two predictions compared in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.metrics import F64, mean_defined, pearson, weighted_sums
from facer.storage.errors import FacerError

_BLOCK = 100  # resamples whose weights are in memory at a time


@dataclass(frozen=True)
class BootstrapConfig:
    """How to resample."""

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise FacerError(f"--bootstrap: found {self.resamples}, expected 1 or more")
        if not 0 < self.level < 1:
            raise FacerError(f"bootstrap level: found {self.level}, expected between 0 and 1")


@dataclass(frozen=True)
class Interval:
    """Percentile interval of a figure."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of Pearson's rho, and what was drawn; None where rho is not defined."""

    mean: Interval | None
    per_emotion: tuple[Interval | None, ...]  # (E,)
    unit: str  # clip or subject
    n_units: int


@dataclass(frozen=True)
class Comparison:
    """Mean Pearson of a minus that of b on the same clips."""

    difference: float
    interval: Interval
    p_value: float  # two-sided, of no difference
    unit: str
    n_units: int


def bootstrap(
    predictions: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    subjects: Sequence[str] = (),
    config: BootstrapConfig = BootstrapConfig(),
) -> Intervals:
    """Percentile intervals of Pearson's rho for predictions (C, E) against targets (C, E).

    Predictions of S seeds, (S, C, E): the figure is the mean of the S seeds' rho, each draw's
    too. Whole subjects are drawn, with all their clips, when every clip names one; clips
    otherwise. A draw in which an emotion's labels are one value has no rho of it.
    """
    unit, groups = _units(len(targets), subjects)
    seeds = predictions[None] if predictions.ndim == 2 else predictions
    draws = _draws(groups, config)
    rho = np.concatenate([np.mean([_rho(w, p, targets) for p in seeds], axis=0) for w in draws])
    return Intervals(
        mean=_percentiles(_over_emotions(rho), config.level),
        per_emotion=tuple(_percentiles(column, config.level) for column in rho.T),
        unit=unit,
        n_units=int(groups.max()) + 1,
    )


def compare(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    subjects: Sequence[str] = (),
    config: BootstrapConfig = BootstrapConfig(),
) -> Comparison:
    """Compare two predictions (C, E) of the same clips by paired bootstrap.

    Both are scored on the same draws, so what a draw makes easy or hard cancels.
    """
    if a.shape != b.shape:
        raise FacerError(f"comparison: found shapes {a.shape} and {b.shape}, expected the same")
    unit, groups = _units(len(targets), subjects)
    differences = np.concatenate(
        [_over_emotions(_rho(w, a, targets) - _rho(w, b, targets)) for w in _draws(groups, config)]
    )
    differences = differences[~np.isnan(differences)]
    interval = _percentiles(differences, config.level)
    whole = np.ones((1, len(targets)))
    difference = mean_defined(_rho(whole, a, targets) - _rho(whole, b, targets))
    if interval is None or np.isnan(difference):
        raise FacerError(
            "comparison: Pearson is not defined, because no intensity's labels vary; expected "
            "some that do"
        )
    tail = min((differences <= 0).mean(), (differences >= 0).mean())
    floor = 1 / (config.resamples + 1)
    return Comparison(
        difference=difference,
        interval=interval,
        p_value=float(np.clip(2 * tail, floor, 1)),
        unit=unit,
        n_units=int(groups.max()) + 1,
    )


def _units(clips: int, subjects: Sequence[str]) -> tuple[str, npt.NDArray[np.int64]]:
    """What is drawn, and the unit of each clip, (C,)."""
    if len(subjects) == clips and all(subjects):
        return "subject", np.unique(np.asarray(subjects), return_inverse=True)[1]
    return "clip", np.arange(clips)


def _draws(groups: npt.NDArray[np.int64], config: BootstrapConfig) -> Iterator[F64]:
    """Yield weights (r, C): how often each clip is in each resample."""
    random = np.random.default_rng(config.seed)
    units = int(groups.max()) + 1
    shares = np.full(units, 1 / units)
    for start in range(0, config.resamples, _BLOCK):
        count = min(_BLOCK, config.resamples - start)
        yield random.multinomial(units, shares, size=count)[:, groups].astype(np.float64)


def _rho(weights: F64, predictions: npt.NDArray[Any], targets: npt.NDArray[Any]) -> F64:
    """Pearson's rho under each weighting, (R, E); nan where not defined."""
    p, t = predictions.astype(np.float64), targets.astype(np.float64)
    return pearson(weighted_sums(weights, p, t, np.isfinite(t)))


def _over_emotions(rho: F64) -> F64:
    """Mean over the emotions in which rho (R, E) is defined, (R,); nan where in none."""
    counts = (~np.isnan(rho)).sum(1)
    nan = np.full(len(rho), np.nan)
    mean: F64 = np.divide(np.nansum(rho, 1), counts, out=nan, where=counts > 0)
    return mean


def _percentiles(values: F64, level: float) -> Interval | None:
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
