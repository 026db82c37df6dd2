"""Statistics of a window: weighted by time, over what was seen, nothing filled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.stages.summary.track import BREAK, EPS, Track
from facer.storage.schema import F64

RUN_S = 0.2
"""Length of the running mean whose maximum is the peak."""
_ROUNDING = 1e-9  # of running sums over an hour, relative; float32 values differ by more


@dataclass(frozen=True)
class Seen:
    """How much of a window was seen, for all columns of a track."""

    window_s: float
    seen_s: float
    n_frames: int
    longest_gap_s: float

    @property
    def share(self) -> float:
        """Seen time over the window, 0 to 1."""
        return self.seen_s / self.window_s if self.window_s > 0 else 0.0


class Statistics(NamedTuple):
    """Numbers of a window, (C,) each, in the features' units and seconds of the clip."""

    mean: F64
    sd: F64  # square root of the weighted mean squared distance from the mean
    median: F64
    p95: F64
    peak: F64  # greatest .2 s running mean
    peak_s: F64
    share: F64  # of the seen time above the threshold


def seen_of(track: Track, start_s: float, stop_s: float) -> Seen:
    """Return how much of a span was seen."""
    frames = track.between(start_s, stop_s)
    window = stop_s - start_s
    seen = min(float(track.weight_s[frames].sum()), window)
    gap = track.unseen_s(start_s, stop_s)
    return Seen(window, seen, frames.stop - frames.start, gap)


def statistics(track: Track, start_s: float, stop_s: float, thresholds: F64) -> Statistics:
    """Return the numbers of a span; ``thresholds`` (C,), NaN for a column without one.

    All are NaN where nothing was seen.
    """
    frames = track.between(start_s, stop_s)
    values, weights = track.values[frames], track.weight_s[frames]
    if not weights.sum() > 0:
        empty = np.full(track.width, np.nan)
        return Statistics(*[empty] * 7)
    mean, sd = moments(values, weights)
    median, p95 = quantiles(values, weights, (0.5, 0.95))
    peak, peak_s = _peak(track, frames)
    share = np.where(
        np.isnan(thresholds), np.nan, average((values > thresholds).astype(np.float64), weights)
    )
    return Statistics(mean, sd, median, p95, peak, peak_s, share)


def moments(values: F64, weights: F64) -> tuple[F64, F64]:
    """Return the weighted mean and standard deviation of each column of ``values`` (n, C)."""
    mean = average(values, weights)
    return mean, np.sqrt(average((values - mean) ** 2, weights))


def average(values: F64, weights: F64) -> F64:
    """Return the weighted mean of each column, (C,), to the last bit whatever the others are.

    A matrix product would round otherwise with more or fewer columns, and a mark of one feature
    would change the others. Weights are summed in the same order, so that a share is 1 at most.
    """
    found: F64 = np.cumsum(weights[:, None] * values, axis=0)[-1] / np.cumsum(weights)[-1]
    return found


def quantiles(values: F64, weights: F64, shares: tuple[float, ...]) -> list[F64]:
    """Return weighted quantiles of each column of ``values`` (n, C).

    A value stands at the middle of its weight, and between two values the quantile is linear
    (Hazen's definition, weighted): with equal weights 0.5 gives the usual median. Equal values
    keep their order in time, so that no processor's sorting decides.

    >>> quantiles(np.array([[1.0], [2.0], [4.0], [9.0]]), np.ones(4), (0.5,))[0].tolist()
    [3.0]
    """
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    sums = np.cumsum(weights[order], axis=0)
    places = sums - weights[order] / 2
    columns, last = np.arange(values.shape[1]), len(values) - 1
    found = []
    for share in shares:
        wanted = share * sums[-1]
        above = (places < wanted).sum(axis=0)
        low, high = np.clip(above - 1, 0, last), np.clip(above, 0, last)
        span = places[high, columns] - places[low, columns]
        part = (wanted - places[low, columns]) / np.where(span > 0, span, 1)
        part = np.clip(np.where(span > 0, part, 0), 0, 1)
        one, other = ordered[low, columns], ordered[high, columns]
        found.append(one + part * (other - one))
    return found


def of_known(statistic: Callable[[F64], Any], values: npt.ArrayLike) -> float:
    """Return a statistic such as ``np.median`` of the finite values; NaN where there are none."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(statistic(known)) if len(known) else float("nan")


def _peak(track: Track, frames: slice) -> tuple[F64, F64]:
    """Greatest mean of the shortest runs that cover .2 s, and the middle of the first such run."""
    weights, sums = track.sums
    t_s = track.t_s[frames]
    ends = np.searchsorted(weights, weights[frames] + RUN_S - EPS)  # first frame after each run
    broken = (np.diff(track.rows[frames]) > 1) | (np.diff(t_s) > BREAK * track.clock.step_s + EPS)
    stretch = np.concatenate([[0], np.cumsum(broken)])
    whole = ends <= frames.stop
    starts = np.flatnonzero(whole)
    starts = starts[stretch[ends[starts] - 1 - frames.start] == stretch[starts]]
    if not len(starts):
        empty = np.full(track.width, np.nan)
        return empty, empty
    first, after = starts + frames.start, ends[starts]
    lengths = weights[after] - weights[first]
    means = (sums[after] - sums[first]) / lengths[:, None]
    best = (means >= means.max(axis=0) - _ROUNDING * np.abs(means).max(axis=0)).argmax(axis=0)
    times = np.concatenate([[0], np.cumsum(track.weight_s * track.t_s)])
    middles = (times[after] - times[first]) / lengths
    return means[best, np.arange(track.width)], middles[best]
