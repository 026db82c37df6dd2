"""What a run is worth on a split, and what it predicts for clips without labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import EvaluateConfig
from facer.pipeline.intensity.folds.plan import (
    FoldPlan,
    fold_notes,
    labels_in_fold,
    recorded_plan,
)
from facer.pipeline.intensity.head_run import HeadRunConfig, fold_folder, read_run
from facer.pipeline.intensity.labelled import (
    LabelledSequences,
    clips_sha256,
    features_sha256,
    join_labels,
    load_labelled,
    read_sequences,
)
from facer.pipeline.intensity.scoring.evaluation import Evaluation, Prediction
from facer.pipeline.intensity.scoring.provenance import check_all_provenance
from facer.pipeline.intensity.seeds import load_models
from facer.pipeline.intensity.sources.joined import Source, open_source, status_of
from facer.pipeline.intensity.sources.labels import labels_of_run
from facer.pipeline.intensity.subject_scales import scaled_rows, scaled_strangers
from facer.stages.common.threads import on_threads
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import IntensityModel, predict
from facer.stages.intensity.sequences import Sequences
from facer.stages.intensity.statistics.groups import Groups, score_groups
from facer.stages.intensity.statistics.intervals import bootstrap
from facer.storage import IntensityLabels
from facer.storage.errors import FacerError, named
from facer.storage.labels.challenges import Split
from facer.storage.labels.groups import label_column
from facer.storage.schema import F32, I64, Bools
from facer.storage.text.names import some

OUT_OF_FOLD = "out-of-fold"
"""Split of a run of folds: every clip, predicted by the fold that holds it out."""


def evaluate(config: EvaluateConfig) -> Evaluation:
    """Score a run on a split (val) of its own labels and store, or of others.

    A run of folds is scored on what the folds hold out, all together and fold by fold. A labelled
    clip without features is predicted by a mean over train, never by anything of the split that is
    scored. ``FacerError`` when the labels have changed since the training. ``against`` is not
    looked at: see :func:`facer.pipeline.intensity.scoring.compare.compare_runs`.
    """
    run, by = config.run, config.by
    record = read_run(run)
    table = labels_of_run(run, record, config.labels, config.reading)
    opened = open_source(config.store or record.store, record.streams_at(config.stores))
    check_all_provenance(run, opened)
    plan = None if record.folds is None else recorded_plan(table, record.folds)
    if plan is not None and record.fold is not None:
        table = labels_in_fold(table, plan, record.fold)
    labelled, _ = load_labelled(opened, table, record.sequences, record.choice, record.cache)
    if plan is not None and record.fold is None:
        found = _out_of_fold(run, config.split, labelled, plan)
        notes = fold_notes(table, plan)
    else:
        found = _on_split(run, config.split or "val", labelled)
        notes = (*labelled.notes, *_seen(config, record, opened, labelled))
    if by is not None:
        values = dict(zip(table.clip_ids, label_column(table, by), strict=True))
        found = replace(found, by=grouped(found, by, [values[i] for i in found.label_ids]))
    own = config.labels is None and config.store is None and not config.stores
    return replace(
        found,
        n_seeds_wanted=record.seeds,
        notes=notes,
        features_changed=own and _changed(record, labelled.sequences),
    )


def _seen(
    config: EvaluateConfig, record: HeadRunConfig, store: Source, labelled: LabelledSequences
) -> Iterator[str]:
    """Say which clips that other labels have in the split were in train in the run's own.

    Nothing where the store is another, whose clips are others, or the own labels are gone; folds
    are the run's own.
    """
    others = config.labels is not None and config.store is None and record.folds is None
    if not others or config.split == "train":
        return
    try:
        own = join_labels(labels_of_run(config.run, record), store)
    except FacerError:
        return
    scored = labelled.clips(labelled.of(config.split or "val"))
    if seen := sorted({*own.clips(own.of("train"))} & {*scored} - {""}):
        yield (
            f"{len(seen)} of {len(scored)} clips of {config.split or 'val'} are in train in the "
            f"labels of {config.run} ({some(seen)}): scores flatter, because the head has seen them"
        )


def _on_split(run: Path, split: str, labelled: LabelledSequences) -> Evaluation:
    rows = labelled.of(split)
    if not rows.any():
        found = ", ".join(sorted({*labelled.splits} - {""})) or "none"
        source = labelled.labels.source
        raise FacerError(f"{named('split')} {split}: {source} has no such rows; found {found}")
    return _scored(run, split, labelled, rows, _predict_rows(run, labelled, rows))


def _out_of_fold(
    run: Path, split: Split | None, labelled: LabelledSequences, plan: FoldPlan
) -> Evaluation:
    """Every clip by the models of the fold that holds it out; seeds that all folds have."""
    if split is not None:
        raise FacerError(
            f"{named('split')} {split}: {run} is a run of folds, scored on what they hold "
            f"out; leave {named('split')} out, or score one fold's run, such as "
            f"{fold_folder(run, 0)} with {named('split')} test"
        )
    held = [plan.fold_of == fold for fold in range(plan.n_folds)]
    found = [
        _predict_rows(fold_folder(run, fold), labelled, rows) for fold, rows in enumerate(held)
    ]
    seeds = sorted(set.intersection(*map(set, found)))
    if not seeds:
        raise FacerError(f"{run}: no seed has finished in all folds; go on with {named('resume')}")
    rows, by_seed = plan.fold_of >= 0, {}
    for seed in seeds:
        values = np.empty_like(labelled.targets)
        for own, predicted in zip(held, found, strict=True):
            values[own] = predicted[seed]
        by_seed[seed] = values[rows]
    pooled = _scored(run, OUT_OF_FOLD, labelled, rows, by_seed)
    folds = grouped(pooled, "fold", [str(fold) for fold in plan.fold_of[rows]])
    return replace(pooled, folds=folds, fold_rule=plan.rule)


def grouped(found: Evaluation, column: str, groups: Sequence[str]) -> Groups:
    """Score the clips within groups (n,) of them."""
    predictions = np.stack(list(found.by_seed.values()))
    return score_groups(
        column, groups, predictions, found.targets, found.names, found.subjects, found.label_ids
    )


def _changed(record: HeadRunConfig, sequences: Sequences) -> bool:
    """Whether these are not the sequences of the run; after finetune, not their lengths."""
    if record.data_sha256 is None:
        return clips_sha256(sequences) != record.clips_sha256
    return features_sha256(sequences) != record.data_sha256


def _predict_rows(run: Path, labelled: LabelledSequences, rows: Bools) -> dict[int, F32]:
    record = read_run(run)
    data = scaled_rows(run, record, labelled, rows)
    with on_threads(record.threads, ["torch"]):
        return _predict(run, data, labelled.places(rows), labelled.usable[rows])


def _predict(run: Path, data: DeviceSequences, clips: I64, measured: Bools) -> dict[int, F32]:
    """Each seed's predictions (n, E); ``clips`` are the sequences of the ``measured`` among n."""
    result = {}
    for seed, model in load_models(run).items():
        values = np.empty((len(measured), model.shape.intensities), np.float32)
        if len(clips):
            values[measured] = predict(model, data, clips)
        if not measured.all():
            values[~measured] = _stand_in(run, model)
        if not np.isfinite(values).all():
            raise FacerError(
                f"{run}: seed {seed}: found predictions that are not finite, expected numbers; its "
                "weights or the features are too large: train it again"
            )
        result[seed] = values
    return result


