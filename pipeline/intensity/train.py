"""Stage two over a store: train the seeds of a head into a run folder, here or in processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.head_run import check_same_data, read_run
from facer.pipeline.intensity.seeds import draw_curves, read_curve, seed_folders
from facer.pipeline.intensity.training import OnEpoch, OnNote, Training, tell
from facer.pipeline.runtime.executors import make_executor
from facer.pipeline.runtime.processes import WorkerDiedError
from facer.stages.common.threads import on_threads
from facer.stages.common.training import OnStep
from facer.stages.intensity.fit import EpochRow
from facer.stages.intensity.heads.own import import_head
from facer.stages.intensity.metrics import std_of
from facer.storage.errors import FacerError, named


@dataclass(frozen=True)
class SeedResult:
    """What one seed came to, on the val split."""

    seed: int
    best_epoch: int
    epochs: int
    val_pearson: float


@dataclass(frozen=True)
class TrainHeadResult:
    """What a training made."""

    run: Path
    names: tuple[str, ...]
    n_columns: int  # that the head reads
    label_kind: str  # as which kind the labels were read
    split_rule: str
    n_train: int
    n_val: int
    counts: dict[str, int]
    notes: tuple[str, ...]  # how the labels were read, and what to know of them
    seeds: tuple[SeedResult, ...]
    not_defined: tuple[str, ...] = ()  # intensities whose labels in val are all one value
    max_frames: int = 0  # that the head sees

    @property
    def val_pearson(self) -> float:
        """Mean over seeds of the best mean Pearson on val."""
        return float(np.mean([seed.val_pearson for seed in self.seeds]))

    @property
    def val_deviation(self) -> float | None:
        """Standard deviation of it over seeds (n - 1); None for one seed."""
        return std_of([seed.val_pearson for seed in self.seeds])

    def to_json(self) -> dict[str, Any]:
        """As ``facer train-head --json`` prints it."""
        scores = {"val_pearson": self.val_pearson, "val_deviation": self.val_deviation}
        return {field.name: getattr(self, field.name) for field in fields(self)} | scores


@dataclass(frozen=True)
class SeedTask:
    """One seed's training, for a process of its own."""

    config: TrainHeadConfig
    seed: int


def train_head(
    config: TrainHeadConfig,
    on_epoch: OnEpoch | None = None,
    on_note: OnNote | None = None,
    on_step: OnStep | None = None,
) -> TrainHeadResult:
    """Train the seeds of a run; ``resume`` goes on where one stopped.

    ``on_note`` hears what the user should know before the training begins.
    With ``jobs``, ``on_epoch`` is called once a seed, with its last row. ``FacerError`` for a
    run folder that is there already, and where nothing can be learnt.
    """
    with on_threads(config.threads):
        training = Training(config)
        record = training.describe()
        if config.repeats is not None:
            check_same_data(config.repeats, record)
        tell(training, on_note)
        training.open(record, config.resume)
        report = None if on_epoch is None else lambda _, *epoch: on_epoch(*epoch)
        curves = run_all([training], report, on_step)[config.run]
    draw_curves(config.run / "curve.png", curves)
    return training_result(training, curves)


def training_result(training: Training, curves: Mapping[int, list[EpochRow]]) -> TrainHeadResult:
    """What a training made, by the curves of its seeds."""
    return TrainHeadResult(
        run=training.config.run,
        names=training.labelled.names,
        n_columns=training.data.features.shape[1],
        label_kind=training.labels.kind,
        split_rule=training.plan.rule if training.plan else training.labelled.split_rule,
        n_train=len(training.task.train),
        n_val=len(training.task.val),
        counts=training.labelled.counts,
        notes=training.notes,
        seeds=tuple(_result(seed, rows) for seed, rows in curves.items()),
        not_defined=training.not_defined,
        max_frames=training.config.sequences.max_frames,
    )


def run_all(
    trainings: Sequence[Training],
    report: Callable[[Path, int, EpochRow, int], None] | None,
    on_step: OnStep | None = None,
) -> dict[Path, dict[int, list[EpochRow]]]:
    """Train all seeds of some runs that differ in fold alone; curves by run and seed.

    ``report`` is called with run, seed, row and number of epochs: each epoch, or once a seed
    where seeds run in processes; ``on_step`` where they do not.
    """
    config = trainings[0].config
    seeds = range(config.fit.seed, config.fit.seed + config.seeds)
    curves: dict[Path, dict[int, list[EpochRow]]] = {one.config.run: {} for one in trainings}
    tasks = [SeedTask(one.config, seed) for one in trainings for seed in seeds]
    if config.jobs == 1 or len(tasks) == 1:
        for one in trainings:
            told = None if report is None else partial(report, one.config.run)
            curves[one.config.run] = {seed: one.train(seed, told, on_step) for seed in seeds}
        return curves
    executor = make_executor(min(config.jobs, len(tasks)), None)
    try:
        for task, outcome in executor.map(train_seed, tasks):
            if isinstance(outcome, WorkerDiedError):
                raise FacerError(
                    f"{task.config.run}: seed {task.seed}: {outcome}; give it more memory, or use "
                    f"{named('jobs')} 1, and go on with {named('resume')}"
                ) from outcome
            if isinstance(outcome, Exception):
                raise outcome
            curves[task.config.run][task.seed] = outcome
            if report is not None:
                report(task.config.run, task.seed, outcome[-1], trainings[0].first.epochs)
    finally:
        executor.close()
    return {run: dict(sorted(found.items())) for run, found in curves.items()}


def train_seed(task: SeedTask) -> list[EpochRow]:
    """Train one seed of a run that is open; runs in a process of its own."""
    import_head(task.config.fit.head.name)  # as the user named it in the process that sent this
    with on_threads(task.config.threads):
        return Training(task.config).train(task.seed)


def finished_seeds(run: Path) -> tuple[SeedResult, ...]:
    """What the finished seeds of a run came to, by their curves."""
    curves = ((n, read_curve(folder / "curve.csv")) for n, folder in seed_folders(run).items())
    return tuple(_result(seed, rows) for seed, rows in curves if rows)


def _result(seed: int, rows: list[EpochRow]) -> SeedResult:
    best = [row for row in rows if row.best][-1]
    return SeedResult(seed, best.epoch, len(rows), best.val_pearson)


def config_of_run(
    run: Path,
    new_run: Path,
    store: str | None = None,
    labels: str | None = None,
    stores: Sequence[str] = (),
) -> TrainHeadConfig:
    """The config that makes a run again elsewhere, from its stores and labels or moved ones.

    ``train_head`` raises FacerError when these are not the same data.
    """
    record = read_run(run)
    if record.finetune is not None:
        raise FacerError(
            f"{run}: was made by facer finetune; expected a run of train-head "
            "(finetune.json there has the settings)"
        )
    return TrainHeadConfig(
        store=store or record.store,
        labels=labels or record.labels.path,
        run=new_run,
        reading=record.labels.reading,
        sequences=record.sequences,
        streams=record.streams_at(stores),
        fit=record.fit,
        cache=record.cache,
        seeds=record.seeds,
        threads=record.threads,
        repeats=run,
        folds=None if record.folds is None else record.folds.config,
        fold=record.fold,
    )
