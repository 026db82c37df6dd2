"""From cached features to what a head reads: columns chosen, gaps filled, overlong clips cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage.errors import FacerError, named
from facer.storage.loading import Ragged
from facer.storage.schema import F32, FEATURE_GROUPS, I64, Bools, columns_of

EMBEDDING = "embedding"
ZEROS = -1  # source of a row of zeros
BLOCK_ROWS = 1 << 16  # rows moved at a time, so that no second matrix is needed


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

    ``all`` is every column in the store's order; a group is all columns of its kind that the store
    has (:func:`facer.storage.schema.columns_of`), and the name of a joined stream all of its
    columns. Raises FacerError for a name of which it has nothing.
    """
    known = frozenset(feature_names)  # a store may have very many
    columns: dict[str, None] = {}
    for name in wanted:
        if name == EMBEDDING:
            continue
        found = _named(name, feature_names, known)
        if not found:
            raise FacerError(
                f"{named('features')} {name}: the store has no such column; expected all, "
                f"{', '.join(FEATURE_GROUPS)}, {EMBEDDING} or some of "
                f"{', '.join(feature_names[:100])}{', ...' if len(known) > 100 else ''}"
            )
        columns.update(dict.fromkeys(found))
    return FeatureChoice(tuple(columns), EMBEDDING in wanted)


@dataclass(frozen=True)
class RowPlan:
    """Which row of a ragged matrix each row of the sequences is."""

    source: I64  # (N,) never decreasing within what is measured; ZEROS for a row of zeros
    offsets: I64  # (C + 1,) of clips in these rows
    overlong: tuple[str, ...]  # clips that were longer than t
    empty: tuple[str, ...]  # clips without any measured frame


def _named(name: str, feature_names: Sequence[str], known: Collection[str]) -> Sequence[str]:
    """The columns that a word stands for; none where the store has none."""
    if name == "all":
        return feature_names
    if name in FEATURE_GROUPS:
        return columns_of(name, feature_names)
    if name in known:
        return [name]
    return [member for member in feature_names if member.startswith(f"{name}.")]


def prepare(ragged: Ragged, config: SequenceConfig) -> Sequences:
    """Fill or drop invalid frames, then shorten clips of more than ``max_frames``.

    ``ragged.features`` is used up: it is changed in place, so that memory is the matrix and
    little more. A frame whose chosen features are not all finite counts as invalid, and one of
    less than ``min_quality``, for which ``ragged`` must have the quality. Raises FacerError for a
    clip without frames, and for an overlong one where those are errors.
    """
    measured = measured_rows(ragged, config)
    plan = plan_rows(measured, ragged.offsets, ragged.clip_ids, config)
    filled = (plan.source == ZEROS)[:, None] if config.missing == "zero" else None
    missing = int((~measured).sum())
    features = _gather(ragged.features, plan.source)
    return Sequences(
        features, plan.offsets, ragged.clip_ids, missing, plan.overlong, plan.empty, filled
    )


def plan_rows(
    measured: Bools, offsets: I64, clip_ids: Sequence[str], config: SequenceConfig
) -> RowPlan:
    """The rows of the sequences of C clips, by the rules for missing frames and overlong clips.

    ``measured`` (N,) says which rows can be used. Errors are those of :func:`prepare`.
    """
    if (lengths := np.diff(offsets)).size and lengths.min() == 0:
        clip_id = clip_ids[int(lengths.argmin())]
        raise FacerError(f"clip {clip_id!r}: found no frames, expected at least one")
    counted = np.add.reduceat(measured, offsets[:-1], dtype=np.int64)
    empty = tuple(clip_ids[i] for i in np.flatnonzero(counted == 0).tolist())
    if config.missing == "hold":
        source = held_rows(measured, offsets)
    elif config.missing == "zero":
        source = np.where(measured, np.arange(len(measured)), ZEROS)
    else:
        source, offsets = _dropped(measured, offsets, counted)
    kept, offsets, overlong = shorten(offsets, clip_ids, config)
    return RowPlan(source[kept] if overlong else source, offsets, overlong, empty)


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
        features=_gather(sequences.features, rows),
        offsets=_offsets(sequences.lengths[there]),
        clip_ids=tuple(clip_id for clip_id in sequences.clip_ids if clip_id not in empty),
        filled=None if sequences.filled is None else sequences.filled[rows],
    )


def measured_rows(ragged: Ragged, config: SequenceConfig) -> Bools:
    """Rows with a face, all features finite, and of enough quality, (N,)."""
    measured = ragged.valid.copy()
    for start in range(0, len(measured), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        measured[rows] &= np.isfinite(ragged.features[rows]).all(1)
    if config.min_quality is not None:
        assert ragged.quality is not None
        measured &= ragged.quality >= config.min_quality  # False for NaN
    return measured


def held_rows(measured: Bools, offsets: I64) -> I64:
    """Each row (N,) itself, or the last measured one of its clip; leading gaps have the first.

    ZEROS where the clip has none.
    """
    rows = np.append(np.flatnonzero(measured), len(measured))
    first = rows[np.searchsorted(rows, offsets[:-1])]  # measured row from each clip's start on
    source = np.arange(len(measured))
    source[~measured] = -1
    np.maximum.accumulate(source, out=source)
    for start, stop, row in zip(offsets[:-1], offsets[1:], first, strict=True):
        if row > start:
            source[start : min(row, stop)] = row if row < stop else ZEROS
    return source


def _dropped(measured: Bools, offsets: I64, counted: I64) -> tuple[I64, I64]:
    """The measured rows; a clip without any keeps one row of zeros."""
    keep = measured.copy()
    keep[offsets[:-1][counted == 0]] = True
    source = np.flatnonzero(keep)
    source[~measured[source]] = ZEROS
    return source, _offsets(np.maximum(counted, 1))


def shorten(
    offsets: I64, clip_ids: Sequence[str], config: SequenceConfig
) -> tuple[I64, I64, tuple[str, ...]]:
    """Rows that are kept (K,), the offsets (C + 1,) of clips in these, and the clips that were too
    long. FacerError for one where ``config.overlong`` is error.
    """
    t = config.max_frames
    lengths = np.diff(offsets)
    over = np.flatnonzero(lengths > t).tolist()
    ids = tuple(clip_ids[i] for i in over)
    if ids and config.overlong == "error":
        raise FacerError(
            f"clip {ids[0]!r}: found {lengths[over[0]]} frames, expected at most {t} "
            f"({len(ids)} clips are longer); use {named('overlong')} subsample or a larger "
            f"{named('t')}"
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
    """``count`` of ``length`` >= ``count`` indices (count,), the middle of equal shares."""
    return ((np.arange(count) + 0.5) * length / count).astype(np.int64)


def _gather(features: F32, source: I64) -> F32:
    """Move rows to where they are wanted, in place, and return a view of them.

    Sources never decrease, and a row that is a source of a later place is its own: what is
    written never hides what is still to be read.
    """
    for start in range(0, len(source), BLOCK_ROWS):
        block = source[start : start + BLOCK_ROWS]
        rows = slice(start, start + len(block))
        features[rows] = features[block]
        features[rows][block == ZEROS] = 0
    return features[: len(source)]


def _offsets(lengths: I64) -> I64:
    return np.concatenate([[0], np.cumsum(lengths)])
