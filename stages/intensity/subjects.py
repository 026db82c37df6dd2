"""Each person's features brought to mean 0 and std 1: what a face always shows says nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from facer.stages.intensity.model import InputScale, measure_scale
from facer.stages.intensity.sequences import I64, Sequences

SubjectScales = Mapping[str, InputScale]
"""Mean and deviation of the features (F,) of each person that a training has seen."""


def measure_subjects(sequences: Sequences, subjects: Sequence[str], clips: I64) -> SubjectScales:
    """The scale of each person over the frames of some clips; ``subjects`` (C,), "" = unknown.

    Frames that zeros stand for are left out, as in :func:`measure_scale`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for clip in clips.tolist():
        if subjects[clip]:
            groups[subjects[clip]].append(clip)
    return {subject: _scale(sequences, np.array(own)) for subject, own in groups.items()}


def normalise_subjects(
    sequences: Sequences, subjects: Sequence[str], clips: I64, known: SubjectScales
) -> Sequences:
    """The sequences with each of ``clips`` on its person's scale, the others as they are.

    A person whom the training has not seen is on the scale of his or her own frames among
    ``clips``, and so is a clip of which nobody knows the person, alone.
    """
    scales = {**measure_subjects(sequences, subjects, clips), **known}
    features = sequences.features.copy()
    for clip in clips.tolist():
        rows = slice(sequences.offsets[clip], sequences.offsets[clip + 1])
        scale = scales.get(subjects[clip]) or _scale(sequences, np.array([clip]))
        features[rows] = (features[rows] - scale.mean) / scale.deviation
    if sequences.filled is not None:
        features[sequences.filled] = 0
    return replace(sequences, features=features)


def _scale(sequences: Sequences, clips: I64) -> InputScale:
    filled = sequences.filled
    return measure_scale(
        torch.from_numpy(sequences.features), sequences.offsets, clips,
        None if filled is None else torch.from_numpy(filled),
    )  # fmt: skip
