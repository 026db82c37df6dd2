"""How sure a score is: bootstrap over clips or subjects, and two predictions compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.metrics import pearson, ratio, weighted_sums
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
    units: int = FEW_UNITS  # clips or subjects with a label of it


def ends_of(interval: Interval | None) -> list[float] | None:
    """The ends of an interval, for JSON; None (null) where it is not defined."""
    return None if interval is None else [interval.low, interval.high]


def _narrow(interval: Interval) -> bool:
    """Whether an interval is too narrow: over very few units, or over few without BCa."""
    plain = interval.method == "percentile"
    return interval.units < _VERY_FEW or (interval.units < FEW_UNITS and plain)


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
        few = [one.units < FEW_UNITS for one in known]
        if not any(few):
            return "bootstrap"
        how = ["BCa bootstrap" if all(few) else f"bootstrap, BCa below {FEW_UNITS} labelled"]
        narrow = "(with so few still too narrow)"
        return " ".join(how + [narrow] * any(map(_narrow, known)))


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
        narrow = self.interval is not None and _narrow(self.interval)
        return ", with so few still too narrow" if narrow else ""


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
    An emotion's units are those with a label of it.
    """
    rows, subjects, clips = _labelled(targets, subjects, clips)
    targets = targets[rows]
    unit, groups = _units(len(targets), subjects, clips)
    if not len(groups):
        return Intervals(None, (None,) * targets.shape[1], unit, 0)
    seeds = (predictions[None] if predictions.ndim == 2 else predictions)[:, rows]

    def rho(weights: F64, of: slice) -> F64:
        """The seeds' mean of some emotions' rho, (R, E)."""
        mean: F64 = np.mean([_rho(weights, p[:, of], targets[:, of]) for p in seeds], axis=0)
        return mean

    def interval(draws: F64, of: slice) -> Interval | None:
        """Of the mean over some emotions, whose draws are (R,)."""
        drawn = np.unique(groups[np.isfinite(targets[:, of]).any(axis=1)])
        bca = _bca(draws, lambda weights: _over_emotions(rho(weights, of)), groups, drawn)
        return _interval(draws, bca, len(drawn))

    draws = np.concatenate([rho(weights, slice(None)) for weights in _draws(groups, resamples)])
    per_emotion = [interval(draws[:, i], slice(i, i + 1)) for i in range(draws.shape[1])]
    return Intervals(
        mean=interval(_over_emotions(draws), slice(None)),
        per_emotion=tuple(per_emotion), unit=unit, n_units=len(np.unique(groups)),
    )  # fmt: skip


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

    def figure(weights: F64) -> F64:
        return _over_emotions(_rho(weights, a, targets) - _rho(weights, b, targets))

    difference = float(figure(np.ones((1, len(targets))))[0])
    if np.isnan(difference):
        raise FacerError(
            "comparison: Pearson is not defined, because no intensity's labels vary; expected "
            "some that do"
        )
    drawn = np.unique(groups)
    units = len(drawn)
    draws = np.concatenate([figure(weights) for weights in _draws(groups, RESAMPLES)])
    bca = _bca(draws, figure, groups, drawn)
    interval = _interval(draws, bca, units)
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


def _bca(draws: F64, figure: Callable[[F64], F64], groups: I64, units: I64) -> Bca | None:
    """The correction of a figure of weights (R, C) of the clips, whose draws are (R,), by leaving
    out each of the units; None for many of them, and where it is not defined.
    """
    if len(units) >= FEW_UNITS:
        return None
    whole = float(figure(np.ones((1, len(groups))))[0])
    left_out = figure((groups != units[:, None]).astype(np.float64))
    return bca_of(draws[~np.isnan(draws)], whole, left_out)


def _interval(values: F64, bca: Bca | None, units: int) -> Interval | None:
    """Of draws (R,): percentiles, corrected where that is defined; None without any draw, and for
    two units.
    """
    known = values[~np.isnan(values)]
    if units < _LEAST or not len(known):
        return None
    shares = None if bca is None else bca.shares(_LEVEL)
    low, high = np.quantile(known, shares or [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(low), float(high), "bca" if shares else "percentile", units)
