"""How sure a score is: bootstrap over clips or subjects, and two predictions compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.metrics import mean_defined, pearson, ratio, weighted_sums
from facer.stages.intensity.statistics.bca import TIE, Bca, bca_of
from facer.storage.errors import FacerError
from facer.storage.schema import F64, I64

RESAMPLES = 1000
"""Draws of clips or subjects; the seed of the draws is 0."""

FEW_UNITS = 30
"""Percentile intervals over fewer units are too narrow: BCa there, where it is defined."""

_LEAST = 3  # units, of which an interval says anything: two always correlate to 1 or -1
_VERY_FEW = 10  # units, of which BCa intervals are too narrow as well
_LEVEL = 0.95  # of every interval
_BLOCK = 100  # resamples whose weights are in memory at a time


@dataclass(frozen=True)
class Interval:
    """Bootstrap interval of a figure."""

    low: float
    high: float
    method: str = "percentile"  # or bca


def ends_of(interval: Interval | None) -> list[float] | None:
    """The ends of an interval, for JSON; None (null) where it is not defined."""
    return None if interval is None else [interval.low, interval.high]


def _narrow(units: int, intervals: Sequence[Interval]) -> bool:
    """Whether intervals are too narrow: over very few units, or over few without BCa."""
    plain = any(one.method == "percentile" for one in intervals)
    return units < _VERY_FEW or (units < FEW_UNITS and plain)


@dataclass(frozen=True)
class Intervals:
    """Intervals of Pearson's rho, and what was drawn; None where rho is not defined."""

    mean: Interval | None
    per_emotion: tuple[Interval | None, ...]  # (E,)
    unit: str  # clip or subject
    n_units: int

    @property
    def method(self) -> str:
        """In words, how the intervals were made, and that they are narrow; none without any."""
        known = [one for one in (self.mean, *self.per_emotion) if one is not None]
        if not known:
            return "none"
        if self.n_units >= FEW_UNITS:
            return "bootstrap"
        if _narrow(self.n_units, known):
            return "BCa bootstrap (with so few still too narrow)"
        return "BCa bootstrap"


@dataclass(frozen=True)
class Comparison:
    """Mean Pearson of a minus that of b on the same clips."""

    difference: float
    interval: Interval | None  # None for two units, of which none says anything
    p_value: float | None  # two-sided, of no difference; None likewise
    unit: str
    n_units: int

    @property
    def drawn(self) -> str:
        """In words, what was drawn, and that the interval is narrow where it is."""
        if self.interval is None:
            return f"{self.n_units} {self.unit}s are too few for an interval"
        return f"{self.n_units} {self.unit}s drawn{self.narrow}"

    @property
    def narrow(self) -> str:
        """In words after a comma, that the interval is narrow; "" where it is not."""
        known = [] if self.interval is None else [self.interval]
        return ", with so few still too narrow" if known and _narrow(self.n_units, known) else ""


def bootstrap(
    predictions: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    subjects: Sequence[str] = (),
    clips: Sequence[str] = (),
    *,
    resamples: int = RESAMPLES,
) -> Intervals:
    """Intervals of Pearson's rho for predictions (C, E) against targets (C, E).

    Predictions of S seeds, (S, C, E): the figure is the mean of the S seeds' rho, each draw's
    too. Only clips with a label are drawn: whole subjects, with all their clips, when every clip
    names one and there are several; clips otherwise. A draw in which an emotion's labels are one
    value has no rho of it. With the names of the ``clips`` (C,), their order does not matter.
    Percentiles of the draws, or BCa for fewer than :data:`FEW_UNITS` units; no interval for two.
    """
    rows, subjects, clips = _labelled(targets, subjects, clips)
    targets = targets[rows]
    unit, groups = _units(len(targets), subjects, clips)
    units = len(np.unique(groups))
    if units < _LEAST:
        return Intervals(None, (None,) * targets.shape[1], unit, units)
    seeds = (predictions[None] if predictions.ndim == 2 else predictions)[:, rows]

    def figures(weights: F64) -> F64:
        """The mean over emotions, then each emotion, (R, 1 + E)."""
        rho = np.mean([_rho(weights, p, targets) for p in seeds], axis=0)
        return np.column_stack([_over_emotions(rho), rho])

    draws, bca = _resampled(figures, groups, resamples)
    mean, *per_emotion = map(_interval, draws.T, bca)
    return Intervals(mean=mean, per_emotion=tuple(per_emotion), unit=unit, n_units=units)


