"""Stage two over a store: train the seeds of a head into a run folder, here or in processes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from facer import __version__
from facer.pipeline.cohort import features_sha256, labels_sha256, load_cohort
from facer.pipeline.executors import make_executor
from facer.pipeline.run_folder import (
    FORMAT,
    absolute_place,
    check_same_data,
    draw_curves,
    open_run,
    read_run,
    save_model,
    sequences_of,
)
from facer.stages.features.rec import resolve_device
from facer.stages.intensity.batches import DeviceSequences
from facer.stages.intensity.fit import EpochRow, FitConfig, HeadTrainer, Task
from facer.stages.intensity.heads import HeadConfig
from facer.stages.intensity.metrics import score
from facer.stages.intensity.sequences import I64, SequenceConfig
from facer.storage import FeatureStore, read_labels
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError

_SAVE_EVERY_S = 20.0  # a checkpoint takes longer than an epoch of a small set

OnEpoch = Callable[[int, EpochRow, int], None]
"""Called with seed, the epoch's row and the number of epochs at most."""


@dataclass(frozen=True)
class TrainHeadConfig:
    """One ``facer train-head``."""

    store: str
    labels: str
    run: Path
    kind: Any = "auto"  # of the labels
    sequences: SequenceConfig = field(default_factory=SequenceConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seeds: int = 1  # fit.seed, fit.seed + 1, ...
    jobs: int = 1  # seeds trained at a time, each in a process; never changes results
    device: str = "cpu"
    threads: int = 1  # of torch, in each process; sums round otherwise with another count
    resume: bool = False
    repeats: Path | None = None  # a run of which labels and features must be the same

    def __post_init__(self) -> None:
        for name in ("seeds", "jobs", "threads"):
            if getattr(self, name) < 1:
                raise FacerError(f"--{name}: found {getattr(self, name)}, expected 1 or more")


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
    seeds: tuple[SeedResult, ...]
    not_defined: tuple[str, ...] = ()  # intensities whose labels in val are all one value

    @property
    def val_pearson(self) -> float:
        """Mean over seeds of the best mean Pearson on val."""
        return float(np.mean([seed.val_pearson for seed in self.seeds]))

    @property
    def val_deviation(self) -> float:
        """Standard deviation of it over seeds (n - 1); 0 for one seed."""
        values = [seed.val_pearson for seed in self.seeds]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


@dataclass(frozen=True)
class SeedTask:
    """One seed's training, for a process of its own."""

    config: TrainHeadConfig
    seed: int


def train_head(config: TrainHeadConfig, on_epoch: OnEpoch | None = None) -> TrainHeadResult:
    """Train the seeds of a run; ``resume`` goes on where one stopped.

    With ``jobs``, ``on_epoch`` is called once a seed, with its last row. ``FacerError`` for a
    run folder that is there already, and where nothing can be learnt.
    """
    with torch_threads(config.threads):
        training = _Training(config)
        record = training.describe()
        if config.repeats is not None:
            check_same_data(config.repeats, record)
        open_run(config.run, record, config.resume)
        curves = training.run(on_epoch)
    draw_curves(config.run / "curve.png", curves)
    return TrainHeadResult(
        run=config.run,
        names=training.cohort.names,
        n_columns=training.data.features.shape[1],
        label_kind=training.labels.kind,
        split_rule=training.cohort.split_rule,
        n_train=len(training.task.train),
        n_val=len(training.task.val),
        counts=training.cohort.counts,
        seeds=tuple(_result(seed, rows) for seed, rows in curves.items()),
        not_defined=training.not_defined,
    )


def describe(config: TrainHeadConfig) -> dict[str, Any]:
    """What a training's ``config.json`` would say, digests of its data included."""
    return _Training(config).describe()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run torch on so many threads; the caller's number is restored after."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """Data and settings, loaded and checked before a run folder is written."""

    def __init__(self, config: TrainHeadConfig) -> None:
        device = resolve_device(config.device)
        self.config = config
        self.store = FeatureStore.open(config.store)
        self.labels = read_labels(config.labels, config.kind)
        self.cohort, self.choice = load_cohort(self.store, self.labels, config.sequences)
        splits = (self._labelled("train"), self._labelled("val"))
        self.task = Task(self.cohort.names, self.cohort.sequence_targets, *splits)
        self.data = DeviceSequences(self.cohort.sequences, device)
        self.first = self.trainer(config.fit.seed)  # what is wrong with the head is told here

    @property
    def not_defined(self) -> tuple[str, ...]:
        """Intensities without a Pearson on val, because their labels there are all one value."""
        targets = self.task.targets[self.task.val]
        return score(np.zeros_like(targets), targets, self.task.names).not_defined

    def _labelled(self, split: str) -> I64:
        clips = self.cohort.labelled(split)
        if not len(clips):
            raise FacerError(
                f"{self.config.labels}: split {split}: found no clip with labels and features "
                f"among its {len(self.cohort.rows(split))} rows; splits: {self.cohort.split_rule}; "
                "facer check tells what does not join"
            )
        return clips

    def trainer(self, seed: int) -> HeadTrainer:
        """A fresh training."""
        fit = replace(self.config.fit, seed=seed)
        return HeadTrainer(fit, self.data, self.task, self.config.sequences.max_frames)

    def run(self, on_epoch: OnEpoch | None) -> dict[int, list[EpochRow]]:
        """Train all seeds and return their curves."""
        config, curves = self.config, {}
        seeds = range(config.fit.seed, config.fit.seed + config.seeds)
        if config.jobs == 1 or config.seeds == 1:
            return {seed: self.train(seed, on_epoch) for seed in seeds}
        executor = make_executor(min(config.jobs, config.seeds), None)
        try:
            tasks = [SeedTask(config, seed) for seed in seeds]
            for task, outcome in executor.map(train_seed, tasks):
                if isinstance(outcome, Exception):
                    raise outcome
                curves[task.seed] = outcome
                if on_epoch is not None:
                    on_epoch(task.seed, outcome[-1], self.first.epochs)
        finally:
            executor.close()
        return dict(sorted(curves.items()))

    def train(self, seed: int, on_epoch: OnEpoch | None = None) -> list[EpochRow]:
        """Train one seed in its folder, or go on with it, and return its curve."""
        trainer, folder = self.trainer(seed), self.config.run / f"seed-{seed}"
        last = folder / "last.safetensors"
        if last.exists():
            trainer.load_state(*load_checkpoint(last))
        saved = monotonic()
        while not trainer.finished:
            row = trainer.run_epoch()
            if trainer.finished or monotonic() - saved > _SAVE_EVERY_S:
                save_checkpoint(last, *trainer.state())
                saved = monotonic()
            if on_epoch is not None:
                on_epoch(seed, row, trainer.epochs)
        _save_best(trainer, folder)
        return trainer.curve

    def describe(self) -> dict[str, Any]:
        """What ``config.json`` says."""
        config, cohort = self.config, self.cohort
        provenance = self.store.provenance
        train = np.ma.masked_invalid(cohort.targets[cohort.rows("train")])
        return {
            "format": FORMAT,
            "facer_version": __version__,
            "store": absolute_place(config.store),
            "store_provenance": {**vars(provenance), "settings": dict(provenance.settings)},
            "data_sha256": features_sha256(cohort.sequences),
            "labels": {
                "path": absolute_place(config.labels),
                "kind": self.labels.kind,
                "sha256": labels_sha256(config.labels),
            },
            "names": list(cohort.names),
            "columns": list(self.choice.columns),
            "embedding": self.choice.embedding,
            "sequences": asdict(config.sequences),
            "fit": asdict(config.fit),
            "seeds": config.seeds,
            "threads": config.threads,
            "split_rule": cohort.split_rule,
            "splits": {split: len(cohort.rows(split)) for split in ("train", "val", "test")},
            "counts": cohort.counts,
            "train_mean": train.mean(axis=0).filled(0).tolist(),  # 0 where nothing is labelled
        }


def train_seed(task: SeedTask) -> list[EpochRow]:
    """Train one seed of a run that is open; runs in a process of its own."""
    with torch_threads(task.config.threads):
        return _Training(task.config).train(task.seed)


def _save_best(trainer: HeadTrainer, folder: Path) -> None:
    save_model(trainer.best_model(), trainer.best_epoch, folder)
    with (folder / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(trainer.curve[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in trainer.curve)


def _result(seed: int, rows: list[EpochRow]) -> SeedResult:
    best = [row for row in rows if row.best][-1]
    return SeedResult(seed, best.epoch, len(rows), best.val_pearson)


def config_of_run(
    run: Path, new_run: Path, store: str | None = None, labels: str | None = None
) -> TrainHeadConfig:
    """The config that makes a run again elsewhere, from its store and labels or moved ones.

    ``train_head`` raises FacerError when these are not the same data.
    """
    record = read_run(run)
    if "finetune" in record:
        raise FacerError(
            f"{run}: was made by facer finetune; expected a run of train-head "
            "(finetune.json there has the settings)"
        )
    fit = dict(record["fit"])
    fit["head"] = HeadConfig(**fit["head"])
    return TrainHeadConfig(
        store=store or record["store"],
        labels=labels or record["labels"]["path"],
        run=new_run,
        kind=record["labels"]["kind"],
        sequences=sequences_of(record),
        fit=FitConfig(**fit),
        seeds=record["seeds"],
        threads=record["threads"],
        repeats=run,
    )
