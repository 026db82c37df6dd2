"""Training of a head on cached sequences: seeded, validated each epoch, resumable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facer.stages.common.training import Arrays, OnStep, Schedule, seeded, under
from facer.stages.intensity.calibration import Calibration, fit_calibration, label_scale
from facer.stages.intensity.config import LEAST_CLIPS, FitConfig
from facer.stages.intensity.heads import HeadShape
from facer.stages.intensity.heads.own import blamed, check_head, is_own
from facer.stages.intensity.kernels.augment import Augmenter
from facer.stages.intensity.kernels.batches import DeviceSequences, split_batches
from facer.stages.intensity.kernels.routing import RoutedAdam, RoutedAverage
from facer.stages.intensity.losses import LOSSES
from facer.stages.intensity.metrics import score
from facer.stages.intensity.model import IntensityModel, measure_scale, predict, predict_raw
from facer.storage.errors import FacerError, named
from facer.storage.schema import F32, I64

_EPOCHS = 30
_LEAST_STEPS = 2000  # small sets get as many epochs as make this many steps
_AUGMENT = 1  # of an epoch's random numbers, those that change sequences


@dataclass(frozen=True)
class Task:
    """What is to be learnt: clips of the data by index, and their intensities."""

    names: tuple[str, ...]  # (E,)
    targets: F32  # (C, E), NaN = absent
    train: I64  # indices of clips, some of them, each with a label
    val: I64


@dataclass(frozen=True)
class EpochRow:
    """One line of the learning curve."""

    epoch: int  # from 1
    steps: int  # optimiser steps so far
    train_loss: float
    val_pearson: float  # nan where no intensity varies in val
    val_ccc: float
    val_mse: float
    best: bool  # the best val_pearson so far; where it is nan, the lowest val_mse
    seconds: float
    clips_per_s: float  # of training


def scaled_targets(config: FitConfig, targets: F32, train: I64) -> tuple[F32, Calibration]:
    """Targets (C, E) as the loss sees them, and the line from these to the labels' scale."""
    if not config.scale_labels or config.loss == "pearson":
        ones = np.ones(targets.shape[1])
        return targets, Calibration(ones, 0 * ones)
    line = label_scale(targets[train])
    return line.undo(targets), line


