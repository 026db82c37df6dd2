"""REC and a head trained together, one epoch after another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from facer.pipeline.endtoend.config import LEAST, FinetuneConfig
from facer.pipeline.endtoend.joint import ClipCrops, JointModel
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.labelled import (
    LabelledSequences,
    features_sha256,
    load_labelled,
)
from facer.pipeline.intensity.scoring.provenance import check_provenance
from facer.pipeline.intensity.seeds import MODEL, load_models
from facer.pipeline.intensity.sources.labels import labels_of_run
from facer.stages.common.device import resolve_device
from facer.stages.common.training import Arrays, OnStep, under
from facer.stages.features.rec.torch_rec import load_network
from facer.stages.features.rec.weights import weights_path
from facer.stages.intensity.fit import scaled_targets
from facer.stages.intensity.kernels.batches import split_batches
from facer.stages.intensity.metrics import score
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.files.weights import file_sha256, weights_sha256
from facer.storage.schema import I64


class FinetuneTrainer:
    """One fine-tuning; weights of the epoch with the best val score are kept."""

    def __init__(self, config: FinetuneConfig) -> None:
        self.config = config
        self.record = read_run(config.run)
        self.store = FeatureStore.open(self.record.store)
        self.labelled = self._cohort()
        network, self.rec_meta = load_network(_checked_weights(config, self.store))
        check_provenance(config.run, self.store.provenance, self.record.store)
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
        self.data.check_videos(np.concatenate([self.train, self.val]))
        self.device = device
        self.curve: list[dict[str, Any]] = []
        self.initial = self.model.weights()
        self.best = self.initial

    @property
    def inputs(self) -> dict[str, str]:
        """Digests of what is trained on and started from."""
        head = self.config.run / f"seed-{self.head_seed}" / MODEL
        return {
            "head_sha256": file_sha256(head),
            "rec_sha256": self.store.provenance.rec_sha256,
            "labels_sha256": self.record.labels.sha256,
            "features_sha256": features_sha256(self.labelled.sequences),
        }

    def _cohort(self) -> LabelledSequences:
        if self.record.streams.stores:
            raise FacerError(
                f"{self.config.run}: its head reads {', '.join(self.record.streams.places)} too; "
                "expected a head on one store"
            )
        if self.record.embedding:
            raise FacerError(
                f"{self.config.run}: its head reads the embedding; expected a head on the "
                f"features, such as one trained with {named('features')} all"
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
        clips: I64 = self.labelled.to_learn(split)
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
        if not np.isfinite(raw).all():
            raise FacerError(
                f"epoch {number}: found predictions that are not finite; use a smaller "
                f"{named('learning_rate')}"
            )
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
        batches = split_batches(order, self.config.batch_size, LEAST)
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
