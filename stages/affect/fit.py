"""Training of REC: balanced epochs, AdamW with a one-cycle rate, averaged weights, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from facer.stages.affect.augment import AugmentConfig
from facer.stages.affect.coupling import Coupling, coupling_matrix
from facer.stages.affect.datasets.samples import AffectSet, weak_features
from facer.stages.affect.datasets.sampling import (
    EpochCrops,
    collate_arrays,
    draw_epoch,
    sampling_weights,
)
from facer.stages.affect.losses import (
    LossWeights,
    Targets,
    rec_loss,
    rest_level_loss,
    unit_pair_loss,
)
from facer.stages.affect.metrics import EXPRESSION_COLUMNS, evaluate
from facer.stages.affect.units.geometry import read_geometry
from facer.stages.affect.units.pairs import (
    UnitPair,
    UnitPairs,
    pair_arrays,
    usable_rows,
    with_meshes,
)
from facer.stages.features.align import CROP_PX
from facer.stages.features.rec.loading import Rec, load, load_network, save_rec, weights_path
from facer.stages.features.rec.network import (
    RecNet,
    RecOutput,
    architecture_of,
    build,
    deepened,
    deepens,
    scale_crops,
)
from facer.storage.checkpoints import load_checkpoint, reading_state, save_checkpoint
from facer.storage.errors import FacerError, OptionError
from facer.storage.files.objects import LocalObjects, write_atomic
from facer.storage.schema import AU_NAMES, F32

_TAUGHT_CROPS = 64  # at once
_LEVEL = 0.3  # weight of the levels of paired units beside their order
_WARM_UP = 0.1  # share of the steps over which the learning rate rises


@dataclass(frozen=True)
class RecFitConfig:
    """Everything that decides a REC training, beside its data."""

    backbone: str = "rec-small"
    start: str = ""  # REC weights to go on from, by name or path; "": a fresh network
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    coupling: Coupling = "paper"
    loss: LossWeights = field(default_factory=LossWeights)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    class_balance: float = 0.5  # 0: natural frequencies, 1: all classes equally often
    database_balance: float = 0.5
    teachers: tuple[str, ...] = ()  # RECs whose mean answer is a part of the expressions' target
    teacher_share: float = 0.7  # that part
    unit_geometry: str = ""  # displacements of units (npz), to teach units by warped pairs; "": no
    meshes: tuple[str, ...] = ()  # files with the mesh of each crop of a pack
    unit_pairs: int = 32  # pairs a step, where a geometry is given
    mixup: float = 0.0  # a of Beta(a, a), by which pairs of crops and labels are blended; 0: none
    small_epochs: float = 0.5  # share of the epochs trained at small_px instead of 112
    small_px: int = 80
    average: float = 0.998  # decay of the averaged weights, the ones that are kept
    seed: int = 0
    device: str = "cpu"
    bf16: bool = False  # bfloat16 products on the CPU, as always on a GPU
    workers: int = 0  # loader processes

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "small_px", "unit_pairs")
        for name in positive:
            if getattr(self, name) <= 0:
                raise OptionError(f"train-rec {name}: found {getattr(self, name)}, expected > 0")
        for name in ("class_balance", "database_balance", "teacher_share", "small_epochs"):
            if not 0 <= getattr(self, name) <= 1:
                option = name.replace("_", "-")
                raise OptionError(f"--{option}: found {getattr(self, name)}, expected 0 to 1")
        if not 0 <= self.average < 1:
            raise OptionError(f"train-rec average: found {self.average}, expected 0 <= average < 1")
        if self.mixup < 0:
            raise OptionError(f"--mixup: found {self.mixup}, expected 0 or more")
        if bool(self.unit_geometry) != bool(self.meshes):
            raise OptionError(
                "--unit-geometry and --meshes: found one of the two, expected both or none"
            )
        if self.workers < 0:
            raise OptionError(f"--workers: found {self.workers}, expected 0 or more")
        coupling_matrix(self.coupling)  # refuses an unknown one, as does the next line
        architecture_of(self.backbone)


EpochReport = Callable[[dict[str, Any]], None]
CropReport = Callable[[int, int], None]  # crops done, crops in all
StepReport = Callable[[int, int, int], None]  # epoch, its steps done, its steps in all


class RecTrainer:
    """One training in a run folder.

    RUN/ holds ``last.safetensors`` (everything needed to go on), ``curve.jsonl`` (one line an
    epoch) and ``rec.safetensors`` (the averaged weights, as extract takes them).
    """

    def __init__(
        self,
        config: RecFitConfig,
        train: Sequence[AffectSet],
        run: Path,
        provenance: Any,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.train = tuple(train)
        self._read_units()
        self.teachers = [load(teacher, config.device) for teacher in config.teachers]
        self.run = run
        self.provenance = provenance
        self.device = torch.device(config.device)
        self.network = _first_network(config).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            _decay_groups(self.network, config.weight_decay), lr=config.learning_rate
        )
        matrix = coupling_matrix(config.coupling)
        self.coupling = None if matrix is None else torch.from_numpy(matrix).to(self.device)
        self.weights = sampling_weights(train, config.class_balance, config.database_balance)
        if self.steps_per_epoch == 0:
            raise FacerError(
                f"train-rec: found {len(self.weights)} crops, fewer than the batch size of "
                f"{config.batch_size}; give more data or a smaller --batch-size"
            )
        self.epoch = 0
        self.step = 0

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
            self.train, self.geometry, size, config.augment, config.seed, self.epoch, self.pair_rows
        )
        loader = DataLoader(
            pairs, config.unit_pairs, num_workers=config.workers, collate_fn=pair_arrays
        )
        for columns in loader:
            yield UnitPair(*(torch.from_numpy(column).to(self.device) for column in columns))

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return len(self.weights) // self.config.batch_size

    def fit(
        self,
        validation: Sequence[AffectSet],
        report: EpochReport,
        on_teaching: CropReport | None = None,
        on_step: StepReport | None = None,
    ) -> None:
        """Ask the teachers, train the epochs that are left; write the checkpoint after each."""
        if self.epoch < self.config.epochs:
            share = self.config.teacher_share
            self.train = tuple(taught(s, self.teachers, share, on_teaching) for s in self.train)
        while self.epoch < self.config.epochs:
            row: dict[str, Any] = {"epoch": self.epoch + 1, "side_px": self._side_px}
            row["loss"] = self._one_epoch(on_step)
            row["val"] = self._validate(validation)
            self.epoch += 1
            self._save(row)
            report(row)

    def _one_epoch(self, on_step: StepReport | None = None) -> dict[str, float]:
        config = self.config
        torch.manual_seed(config.seed * 10_007 + self.epoch)  # dropout
        size = self.steps_per_epoch * config.batch_size
        order = draw_epoch(self.weights, size, config.seed, self.epoch)
        crops = EpochCrops(self.train, order, config.augment, config.seed, self.epoch)
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
                images, targets = mixed(images, targets, config.mixup, [config.seed, self.step])
            terms = self._one_step(
                images.to(self.device), Targets(*(t.to(self.device) for t in targets)), pair
            )
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach())
            if on_step is not None:
                on_step(self.epoch + 1, done, self.steps_per_epoch)
        return {name: total / self.steps_per_epoch for name, total in sums.items()}

    def _one_step(
        self, images: Tensor, targets: Targets, pair: UnitPair | None
    ) -> dict[str, Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate()
        seen = images if pair is None else torch.cat([images, pair.base, pair.moved])
        x = scale_crops(seen)
        x = _resized(x, self._side_px).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            output = self.network(x)
        labelled = RecOutput(*(part[: len(images)].float() for part in output))
        terms = rec_loss(labelled, targets, self.coupling, self.config.loss)
        if pair is not None:
            terms |= self._pair_terms(output.au[len(images) :].float(), pair)
            terms["total"] = terms["total"] + self.config.loss.pair * terms["pair"]
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        self._average()
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
        small = self.epoch < self.config.small_epochs * self.config.epochs
        return self.config.small_px if small else CROP_PX

    @property
    def _bf16(self) -> bool:
        return self.config.bf16 or self.device.type == "cuda"

    def _learning_rate(self) -> float:
        done = self.step / (self.steps_per_epoch * self.config.epochs)
        if done < _WARM_UP:
            return self.config.learning_rate * (done + 1e-3) / _WARM_UP
        falling = (done - _WARM_UP) / (1 - _WARM_UP)
        return self.config.learning_rate * 0.5 * (1 + float(np.cos(np.pi * falling)))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def _validate(self, sets: Sequence[AffectSet]) -> list[dict[str, Any]]:
        network = build(self.config.backbone).to(self.device)
        network.load_state_dict(self.averaged)
        side = self._side_px
        return [evaluate(predict(network, data, self.device, side), data) for data in sets]

    def _save(self, row: dict[str, Any]) -> None:
        """Write the epoch's files; the checkpoint last, so that it means "epoch done"."""
        curve = self.run / "curve.jsonl"
        write_atomic(curve, f"{_text_of(curve)}{json.dumps(row)}\n")
        averaged = build(self.config.backbone)
        averaged.load_state_dict(self.averaged)
        save_rec(
            self.run / "rec.safetensors",
            averaged,
            weak=weak_features(self.train),
            training={"epoch": self.epoch, **self.provenance},
        )
        state = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        state |= {f"averaged.{k}": v for k, v in self.averaged.items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            state |= {f"adam.{index}.{k}": v for k, v in moments.items()}
        arrays = {k: v.cpu().numpy() for k, v in state.items()}
        meta = {"epoch": self.epoch, "step": self.step}
        save_checkpoint(self.run / "last.safetensors", arrays, meta)

    def resume(self) -> None:
        """Go on from ``last.safetensors``; the result equals an uninterrupted training's."""
        path = self.run / "last.safetensors"
        with reading_state(path):
            self._load_state(*load_checkpoint(path))
        curve = self.run / "curve.jsonl"
        rows = _text_of(curve).splitlines(keepends=True)
        write_atomic(curve, "".join(rows[: self.epoch]))  # not those cut short

    def _load_state(self, arrays: dict[str, np.ndarray[Any, Any]], meta: dict[str, Any]) -> None:
        self.epoch, self.step = int(meta["epoch"]), int(meta["step"])
        tensors = {k: torch.from_numpy(v).to(self.device) for k, v in arrays.items()}
        self.network.load_state_dict(_under(tensors, "network."))
        self.averaged = _under(tensors, "averaged.")
        state = self.optimiser.state_dict()
        state["state"] = {
            index: _under(tensors, f"adam.{index}.")
            for index in range(len(list(self.network.parameters())))
        }
        self.optimiser.load_state_dict(state)


def _text_of(curve: Path) -> str:
    """The lines of a curve, as they are: a loss may be NaN. "" where there is none yet."""
    data = LocalObjects(curve.parent).get(curve.name)
    return "" if data is None else data.decode(errors="replace")


def taught(
    data: AffectSet, teachers: Sequence[Rec], share: float, report: CropReport | None = None
) -> AffectSet:
    """The set with ``share`` of its expressions from the teachers, and all where it has none.

    A teacher's answer is its mean over a crop as it is and mirrored; several teachers' is their
    mean. Hinton et al. 2015, "Distilling the knowledge in a neural network".
    """
    if not teachers:
        return data
    answers = np.zeros_like(data.expression)
    for start in range(0, len(data), _TAUGHT_CROPS):
        rows = slice(start, min(start + _TAUGHT_CROPS, len(data)))
        crops = np.stack([data.crop(row) for row in range(rows.start, rows.stop)])
        views = (crops, np.ascontiguousarray(crops[:, :, ::-1]))
        answers[rows] = np.mean(
            [rec.predict(view)[:, EXPRESSION_COLUMNS] for rec in teachers for view in views], axis=0
        )
        if report is not None:
            report(rows.stop, len(data))
    blended = (1 - share) * data.expression + share * answers
    expression = np.where(np.isfinite(data.expression), blended, answers)
    return replace(data, expression=expression.astype(np.float32))


def mixed(
    images: Tensor, targets: Targets, a: float, seed: Sequence[int]
) -> tuple[Tensor, Targets]:
    """Each crop (B, 112, 112, 3) and its labels blended with another's of the batch.

    x = s x_i + (1 - s) x_j with s from Beta(a, a), one for the batch; a label that either lacks is
    lacking. Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(a, a))
    other = torch.from_numpy(rng.permutation(len(images)))
    blended = share * images + (1 - share) * images[other]
    labels = (share * label + (1 - share) * label[other] for label in targets)
    return blended.round().to(torch.uint8), Targets(*labels)


def _first_network(config: RecFitConfig) -> RecNet:
    """The network that training starts from."""
    if not config.start:
        return build(config.backbone)
    network, _ = load_network(weights_path(config.start))
    expected = architecture_of(config.backbone)
    if network.architecture == expected:
        return network
    if not deepens(network.architecture, expected):
        raise FacerError(
            f"--start {config.start}: found {network.architecture}, expected that of "
            f"--backbone {config.backbone}, or one with fewer units: {expected}"
        )
    return deepened(network, expected)


def _resized(x: Tensor, side_px: int) -> Tensor:
    if x.shape[-1] == side_px:
        return x
    return torch.nn.functional.interpolate(x, (side_px,) * 2, mode="bilinear", antialias=True)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _decay_groups(network: RecNet, decay: float) -> list[dict[str, Any]]:
    """Weight decay for convolutions and linear maps, none for norms and biases."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@torch.inference_mode()
def predict(
    network: RecNet, data: AffectSet, device: torch.device, side_px: int = CROP_PX, batch: int = 64
) -> F32:
    """REC features (N, 26) float32 of every crop of a set, seen at ``side_px``."""
    network.eval()
    rows = []
    for start in range(0, len(data), batch):
        crops = [data.crop(row) for row in range(start, min(start + batch, len(data)))]
        x = scale_crops(torch.from_numpy(np.stack(crops)).to(device))
        x = _resized(x, side_px)
        rows.append(network(x.contiguous(memory_format=torch.channels_last)).features().cpu())
    return torch.cat(rows).numpy()
