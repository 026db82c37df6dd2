"""REC and a head trained end to end on videos, after each was initialised by itself.

OUT/
  finetune.json        the settings of this training
  config.json          as of facer train-head, for the store to be extracted with the new REC;
                       under "finetune" what this training was
  rec.safetensors      the new REC, as extract takes it
  seed-<n>/best.safetensors   the new head, calibrated
  curve.jsonl          one row an epoch; epoch 0 is the state that was started from
  last.safetensors     where the training stopped, to go on from
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from facer import __version__
from facer.pipeline.endtoend.config import _LEAST_CLIPS, FinetuneConfig
from facer.pipeline.endtoend.joint import ClipCrops, JointModel
from facer.pipeline.intensity.head_run import HeadRunConfig, load_models, read_run, save_model
from facer.pipeline.intensity.labelled import (
    LabelledSequences,
    clips_sha256,
    labels_of_run,
    load_labelled,
)
from facer.pipeline.runtime.run_folder import RunFolder, plain
from facer.stages.common.device import resolve_device
from facer.stages.common.training import Arrays, OnStep, under
from facer.stages.features.rec.torch_rec import load_network, save_rec
from facer.stages.features.rec.weights import weights_path
from facer.stages.intensity.calibration import fit_calibration
from facer.stages.intensity.fit import scaled_targets
from facer.stages.intensity.kernels.batches import split_batches
from facer.stages.intensity.metrics import score
from facer.storage import FeatureStore, LabelOptions
from facer.storage.errors import FacerError, named
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import I64
from facer.storage.settings import flat

OnEpoch = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class FinetuneRunConfig:
    """What ``finetune.json`` says: the settings that decide the result."""

    COMMAND: ClassVar[str] = "facer finetune"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        "rec", "epochs", "learning_rate", "batch_size", "chunk", "seed", "reading",
    )  # fmt: skip

    run: Path
    videos: Path
    rec: str
    epochs: int
    learning_rate: float
    batch_size: int
    chunk: int
    seed: int
    reading: LabelOptions = field(default_factory=LabelOptions)

    @classmethod
    def of(cls, config: FinetuneConfig) -> FinetuneRunConfig:
        """Return what of a config decides the result."""
        return cls(**{one.name: getattr(config, one.name) for one in fields(cls)})

    def deciding(self) -> Mapping[str, Any]:
        """All of them."""
        return plain(self)


def settings_of_run(output: Path) -> dict[str, Any]:
    """The settings of an output by name, as ``facer finetune --config OUTPUT`` takes them."""
    record = RunFolder(output, FinetuneRunConfig, _RECORD).read()
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    config = FinetuneConfig(**values, output=output)
    return {**dict(flat(config)), "run": record.run, "video_dir": record.videos}


_RECORD = "finetune.json"


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning made."""

    output: Path
    rec: Path
    curve: tuple[dict[str, Any], ...]  # epoch, loss (None for epoch 0), val_pearson, best
    rec_change: float  # length of the change of REC's weights over the length of the weights
    notes: tuple[str, ...]  # what to know of the labels

    @property
    def best(self) -> dict[str, Any]:
        """The epoch whose weights were kept."""
        return max(self.curve, key=lambda row: float(row["val_pearson"]))


class FinetuneTrainer:
    """One fine-tuning; weights of the epoch with the best val score are kept."""

    def __init__(self, config: FinetuneConfig) -> None:
        self.config = config
        self.record = read_run(config.run)
        self.store = FeatureStore.open(self.record.store)
        self.labelled = self._cohort()
        network, self.rec_meta = load_network(_checked_weights(config, self.store))
        models = load_models(config.run)
        self.head_seed = min(models)
        device = resolve_device(config.device)
        columns = list(self.record.columns)
        self.model = JointModel(
            network.to(device), models[self.head_seed].to(device), columns, config.chunk,
            config.learning_rate,
        )  # fmt: skip
        self.data = ClipCrops(
            self.store, config.videos, self.labelled.sequences.clip_ids, self.record.sequences,
            columns, config.memory_mb << 20,
        )  # fmt: skip
        self.targets = self.labelled.sequence_targets
        self.train, self.val = (self._clips(split) for split in ("train", "val"))
        self.device = device
        self.curve: list[dict[str, Any]] = []
        self.initial = self.model.weights()
        self.best = self.initial

    def _cohort(self) -> LabelledSequences:
        if self.record.streams.stores:
            raise FacerError(
                f"{self.config.run}: its head reads {', '.join(self.record.streams.places)} too; "
                "expected a head on one store"
            )
        if self.record.embedding:
            raise FacerError(
                f"{self.config.run}: its head reads the embedding; expected a head on the "
                "features, such as train-head --features all makes"
            )
        if self.record.fit.normalise != "none":
            raise FacerError(
                f"{self.config.run}: was trained with {named('normalise')} "
                f"{self.record.fit.normalise}, whose scales change with REC; expected a run "
                "without it"
            )
        source = labels_of_run(self.config.run, self.record, None, self.config.reading)
        return load_labelled(self.store, source, self.record.sequences)[0]

    def _clips(self, split: str) -> I64:
        """Sequences of the labelled clips of a split."""
        clips: I64 = self.labelled.labelled(split)
        if len(clips) == 0:
            raise FacerError(f"split {split}: found no labelled clip with features, expected some")
        return clips

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far; epoch 0 is what was started from."""
        return len(self.curve)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curve) > self.config.epochs

    def epoch(self, on_step: OnStep | None = None) -> dict[str, Any]:
        """Train one epoch (the first call only validates) and add a row to the curve."""
        number = len(self.curve)
        loss = self._train(number, on_step) if number else None
        raw = self.model.predict(self.data, self.val, self.config.batch_size)
        found = score(raw, self.targets[self.val], self.labelled.names).mean("pearson")
        if np.isnan(found):
            raise FacerError(
                "split val: no intensity's labels vary, so that no epoch has a Pearson; expected "
                "some that do"
            )
        best = not self.curve or found > max(float(row["val_pearson"]) for row in self.curve)
        row = {"epoch": number, "loss": loss, "val_pearson": found, "best": best}
        self.curve.append(row)
        if best:
            self.best = self.model.weights()
        return row

    def _train(self, number: int, on_step: OnStep | None) -> float:
        order = np.random.default_rng((self.config.seed, number)).permutation(self.train)
        batches = split_batches(order, self.config.batch_size, _LEAST_CLIPS)
        torch.manual_seed(self.config.seed * 100_003 + number)  # dropout of the head
        self.model.head.train()
        loss = self.record.fit.loss
        scaled = scaled_targets(self.record.fit, self.targets, self.train)[0]
        targets = torch.from_numpy(scaled).to(self.device)
        total = 0.0
        for done, clips in enumerate(batches, start=1):
            joint = self.data.batch(clips)
            total += self.model.step(joint, targets[joint.batch.clips], loss)
            if on_step is not None:
                on_step(number, done, len(batches))
        return total / len(batches)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to resume from."""
        arrays = {f"now.{k}": v for k, v in self.model.weights().items()}
        arrays |= {f"best.{k}": v for k, v in self.best.items()}
        return arrays | self.model.moments(), {"curve": self.curve}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self.model.load_weights(under(arrays, "now."))
        self.model.load_moments(arrays)
        self.best = under(arrays, "best.")
        self.curve = list(meta["curve"])


