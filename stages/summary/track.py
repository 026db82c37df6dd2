"""A clip over time: how long each frame counts, what was seen, and where nothing was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from facer.storage.schema import F32, F64, I64, Bools

EPS = 1e-9
"""Seconds that rounding may cost; times of clips are no finer."""
_LIMIT = 1.5  # median steps that a frame counts at most
BREAK = 2
"""Median steps from frame to frame beyond which the time between them is unseen: with as much,
both frames count their 1.5."""


@dataclass(frozen=True)
class FrameTimes:
    """Times of a clip's T frames, ascending, and how long each counts.

    ``weight_s`` is half the time to each neighbour, at most 1.5 median steps; ``hold_s`` is the
    time until the next frame, or a median step where that is more than two away: what is between
    is unseen. A first or last frame has a neighbour one median step away.
    """

    t_s: F64  # (T,)
    weight_s: F64  # (T,)
    hold_s: F64  # (T,)
    step_s: float  # the median time from frame to frame

    @property
    def start_s(self) -> float:
        """Time of the first frame."""
        return float(self.t_s[0]) if len(self.t_s) else 0.0

    @property
    def stop_s(self) -> float:
        """End of the last frame."""
        return float(self.t_s[-1]) + self.step_s if len(self.t_s) else 0.0


def clock(t_s: F64, fps: float = float("nan")) -> FrameTimes:
    """Return the clock of frames at ``t_s`` (T,), which must ascend.

    ``fps`` says how long the frame of a clip of one frame is.

    >>> clock(np.array([0.0, 0.2, 0.4, 1.4])).weight_s.tolist()
    [0.2, 0.2, 0.30000000000000004, 0.30000000000000004]
    """
    steps = np.diff(t_s)
    moving = steps[steps > 0]
    alone = 1 / fps if fps > 0 else 0.0
    step = float(np.median(moving)) if len(moving) else alone
    sides = np.concatenate([[step], steps, [step]]) if len(t_s) else np.zeros(1)
    weight = np.minimum((sides[:-1] + sides[1:]) / 2, _LIMIT * step)
    hold = np.where(sides[1:] <= BREAK * step + EPS, sides[1:], step)
    return FrameTimes(t_s, weight, hold, step)


@dataclass(frozen=True)
class Track:
    """Columns that were seen in the same frames: n seen frames of a clip.

    ``values`` is (n, C), in the order of ``columns``, which are places among the features.
    """

    clock: FrameTimes
    columns: I64  # (C,)
    rows: I64  # (n,) of the clip
    values: F64  # (n, C)

    @cached_property
    def t_s(self) -> F64:
        """Times of the seen frames, (n,)."""
        return self.clock.t_s[self.rows]

    @cached_property
    def weight_s(self) -> F64:
        """Weights of the seen frames, (n,)."""
        return self.clock.weight_s[self.rows]

    @cached_property
    def end_s(self) -> F64:
        """When each seen frame ends, (n,)."""
        return self.t_s + self.clock.hold_s[self.rows]

    @cached_property
    def before_s(self) -> F64:
        """Unseen time before each seen frame and after the last, (n + 1,); infinite at the ends."""
        gaps = np.full(len(self.rows) + 1, np.inf)
        gaps[1:-1] = self.t_s[1:] - self.end_s[:-1]
        return gaps

    @cached_property
    def gaps_s(self) -> F64:
        """Unseen stretches (start, stop), (G, 2); the first and last reach beyond the clip."""
        edges = np.column_stack([
            np.concatenate([[-np.inf], self.end_s]), np.concatenate([self.t_s, [np.inf]])
        ])  # fmt: skip
        found: F64 = edges[edges[:, 1] - edges[:, 0] > EPS]
        return found

    @cached_property
    def sums(self) -> tuple[F64, F64]:
        """Running sums over the seen frames: weights (n + 1,), weight times value (n + 1, C)."""
        weights, values = np.zeros(len(self.rows) + 1), np.zeros((len(self.rows) + 1, self.width))
        np.cumsum(self.weight_s, out=weights[1:])
        np.cumsum(self.weight_s[:, None] * self.values, axis=0, out=values[1:])
        return weights, values

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.columns)

    def between(self, start_s: float, stop_s: float) -> slice:
        """Which seen frames lie in a span."""
        first, last = np.searchsorted(self.t_s, [start_s - EPS, stop_s - EPS])
        return slice(int(first), int(last))

    def unseen_s(self, start_s: float, stop_s: float) -> float:
        """Longest unseen stretch inside a span."""
        inside = np.minimum(self.gaps_s[:, 1], stop_s) - np.maximum(self.gaps_s[:, 0], start_s)
        longest = float(inside.max(initial=0.0))
        return longest if longest > EPS else 0.0


def tracks(time: FrameTimes, features: F32, seen: Bools) -> Iterator[Track]:
    """Yield tracks that together have every column of ``features`` (T, F).

    ``seen`` (T,) or (T, F) tells which frames count; a number that is absent never does.
    """
    seen = np.isfinite(features) & (seen if seen.ndim == 2 else seen[:, None])
    left = np.arange(features.shape[1])
    while len(left):
        same = (seen[:, left] == seen[:, left[:1]]).all(axis=0)
        columns, left = left[same], left[~same]
        rows = np.flatnonzero(seen[:, columns[0]])
        yield Track(time, columns, rows, features[np.ix_(rows, columns)].astype(np.float64))
