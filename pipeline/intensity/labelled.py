"""Labels and store joined: the clips a head is trained and scored on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.pipeline.intensity.config import Cache
from facer.pipeline.intensity.sources.cache import SequenceCache, row_blocks
from facer.pipeline.intensity.sources.joined import (
    JoinedStore,
    Source,
    blocks_of,
    choose_columns,
    prepared,
    status_of,
)
from facer.pipeline.intensity.sources.splits import label_notes, split_rows
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.sequences import FeatureChoice, Sequences
from facer.storage import FeatureStore, IntensityLabels, LabelOptions, match_clips, read_labels
from facer.storage.errors import FacerError, named
from facer.storage.labels.matching import Match, no_match_message
from facer.storage.schema import F32, I64, Bools

Texts = npt.NDArray[np.object_]

_BLOCK_BYTES = 16 << 20  # of float32 features read at a time


@dataclass(frozen=True)
class LabelTable:
    """The R rows of a label file and what a store has of each, chosen by masks (R,) bool."""

    labels: IntensityLabels
    match: Match  # of these and the store
    clip_ids: Texts  # (R,) of the store; "" where a row means no clip
    status: Texts  # (R,) ok, no_features, no_stream, no_face, no_sound, failed or no_clip
    splits: Texts  # (R,)
    split_rule: str  # where the splits come from

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the intensities, (E,)."""
        return self.labels.names

    @property
    def targets(self) -> F32:
        """Labels (R, E), NaN = absent."""
        return self.labels.values

    @property
    def subjects(self) -> Texts:
        """The person of each row, "" where the labels name none, (R,)."""
        return np.array(self.labels.subjects, object)

    def of(self, split: str) -> Bools:
        """Rows of a split, with or without features, (R,)."""
        return np.asarray(self.splits == split)

    @property
    def usable(self) -> Bools:
        """Rows that there is something to predict from, (R,)."""
        return np.asarray(self.status == "ok")

    @property
    def labelled(self) -> Bools:
        """Rows with a label of some intensity, (R,)."""
        return np.asarray(np.isfinite(self.targets).any(axis=1))

    def clips(self, rows: Bools) -> tuple[str, ...]:
        """The clips of some rows, a mask (R,)."""
        return tuple(self.clip_ids[rows])

    def rows_of(self, clips: Iterable[str]) -> Bools:
        """The rows of some clips, (R,)."""
        wanted = frozenset(clips)
        return np.array([clip in wanted for clip in self.clip_ids], np.bool_)