def _stand_in(run: Path, model: IntensityModel) -> F32:
    """What is predicted for a clip without features: a mean over train, (E,).

    Of the labels, or of raw predictions where these are not brought to the labels' scale.
    """
    if model.stand_in is not None:
        return model.stand_in
    record = read_run(run)
    if record.fit.calibrate == "none":
        raise FacerError(
            f"{run}: made by an earlier facer with {named('calibrate')} none, without what stands "
            "in for a clip without features; train it again (facer train-head --from)"
        )
    return np.array(record.train_mean, np.float32)


def _scored(
    run: Path, split: str, labelled: LabelledSequences, rows: Bools, by_seed: dict[int, F32]
) -> Evaluation:
    return replace(
        evaluation_of(split, labelled.labels, rows, by_seed),
        status=tuple(labelled.status[rows]),
        n_filled=int((~labelled.usable[rows]).sum()),
        calibrate=read_run(run).fit.calibrate,
    )


def evaluation_of(
    split: str, labels: IntensityLabels, rows: Bools, by_seed: dict[int, F32]
) -> Evaluation:
    """Score predictions (n, E) of each seed for n rows of the labels."""
    targets = labels.values[rows]
    subjects = tuple(compress(labels.subjects, rows))
    label_ids = tuple(compress(labels.clip_ids, rows))
    return Evaluation(
        split=split,
        names=labels.names,
        label_ids=label_ids,
        subjects=subjects,
        targets=targets,
        status=("ok",) * len(targets),
        n_scored=int(np.isfinite(targets).any(axis=1).sum()),
        n_filled=0,
        calibrate="none",
        label_files=labels.files,
        **_figures(by_seed, targets, labels.names, subjects, label_ids),
    )


def rescored(found: Evaluation, by_seed: dict[int, F32]) -> Evaluation:
    """The same clips scored with other predictions of each seed, (n, E)."""
    return replace(
        found,
        n_seeds_wanted=len(by_seed),
        features_changed=False,
        folds=None,
        fold_rule="",
        **_figures(by_seed, found.targets, found.names, found.subjects, found.label_ids),
    )


def _figures(
    by_seed: dict[int, F32], targets: F32, names: Sequence[str], *units: Sequence[str]
) -> dict[str, Any]:
    """What an evaluation says of predictions: scores only where something is labelled."""
    every = np.stack(list(by_seed.values()))
    mean = np.mean(every, axis=0).astype(np.float32)
    labelled = bool(np.isfinite(targets).any())
    return {
        "by_seed": by_seed,
        "predictions": mean,
        "seeds": {s: score(p, targets, names) for s, p in by_seed.items()} if labelled else {},
        "intervals": bootstrap(every, targets, *units) if labelled else None,
        "ensemble": score(mean, targets, names) if labelled else None,
        "ensemble_intervals": bootstrap(mean, targets, *units) if labelled else None,
    }


def predict_store(run: Path, store: Source, clip_ids: Sequence[str]) -> Prediction:
    """Predict some clips of a store, the mean over the run's seeds.

    After ``--normalise subject`` each clip is brought to the scale of its own frames, because
    nobody knows whose it is. ``FacerError`` when the store's features were made otherwise than the
    run's.
    """
    record = read_run(run)
    check_all_provenance(run, store)
    status = np.array([status_of(store, clip) for clip in clip_ids], object)
    usable = list(compress(clip_ids, status == "ok"))
    sequences = read_sequences(store, usable, record.sequences, record.choice, record.cache)
    empty = frozenset(sequences.empty)
    status[[clip in empty for clip in clip_ids]] = "no_features"
    clips = np.arange(len(sequences.clip_ids))
    data = scaled_strangers(record, sequences)
    with on_threads(record.threads, ["torch"]):
        found = _predict(run, data, clips, status == "ok")
    values = np.mean(list(found.values()), axis=0).astype(np.float32)
    return Prediction(record.names, tuple(clip_ids), values, tuple(status))
