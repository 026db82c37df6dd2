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

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facer import __version__
from facer.pipeline.endtoend.joint import ClipCrops, JointModel, under
from facer.pipeline.intensity.cohort import Cohort, clips_sha256, labels_of_run, load_cohort
from facer.pipeline.runtime.run_folder import load_models, read_run, save_model, sequences_of
from facer.stages.features.rec.loading import (
    load_network,
    resolve_device,
    save_rec,
    weights_path,
)
from facer.stages.intensity.calibration import Calibration, fit_calibration
from facer.stages.intensity.kernels.batches import split_batches
from facer.stages.intensity.losses import LEAST_CLIPS
from facer.stages.intensity.metrics import score
from facer.stages.intensity.sequences import I64
from facer.storage import FeatureStore, LabelOptions
from facer.storage.checkpoints import load_checkpoint, reading_state, save_checkpoint
from facer.storage.errors import FacerError, OptionError
from facer.storage.files.objects import LocalObjects
from facer.storage.files.weights import weights_sha256
from facer.storage.layout.documents import read_json_object
from facer.storage.text.differing import differing

OnEpoch = Callable[[dict[str, Any]], None]

_LEAST_CLIPS = max(LEAST_CLIPS.values())


@dataclass(frozen=True)
class FinetuneConfig:
    """One ``facer finetune``."""

    run: Path  # of train-head: the head, its store and its labels
    videos: Path  # the folder that the store was extracted from
    output: Path
    rec: str = "rec-small"  # the weights that the store was extracted with
    epochs: int = 5
    learning_rate: float = 1e-5  # the paper's, end to end
    batch_size: int = 4
    chunk: int = 32  # crops with activations in memory
    memory_mb: int = 2048  # of crops kept between epochs; more are decoded again
    seed: int = 0
    device: str = "auto"
    resume: bool = False
    reading: LabelOptions = field(default_factory=LabelOptions)  # other than the run's

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "chunk", "memory_mb"):
            if getattr(self, name) <= 0:
                option = name.replace("_", "-")
                raise OptionError(f"--{option}: found {getattr(self, name)}, expected > 0")
        if self.batch_size < _LEAST_CLIPS:
            raise OptionError(
                f"--batch-size: found {self.batch_size}, expected {_LEAST_CLIPS} or more for a "
                "correlation, which two clips do not have"
            )


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


class _Training:
    """The state of one fine-tuning; weights of the epoch with the best val score are kept."""

    def __init__(self, config: FinetuneConfig) -> None:
        self.config = config
        self.record = read_run(config.run)
        self.store = FeatureStore.open(self.record["store"])
        self.cohort = self._cohort()
        network, self.rec_meta = load_network(_checked_weights(config, self.store))
        models = load_models(config.run)
        self.head_seed = min(models)
        device = resolve_device(config.device)
        columns = self.record["columns"]
        self.model = JointModel(
            network.to(device), models[self.head_seed].to(device), columns, config.chunk,
            config.learning_rate,
        )  # fmt: skip
        self.data = ClipCrops(
            self.store, config.videos, self.cohort.sequences.clip_ids, sequences_of(self.record),
            columns, config.memory_mb << 20,
        )  # fmt: skip
        self.targets = self.cohort.sequence_targets
        self.train, self.val = (self._clips(split) for split in ("train", "val"))
        self.device = device
        self.curve: list[dict[str, Any]] = []
        self.initial = self.model.weights()
        self.best = self.initial

    def _cohort(self) -> Cohort:
        if self.record["embedding"]:
            raise FacerError(
                f"{self.config.run}: its head reads the embedding; expected a head on the "
                "features, such as train-head --features all makes"
            )
        source = labels_of_run(self.config.run, self.record, None, self.config.reading)
        return load_cohort(self.store, source, sequences_of(self.record))[0]

    def _clips(self, split: str) -> I64:
        """Sequences of the labelled clips of a split."""
        clips: I64 = self.cohort.labelled(split)
        if len(clips) == 0:
            raise FacerError(f"split {split}: found no labelled clip with features, expected some")
        return clips

    def epoch(self) -> dict[str, Any]:
        """Train one epoch (the first call only validates) and add a row to the curve."""
        number = len(self.curve)
        loss = self._train(number) if number else None
        raw = self.model.predict(self.data, self.val, self.config.batch_size)
        found = score(raw, self.targets[self.val], self.cohort.names).mean("pearson")
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

    def _train(self, number: int) -> float:
        order = np.random.default_rng((self.config.seed, number)).permutation(self.train)
        batches = split_batches(order, self.config.batch_size, _LEAST_CLIPS)
        torch.manual_seed(self.config.seed * 100_003 + number)  # dropout of the head
        self.model.head.train()
        targets = torch.from_numpy(self.targets).to(self.device)
        loss = self.record["fit"]["loss"]
        total = 0.0
        for clips in batches:
            joint = self.data.batch(clips)
            total += self.model.step(joint, targets[joint.batch.clips], loss)
        return total / len(batches)

    def save(self, path: Path) -> None:
        """Everything needed to go on."""
        arrays = {f"now.{k}": v for k, v in self.model.weights().items()}
        arrays |= {f"best.{k}": v for k, v in self.best.items()}
        save_checkpoint(path, arrays | self.model.moments(), {"curve": self.curve})

    def load(self, path: Path) -> None:
        """Go on from what :meth:`save` wrote."""
        arrays, meta = load_checkpoint(path)
        self.model.load_weights(under(arrays, "now."))
        self.model.load_moments(arrays)
        self.best = under(arrays, "best.")
        self.curve = list(meta["curve"])