class HeadTrainer:
    """One training; ``epoch`` until ``finished``.

    The best epoch is the one with the highest mean Pearson on the val split; no other split is
    looked at. On the CPU, with the same number of threads, the same seed gives the same bits,
    in one go or resumed between epochs.
    """

    def __init__(
        self, config: FitConfig, data: DeviceSequences, task: Task, max_frames: int
    ) -> None:
        self.config, self.data, self.task = config, data, task
        self.device = data.features.device
        if len(task.train) < (least := LEAST_CLIPS[config.loss]):
            raise FacerError(
                f"split train: found {len(task.train)} labelled clips with features, expected "
                f"{least} or more for a correlation ({named('loss')} {config.loss}); use "
                f"{named('loss')} mse"
            )
        features = int(data.features.shape[1])
        shape = HeadShape(features, len(task.names), max_frames, data.streams)
        with self._seeded(0):
            self.model = IntensityModel(config.head, shape)
        if is_own(config.head.name):
            check_head(self.model.head, config.head, shape)
        self.model.to(self.device)
        if config.standardise:
            self.model.set_scale(measure_scale(data, task.train))
        targets, line = scaled_targets(config, task.targets, task.train)
        self.model.set_calibration(line)
        self.targets = torch.from_numpy(targets).to(self.device)
        self.curve: list[EpochRow] = []
        self.best: Arrays = {}
        self.epochs = config.epochs or max(_EPOCHS, math.ceil(_LEAST_STEPS / self.steps_per_epoch))
        self.patience = config.patience or max(1, self.epochs // 3)
        self._augmenter = Augmenter(config.augmentation, data, task.train, max_frames)
        self._prepare_optimiser()

    def _prepare_optimiser(self) -> None:
        """Adam, its learning rate over the steps, and the average of weights, if one is kept."""
        config, parameters = self.config.optimiser, list(self.model.parameters())
        routed, rate = self.model.head.routed_weight, self.config.learning_rate
        self.optimiser = RoutedAdam(parameters, routed, rate, config.weight_decay, config.clip_norm)
        steps = self.steps_per_epoch
        floor = 1.0 if config.schedule == "constant" else 0.0
        self._schedule = Schedule(rate, config.warm_up * steps, self.epochs * steps, floor)
        self.kept = self.model  # what is validated, and kept when it is the best
        self._average: RoutedAverage | None = None
        if config.ema_decay is not None:
            self.kept = deepcopy(self.model)
            averages = self.kept.parameters()
            self._average = RoutedAverage(parameters, averages, self.optimiser, config.ema_decay)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return len(self._split(self.task.train))

    @property
    def best_epoch(self) -> int:
        """Epoch (from 1) with the best val score; 0 before the first."""
        return max((row.epoch for row in self.curve if row.best), default=0)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or patience has run out."""
        done = len(self.curve)
        return done >= self.epochs or done - self.best_epoch >= self.patience > 0 < done

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far."""
        return len(self.curve)

    def epoch(self, on_step: OnStep | None = None) -> EpochRow:
        """Train one epoch, validate, and keep the weights when they are the best so far."""
        epoch = len(self.curve) + 1
        started = perf_counter()
        loss = self._train(epoch, on_step)
        trained = perf_counter()
        found = predict(self.kept, self.data, self.task.val)
        if not np.isfinite(found).all():
            raise FacerError(
                f"seed {self.config.seed}, epoch {epoch}: found predictions that are not finite; "
                f"use a smaller {named('learning_rate')}, or {named('standardise')}"
            )
        scores = score(found, self.task.targets[self.task.val], self.task.names)
        pearson, mse = scores.mean("pearson"), scores.mean("mse")
        if np.isnan(pearson):
            best = not self.curve or mse < min(row.val_mse for row in self.curve)
        else:
            best = not self.curve or pearson > max(row.val_pearson for row in self.curve)
        row = EpochRow(
            epoch=epoch,
            steps=epoch * self.steps_per_epoch,
            train_loss=loss,
            val_pearson=pearson,
            val_ccc=scores.mean("ccc"),
            val_mse=mse,
            best=best,
            seconds=perf_counter() - started,
            clips_per_s=len(self.task.train) / (trained - started),
        )
        self.curve.append(row)
        if best:
            self.best = self.kept.arrays()
        return row

    def batches_of(self, epoch: int) -> list[I64]:
        """The training clips in random batches of equal size, or one less."""
        order = np.random.default_rng((self.config.seed, epoch)).permutation(self.task.train)
        return self._split(order)

    def _split(self, clips: I64) -> list[I64]:
        return split_batches(clips, self.config.batch_size, LEAST_CLIPS[self.config.loss])

    def _train(self, epoch: int, on_step: OnStep | None) -> float:
        loss_of = LOSSES[self.config.loss]
        total = torch.zeros((), device=self.device)
        random = np.random.default_rng((self.config.seed, epoch, _AUGMENT))
        first = (epoch - 1) * self.steps_per_epoch
        self.model.train()
        with self._seeded(epoch):  # for dropout
            for done, clips in enumerate(self.batches_of(epoch), start=1):
                batch = self._augmenter.batch(clips, random)
                with blamed(self.config.head.name):
                    loss = loss_of(self.model(batch), self.targets[batch.clips])
                    self.optimiser.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                self._step(first + done - 1, self.model.head.routed_steps(batch))
                total += loss.detach()
                if on_step is not None:
                    on_step(epoch, done, self.steps_per_epoch)
        if self._average is not None:  # what a head of one's own keeps beside weights
            for kept, now in zip(self.kept.buffers(), self.model.buffers(), strict=True):
                kept.copy_(now)
        return float(total) / self.steps_per_epoch

    def _step(self, step: int, routed: int) -> None:
        """Update the weights in optimiser step ``step`` of the training, from 0."""
        self.optimiser.learning_rate = self._schedule.at(step)
        self.optimiser.step(routed)
        if self._average is not None:
            self._average.update(step, routed)

    def _seeded(self, epoch: int) -> AbstractContextManager[None]:
        """Torch's random state as this epoch has it."""
        return seeded(self.config.seed * 100_003 + epoch, self.device)

    def best_model(self) -> IntensityModel:
        """The model of the best epoch, calibrated."""
        with seeded():
            model = IntensityModel(self.config.head, self.model.shape).to(self.device)
        model.load_arrays(self.best)
        if self.config.calibrate != "none":
            clips = self.task.train if self.config.calibrate == "train" else self.task.val
            raw = predict_raw(model, self.data, clips)
            model.set_calibration(fit_calibration(raw, self.task.targets[clips]))
        else:
            model.stand_in = predict(model, self.data, self.task.train).mean(axis=0)
        return model

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to go on from: the model's, Adam's, the best model's, the curve."""
        arrays = {f"model.{k}": v for k, v in self.model.arrays().items()}
        arrays |= {f"adam.{k}": v for k, v in self.optimiser.state().items()}
        arrays |= {f"best.{k}": v for k, v in self.best.items()}
        if self._average is not None:
            arrays |= {f"average.{k}": v for k, v in self.kept.arrays().items()}
        return arrays, {"curve": [asdict(row) for row in self.curve]}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self.model.load_arrays(under(arrays, "model."))
        self.optimiser.load_state(under(arrays, "adam."))
        self.best = under(arrays, "best.")
        if self._average is not None:
            self.kept.load_arrays(under(arrays, "average."))
        self.curve = [EpochRow(**row) for row in meta["curve"]]
