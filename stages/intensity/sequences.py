"""From cached features to what a head reads: columns chosen, gaps filled, overlong clips cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.config import SequenceConfig
from facer.storage.errors import FacerError, named
from facer.storage.loading import Ragged
from facer.storage.schema import F32, FEATURE_GROUPS

I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

EMBEDDING = "embedding"
_BLOCK_ROWS = 1 << 16  # rows moved at a time, so that no second matrix is needed


@dataclass(frozen=True)
class FeatureChoice:
    """Columns of ``features`` by name, and whether the embedding follows them."""

    columns: tuple[str, ...]
    embedding: bool


class Rows(Protocol):
    """A matrix (N, F) of float32 or float16, in memory or not, of which some rows are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, F)."""

    def __getitem__(self, rows: slice, /) -> npt.NDArray[Any]:
        """Return rows ``start`` to ``stop``."""


@dataclass(frozen=True)
class Sequences:
    """The sequences of C clips as one matrix; every clip has between 1 and t rows, all finite.

    The columns are those of one stream after the other.
    """

    features: Rows  # (N, F)
    offsets: I64  # (C + 1,)
    clip_ids: tuple[str, ...]  # (C,)
    missing_frames: int = 0  # frames without a face, or with a value that is not finite
    overlong: tuple[str, ...] = ()  # clips that were longer than t
    empty: tuple[str, ...] = field(default=())  # clips without any measured frame: zeros
    filled: Bools | None = None
    """(N, S) Where zeros stand for a stream's frame, and stay zeros when it is standardised.

    None where there are none by the rule for missing frames.
    """
    streams: tuple[int, ...] = ()  # (S,) columns of each; empty: all F are of one stream

    @property
    def lengths(self) -> I64:
        """True number of rows of each clip, (C,)."""
        return np.diff(self.offsets)


def choose_features(wanted: Sequence[str], feature_names: Sequence[str]) -> FeatureChoice:
    """Resolve groups and column names against a store's columns, each column once.

    ``all`` is every column in the store's order; a group is those of its columns that the store
    has (other tools measure fewer AUs), and the name of a joined stream all of its columns. Raises
    FacerError for a name of which it has nothing.
    """
    known = frozenset(feature_names)  # a store may have very many
    columns: dict[str, None] = {}
    for name in wanted:
        if name == EMBEDDING:
            continue
        members = feature_names if name == "all" else FEATURE_GROUPS.get(name, (name,))
        found = [member for member in members if member in known]
        found = found or [member for member in feature_names if member.startswith(f"{name}.")]
        if not found:
            raise FacerError(
                f"{named('features')} {name}: the store has no such column; expected all, "
                f"{', '.join(FEATURE_GROUPS)}, {EMBEDDING} or some of "
                f"{', '.join(feature_names[:100])}{', ...' if len(known) > 100 else ''}"
            )
        columns.update(dict.fromkeys(found))
    return FeatureChoice(tuple(columns), EMBEDDING in wanted)


def prepare(ragged: Ragged, config: SequenceConfig) -> Sequences:
    """Fill or drop invalid frames, then shorten clips of more than ``max_frames``.

    ``ragged.features`` is used up: it is changed in place, so that memory is the matrix and
    little more. A frame whose chosen features are not all finite counts as invalid, and one of
    less than ``min_quality``, for which ``ragged`` must have the quality. Raises FacerError for a
    clip without frames, and for an overlong one where those are errors.
    """
    lengths = np.diff(ragged.offsets)
    if (lengths == 0).any():
        clip_id = ragged.clip_ids[int(lengths.argmin())]
        raise FacerError(f"clip {clip_id!r}: found no frames, expected at least one")
    valid = measured(ragged, config.min_quality)
    counted = np.add.reduceat(valid, ragged.offsets[:-1], dtype=np.int64)
    empty = tuple(ragged.clip_ids[i] for i in np.flatnonzero(counted == 0))
    features, offsets = ragged.features, ragged.offsets
    if config.missing == "hold":
        hold(features, valid, offsets)
    elif config.missing == "zero":
        features[~valid] = 0
    else:
        features, offsets = _drop(features, valid, offsets, counted)
    filled = ~valid[:, None] if config.missing == "zero" else None
    kept, offsets, overlong = shorten(offsets, ragged.clip_ids, config)
    if overlong:
        features = _compact(features, kept)
        filled = None if filled is None else filled[kept]
    missing = int((~valid).sum())
    return Sequences(features, offsets, ragged.clip_ids, missing, overlong, empty, filled)


def without_empty(sequences: Sequences) -> Sequences:
    """Only the clips with a measured frame, in the same memory; ``empty`` names the others."""
    if not sequences.empty:
        return sequences
    assert isinstance(sequences.features, np.ndarray)
    empty = set(sequences.empty)
    there = np.array([clip_id not in empty for clip_id in sequences.clip_ids])
    rows = np.flatnonzero(np.repeat(there, sequences.lengths))
    return replace(
        sequences,
        features=_compact(sequences.features, rows),
        offsets=_offsets(sequences.lengths[there]),
        clip_ids=tuple(clip_id for clip_id in sequences.clip_ids if clip_id not in empty),
        filled=None if sequences.filled is None else sequences.filled[rows],
    )


def measured(ragged: Ragged, min_quality: float | None = None) -> Bools:
    """Which frames are valid, have finite values alone, and the quality that is asked for, (N,)."""
    valid = ragged.valid.copy()
    for start in range(0, len(valid), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        valid[rows] &= np.isfinite(ragged.features[rows]).all(1)
    if min_quality is not None:
        assert ragged.quality is not None
        valid &= ragged.quality >= min_quality  # False for NaN
    return valid


def hold(features: F32, valid: Bools, offsets: I64) -> None:
    """Give invalid frames the last valid row of their clip, in place; leading ones the first.

    A clip without a valid row becomes zeros.
    """
    for clips in _groups(offsets):
        rows = slice(offsets[clips.start], offsets[clips.stop])
        its_offsets = offsets[clips.start : clips.stop + 1] - rows.start
        _hold(features[rows], valid[rows], its_offsets)


def _groups(offsets: I64) -> Iterator[slice]:
    """Clips one after another, in groups of about ``_BLOCK_ROWS`` rows."""
    start = 0
    for stop in range(1, len(offsets)):
        if offsets[stop] - offsets[start] >= _BLOCK_ROWS or stop == len(offsets) - 1:
            yield slice(start, stop)
            start = stop


def _hold(features: F32, valid: Bools, offsets: I64) -> None:
    gaps = np.flatnonzero(~valid)
    if not len(gaps):
        return
    measured = np.flatnonzero(valid)
    clip = np.searchsorted(offsets, gaps, side="right") - 1
    place = np.searchsorted(measured, gaps)  # measured[place - 1] < gap < measured[place]
    padded = np.concatenate([[-1], measured, [len(valid)]])
    last, following = padded[place], padded[place + 1]
    source = np.where(last >= offsets[clip], last, following)
    none = source >= offsets[clip + 1]
    source[none] = gaps[none]
    features[gaps] = features[source]
    features[gaps[none]] = 0


def _drop(features: F32, valid: Bools, offsets: I64, counted: I64) -> tuple[F32, I64]:
    """Leave invalid frames out; a clip without valid frames keeps one row of zeros."""
    keep = valid.copy()
    alone = offsets[:-1][counted == 0]
    keep[alone] = True
    features[alone] = 0
    return _compact(features, np.flatnonzero(keep)), _offsets(np.maximum(counted, 1))


def shorten(
    offsets: I64, clip_ids: Sequence[str], config: SequenceConfig
) -> tuple[I64, I64, tuple[str, ...]]:
    """Rows that are kept, the offsets of clips in these, and the clips that were too long."""
    t = config.max_frames
    lengths = np.diff(offsets)
    over = np.flatnonzero(lengths > t).tolist()
    ids = tuple(clip_ids[i] for i in over)
    if ids and config.overlong == "error":
        raise FacerError(
            f"clip {ids[0]!r}: found {lengths[over[0]]} frames, expected at most {t} "
            f"({len(ids)} clips are longer); use --overlong subsample or a larger --t"
        )
    keep = np.ones(offsets[-1], np.bool_)
    for i in over:
        keep[offsets[i] : offsets[i + 1]] = False
        if config.overlong == "truncate":
            keep[offsets[i] : offsets[i] + t] = True
        else:
            keep[offsets[i] + evenly(int(lengths[i]), t)] = True
    return np.flatnonzero(keep), _offsets(np.minimum(lengths, t)), ids


def evenly(length: int, count: int) -> I64:
    """``count`` of ``length`` >= ``count`` indices, evenly spaced, the middle of each share."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)


def _compact(features: F32, rows: I64) -> F32:
    """Move rows (ascending) to the front, in place, and return a view of them."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        features[start : start + len(block)] = features[block]
    return features[: len(rows)]


def _offsets(lengths: I64) -> I64:
    return np.concatenate([[0], np.cumsum(lengths)])
