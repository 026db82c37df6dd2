"""Labels and store joined: the clips a head is trained and scored on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import Cache
from facer.pipeline.intensity.head_run import (
    HeadRunConfig,
    RunLabels,
    absolute_place,
    check_label_files,
)
from facer.pipeline.intensity.sources.cache import SequenceCache, row_blocks
from facer.pipeline.intensity.sources.joined import (
    JoinedStore,
    Source,
    blocks_of,
    choose_columns,
    prepared,
    status_of,
    usable_clips,
)
from facer.stages.intensity.config import SequenceConfig
from facer.stages.intensity.sequences import FeatureChoice, Sequences, without_empty
from facer.storage import (
    FeatureStore,
    IntensityLabels,
    LabelOptions,
    match_clips,
    read_labels,
)
from facer.storage.errors import FacerError, named
from facer.storage.labels.challenges import SPLITS
from facer.storage.labels.matching import no_match_message
from facer.storage.schema import F32

_BLOCK_BYTES = 64 << 20  # of float32 features read at a time
_SHARES = (0.70, 0.85)  # upper ends of train and val in a split made by facer


@dataclass(frozen=True)
class LabelledSequences:
    """The R labelled rows, and the sequences of the C of them that have features.

    Row i of the labels is sequence ``sequence_of[i]``; -1 where there is nothing to predict
    from: no such clip, a failed one, one without any face, one that lacks a joined stream, or one
    of which no frame has all of the chosen features.
    """

    names: tuple[str, ...]  # (E,)
    label_ids: tuple[str, ...]  # (R,) ids as in the label file
    targets: F32  # (R, E), NaN = absent
    splits: tuple[str, ...]  # (R,)
    subjects: tuple[str, ...]  # (R,)
    status: tuple[str, ...]  # (R,) ok, no_features, no_stream, no_face, failed or no_clip
    sequence_of: np.ndarray[Any, np.dtype[np.int64]]  # (R,)
    sequences: Sequences
    split_rule: str  # where the splits come from
    counts: dict[str, int]
    notes: tuple[str, ...] = ()  # what a reader of any figure must know of the labels

    def rows(self, split: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rows of a split, with or without features."""
        return np.flatnonzero(np.array(self.splits) == split)

    @property
    def sequence_targets(self) -> F32:
        """Targets in the order of the sequences, (C, E)."""
        rows = np.flatnonzero(self.sequence_of >= 0)
        targets = np.full((len(rows), len(self.names)), np.nan, np.float32)
        targets[self.sequence_of[rows]] = self.targets[rows]
        return targets

    def labelled(self, split: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Sequences of a split that have a label, in the order of its rows."""
        rows = self.rows(split)
        there = (self.sequence_of[rows] >= 0) & np.isfinite(self.targets[rows]).any(axis=1)
        found: np.ndarray[Any, np.dtype[np.int64]] = self.sequence_of[rows[there]]
        return found


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
    match = match_clips(labels, store.clip_ids)
    if not match.pairs:
        raise FacerError(no_match_message(labels, store.clip_ids))
    usable = [(row, clip) for row, clip in match.pairs if status_of(store, clip) == "ok"]
    if not usable:
        lacks = "every stream" if isinstance(store, JoinedStore) else "a face"
        raise FacerError(f"{store.path}: none of the {len(match.pairs)} labelled clips has {lacks}")
    if choice is None:
        choice = choose_columns(store, config)
    sequences = read_sequences(store, [clip for _, clip in usable], config, choice, cache)
    if not sequences.clip_ids:
        raise FacerError(_nothing_measured(store, [clip for _, clip in usable], choice))
    place = {clip: index for index, clip in enumerate(sequences.clip_ids)}
    sequence_of = np.full(len(labels.clip_ids), -1, np.int64)
    sequence_of[[row for row, _ in usable]] = [place.get(clip, -1) for _, clip in usable]
    splits, rule = split_rows(labels)
    statuses = ["no_clip"] * len(labels.clip_ids)
    for row, clip in match.pairs:
        statuses[row] = status_of(store, clip)
    for row, clip in usable:
        statuses[row] = "ok" if clip in place else "no_features"
    labelled = LabelledSequences(
        names=labels.names,
        label_ids=labels.clip_ids,
        targets=labels.values,
        splits=splits,
        subjects=labels.subjects,
        status=tuple(statuses),
        sequence_of=sequence_of,
        sequences=sequences,
        split_rule=rule,
        counts={
            "labels": len(labels.clip_ids),
            "labels_without_clip": len(match.labels_only),
            "clips_without_label": len(match.store_only),
            "ambiguous_ids": len(match.ambiguous),
            "failed": statuses.count("failed"),
            "no_face": statuses.count("no_face"),
            "no_stream": statuses.count("no_stream"),
            "usable": len(sequences.clip_ids),
            "no_features": len(sequences.empty),
            "overlong": len(sequences.overlong),
            "missing_frames": sequences.missing_frames,
        },
        notes=label_notes(labels, splits),
    )
    return labelled, choice


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
        return without_empty(prepared(store, clip_ids, config, choice))
    most = [min(store.record(clip).n_frames, config.max_frames) for clip in clip_ids]
    if isinstance(store, JoinedStore) and store.config.rate is not None:
        most = [config.max_frames] * len(clip_ids)
    found: SequenceCache | None = None
    for clips in list(blocks_of(store, clip_ids, _BLOCK_BYTES)) or [()]:
        block = without_empty(prepared(store, clips, config, choice))
        found = found or SequenceCache(cache, block.features.shape[1], sum(most), store.path)
        found.add(block)
    assert found is not None
    return found.whole()


def _nothing_measured(store: Source, clip_ids: Sequence[str], choice: FeatureChoice) -> str:
    """Why no clip has a frame with all of the chosen features."""
    if isinstance(store, JoinedStore):
        return (
            f"{store.path} with {', '.join(store.others)}: found no clip of which each stream has "
            f"a frame with all chosen features, expected some; see {named('features')} and "
            f"{named('lacking')}"
        )
    ragged = store.load(clip_ids, choice.columns)
    seen = np.isfinite(ragged.features[ragged.valid])
    absent = [name for name, column in zip(choice.columns, seen.T, strict=True) if not column.any()]
    found = f"no value of {', '.join(absent)}" if absent else "no frame with all chosen features"
    return (
        f"{store.path}: found {found} in any of the {len(clip_ids)} labelled clips with a face; "
        "expected values, or other columns as --features"
    )


def split_rows(labels: IntensityLabels) -> tuple[tuple[str, ...], str]:
    """The file's splits; where it has none, 70/15/15 in the order of sha256 of subject or id."""
    if any(labels.splits):
        return labels.splits, "the label file"
    by_subject = all(labels.subjects)
    groups = labels.subjects if by_subject else labels.clip_ids
    order = sorted(set(groups), key=lambda unit: hashlib.sha256(unit.encode()).hexdigest())
    place = {unit: (rank + 0.5) / len(order) for rank, unit in enumerate(order)}
    chosen = tuple(SPLITS[int(np.searchsorted(_SHARES, place[unit]))] for unit in groups)
    unit = "subject" if by_subject else "clip id"
    rule = f"made by facer: 70/15/15 by sha256 of the {unit}"
    if "val" not in chosen:  # of 1, 4 or 5: val comes before test, which no training needs
        chosen = tuple("val" if split == "test" else split for split in chosen)
    absent = [split for split in SPLITS if split not in chosen]
    if absent:
        rule += f" ({len(order)} of them: too few for {' and '.join(absent)})"
    return chosen, rule


def label_notes(labels: IntensityLabels, splits: Sequence[str]) -> tuple[str, ...]:
    """What a reader of any figure must know: the reader's notes, and people in several splits."""
    if not (shared := shared_subjects(labels, splits)):
        return labels.notes
    some = ", ".join(f"{name} in {' and '.join(found)}" for name, found in [*shared.items()][:3])
    note = (
        f"{len(shared)} of {len(set(labels.subjects))} subjects are in more than one split ({some}"
        f"{', ...' if len(shared) > 3 else ''}): scores flatter, because the head has seen them"
    )
    return (*labels.notes, note)


def shared_subjects(
    labels: IntensityLabels, splits: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Subjects that are in more than one split, with these."""
    found: dict[str, set[str]] = defaultdict(set)
    for subject, split in zip(labels.subjects, splits, strict=True):
        if subject and split:
            found[subject].add(split)
    ordered = {subject: tuple(s for s in SPLITS if s in there) for subject, there in found.items()}
    return {subject: there for subject, there in ordered.items() if len(there) > 1}


def read_trainable(path: str, options: LabelOptions, store: Source) -> IntensityLabels:
    """Read labels, without the targets that no usable clip of train has a label of.

    Those are named in the notes; nothing is left out where no target can be trained.
    """
    labels = read_labels(path, options)
    lacking = untrained(labels, store)
    if not lacking or len(lacking) == len(labels.names):
        return labels
    note = f"no clip of train has a label of {', '.join(lacking)}: not trained, and not predicted"
    left_out = (*labels.left_out, *((name, "no label in train") for name in lacking))
    kept = labels.only([name for name in labels.names if name not in lacking])
    return replace(kept, notes=(*labels.notes, note), left_out=left_out)


def untrained(labels: IntensityLabels, store: Source) -> tuple[str, ...]:
    """Targets of which no clip of train that has features has a label."""
    splits, _ = split_rows(labels)
    pairs = match_clips(labels, store.clip_ids).pairs
    ok = usable_clips(store)
    rows = [row for row, clip in pairs if splits[row] == "train" and clip in ok]
    there = np.atleast_1d(np.isfinite(labels.values[rows]).any(axis=0))
    return tuple(name for name, found in zip(labels.names, there, strict=True) if not found)


def labels_of_run(
    run: Path,
    record: HeadRunConfig,
    labels: str | None = None,
    options: LabelOptions | None = None,
) -> IntensityLabels:
    """The labels that a run is scored on, read as its own were save for what ``options`` say.

    ``labels`` are others than its own. ``FacerError`` when its own have changed since.
    """
    own = record.labels.reading
    if labels is not None:
        own = replace(own, kind="auto")
    path = labels or record.labels.path
    if labels is None and not Path(path).exists():
        raise FacerError(
            f"{path}: found no such file, expected the labels that {run} was made of; put it back "
            "(evaluate and report take another file by --labels)"
        )
    found = read_labels(path, own if options is None else options.over(own))
    if labels is None and labels_sha256(found) != record.labels.sha256:
        check_label_files(run, record.labels, run_labels(found, own))
        raise FacerError(
            f"{path}: changed since {run} was made; expected it as it was then (evaluate and "
            "report take a new file by --labels)"
        )
    return found.only(record.names)


def run_labels(labels: IntensityLabels, reading: LabelOptions) -> RunLabels:
    """What a run's config says of its labels."""
    files = tuple(Path(file).name for file in sorted(labels.files))
    return RunLabels(
        absolute_place(labels.source), labels.kind, labels_sha256(labels), reading, files
    )


def labels_sha256(labels: IntensityLabels) -> str:
    """Digest of the files that labels were read from, and of no others, in order of name."""
    digest = hashlib.sha256()
    for file in sorted(labels.files):
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()


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
