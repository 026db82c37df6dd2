"""A head's training over a store: its data and settings, and its seeds one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import cached_property
from time import monotonic

import numpy as np

from facer import __version__
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.folds.plan import labels_in_fold, read_planned
from facer.pipeline.intensity.head_run import (
    HeadRunConfig,
    absolute_place,
    absolute_places,
    fold_folder,
    open_run,
    read_run,
)
from facer.pipeline.intensity.labelled import features_sha256, load_labelled
from facer.pipeline.intensity.seeds import (
    MODEL,
    finish_seed,
    load_model,
    origin_of,
    read_curve,
)
from facer.pipeline.intensity.sources.joined import open_source, stream_provenance
from facer.pipeline.intensity.sources.labels import run_labels
from facer.pipeline.intensity.subject_scales import save_scales, training_data, training_scales
from facer.pipeline.runtime.progress import note_lines
from facer.pipeline.runtime.run_folder import FORMAT, RunFolder
from facer.stages.common.device import resolve_device
from facer.stages.common.training import OnStep
from facer.stages.intensity.calibration import label_scale
from facer.stages.intensity.config import LossName
from facer.stages.intensity.fit import EpochRow, HeadTrainer, Task
from facer.stages.intensity.heads.own import code_sha256
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import measure_scale
from facer.stages.intensity.sequences import FeatureChoice
from facer.stages.intensity.subjects import SubjectScales
from facer.storage.errors import FacerError, named
from facer.storage.labels.challenges import SPLITS
from facer.storage.schema import I64
from facer.storage.text.typed_json import to_json

_SAVE_EVERY_S = 20.0  # a checkpoint takes longer than an epoch of a small set

LARGE_INPUT = 5.0
"""Mean or deviation of an input from which on recurrent units saturate; REC's stay within 1."""

LARGE_LABEL, SMALL_LABEL = 5.0, 0.03
"""Mean or deviation from which on, and deviation below which, an error hardly teaches labels."""

OnEpoch = Callable[[int, EpochRow, int], None]
"""Called with seed, the epoch's row and the number of epochs at most."""

OnNote = Callable[[str], None]
"""Called with one line."""


@contextmanager
def _of_fold(fold: int | None) -> Iterator[None]:
    """FacerErrors name the fold, of a training of one."""
    try:
        yield
    except FacerError as error:
        if fold is None:
            raise
        raise FacerError(f"fold {fold}: {error.marked}") from error


