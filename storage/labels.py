"""Intensity labels of clips, and which clip of a store each row means."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from facer.storage.challenges import bare_id
from facer.storage.errors import FacerError, OptionError
from facer.storage.label_formats import KINDS, READERS, LabelKind, check_unique, recognise
from facer.storage.schema import F32

_VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")


@dataclass(frozen=True)
class IntensityLabels:
    """Intensities of C clips, E emotions each."""

    kind: LabelKind
    source: str  # file or folder they were read from
    names: tuple[str, ...]  # (E,)
    clip_ids: tuple[str, ...]  # (C,) as in the file, brackets included
    values: F32  # (C, E), NaN where the file has none
    splits: tuple[str, ...]  # (C,) train, val, test, or "" where the file has none
    subjects: tuple[str, ...]  # (C,) "" where the file has none


@dataclass(frozen=True)
class Match:
    """Which clip of a store each row of labels means."""

    pairs: tuple[tuple[int, str], ...]  # (row of the labels, clip_id of the store)
    labels_only: tuple[str, ...]  # ids of rows without a clip
    store_only: tuple[str, ...]  # clips without a row
    ambiguous: tuple[tuple[str, tuple[str, ...]], ...]  # (id of a row, clips it could mean)


def read_labels(
    path: str | os.PathLike[str], kind: LabelKind | Literal["auto"] = "auto"
) -> IntensityLabels:
    """Read a label file or folder; columns are found by name.

    ``kind`` forces a format; ``auto`` recognises it by the names of files and columns, and the
    result's ``kind`` says which one it was. Raises FacerError with file and line when an id is
    there twice, a number is text, a split is unknown or a column is missing.
    """
    source = Path(path)
    if not source.exists():
        raise FacerError(f"{source}: found no such file or folder, expected labels")
    if kind == "auto":
        kind = recognise(source)
    elif kind not in KINDS:
        raise OptionError(f"label kind: found {kind!r}, expected auto or one of {', '.join(KINDS)}")
    names, rows = READERS[kind](source)
    if not rows:
        raise FacerError(f"{source}: found no rows under the header, expected one a clip")
    check_unique(rows)
    return IntensityLabels(
        kind=kind,
        source=str(source),
        names=names,
        clip_ids=tuple(row.clip_id for row in rows),
        values=np.array([row.values for row in rows], np.float32),
        splits=tuple(row.split for row in rows),
        subjects=tuple(row.subject for row in rows),
    )


def match_clips(labels: IntensityLabels, clip_ids: Sequence[str]) -> Match:
    """Find the clip that each row of labels means, or say why not.

    An id matches a clip of the same name; else without brackets and video suffix; else the
    one that ends in the other's path components, as ``[11526]`` and ``train/11526``. Leading
    zeros count. An id that could mean several clips, or a clip that several rows could mean,
    is ambiguous and is not paired.
    """
    by_name = {clip_id: clip_id for clip_id in clip_ids}
    by_bare = _grouped((_bare(clip_id), clip_id) for clip_id in clip_ids)
    by_ending = _grouped(
        (ending, clip_id) for clip_id in clip_ids for ending in _endings(_bare(clip_id))
    )

    def candidates(label_id: str) -> tuple[str, ...]:
        bare = _bare(label_id)
        if label_id in by_name:
            return (label_id,)
        if bare in by_bare:
            return by_bare[bare]
        if bare in by_ending:
            return by_ending[bare]
        return next((by_bare[end] for end in _endings(bare) if end in by_bare), ())

    found = [candidates(label_id) for label_id in labels.clip_ids]
    claims = Counter(clips[0] for clips in found if len(clips) == 1)
    rows = list(enumerate(zip(labels.clip_ids, found, strict=True)))
    pairs = {
        row: clips[0]
        for row, (label_id, clips) in rows
        if len(clips) == 1 and (claims[clips[0]] == 1 or label_id == clips[0])
    }
    ambiguous = [(label_id, clips) for row, (label_id, clips) in rows if clips and row not in pairs]
    used = {*pairs.values(), *(clip for _, clips in ambiguous for clip in clips)}
    return Match(
        pairs=tuple(pairs.items()),
        labels_only=tuple(label_id for _, (label_id, clips) in rows if not clips),
        store_only=tuple(clip_id for clip_id in clip_ids if clip_id not in used),
        ambiguous=tuple(ambiguous),
    )


def _bare(clip_id: str) -> str:
    """Return an id without brackets and without a video file's suffix."""
    text = bare_id(clip_id)
    suffix = PurePosixPath(text).suffix
    return text.removesuffix(suffix) if suffix.lower() in _VIDEO_SUFFIXES else text


def _endings(clip_id: str) -> list[str]:
    """Return what is left after each ``/``, longest first: a/b/c gives b/c and c."""
    parts = clip_id.split("/")
    return ["/".join(parts[start:]) for start in range(1, len(parts))]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, clip_id in pairs:
        groups[key].append(clip_id)
    return {key: tuple(group) for key, group in groups.items()}
