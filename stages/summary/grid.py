"""Curves on an even grid of time, from an event on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from facer.stages.summary.track import EPS, FrameTimes, Track
from facer.storage.errors import FacerError, named
from facer.storage.schema import F64, Bools

_MOST = 5_000_000  # bins of a clip


@dataclass(frozen=True)
class Series:
    """B bins of a track's C columns."""

    value: F64  # (B, C)
    seen_share: F64  # (B,)
    filled: Bools  # (B,)


def bins(start_s: float, stop_s: float, rate_hz: float, clip: str) -> F64:
    """Return starts of bins that cover a clip's span, (B,): whole multiples of the bin from 0 on.

    ``FacerError`` naming the clip where they are millions, as for times with a pause of weeks.
    """
    first, last = math.floor(start_s * rate_hz + 1e-6), math.ceil(stop_s * rate_hz - 1e-6)
    if last - first > _MOST:
        raise FacerError(
            f"{clip}: found {stop_s - start_s:.0f} s of it, which is {last - first} bins at "
            f"{rate_hz:g} a second, expected at most {_MOST}; look at its times, leave the clip "
            f"out or, for curves, take a coarser {named('grid')}"
        )
    return np.arange(first, last) / rate_hz


def frame_bins(time: FrameTimes, clip: str) -> tuple[F64, float]:
    """Return starts of a bin a frame, (B,), and their rate in Hz, which is the clip's own.

    A frame is in the middle of its bin, so that a time that its container rounded stays in it. The
    rate is the number of median steps from the first frame to the last, each step rounded to whole
    ones, over the time between them.
    """
    t_s, step_s = time.t_s, time.step_s
    if not len(t_s):
        return np.zeros(0), 1.0
    span_s = float(t_s[-1] - t_s[0])
    rate_hz = 1 / step_s if step_s > 0 else 1.0
    if span_s > 0:
        rate_hz = float(np.rint(np.diff(t_s) / step_s).sum()) / span_s
    rate_hz = float(f"{rate_hz:.12g}")  # 30, not 29.999999999999996
    count = round(span_s * rate_hz) + 1
    return bins(0.0, count / rate_hz, rate_hz, clip) + (time.start_s - 0.5 / rate_hz), rate_hz


def series(track: Track, starts_s: F64, rate_hz: float, max_gap_s: float) -> Series:
    """Average a track over bins, which begin at ``starts_s`` (n,) in seconds of the clip.

    A bin without a seen frame is interpolated linearly inside an unseen gap of ``max_gap_s`` or
    less, and between two frames of a camera that is slower than the grid; then ``filled``.
    Elsewhere it is NaN.
    """
    width_s = 1 / rate_hz
    weights, sums = track.sums
    first = np.searchsorted(track.t_s, starts_s - EPS)
    last = np.searchsorted(track.t_s, starts_s + width_s - EPS)
    total = weights[last] - weights[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (sums[last] - sums[first]) / total[:, None]
    value[last == first] = np.nan
    share = np.minimum(total / width_s, 1.0)
    inner = (last == first) & (first > 0) & (first < len(track.rows))
    gap = track.before_s[np.minimum(first, len(track.rows))]
    filled = inner & (gap <= max_gap_s + EPS)
    if filled.any():
        right = first[filled]
        left = right - 1
        middle = starts_s[filled] + width_s / 2
        part = (middle - track.t_s[left]) / (track.t_s[right] - track.t_s[left])
        one, other = track.values[left], track.values[right]
        value[filled] = one + np.clip(part, 0, 1)[:, None] * (other - one)
    return Series(value, share, filled)