@dataclass(frozen=True)
class LabelledSequences(LabelTable):
    """The same with the sequences of the usable rows, C of them, in the order of these rows."""

    sequences: Sequences
    notes: tuple[str, ...]  # what a reader of any figure must know of the labels

    @property
    def sequence_targets(self) -> F32:
        """Targets of the sequences, (C, E)."""
        return self.targets[self.usable]

    @property
    def sequence_subjects(self) -> list[str]:
        """The person of each sequence, "" where the labels name none, (C,)."""
        found: list[str] = self.subjects[self.usable].tolist()
        return found

    def places(self, rows: Bools) -> I64:
        """Indices, from 0 to C - 1, of the sequences of the usable rows of a mask (R,)."""
        return np.flatnonzero(rows[self.usable])

    def to_learn(self, split: str) -> I64:
        """Indices, from 0 to C - 1, of the sequences of a split that have a label."""
        return self.places(self.of(split) & self.labelled)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows and clips join, how many do not, and why."""
        status = self.status.tolist()
        return {
            "labels": len(status),
            "labels_without_clip": len(self.match.labels_only),
            "clips_without_label": len(self.match.store_only),
            "ambiguous_ids": len(self.match.ambiguous),
            "failed": status.count("failed"),
            "no_face": status.count("no_face") + status.count("no_sound"),
            "no_stream": status.count("no_stream"),
            "usable": len(self.sequences.clip_ids),
            "no_features": len(self.sequences.empty),
            "overlong": len(self.sequences.overlong),
            "missing_frames": self.sequences.missing_frames,
        }


def join_labels(labels: IntensityLabels, store: Source) -> LabelTable:
    """Find the clip of each row of labels; ``FacerError`` where no row means any."""
    match = match_clips(labels, store.clip_ids)
    if not match.pairs:
        raise FacerError(no_match_message(labels, store.clip_ids))
    clips = np.full(len(labels.clip_ids), "", object)
    status = np.full(len(labels.clip_ids), "no_clip", object)
    for row, clip in match.pairs:
        clips[row], status[row] = clip, status_of(store, clip)
    splits, rule = split_rows(labels)
    return LabelTable(labels, match, clips, status, np.array(splits, object), rule)


def load_labelled(
    store: Source,
    labels: IntensityLabels,
    config: SequenceConfig,
    choice: FeatureChoice | None = None,
    cache: Cache = "memory",
) -> tuple[LabelledSequences, FeatureChoice]:
    """Join labels with a store and read the sequences; ``FacerError`` when nothing joins.

    ``choice`` is a trained run's columns, by name; without it ``config.features`` is resolved.
    """
    table = join_labels(labels, store)
    clips = table.clips(table.usable)
    matched = [clip for _, clip in table.match.pairs]
    if not clips or (isinstance(store, JoinedStore) and 0 in store.counts(matched).values()):
        raise FacerError(
            f"{store.path}: none of the {len(matched)} labelled clips has "
            f"{_lacking(store, matched)}; facer status says why"
        )
    if choice is None:
        choice = choose_columns(store, config)
    sequences = read_sequences(store, clips, config, choice, cache)
    if not sequences.clip_ids:
        raise FacerError(_nothing_measured(store, clips, config, choice))
    table.status[table.rows_of(sequences.empty)] = "no_features"
    notes = label_notes(labels, table.splits)
    return LabelledSequences(**vars(table), sequences=sequences, notes=notes), choice


def read_sequences(
    store: Source,
    clip_ids: Sequence[str],
    config: SequenceConfig,
    choice: FeatureChoice,
    cache: Cache = "memory",
) -> Sequences:
    """The sequences of some clips, embedding after the chosen columns.

    Clips of which no frame has all of these are left out, and named in ``empty``. Where streams
    are joined, or ``cache`` is not memory, they are read some at a time: memory is what the cache
    needs, and a block.
    """
    if cache == "memory" and isinstance(store, FeatureStore):
        return prepared(store, clip_ids, config, choice)
    most = [min(store.record(clip).n_frames, config.max_frames) for clip in clip_ids]
    if isinstance(store, JoinedStore) and store.config.rate is not None:
        most = [config.max_frames] * len(clip_ids)
    found: SequenceCache | None = None
    for clips in list(blocks_of(store, clip_ids, _BLOCK_BYTES)) or [()]:
        block = prepared(store, clips, config, choice)
        found = found or SequenceCache(cache, block.features.shape[1], sum(most), store.path)
        found.add(block)
    assert found is not None
    return found.whole()


def _lacking(store: Source, clip_ids: Sequence[str]) -> str:
    """What none of some clips has, and how many each joined store has."""
    if not isinstance(store, JoinedStore):
        return "a face"
    counts = ", ".join(f"{count} of {name}" for name, count in store.counts(clip_ids).items())
    return f"a face and every stream (there are {counts})"


def _nothing_measured(
    store: Source, clip_ids: Sequence[str], config: SequenceConfig, choice: FeatureChoice
) -> str:
    """Why no clip has a frame with all of the chosen features."""
    if isinstance(store, JoinedStore):
        return (
            f"{store.path} with {', '.join(store.others)}: found no clip of which each stream has "
            f"a frame with all chosen features, expected some; see {named('features')} and "
            f"{named('lacking')}"
        )
    ragged = store.load(clip_ids, choice.columns)
    seen = np.isfinite(ragged.features[ragged.valid])
    if config.min_quality is not None and seen.all(axis=1).any():
        return (
            f"{store.path}: found no frame of that quality in any of the {len(clip_ids)} labelled "
            f"clips with a face; expected a lower {named('min_quality')}"
        )
    absent = [name for name, column in zip(choice.columns, seen.T, strict=True) if not column.any()]
    found = f"no value of {', '.join(absent)}" if absent else "no frame with all chosen features"
    return (
        f"{store.path}: found {found} in any of the {len(clip_ids)} labelled clips with a face; "
        f"expected values, or other columns as {named('features')}"
    )


def read_trainable(path: str, options: LabelOptions, store: Source) -> IntensityLabels:
    """Read labels, without the targets that no usable clip of train has a label of.

    Those are named in the notes; nothing is left out where no target can be trained.
    """
    labels = read_labels(path, options)
    lacking = untrained(join_labels(labels, store))
    if not lacking or len(lacking) == len(labels.names):
        return labels
    note = f"no clip of train has a label of {', '.join(lacking)}: not trained, and not predicted"
    left_out = (*labels.left_out, *((name, "no label in train") for name in lacking))
    kept = labels.only([name for name in labels.names if name not in lacking])
    return replace(kept, notes=(*labels.notes, note), left_out=left_out)


def untrained(table: LabelTable) -> tuple[str, ...]:
    """Targets of which no clip of train that has features has a label."""
    return without_label(table.labels, table.of("train") & table.usable)


def without_label(labels: IntensityLabels, rows: Bools) -> tuple[str, ...]:
    """Targets of which none of some rows, a mask (R,), has a label."""
    found = np.isfinite(labels.values[rows])
    return tuple(n for n, one in zip(labels.names, found.T, strict=True) if not one.any())


def features_sha256(sequences: Sequences) -> str:
    """Digest of what a head is trained on: clips, lengths and every value."""
    digest = _clips_digest(sequences)
    for rows in row_blocks(sequences.features):
        digest.update(np.ascontiguousarray(rows).view(np.uint8).data)
    return str(digest.hexdigest())


def clips_sha256(sequences: Sequences) -> str:
    """Digest of the clips and their lengths alone, for features that are still to be made."""
    return str(_clips_digest(sequences).hexdigest())


def _clips_digest(sequences: Sequences) -> Any:
    digest = hashlib.sha256("\n".join(sequences.clip_ids).encode(errors="surrogatepass"))
    digest.update(np.ascontiguousarray(sequences.offsets).view(np.uint8).data)
    return digest
