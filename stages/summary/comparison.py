"""Two measurements of one clip: who saw more, how far they are apart, and which comes later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facer.stages.summary.track import FrameTimes
from facer.storage.schema import F32, F64, Bools

RATE_HZ = 25.0
"""Of the even grid on which a lag is looked for."""
LONGEST_LAG_S = 1.0
_ROUNDING = 1e-4  # seconds, of times that a tool wrote in milliseconds
_LEAST = 10  # frames that both must have seen
_ALIKE = 1e-9  # correlations that differ by less
_ROUNDED = 1e-24  # of squares: float32 values that differ at all differ by more


@dataclass(frozen=True)
class Pair:
    """Frames of a clip that two stores both saw, n of them, and the time that each saw alone."""

    a: F64  # (n, C) of frames that both saw
    b: F64
    t_s: F64  # (n,)
    alone: Bools  # (T,) frames of a that b did not see
    both_s: float
    only_a_s: float
    only_b_s: float
    neither_s: float


def pair(
    clock_a: FrameTimes, a: F32, seen_a: Bools, clock_b: FrameTimes, b: F32, seen_b: Bools
) -> Pair:
    """Put the frames of b (M, C) beside those of a (T, C): the nearest in time.

    Seconds are those of a's clock: b saw a frame of a where its own nearest one saw a face and is
    within half the longer of both median steps. Values are compared where it is within half the
    shorter one.
    """
    t_a, t_b = clock_a.t_s, clock_b.t_s
    if len(t_b):
        right = np.minimum(np.searchsorted(t_b, t_a), len(t_b) - 1)
        left = np.maximum(right - 1, 0)
        near = np.where(np.abs(t_b[left] - t_a) <= np.abs(t_b[right] - t_a), left, right)
        away, saw = np.abs(t_b[near] - t_a), seen_b[near]
        there = saw & (away <= max(clock_a.step_s, clock_b.step_s) / 2 + _ROUNDING)
        close = there & seen_a & (away <= min(clock_a.step_s, clock_b.step_s) / 2 + _ROUNDING)
        values = b[near[close]]
    else:
        there = close = np.zeros(len(t_a), bool)
        values = np.zeros((0, a.shape[1]), np.float32)
    seconds = [
        float(clock_a.weight_s[frames].sum())
        for frames in (seen_a & there, seen_a & ~there, ~seen_a & there, ~seen_a & ~there)
    ]
    both = a[close].astype(np.float64), values.astype(np.float64), t_a[close]
    return Pair(*both, seen_a & ~there, *seconds)


def correlations(a: F64, b: F64) -> F64:
    """Return Pearson's correlation of each column, (C,), over the frames in which both have a
    value; NaN for too few, and where one does not vary.
    """
    both = np.isfinite(a) & np.isfinite(b)
    n = both.sum(axis=0)
    one, other = (
        np.where(both, x - np.where(both, x, 0).sum(axis=0) / np.maximum(n, 1), 0) for x in (a, b)
    )
    squares = [np.where(both, x**2, 0).sum(axis=0) for x in (a, b)]
    left, right = (
        varying((x**2).sum(axis=0), s) for x, s in zip((one, other), squares, strict=True)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: F64 = (one * other).sum(axis=0) / (np.sqrt(left) * np.sqrt(right))
    return np.where((left > 0) & (right > 0) & (n >= _LEAST), rho, np.nan)


def varying(variance: F64, square: F64) -> F64:
    """Variances; 0 where they are the rounding of values whose squares are ``square``."""
    return np.where(variance > _ROUNDED * square, variance, 0)


def _at(times_s: F64, known_s: F64, values: F64) -> F64:
    """Values between those that are known; NaN throughout where none is."""
    there = np.isfinite(values)
    if not there.any():
        return np.full(len(times_s), np.nan)
    return np.interp(times_s, known_s[there], values[there])


def lags(of: Pair) -> F64:
    """Return by how many seconds each column of b comes after that of a, (C,); NaN: not known.

    The shift in 25ths of a second, below one second, at which the two correlate most over the
    frames that both saw, linear between them; of shifts alike, as of curves that only rise, the
    least. Where they go on to correlate more up to a whole second, the lag is not known.
    """
    width = of.a.shape[1]
    most = round(LONGEST_LAG_S * RATE_HZ)
    if len(of.t_s) < _LEAST or of.t_s[-1] - of.t_s[0] < 3 * LONGEST_LAG_S:
        return np.full(width, np.nan)
    even = np.arange(of.t_s[0], of.t_s[-1], 1 / RATE_HZ)
    one, other = (
        np.column_stack([_at(even, of.t_s, values[:, c]) for c in range(width)])
        for values in (of.a, of.b)
    )
    shifts = np.array(sorted(range(-most, most + 1), key=abs))
    moved = (other[most + shift : len(other) - most + shift] for shift in shifts)
    found = np.array([correlations(one[most:-most], later) for later in moved])
    found = np.where(np.isnan(found), -np.inf, found)
    best = shifts[(found >= found.max(axis=0) - _ALIKE).argmax(axis=0)]
    unknown = np.isinf(found).all(axis=0) | (np.abs(best) == most)
    return np.where(unknown, np.nan, best / RATE_HZ)
