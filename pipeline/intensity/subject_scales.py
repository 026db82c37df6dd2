"""A run with ``--normalise subject``: whose features are scaled by what, in training and after.

RUN/subjects.safetensors   mean and std of each person of the train split, (S, F) each
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from facer.pipeline.intensity.head_run import HeadRunConfig
from facer.pipeline.intensity.labelled import LabelledSequences
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.model import InputScale
from facer.stages.intensity.sequences import Sequences
from facer.stages.intensity.subjects import SubjectScales, clip_scales, measure_subjects
from facer.storage.errors import FacerError, named
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.schema import Bools

_FILE = "subjects.safetensors"


def training_scales(data: DeviceSequences, labelled: LabelledSequences) -> SubjectScales:
    """The scales of the people of the train split, over their clips in it; labels are not used.

    FacerError where the labels name nobody there.
    """
    clips = labelled.places(labelled.of("train"))
    scales = measure_subjects(data, labelled.sequence_subjects, clips)
    if not scales:
        raise FacerError(
            f"{named('normalise')} subject: found no subject of a clip of train in the labels; add "
            f"a column subject, or name it by {named('subject_column')}"
        )
    return scales


def training_data(
    data: DeviceSequences, labelled: LabelledSequences, scales: SubjectScales
) -> DeviceSequences:
    """The sequences as a training reads them: train and val on their people's scales."""
    groups = [labelled.places(labelled.of(split)) for split in ("train", "val")]
    return data.scaled(clip_scales(data, labelled.sequence_subjects, groups, scales))


def scaled_rows(
    run: Path, record: HeadRunConfig, labelled: LabelledSequences, rows: Bools
) -> DeviceSequences:
    """The sequences as a run predicts some rows of them, on the CPU."""
    data = DeviceSequences(labelled.sequences, torch.device("cpu"))
    if record.fit.normalise == "none":
        return data
    scales, width = load_scales(run), int(data.features.shape[1])
    if (found := len(next(iter(scales.values())).mean)) != width:
        raise FacerError(f"{run / _FILE}: found {found} columns, expected {width}")
    clips = labelled.places(rows)
    return data.scaled(clip_scales(data, labelled.sequence_subjects, [clips], scales))


def scaled_strangers(record: HeadRunConfig, sequences: Sequences) -> DeviceSequences:
    """The sequences as a run predicts clips of which nobody knows the person: each for itself."""
    data = DeviceSequences(sequences, torch.device("cpu"))
    if record.fit.normalise == "none":
        return data
    n = len(sequences.clip_ids)
    return data.scaled(clip_scales(data, [""] * n, [np.arange(n)], {}))


def save_scales(run: Path, scales: SubjectScales) -> None:
    """Write what :func:`load_scales` reads."""
    arrays = {
        "mean": np.stack([scale.mean for scale in scales.values()]),
        "std": np.stack([scale.std for scale in scales.values()]),
    }
    save_checkpoint(run / _FILE, arrays, {"subjects": list(scales)})


def load_scales(run: Path) -> SubjectScales:
    """The scales of the people that a run was trained on; FacerError for a file that is none."""
    arrays, meta = load_checkpoint(run / _FILE)
    subjects, shapes = meta.get("subjects"), {name: a.shape for name, a in arrays.items()}
    whole = (
        isinstance(subjects, list)
        and bool(subjects)
        and all(isinstance(subject, str) for subject in subjects)
        and shapes.keys() == {"mean", "std"}
        and shapes["mean"] == shapes["std"]
        and shapes["mean"][:1] == (len(subjects),)
        and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
        and bool((arrays["std"] > 0).all())
    )
    if not whole or not isinstance(subjects, list):
        raise FacerError(f"{run / _FILE}: found no scales of people that facer wrote")
    scales = zip(subjects, arrays["mean"], arrays["std"], strict=True)
    return {subject: InputScale(mean, std) for subject, mean, std in scales}
