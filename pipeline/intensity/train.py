"""Stage two over a store: train the seeds of a head into a run folder, here or in processes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from facer import __version__
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.folds.plan import (
    FoldPlan,
    labels_in_fold,
    plan_trainable,
)
from facer.pipeline.intensity.head_run import (
    HeadRunConfig,
    absolute_place,
    absolute_places,
    check_same_data,
    draw_curves,
    fold_folder,
    open_run,
    read_curve,
    read_run,
    save_model,
    seed_folders,
)
from facer.pipeline.intensity.labelled import (
    features_sha256,
    load_labelled,
    read_trainable,
    run_labels,
)
from facer.pipeline.intensity.sources.joined import open_source, stream_provenance
from facer.pipeline.intensity.subject_scales import (
    save_scales,
    training_data,
    training_scales,
)
from facer.pipeline.runtime.executors import make_executor
from facer.pipeline.runtime.run_folder import FORMAT, RunFolder
from facer.stages.common.device import resolve_device
from facer.stages.common.training import OnStep
from facer.stages.intensity.fit import EpochRow, HeadTrainer, Task
from facer.stages.intensity.heads.own import code_sha256, import_head
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import measure_scale
from facer.stages.intensity.sequences import I64, FeatureChoice
from facer.stages.intensity.subjects import SubjectScales
from facer.storage import IntensityLabels, read_labels
from facer.storage.errors import FacerError
from facer.storage.files.objects import write_atomic
from facer.storage.text.typed_json import to_json

_SAVE_EVERY_S = 20.0  # a checkpoint takes longer than an epoch of a small set

LARGE_INPUT = 5.0
"""Mean or deviation of an input from which on recurrent units saturate; REC's stay within 1."""

OnEpoch = Callable[[int, EpochRow, int], None]
"""Called with seed, the epoch's row and the number of epochs at most."""

OnNote = Callable[[str], None]
"""Called with one line."""


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
    def val_deviation(self) -> float:
        """Standard deviation of it over seeds (n - 1); 0 for one seed."""
        values = [seed.val_pearson for seed in self.seeds]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

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
    if config.folds is not None and config.fold is None:
        raise FacerError("--folds: expected facer.pipeline.intensity.folds.train.train_folds")
    with torch_threads(config.threads):
        training = Training(config)
        record = training.describe()
        if config.repeats is not None:
            check_same_data(config.repeats, record)
        tell(training, on_note)
        training.open(record, config.resume)
        curves = training.run(on_epoch, on_step)
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