def finetune(
    config: FinetuneConfig, on_epoch: OnEpoch | None = None, on_step: OnStep | None = None
) -> FinetuneResult:
    """Train REC and head together at a small rate; the best epoch on val is kept.

    Memory is bounded by gradient checkpointing over chunks of crops (the gradient is exact) and
    by ``memory_mb`` of crops kept. ``FacerError`` for an output that is there already, another
    REC than the store's, and videos that are not there.
    """
    training = FinetuneTrainer(config)
    folder = RunFolder(config.output, FinetuneRunConfig, _RECORD)
    settings = FinetuneRunConfig.of(config)
    folder.claim(settings, config.resume)
    folder.resume(training)
    folder.train(training, on_epoch, on_step, lambda _: folder.write_curve(training.curve))
    _write(training, settings)
    return FinetuneResult(
        output=config.output,
        rec=config.output / "rec.safetensors",
        curve=tuple(training.curve),
        rec_change=_change(training.initial, training.best),
        notes=training.labelled.notes,
    )


def _checked_weights(config: FinetuneConfig, store: FeatureStore) -> Path:
    path = weights_path(config.rec)
    if path.suffix != ".safetensors":
        raise FacerError(
            f"{named('rec')} {path}: ONNX cannot be trained; expected .safetensors weights"
        )
    if (found := weights_sha256(path)) != store.provenance.rec_sha256:
        raise FacerError(
            f"{named('rec')} {path}: sha256 {found[:12]}, the store was extracted with "
            f"{store.provenance.rec} ({store.provenance.rec_sha256[:12]}); give those weights"
        )
    return path


def _write(training: FinetuneTrainer, settings: FinetuneRunConfig) -> None:
    """The new REC, the new head, the curve, and a config that evaluate and predict take."""
    config, model = training.config, training.model
    model.load_weights(training.best)
    rec = config.output / "rec.safetensors"
    start = training.store.provenance
    save_rec(
        rec,
        model.network,
        weak=tuple(training.rec_meta["weak_features"]),
        training={
            "facer_version": __version__,
            "finetuned_from": {"rec": start.rec, "sha256": start.rec_sha256},
            "before": training.rec_meta["training"],
        },
    )
    _calibrate(training)
    epoch = max(row["epoch"] for row in training.curve if row["best"])
    save_model(model.head, epoch, config.output / f"seed-{training.head_seed}")
    labels = training.record.labels
    record = replace(
        training.record,
        labels=replace(labels, options=config.reading.over(labels.reading)),
        facer_version=__version__,
        store=str((config.output / "features.zarr").absolute()),
        store_provenance={
            **training.record.store_provenance,
            "rec": rec.stem,
            "rec_sha256": weights_sha256(rec),
        },
        data_sha256=None,  # the new REC's features are not extracted yet
        clips_sha256=clips_sha256(training.labelled.sequences),
        seeds=1,
        finetune=plain(settings),
    )
    RunFolder(config.output, HeadRunConfig).write(record)


def _calibrate(training: FinetuneTrainer) -> None:
    """Bring the head's predictions to the labels' scale on the split that the run chose."""
    head, split = training.model.head, training.record.fit.calibrate
    clips = training.val if split == "val" else training.train
    raw = training.model.predict(training.data, clips, training.config.batch_size)
    if split == "none":
        line = scaled_targets(training.record.fit, training.targets, training.train)[1]
        head.set_calibration(line)
        head.stand_in = line.apply(raw).mean(axis=0)
    else:
        head.set_calibration(fit_calibration(raw, training.targets[clips]))


def _change(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Relative change of REC's weights, ||after - before|| / ||before||."""
    names = [k for k, v in before.items() if k.startswith("network.") and v.dtype.kind == "f"]
    moved = sum(float(np.square(after[k].astype(np.float64) - before[k]).sum()) for k in names)
    length = sum(float(np.square(before[k].astype(np.float64)).sum()) for k in names)
    return float(np.sqrt(moved / length))
