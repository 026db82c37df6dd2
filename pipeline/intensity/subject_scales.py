"""A run with ``--normalise subject``: whose features are scaled by what, in training and after.

RUN/subjects.safetensors   mean and deviation of each person of the train split, (S, F) each
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facer.pipeline.intensity.cohort import Cohort
from facer.pipeline.intensity.head_run import HeadRunConfig
from facer.stages.intensity.model import InputScale
from facer.stages.intensity.sequences import I64, Sequences
from facer.stages.intensity.subjects import SubjectScales, measure_subjects, normalise_subjects
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError, named

_FILE = "subjects.safetensors"


def subjects_of_sequences(cohort: Cohort) -> list[str]:
    """The person of each sequence (C,), "" where the labels name none."""
    subjects = [""] * len(cohort.sequences.clip_ids)
    for row, place in enumerate(cohort.sequence_of):
        if place >= 0:
            subjects[place] = cohort.subjects[row]
    return subjects


def places(cohort: Cohort, rows: I64) -> I64:
    """The sequences of some rows that have one."""
    found: I64 = cohort.sequence_of[rows]
    return found[found >= 0]


def training_scales(cohort: Cohort) -> SubjectScales:
    """The scales of the people of the train split, over their clips in it; labels are not used.

    FacerError where the labels name nobody there.
    """
    rows = places(cohort, cohort.rows("train"))
    scales = measure_subjects(cohort.sequences, subjects_of_sequences(cohort), rows)
    if not scales:
        raise FacerError(
            f"{named('normalise')} subject: found no subject of a clip of train in the labels; add "
            f"a column subject, or name it by {named('subject_column')}"
        )
    return scales


def training_sequences(cohort: Cohort, scales: SubjectScales) -> Sequences:
    """The sequences as a training reads them: train and val on their people's scales."""
    sequences, subjects = cohort.sequences, subjects_of_sequences(cohort)
    for split in ("train", "val"):
        rows = places(cohort, cohort.rows(split))
        sequences = normalise_subjects(sequences, subjects, rows, scales)
    return sequences


def scaled_rows(run: Path, record: HeadRunConfig, cohort: Cohort, rows: I64) -> Sequences:
    """The sequences as a run predicts some rows of them."""
    if record.fit.normalise == "none":
        return cohort.sequences
    subjects = subjects_of_sequences(cohort)
    scales, width = load_scales(run), cohort.sequences.features.shape[1]
    if (found := len(next(iter(scales.values())).mean)) != width:
        raise FacerError(f"{run / _FILE}: found {found} columns, expected {width}")
    return normalise_subjects(cohort.sequences, subjects, places(cohort, rows), scales)


def scaled_strangers(record: HeadRunConfig, sequences: Sequences) -> Sequences:
    """The sequences as a run predicts clips of which nobody knows the person: each for itself."""
    if record.fit.normalise == "none":
        return sequences
    n = len(sequences.clip_ids)
    return normalise_subjects(sequences, [""] * n, np.arange(n), {})


def save_scales(run: Path, scales: SubjectScales) -> None:
    """Write what :func:`load_scales` reads."""
    arrays = {
        "mean": np.stack([scale.mean for scale in scales.values()]),
        "deviation": np.stack([scale.deviation for scale in scales.values()]),
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
        and shapes.keys() == {"mean", "deviation"}
        and shapes["mean"] == shapes["deviation"]
        and shapes["mean"][:1] == (len(subjects),)
        and all(a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values())
        and bool((arrays["deviation"] > 0).all())
    )
    if not whole or not isinstance(subjects, list):
        raise FacerError(f"{run / _FILE}: found no scales of people that facer wrote")
    scales = zip(subjects, arrays["mean"], arrays["deviation"], strict=True)
    return {subject: InputScale(mean, deviation) for subject, mean, deviation in scales}