class Training:
    """Data and settings, loaded and checked before a run folder is written."""

    def __init__(self, config: TrainHeadConfig) -> None:
        device = resolve_device(config.device)
        self.config = config
        self.store = open_source(config.store, config.streams)
        self.labels, self.plan = read_planned(
            config.labels, config.reading, self.store, config.folds
        )
        if self.plan is not None:
            self.labels = labels_in_fold(self.labels, self.plan, config.fold or 0)
        self.labelled, self.choice = load_labelled(
            self.store, self.labels, config.sequences,
            _choice_of(config, self.store.feature_names), config.cache,
        )  # fmt: skip
        with _of_fold(None if self.plan is None else config.fold or 0):
            self.task = self._task()
            self.data = DeviceSequences(self.labelled.sequences, device)
            self._scale_subjects()
            self.first = self.trainer(config.fit.seed)  # what is wrong with the head is told here

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
        train, val = self._labelled("train"), self._labelled("val")
        names, targets = self.labelled.names, self.labelled.sequence_targets
        learnt = np.isfinite(targets[train]).sum(axis=0).tolist()
        lacking = [name for name, n in zip(names, learnt, strict=True) if not n]
        if lacking:
            kept = ",".join(name for name in names if name not in lacking)
            raise FacerError(
                f"{self.config.labels}: split train: no clip that has the chosen features has a "
                f"label of {', '.join(lacking)}; leave it out by {named('targets')} {kept}, or "
                f"choose other {named('features')}"
            )
        return Task(names, targets, train, val)

    @property
    def not_defined(self) -> tuple[str, ...]:
        """Intensities without a Pearson on val, because their labels there are all one value."""
        return self._of_one_value(self.task.val)

    def _of_one_value(self, clips: I64) -> tuple[str, ...]:
        targets = self.task.targets[clips]
        return score(np.zeros_like(targets), targets, self.task.names).not_defined

    @property
    def notes(self) -> tuple[str, ...]:
        """How the labels were read, and what to know of them."""
        found = ["; ".join(self.labels.facts), *self.labelled.notes]
        if flat := self._of_one_value(self.task.train):
            found.append(
                f"all labels of {', '.join(flat)} in train are one value: nothing tells a head "
                "what makes them differ"
            )
        return tuple(found)

    def _labelled(self, split: str) -> I64:
        clips = self.labelled.to_learn(split)
        if not len(clips):
            raise FacerError(
                f"{self.config.labels}: split {split}: found no clip with labels and features "
                f"among its {self.labelled.of(split).sum()} rows; splits: "
                f"{self.labelled.split_rule}; facer check tells what does not join"
            )
        return clips

    def of_fold(self, fold: int) -> Training:
        """The training of another fold on the same sequences."""
        assert self.plan is not None
        other = copy(self)
        run = fold_folder(self.config.run, fold)
        other.config = replace(self.config, run=run, fold=fold, resume=True)
        splits = np.array(self.plan.splits(fold), object)
        other.labelled = replace(self.labelled, splits=splits)
        with _of_fold(fold):
            other.task = other._task()
            other._scale_subjects()
        return other

    def trainer(self, seed: int) -> HeadTrainer:
        """A fresh training."""
        fit = replace(self.config.fit, seed=seed)
        return HeadTrainer(fit, self.data, self.task, self.config.sequences.max_frames)

    def train(
        self, seed: int, on_epoch: OnEpoch | None = None, on_step: OnStep | None = None
    ) -> list[EpochRow]:
        """Train one seed in its folder, or go on with it, and return its curve.

        A seed is finished when its curve and its model are there.
        """
        folder = self.config.run / f"seed-{seed}"
        if (folder / MODEL).is_file() and (finished := read_curve(folder / "curve.csv")):
            load_model(folder / MODEL, read_run(self.config.run), seed)  # which may be another's
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

        origin = origin_of(read_run(self.config.run), seed)
        run = RunFolder(folder, HeadRunConfig, origin=origin)
        run.resume(trainer)
        run.train(trainer, report, on_step, due=due)
        finish_seed(trainer, self.config.run, seed)
        return trainer.curve

    def describe(self) -> HeadRunConfig:
        """What ``config.json`` says."""
        config, labelled, folds, splits, mean = self.config, self.labelled, None, None, None
        if self.plan is not None and config.folds is not None:
            folds = self.plan.record(config.folds)
        if folds is None or config.fold is not None:  # of a run of folds, every fold has its own
            splits = {str(split): int(labelled.of(split).sum()) for split in SPLITS}
            train = np.ma.masked_invalid(labelled.targets[labelled.of("train")])
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


def tell(training: Training, on_note: OnNote | None) -> None:
    """Say how the labels were read, and what to know of them and of the inputs."""
    if on_note is not None:
        for line in note_lines(training.notes):
            on_note(line)
    tell_scale(training, on_note)
    fit = training.config.fit
    tell_label_scale(training, () if fit.scale_labels else (fit.loss,), on_note)


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


def tell_label_scale(
    training: Training, losses: Collection[LossName], on_note: OnNote | None
) -> None:
    """Say where labels are so large or small that losses other than pearson hardly teach them."""
    seen = [f"--loss {loss}" for loss in sorted({*losses} - {"pearson"})]
    if on_note is None or not seen:
        return
    line = label_scale(training.task.targets[training.task.train])
    mean, std = line.intercept, line.slope
    odd = np.flatnonzero((np.maximum(np.abs(mean), std) > LARGE_LABEL) | (std < SMALL_LABEL))
    if len(odd):
        names = training.task.names
        on_note(
            f"warning: labels of {', '.join(names[i] for i in odd)} are large or small, such as "
            f"{names[odd[0]]} with mean {mean[odd[0]]:.3g} and deviation {std[odd[0]]:.3g} in "
            f"train; a head learns little of such by {' or '.join(seen)}: use "
            "--scale-labels"
        )


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
