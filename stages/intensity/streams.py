"""Streams of the same clips, recorded at their own rates, side by side on one clock.

Each stream's gaps are filled in that stream alone, at its own rate; then its rows meet the frames
of the joined sequence by their times, which all count from the start of the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from facer.stages.intensity.sequence_config import Align, SequenceConfig, StreamsConfig
from facer.stages.intensity.sequences import Sequences, held_rows, measured_rows, shorten
from facer.storage.errors import FacerError, named
from facer.storage.loading import Ragged
from facer.storage.schema import F32, F64, I64, Bools

_EPS_S = 1e-6  # times that differ by less are one: a tie goes to the earlier row or frame
_REACH = 1.5  # of a stream's own steps, for which its first and last row stand beyond its ends
_LONGEST, _SHORTEST = 20, 0.003  # of a stream, in shares of the first one's time: else other units
_MOST_FRAMES = 5_000_000  # of a clip on the grid of --rate


@dataclass(frozen=True)
class Stream:
    """One stream of C clips; a clip that lacks it has no rows here, or none that is valid."""

    name: str
    ragged: Ragged


def nearest(times_s: F64, at_s: F64) -> I64:
    """Return the row (of S >= 1 rows in order of time) nearest to each time, (T,)."""
    right = np.searchsorted(times_s, at_s)
    left = np.maximum(right - 1, 0)
    right = np.minimum(right, len(times_s) - 1)
    earlier = at_s - times_s[left] <= times_s[right] - at_s + _EPS_S
    return np.where(earlier, left, right)


def align(values: F32, times_s: F64, at_s: F64, how: Align) -> F32:
    """Return the rows of a stream (S, F), at times (S,), for the frames at T other times, (T, F).

    ``nearest`` takes the row nearest to the frame. ``mean`` averages the rows that are nearer to
    this frame than to any other, so that none of a faster stream is lost; a frame that has none
    takes the nearest. ``linear`` goes straight from the row before the frame to the one after it.
    Before its first row and after its last a stream keeps that row's values. Times never decrease.
    """
    if how == "linear":
        return _between(values, times_s, at_s)
    found: F32 = values[nearest(times_s, at_s)]
    if how == "mean":
        edges = _edges(at_s)
        first, last = (np.searchsorted(times_s, edges + eps) for eps in (-_EPS_S, _EPS_S))
        sums = np.zeros((len(values) + 1, values.shape[1]))
        np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
        inner, ties = sums[first[1:]] - sums[last[:-1]], (sums[last] - sums[first]) / 2
        halves = (last - first) / 2  # a row half-way between two frames counts half in each
        counts = first[1:] - last[:-1] + halves[1:] + halves[:-1]
        own = counts > 0
        found[own] = ((inner + ties[1:] + ties[:-1])[own] / counts[own, None]).astype(np.float32)
    return found


def _edges(at_s: F64) -> F64:
    """Half-way times between frames, and as far beyond the first and the last, (T + 1,)."""
    if len(at_s) == 1:
        return np.array([-np.inf, np.inf])
    middle = (at_s[1:] + at_s[:-1]) / 2
    return np.concatenate([[2 * at_s[0] - middle[0]], middle, [2 * at_s[-1] - middle[-1]]])


def _between(values: F32, times_s: F64, at_s: F64) -> F32:
    right = np.clip(np.searchsorted(times_s, at_s), 1, max(len(times_s) - 1, 1))
    left, right = right - 1, np.minimum(right, len(times_s) - 1)
    span = times_s[right] - times_s[left]
    share = np.divide(at_s - times_s[left], span, out=np.ones_like(span), where=span > 0)
    weight = np.clip(share, 0, 1).astype(np.float32)[:, None]
    mixed: F32 = values[left] * (1 - weight) + values[right] * weight
    return mixed


def reached(times_s: F64, at_s: F64) -> Bools:
    """Return which times lie within a stream, or not far beyond its ends, (T,)."""
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else np.inf
    reach = _REACH * step + _EPS_S
    inside: Bools = (at_s >= times_s[0] - reach) & (at_s <= times_s[-1] + reach)
    return inside


def grid(times_s: F64, rate_hz: float, clip_id: str) -> F64:
    """Return times (n,) at a rate from the first to the last of some; FacerError for too many."""
    count = (times_s[-1] - times_s[0]) * rate_hz
    if count >= _MOST_FRAMES:
        raise FacerError(
            f"{named('rate')} {rate_hz:g}: clip {clip_id!r} would have {count:.3g} frames, "
            f"expected at most {_MOST_FRAMES}; take a lower rate"
        )
    steps: F64 = np.arange(int(count + _EPS_S * rate_hz) + 1) / rate_hz
    return np.asarray(times_s[0] + steps, np.float64)


def join(streams: Sequence[Stream], config: SequenceConfig, how: StreamsConfig) -> Sequences:
    """Put streams side by side at the first one's frames, or on a grid of ``how.rate``.

    Gaps by ``config.missing``: held in their own stream;
    zeros in its columns; or (drop) frames left out of which no stream has a measured row, the gaps
    of others held. ``config.min_quality`` is of the first stream. A clip that lacks a stream, at
    the times of its frames at least, is in ``empty``, or has zeros in its columns
    (``how.lacking``); one that lacks all is in ``empty``. A stream without columns gives its times
    alone. Raises FacerError for times that are not in order, or not in one unit.
    """
    for stream in streams[1:]:
        _refuse_other_units(streams[0], stream)
    first = streams[0].ragged
    used = [stream for stream in streams if stream.ragged.features.shape[1]]
    no_quality = replace(config, min_quality=None)
    seen = [measured_rows(s.ragged, config if s is streams[0] else no_quality) for s in used]
    widths = tuple(stream.ragged.features.shape[1] for stream in used)
    clips = [_times(streams[0], i, how.rate) for i in range(len(first.clip_ids))]
    offsets = np.concatenate([[0], np.cumsum([len(at_s) for at_s in clips])]).astype(np.int64)
    features = np.zeros((offsets[-1], sum(widths)), np.float32)
    there = np.zeros((offsets[-1], len(used)), np.bool_)
    lacks = np.zeros((len(clips), len(used)), np.bool_)
    columns = [slice(a, b) for a, b in pairwise(np.cumsum([0, *widths]))]
    for place, (stream, valid) in enumerate(zip(used, seen, strict=True)):
        source = held_rows(valid, stream.ragged.offsets)
        for i, at_s in enumerate(clips):
            rows = slice(*offsets[i : i + 2])
            own = slice(*stream.ragged.offsets[i : i + 2])
            lacks[i, place] = True
            if valid[own].any() and (near := reached(times_s := _in_order(stream, i), at_s)).any():
                lacks[i, place] = False
                values = stream.ragged.features[source[own]]
                features[rows, columns[place]] = align(values, times_s, at_s, how.align)
                there[rows, place] = valid[own][nearest(times_s, at_s)] & near
    gaps = ~there if config.missing == "zero" else np.repeat(lacks, np.diff(offsets), axis=0)
    for place, its in enumerate(columns):
        features[gaps[:, place], its] = 0
    without: Bools = np.any(lacks, 1) if how.lacking == "drop" else np.all(lacks, 1)
    empty = tuple(first.clip_ids[i] for i in np.flatnonzero(without))
    zeros = config.missing == "zero" or how.lacking == "fill"
    whole = Sequences(
        features, offsets, first.clip_ids, int((~there).any(1).sum()), empty=empty,
        filled=gaps if zeros else None, streams=widths,
    )  # fmt: skip
    return _shortened(_without(whole, there) if config.missing == "drop" else whole, config)


def _without(whole: Sequences, there: Bools) -> Sequences:
    """Leave out frames of which no stream has a measured row, but for the first of a clip."""
    starts = whole.offsets[:-1]
    keep: Bools = np.atleast_1d(np.any(there, 1))
    keep[starts[np.add.reduceat(keep, starts, dtype=np.int64) == 0]] = True
    counts = np.add.reduceat(keep, starts, dtype=np.int64)
    return _rows_of(whole, keep, np.concatenate([[0], np.cumsum(counts)]))


def _shortened(whole: Sequences, config: SequenceConfig) -> Sequences:
    """Shorten what is longer than ``max_frames``."""
    kept, offsets, overlong = shorten(whole.offsets, whole.clip_ids, config)
    return replace(_rows_of(whole, kept, offsets), overlong=overlong) if overlong else whole


def _rows_of(whole: Sequences, rows: Bools | I64, offsets: I64) -> Sequences:
    filled = None if whole.filled is None else whole.filled[rows]
    return replace(whole, features=np.asarray(whole.features)[rows], filled=filled, offsets=offsets)


def _times(stream: Stream, clip: int, rate_hz: float | None) -> F64:
    """When the frames of a joined clip are."""
    times_s = _in_order(stream, clip)
    if not len(times_s):
        raise FacerError(f"clip {stream.ragged.clip_ids[clip]!r}: found no frames, expected some")
    return times_s if rate_hz is None else grid(times_s, rate_hz, stream.ragged.clip_ids[clip])


def _refuse_other_units(first: Stream, other: Stream) -> None:
    """FacerError where a stream is in most clips far longer or shorter than the first one."""
    own, its = _spans(first.ragged), _spans(other.ragged)
    known = (own > 0) & (its > 0)
    share = float(np.median(its[known] / own[known])) if known.any() else 1.0
    if not _SHORTEST <= share <= _LONGEST:
        raise FacerError(
            f"found times in {other.name} that span {share:.3g} times those of {first.name} in "
            "most clips, expected seconds in both; make its store again with times in seconds"
        )


def _spans(ragged: Ragged) -> F64:
    """From the first row of each clip to its last in seconds, 0 where there are none, (C,)."""
    starts, stops = ragged.offsets[:-1], ragged.offsets[1:]
    some = stops > starts
    spans = np.zeros(len(starts))
    spans[some] = ragged.timestamp_s[stops[some] - 1] - ragged.timestamp_s[starts[some]]
    return spans


def _in_order(stream: Stream, clip: int) -> F64:
    ragged = stream.ragged
    times_s = ragged.timestamp_s[ragged.offsets[clip] : ragged.offsets[clip + 1]]
    if len(times_s) and np.isnan(times_s).all():
        raise FacerError(
            f"clip {ragged.clip_ids[clip]!r}: found no times in {stream.name}, as of an import "
            "without its frame rate, expected some to join stores by; import it again with a rate"
        )
    if not (np.isfinite(times_s).all() and (np.diff(times_s) >= 0).all()):
        raise FacerError(
            f"clip {ragged.clip_ids[clip]!r}: found times in {stream.name} that are not in order, "
            "expected seconds that never decrease"
        )
    return times_s
