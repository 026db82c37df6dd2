"""Each person's features brought to mean 0 and std 1: what a face always shows says nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from facer.stages.intensity.kernels.batches import ClipScales, DeviceSequences
from facer.stages.intensity.model import InputScale, measure_scale
from facer.storage.schema import I64

SubjectScales = Mapping[str, InputScale]
"""Mean and std of the features (F,) of each person that a training has seen."""


def measure_subjects(data: DeviceSequences, subjects: Sequence[str], clips: I64) -> SubjectScales:
    """The scale of each person over the frames of some clips; ``subjects`` (C,), "" = unknown.

    Frames that zeros stand for are left out, as in :func:`measure_scale`.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for clip in clips.tolist():
        if subjects[clip]:
            groups[subjects[clip]].append(clip)
    return {subject: measure_scale(data, np.array(own)) for subject, own in groups.items()}


def clip_scales(
    data: DeviceSequences, subjects: Sequence[str], groups: Sequence[I64], known: SubjectScales
) -> ClipScales:
    """The scale of each clip of some groups of them, its person's; other clips stay as they are.

    A person whom the training has not seen is on the scale of his or her own frames in the
    group, and so is a clip of which nobody knows the person, alone.
    """
    columns = int(data.features.shape[1])
    scales = [InputScale(np.zeros(columns, np.float32), np.ones(columns, np.float32))]
    of = np.zeros(len(data.lengths), np.int64)
    for clips in groups:
        own = {**measure_subjects(data, subjects, clips), **known}
        place = {subject: len(scales) + i for i, subject in enumerate(own)}
        scales += own.values()
        for clip in clips.tolist():
            if subjects[clip] not in place:
                scales.append(measure_scale(data, np.array([clip])))
            of[clip] = place.get(subjects[clip], len(scales) - 1)
    mean, std = (np.stack([getattr(scale, name) for scale in scales]) for name in ("mean", "std"))
    device = data.features.device
    return ClipScales(torch.from_numpy(mean).to(device), torch.from_numpy(std).to(device), of)
