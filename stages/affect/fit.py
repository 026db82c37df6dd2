"""Training of REC: balanced epochs, AdamW with a one-cycle rate, averaged weights, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from facer.stages.affect.config import RecFitConfig
from facer.stages.affect.coupling import coupling_matrix
from facer.stages.affect.datasets.samples import AffectSet, weak_features
from facer.stages.affect.datasets.sampling import (
    EpochCrops,
    collate_arrays,
    draw_epoch,
    sampling_weights,
)
from facer.stages.affect.losses import Targets, rec_loss, rest_level_loss, unit_pair_loss
from facer.stages.affect.metrics import evaluate
from facer.stages.affect.soft_targets import distil, mixed
from facer.stages.affect.units.geometry import read_geometry
from facer.stages.affect.units.pairs import UnitPair, UnitPairs, usable_rows, with_meshes
from facer.stages.common.training import Arrays, Descent, OnStep, Schedule, decay_groups
from facer.stages.features.align import CROP_PX
from facer.stages.features.rec.architecture import ARCHITECTURES, deepens
from facer.stages.features.rec.loading import load_own
from facer.stages.features.rec.network import RecNet, RecOutput, build, grow_depth, scale_crops
from facer.stages.features.rec.torch_rec import load_network
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError, named
from facer.storage.schema import AU_NAMES, F32, OnCount

_LEVEL = 0.3  # weight of the levels of paired units beside their order
_WARM_UP = 0.1  # share of the steps over which the learning rate rises


class RecTrainer:
    """One training; the averaged weights are the ones to keep. Call ``ask_teachers`` first."""

    def __init__(
        self, config: RecFitConfig, train: Sequence[AffectSet], validation: Sequence[AffectSet]
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.train = tuple(train)
        self.validation = validation
        self._read_units()
        self.teachers = [load_own(teacher, config.device) for teacher in config.teachers]
        self.device = torch.device(config.device)
        self.network = _first_network(config).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        matrix = coupling_matrix(config.coupling)
        self.coupling = None if matrix is None else torch.from_numpy(matrix).to(self.device)
        self.weights = sampling_weights(train, config.class_balance, config.database_balance)
        if self.steps_per_epoch == 0:
            raise FacerError(
                f"train-rec: found {len(self.weights)} crops, fewer than the batch size of "
                f"{config.batch_size}; give more data or a smaller {named('batch_size')}"
            )
        self.epochs_done = 0
        groups = decay_groups(self.network.parameters(), config.weight_decay)
        self._descent = Descent(
            self.network,
            torch.optim.AdamW(groups, lr=config.learning_rate),
            Schedule(
                config.learning_rate, _WARM_UP, end=1.0, first=1e-3,
                steps=self.steps_per_epoch * config.epochs,
            ),
            config.ema_decay,
            max_norm=5.0,
            names=("network.", "averaged."),
            ema_first=1,
        )  # fmt: skip

    def _read_units(self) -> None:
        """Meshes and displacements, where pairs of one face are to teach units."""
        config = self.config
        self.geometry = read_geometry(Path(config.unit_geometry)) if config.unit_geometry else None
        if self.geometry is None:
            return
        files = [Path(path) for path in config.meshes]
        self.train = tuple(with_meshes(data, files) for data in self.train)
        self.pair_rows = [usable_rows(data, self.geometry) for data in self.train]
        self.overlap = torch.from_numpy(self.geometry.overlap).to(config.device)
        names = weak_features(self.train)
        self.unlabelled = torch.tensor([name in names for name in AU_NAMES], device=config.device)

    def _pairs(self) -> Iterator[UnitPair | None]:
        """The pairs of each step of this epoch."""
        config = self.config
        if self.geometry is None:
            yield from [None] * self.steps_per_epoch
            return
        size = self.steps_per_epoch * config.unit_pairs
        pairs = UnitPairs(
            self.train, self.geometry, size, config.augment, config.seed, self.epochs_done,
            self.pair_rows,
        )  # fmt: skip
        loader = DataLoader(
            pairs, config.unit_pairs, num_workers=config.workers, collate_fn=collate_arrays
        )
        for columns in loader:
            yield UnitPair(*(torch.from_numpy(column).to(self.device) for column in columns))

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return len(self.weights) // self.config.batch_size

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epochs_done >= self.config.epochs

    def ask_teachers(self, on_crops: OnCount | None = None) -> None:
        """Blend the teachers' answers into the targets, where epochs are left."""
        if not self.finished:
            share = self.config.distillation_weight
            self.train = tuple(distil(s, self.teachers, share, on_crops) for s in self.train)

    def epoch(self, on_step: OnStep | None = None) -> dict[str, Any]:
        """Train one epoch; its losses, and the metrics of every validation set."""
        row: dict[str, Any] = {"epoch": self.epochs_done + 1, "side_px": self._side_px}
        row["loss"] = self._one_epoch(on_step)
        network, side = self.averaged(), self._side_px
        row["val"] = [
            evaluate(predict(network.to(self.device), data, self.device, side), data)
            for data in self.validation
        ]
        self.epochs_done += 1
        return row

    def _one_epoch(self, on_step: OnStep | None) -> dict[str, float]:
        config = self.config
        torch.manual_seed(config.seed * 10_007 + self.epochs_done)  # dropout
        size = self.steps_per_epoch * config.batch_size
        order = draw_epoch(self.weights, size, config.seed, self.epochs_done)
        crops = EpochCrops(self.train, order, config.augment, config.seed, self.epochs_done)
        loader = DataLoader(
            crops, config.batch_size, num_workers=config.workers, collate_fn=collate_arrays
        )
        self.network.train()
        sums: dict[str, float] = {}
        steps = zip(loader, self._pairs(), strict=True)
        for done, (arrays, pair) in enumerate(steps, start=1):
            images, *labels = map(torch.from_numpy, arrays)
            targets = Targets(*labels)
            if config.mixup:
                images, targets = mixed(
                    images, targets, config.mixup, [config.seed, self._descent.step]
                )
            terms = self._one_step(
                images.to(self.device), Targets(*(t.to(self.device) for t in targets)), pair
            )
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
            if on_step is not None:
                on_step(self.epochs_done + 1, done, self.steps_per_epoch)
        return {name: total / self.steps_per_epoch for name, total in sums.items()}

    def _one_step(
        self, images: Tensor, targets: Targets, pair: UnitPair | None
    ) -> dict[str, Tensor]:
        seen = images if pair is None else torch.cat([images, pair.base, pair.moved])
        x = scale_crops(seen)
        x = _resized(x, self._side_px).contiguous(memory_format=torch.channels_last)
        bf16 = self.config.bf16 or self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            output = self.network(x)
        labelled = RecOutput(*(part[: len(images)].float() for part in output))
        terms = rec_loss(labelled, targets, self.coupling, self.config.loss)
        if pair is not None:
            terms |= self._pair_terms(output.au[len(images) :].float(), pair)
            terms["total"] = terms["total"] + self.config.loss.pair * terms["pair"]
        self._descent.down(terms["total"])
        return terms

    def _pair_terms(self, logits: Tensor, pair: UnitPair) -> dict[str, Tensor]:
        base, moved = logits.chunk(2)
        terms = unit_pair_loss(base, moved, pair.unit, pair.strength, self.overlap)
        terms["rest"] = rest_level_loss(base, pair.neutral, self.unlabelled)
        terms["pair"] = (
            terms["rank"] + terms["specific"] + _LEVEL * (terms["level"] + terms["rest"])
        )
        return terms

    @property
    def _side_px(self) -> int:
        """Size of the crops in this epoch; the networks of one size are of no use at another."""
        small = self.epochs_done < self.config.low_res_fraction * self.config.epochs
        return self.config.small_px if small else CROP_PX

    def averaged(self) -> RecNet:
        """A network with the averaged weights."""
        network = build(self.config.backbone)
        network.load_state_dict(self._descent.averaged)
        return network

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to resume from."""
        return self._descent.state(), {"epoch": self.epochs_done, "step": self._descent.step}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self.epochs_done = int(meta["epoch"])
        self._descent.load_state(arrays, int(meta["step"]))


def _first_network(config: RecFitConfig) -> RecNet:
    """The network that training starts from."""
    if not config.start:
        return build(config.backbone)
    network, _ = load_network(weights_path(config.start))
    expected = ARCHITECTURES[config.backbone]
    if network.architecture == expected:
        return network
    if not deepens(network.architecture, expected):
        raise FacerError(
            f"{named('start')} {config.start}: found {network.architecture}, expected that of "
            f"{named('backbone')} {config.backbone}, or one with fewer units: {expected}"
        )
    return grow_depth(network, expected)


def _resized(x: Tensor, side_px: int) -> Tensor:
    if x.shape[-1] == side_px:
        return x
    return torch.nn.functional.interpolate(x, (side_px,) * 2, mode="bilinear", antialias=True)


@torch.inference_mode()
def predict(
    network: RecNet, data: AffectSet, device: torch.device, side_px: int = CROP_PX, batch: int = 64
) -> F32:
    """REC features (N, 26) float32 of every crop of a set, seen at ``side_px``."""
    network.eval()
    found = []
    for _, crops in data.batches(batch):
        x = _resized(scale_crops(torch.from_numpy(crops).to(device)), side_px)
        found.append(network(x.contiguous(memory_format=torch.channels_last)).features().cpu())
    return torch.cat(found).numpy()