def describe(config: TrainHeadConfig) -> HeadRunConfig:
    """What a training's ``config.json`` would say, digests of its data included."""
    return Training(config).describe()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch on so many threads; the caller's number is restored after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Training:
    """Data and settings, loaded and checked before a run folder is written."""

    def __init__(self, config: TrainHeadConfig) -> None:
        device = resolve_device(config.device)
        self.config = config
        self.store = open_source(config.store, config.streams)
        self.labels, self.plan = self._read_labels()
        self.labelled, self.choice = load_labelled(
            self.store, self.labels, config.sequences,
            _choice_of(config, self.store.feature_names), config.cache,
        )  # fmt: skip
        self.task = self._task()
        self.data = DeviceSequences(self.labelled.sequences, device)
        self._scale_subjects()
        self.first = self.trainer(config.fit.seed)  # what is wrong with the head is told here

    def _read_labels(self) -> tuple[IntensityLabels, FoldPlan | None]:
        """The labels with the splits to train on, and the folds that these come from."""
        config = self.config
        if config.folds is None:
            return read_trainable(config.labels, config.reading, self.store), None
        labels = read_labels(config.labels, config.reading)
        labels, plan = plan_trainable(labels, config.folds, self.store)
        return labels_in_fold(labels, plan, config.fold or 0), plan

    def _scale_subjects(self) -> None:
        """Bring people's features to one scale, if the training does; each fold has its own."""
        self.scales: SubjectScales = {}
        if self.config.fit.normalise == "subject":
            plain = self.data.scaled(None)
            self.scales = training_scales(plain, self.labelled)
            self.data = training_data(plain, self.labelled, self.scales)

    def open(self, record: HeadRunConfig, resume: bool) -> None:
        """Write the run's folder, or compare it with what is there."""
        open_run(self.config.run, record, resume)
        if self.scales:
            save_scales(self.config.run, self.scales)

    def _task(self) -> Task:
        splits = (self._labelled("train"), self._labelled("val"))
        return Task(self.labelled.names, self.labelled.sequence_targets, *splits)

    @property
    def not_defined(self) -> tuple[str, ...]:
        """Intensities without a Pearson on val, because their labels there are all one value."""
        targets = self.task.targets[self.task.val]
        return score(np.zeros_like(targets), targets, self.task.names).not_defined

    @property
    def notes(self) -> tuple[str, ...]:
        """How the labels were read, and what to know of them."""
        return ("; ".join(self.labels.facts), *self.labelled.notes)

    def _labelled(self, split: str) -> I64:
        clips = self.labelled.labelled(split)
        if not len(clips):
            raise FacerError(
                f"{self.config.labels}: split {split}: found no clip with labels and features "
                f"among its {len(self.labelled.rows(split))} rows; splits: "
                f"{self.labelled.split_rule}; "
                "facer check tells what does not join"
            )
        return clips

    def of_fold(self, fold: int) -> Training:
        """The training of another fold on the same sequences."""
        assert self.plan is not None
        other = copy(self)
        other.config = fold_training(self.config, fold)
        other.labelled = replace(self.labelled, splits=self.plan.splits(fold))
        try:
            other.task = other._task()
            other._scale_subjects()
        except FacerError as error:
            raise FacerError(f"fold {fold}: {error}") from error
        return other

    def trainer(self, seed: int) -> HeadTrainer:
        """A fresh training."""
        fit = replace(self.config.fit, seed=seed)
        return HeadTrainer(fit, self.data, self.task, self.config.sequences.max_frames)

    def run(
        self, on_epoch: OnEpoch | None, on_step: OnStep | None = None
    ) -> dict[int, list[EpochRow]]:
        """Train all seeds and return their curves."""
        report = None if on_epoch is None else lambda _, *epoch: on_epoch(*epoch)
        return run_all([self], report, on_step)[self.config.run]

    def train(
        self, seed: int, on_epoch: OnEpoch | None = None, on_step: OnStep | None = None
    ) -> list[EpochRow]:
        """Train one seed in its folder, or go on with it, and return its curve."""
        folder = self.config.run / f"seed-{seed}"
        if finished := read_curve(folder / "curve.csv"):
            return finished
        trainer = self.trainer(seed)
        saved = monotonic()

        def due(_: EpochRow) -> bool:
            nonlocal saved
            if monotonic() - saved <= _SAVE_EVERY_S:
                return False
            saved = monotonic()
            return True

        def report(row: EpochRow) -> None:
            if on_epoch is not None:
                on_epoch(seed, row, trainer.epochs)

        run = RunFolder(folder, HeadRunConfig)
        run.resume(trainer)
        run.train(trainer, report, on_step, due=due)
        _save_best(trainer, folder)
        return trainer.curve

    def describe(self) -> HeadRunConfig:
        """What ``config.json`` says."""
        config, labelled, folds, splits, mean = self.config, self.labelled, None, None, None
        if self.plan is not None and config.folds is not None:
            folds = self.plan.record(config.folds)
        if folds is None or config.fold is not None:  # of a run of folds, every fold has its own
            splits = {split: len(labelled.rows(split)) for split in ("train", "val", "test")}
            train = np.ma.masked_invalid(labelled.targets[labelled.rows("train")])
            mean = tuple(train.mean(axis=0).filled(0).tolist())  # 0 where nothing is labelled
        return HeadRunConfig(
            format=FORMAT,
            facer_version=__version__,
            store=absolute_place(config.store),
            store_provenance=to_json(self.store.provenance),
            streams=absolute_places(config.streams),
            stream_provenance=stream_provenance(self.store),
            cache=config.cache,
            data_sha256=self.data_sha256,
            labels=run_labels(self.labels, config.reading),
            names=labelled.names,
            columns=tuple(self.choice.columns),
            embedding=self.choice.embedding,
            sequences=config.sequences,
            fit=config.fit,
            seeds=config.seeds,
            threads=config.threads,
            split_rule=self.plan.rule if self.plan else labelled.split_rule,
            counts=labelled.counts,
            folds=folds,
            fold=config.fold,
            splits=splits,
            train_mean=mean,
            head_sha256=code_sha256(config.fit.head.name),
        )  # fmt: skip

    @cached_property
    def data_sha256(self) -> str:
        """Digest of the sequences, the same for all folds."""
        return features_sha256(self.labelled.sequences)


def _choice_of(config: TrainHeadConfig, names: Collection[str]) -> FeatureChoice | None:
    """The columns of a run that is resumed or made again: what a group means may have widened.

    None where there is no such run, or it read others: then they are told apart later.
    """
    for run in (config.run, config.repeats):
        if run is not None and (run / "config.json").is_file():
            record = read_run(run)
            same = record.sequences.features == config.sequences.features
            return record.choice if same and {*record.choice.columns} <= {*names} else None
    return None


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
    with torch_threads(task.config.threads):
        return Training(task.config).train(task.seed)


def tell(training: Training, on_note: OnNote | None) -> None:
    """Say how the labels were read, and what to know of them and of the inputs."""
    if on_note is not None:
        for place, note in enumerate(training.notes):
            on_note(note if place == 0 else f"warning: {note}")
    tell_scale(training, on_note)


def tell_scale(training: Training, on_note: OnNote | None) -> None:
    """Say where inputs are so large that a head hardly learns from them unscaled."""
    if on_note is None or training.config.fit.standardise:
        return
    data = training.data
    scale = measure_scale(data, training.task.train)
    size = np.maximum(np.abs(scale.mean), scale.std)
    large = np.flatnonzero(size > LARGE_INPUT)
    if len(large):
        names = [*training.choice.columns, *["embedding"] * len(size)]
        one = large[size[large].argmax()]
        on_note(
            f"warning: {len(large)} input column(s) are large, such as {names[one]} with mean "
            f"{scale.mean[one]:.3g} and deviation {scale.std[one]:.3g} over the training "
            "frames; a head learns little from such: use --standardise"
        )


def fold_training(config: TrainHeadConfig, fold: int) -> TrainHeadConfig:
    """What trains one fold of a run, in a folder of its own."""
    return replace(config, run=fold_folder(config.run, fold), fold=fold, resume=True)


def _save_best(trainer: HeadTrainer, folder: Path) -> None:
    save_model(trainer.best_model(), trainer.best_epoch, folder)
    text = io.StringIO()  # written last: a seed that has its curve is finished
    writer = csv.DictWriter(text, list(asdict(trainer.curve[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in trainer.curve)
    write_atomic(folder / "curve.csv", text.getvalue())


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
