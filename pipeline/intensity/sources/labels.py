"""The labels of a run: read as it reads them, and what its config says of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from facer.pipeline.intensity.head_run import (
    HeadRunConfig,
    RunLabels,
    absolute_place,
    check_label_files,
)
from facer.pipeline.intensity.sources.splits import FROM_FILE, split_rows
from facer.storage import IntensityLabels, LabelOptions, read_labels
from facer.storage.errors import FacerError, named
from facer.storage.labels.challenges import SPLITS


def labels_of_run(
    run: Path, record: HeadRunConfig, labels: str | None = None, options: LabelOptions | None = None
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
            f"(evaluate and report take another file by {named('labels')})"
        )
    found = read_labels(path, own if options is None else options.over(own))
    unchanged = labels_sha256(found) == record.labels.sha256
    if labels is None and not unchanged:
        check_label_files(run, record.labels, run_labels(found, own))
        raise FacerError(
            f"{path}: changed since {run} was made; expected it as it was then (evaluate and "
            f"report take a new file by {named('labels')})"
        )
    if record.folds is None:  # recorded_plan compares folds
        _refuse_other_splits(path, run, record, found, unchanged)
    return found.only(record.names)


def _refuse_other_splits(
    path: str, run: Path, record: HeadRunConfig, now: IntensityLabels, unchanged: bool
) -> None:
    """Refuse splits that are made otherwise than the run's, whose train may be in their val.

    Labels that are not ``unchanged`` may name splits of their own.
    """
    splits, rule = split_rows(now)
    counts = {split: splits.count(split) for split in SPLITS}
    made = rule != FROM_FILE
    moved = made and record.splits not in (None, counts)
    if record.split_rule and (made or unchanged) and (rule != record.split_rule or moved):
        raise FacerError(
            f"{path}: found splits: {rule} ({counts}), expected those of {run}, "
            f"{record.split_rule} ({record.splits or 'not counted'}): the head may have seen what "
            f"would be scored; choose {named('split_column')} and {named('subject_column')} as "
            "they were then, such as none, write the splits into a column of other labels (split: "
            "test), or train again"
        )


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