def finetune(config: FinetuneConfig, on_epoch: OnEpoch | None = None) -> FinetuneResult:
    """Train REC and head together at a small rate; the best epoch on val is kept.

    Memory is bounded by gradient checkpointing over chunks of crops (the gradient is exact) and
    by ``memory_mb`` of crops kept. ``FacerError`` for an output that is there already, another
    REC than the store's, and videos that are not there.
    """
    training = _Training(config)
    _open_output(config)
    last = config.output / "last.safetensors"
    if last.exists():
        with reading_state(last):
            training.load(last)
    while len(training.curve) <= config.epochs:
        row = training.epoch()
        training.save(last)
        if on_epoch is not None:
            on_epoch(row)
    _write(training)
    return FinetuneResult(
        output=config.output,
        rec=config.output / "rec.safetensors",
        curve=tuple(training.curve),
        rec_change=_change(training.initial, training.best),
        notes=training.cohort.notes,
    )


def _checked_weights(config: FinetuneConfig, store: FeatureStore) -> Path:
    path = weights_path(config.rec)
    if path.suffix == ".onnx":
        raise FacerError(f"--rec {path}: ONNX cannot be trained; expected .safetensors weights")
    if (found := weights_sha256(path)) != store.provenance.rec_sha256:
        raise FacerError(
            f"--rec {path}: sha256 {found[:12]}, the store was extracted with "
            f"{store.provenance.rec} ({store.provenance.rec_sha256[:12]}); give those weights"
        )
    return path


def _settings(config: FinetuneConfig) -> dict[str, Any]:
    """What decides the result, as it reads back from JSON."""
    values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    values["reading"] = config.reading.to_json()
    free = ("output", "resume", "device", "memory_mb")
    return {k: v for k, v in values.items() if k not in free}


def _open_output(config: FinetuneConfig) -> None:
    """Note the settings of a new output, or compare them with those of a resumed one."""
    path = config.output / "finetune.json"
    if path.is_file() and config.resume:
        before = read_json_object(path)
        now = _settings(config)
        changed = differing(
            {key: before.get(key) for key in now}, now, set(now) - {"run", "videos"}
        )
        if changed:
            raise FacerError(
                f"{config.output}: was made with other {changed}; resume with the same settings or "
                "use another -o"
            )
        return
    if config.output.exists() and (not config.output.is_dir() or any(config.output.iterdir())):
        raise FacerError(f"{config.output}: is there already; use another -o, or --resume")
    text = json.dumps(_settings(config), indent=1) + "\n"
    LocalObjects(config.output).put(path.name, text.encode())


def _write(training: _Training) -> None:
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
    made = training.record["store_provenance"] | {
        "rec": rec.stem,
        "rec_sha256": weights_sha256(rec),
    }
    labels = training.record["labels"]
    reading = config.reading.over(LabelOptions.of_run(labels))
    record = training.record | {
        "labels": {**labels, "options": reading.to_json()},
        "facer_version": __version__,
        "store": str((config.output / "features.zarr").absolute()),
        "store_provenance": made,
        "data_sha256": None,  # the new REC's features are not extracted yet
        "clips_sha256": clips_sha256(training.cohort.sequences),
        "seeds": 1,
        "finetune": _settings(config),
    }
    objects = LocalObjects(config.output)
    objects.put("curve.jsonl", "".join(json.dumps(r) + "\n" for r in training.curve).encode())
    objects.put("config.json", (json.dumps(record, indent=1) + "\n").encode())


def _calibrate(training: _Training) -> None:
    """Bring the head's predictions to the labels' scale on the split that the run chose."""
    head, split = training.model.head, training.record["fit"]["calibrate"]
    clips = training.val if split == "val" else training.train
    raw = training.model.predict(training.data, clips, training.config.batch_size)
    if split == "none":
        ones, zeros = np.ones(raw.shape[1]), np.zeros(raw.shape[1])
        head.set_calibration(Calibration(ones, zeros))
        head.stand_in = raw.mean(axis=0)
    else:
        head.set_calibration(fit_calibration(raw, training.targets[clips]))


def _change(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Relative change of REC's weights, ||after - before|| / ||before||."""
    names = [k for k, v in before.items() if k.startswith("network.") and v.dtype.kind == "f"]
    moved = sum(float(np.square(after[k].astype(np.float64) - before[k]).sum()) for k in names)
    length = sum(float(np.square(before[k].astype(np.float64)).sum()) for k in names)
    return float(np.sqrt(moved / length))
