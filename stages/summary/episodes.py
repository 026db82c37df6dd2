"""Episodes: stretches of time in which a feature is above its threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facer.stages.summary.track import EPS, Track
from facer.storage.schema import F64, I64, Bools

SHORTEST_S = 0.1
"""What is shown for less is no episode."""


@dataclass(frozen=True)
class Episodes:
    """E episodes of a clip, by feature and then by time; times in seconds of the clip."""

    column: I64  # (E,) place among the features
    start_s: F64
    stop_s: F64
    peak: F64  # greatest value
    peak_s: F64
    mean: F64  # weighted by time
    cut_start: Bools  # what was before is not known
    cut_stop: Bools

    def __len__(self) -> int:
        return len(self.column)


def episodes(track: Track, thresholds: F64, max_gap_s: float) -> Episodes:
    """Find the episodes of a track's columns; ``thresholds`` (C,), NaN for none.

    An unseen gap of ``max_gap_s`` or less joins what is above on both sides; a longer one, and
    the clip's beginning and end, cut.
    """
    with np.errstate(invalid="ignore"):
        above = np.ascontiguousarray((track.values > thresholds).T)  # (C, n)
    long = track.before_s > max_gap_s + EPS
    off = np.zeros((track.width, 1), bool)
    before, after = np.hstack([off, above[:, :-1]]), np.hstack([above[:, 1:], off])
    column, first = np.nonzero(above & (~before | long[:-1]))
    _, last = np.nonzero(above & (~after | long[1:]))
    lengths = track.end_s[last] - track.t_s[first]
    kept = lengths >= SHORTEST_S - EPS
    column, first, last = column[kept], first[kept], last[kept]
    weights, sums = track.sums
    span = weights[last + 1] - weights[first]
    total = sums[last + 1, column] - sums[first, column]
    found = zip(first, last, column, strict=True)
    tops = np.array([a + int(track.values[a : b + 1, c].argmax()) for a, b, c in found], np.int64)
    return Episodes(
        track.columns[column], track.t_s[first], track.end_s[last],
        track.values[tops, column], track.t_s[tops], total / np.where(span > 0, span, 1),
        long[first], long[last + 1],
    )  # fmt: skip


def counted(
    found: Episodes, track: Track, span: tuple[float, float], max_gap_s: float
) -> tuple[I64, F64]:
    """Return how many episodes begin in a span, (C,), and when the first does, (C,).

    The latter is in seconds of the clip; NaN where none begins, and where it is not known when:
    nothing was seen just before it (``cut_start``), or an unseen stretch longer than
    ``max_gap_s`` comes before it in the span.
    """
    start_s, stop_s = span
    inside = (found.start_s >= start_s - EPS) & (found.start_s < stop_s - EPS)
    place = np.searchsorted(track.columns, found.column[inside])
    counts = np.bincount(place, minlength=track.width)
    with_any, first = np.unique(place, return_index=True)
    firsts = np.full(track.width, np.nan)
    firsts[with_any] = np.where(found.cut_start, np.nan, found.start_s)[inside][first]
    gaps = track.gaps_s
    unseen = np.minimum(gaps[:, 1:], firsts) - np.maximum(gaps[:, :1], start_s)
    firsts[unseen.max(axis=0, initial=0) > max_gap_s + EPS] = np.nan
    return counts, firsts