def compare(
    a: npt.NDArray[Any],
    b: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    subjects: Sequence[str] = (),
    clips: Sequence[str] = (),
) -> Comparison:
    """Compare two predictions (C, E) of the same clips by paired bootstrap.

    Both are scored on the same draws of the clips with a label, so what a draw makes easy or hard
    cancels.
    """
    if a.shape != b.shape:
        raise FacerError(f"comparison: found shapes {a.shape} and {b.shape}, expected the same")
    rows, subjects, clips = _labelled(targets, subjects, clips)
    a, b, targets = a[rows], b[rows], targets[rows]
    unit, groups = _units(len(targets), subjects, clips)

    def figures(weights: F64) -> F64:
        rho = _rho(weights, a, targets) - _rho(weights, b, targets)
        return _over_emotions(rho)[:, None]

    whole = np.ones((1, len(targets)))
    difference = mean_defined(_rho(whole, a, targets) - _rho(whole, b, targets))
    units = len(np.unique(groups))
    if np.isnan(difference):
        raise FacerError(
            "comparison: Pearson is not defined, because no intensity's labels vary; expected "
            "some that do"
        )
    if units < _LEAST:
        return Comparison(difference, None, None, unit, units)
    draws, (bca,) = _resampled(figures, groups, RESAMPLES)
    interval = _interval(draws[:, 0], bca)
    if interval is None:
        return Comparison(difference, None, None, unit, units)
    differences = draws[~np.isnan(draws)]
    less, at_most = float((differences < -TIE).mean()), float((differences <= TIE).mean())
    if interval.method == "bca" and bca is not None:
        # so that the interval holds zero where p is above 1 - its level
        less, at_most = (bca.tail(p) if 0 < p < 1 else p for p in (less, at_most))
    tail = min(at_most, 1 - less)
    floor = 1 / (RESAMPLES + 1)
    return Comparison(
        difference=difference,
        interval=interval,
        p_value=float(np.clip(2 * tail, floor, 1)),
        unit=unit,
        n_units=units,
    )


def _labelled(targets: npt.NDArray[Any], *names: Sequence[str]) -> tuple[Any, ...]:
    """The rows of the clips with a label, which alone count, and their names, where there are any:
    of subjects, of clips.
    """
    rows = np.flatnonzero(np.isfinite(targets).any(axis=1))
    kept = rows.tolist()
    return rows, *([of[row] for row in kept] if len(of) == len(targets) else () for of in names)


def _units(n: int, subjects: Sequence[str], clips: Sequence[str]) -> tuple[str, I64]:
    """What is drawn, and the unit of each of n clips, (n,): numbered by name, where it has one."""
    if len(subjects) == n and all(subjects) and len(set(subjects)) > 1:
        return "subject", np.unique(np.asarray(subjects), return_inverse=True)[1]
    return "clip", np.argsort(np.argsort(clips or range(n), kind="stable"))


def _draws(groups: I64, resamples: int) -> Iterator[F64]:
    """Yield weights (r, C): how often each clip is in each resample."""
    random = np.random.default_rng(0)
    units = int(groups.max()) + 1
    shares = np.full(units, 1 / units)
    for start in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - start)
        yield random.multinomial(units, shares, size=count)[:, groups].astype(np.float64)


def _rho(weights: F64, predictions: npt.NDArray[Any], targets: npt.NDArray[Any]) -> F64:
    """Pearson's rho under each weighting, (R, E); nan where not defined."""
    p, t = predictions.astype(np.float64), targets.astype(np.float64)
    return pearson(weighted_sums(weights, p, t, np.isfinite(t)))


def _over_emotions(rho: F64) -> F64:
    """Mean over the emotions in which rho (R, E) is defined, (R,); nan where in none."""
    return ratio(np.nansum(rho, 1), (~np.isnan(rho)).sum(1))


def _resampled(
    figures: Callable[[F64], F64], groups: I64, resamples: int
) -> tuple[F64, list[Bca | None]]:
    """Draws (R, K) of K figures of weights (R, C) of the clips, and each figure's correction: None
    for many units, and where it is not defined.
    """
    draws = np.concatenate([figures(weights) for weights in _draws(groups, resamples)])
    units = int(groups.max()) + 1
    if units >= FEW_UNITS:
        return draws, [None] * draws.shape[1]
    whole = figures(np.ones((1, len(groups))))[0]
    left_out = figures((groups != np.arange(units)[:, None]).astype(np.float64))
    columns = zip(draws.T, whole.tolist(), left_out.T, strict=True)
    return draws, [bca_of(values[~np.isnan(values)], one, away) for values, one, away in columns]


def _interval(values: F64, bca: Bca | None) -> Interval | None:
    """Of draws (R,): percentiles, corrected where that is defined; None without any draw."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    shares = None if bca is None else bca.shares(_LEVEL)
    low, high = np.quantile(known, shares or [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high), "bca" if shares else "percentile")
