"""Training of the points model; stop and go on to the same result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.stages.detection.points_net import PointsNet, export_points
from facer.stages.detection.points_samples import PointsSources, draw_sample, read_crops
from facer.stages.detection.sources import list_videos, read_frames, read_photos, read_scenes
from facer.stages.detection.teacher import Teacher
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError

_ERROR_SCALE = 0.03  # below this many distances between the eyes the loss is quadratic
_FACE_WEIGHT = 0.1


@dataclass(frozen=True)
class PointsConfig:
    """One training of the points model.

    Attributes:
        run: the folder that is written.
        faces: HDF5 of photographs (columns jpeg, points_px, split).
        crops: packs of aligned crops (columns jpeg, points, split).
        scenes: folder of photographs without faces.
        clips: folder of videos whose frames the teacher labels.
        teacher: RetinaFace ONNX model that insightface reads.
    """

    run: Path
    faces: Path
    crops: tuple[Path, ...]
    scenes: Path
    clips: Path
    teacher: Path
    steps: int = 9000
    batch: int = 96
    learning_rate: float = 2e-3
    warmup: int = 300
    weight_decay: float = 0.02
    ema: float = 0.999
    held_out_scenes: int = 100
    checkpoint_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise FacerError(
                    f"train-points {name}: found {getattr(self, name)}, expected 1 or more"
                )


@dataclass(frozen=True)
class PointsProgress:
    """What the training says at every checkpoint."""

    step: int
    steps: int
    loss: float
    val_error: float  # mean distance of points on held-out faces, in distances between the eyes
    val_face: float  # share of held-out guesses whose face or no face is told right


def read_points_sources(config: PointsConfig, split: str = "train") -> PointsSources:
    """Photographs, frames, crops and scenes of one split; the val split has no frames."""
    teacher = Teacher(config.teacher, memory=config.run / "teacher.safetensors")
    photos = read_photos(config.faces, split, teacher)
    if split == "train":
        photos += tuple(read_frames(list_videos(config.clips), teacher, every=2))
    teacher.remember()
    scenes = read_scenes(config.scenes, config.held_out_scenes, split == "val")
    return PointsSources(photos, read_crops(config.crops, split), scenes)


Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 3, 64, 64) in [-1, 1], offsets (N, 5, 2) and face (N,), NaN for unlabelled."""


def make_batch(rng: np.random.Generator, sources: PointsSources, count: int) -> Batch:
    """So many random samples."""
    samples = [draw_sample(rng, sources) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    offsets = torch.from_numpy(np.stack([s.offsets for s in samples]))
    face = torch.tensor([s.face for s in samples], dtype=torch.float32)
    return pixels.float() / 127.5 - 1, offsets, face


def points_loss(points: Tensor, logit: Tensor, offsets: Tensor, face: Tensor) -> Tensor:
    """Smooth L1 of the offsets (N, 5, 2) plus cross entropy of the face logit (N,); NaN targets
    teach nothing.
    """
    seen = torch.isfinite(offsets).all(dim=2).all(dim=1)
    told = torch.isfinite(face)
    loss = points.sum() * 0
    if seen.any():
        loss = loss + F.smooth_l1_loss(points[seen], offsets[seen], beta=_ERROR_SCALE)
    if told.any():
        entropy = F.binary_cross_entropy_with_logits(logit[told], face[told])
        loss = loss + _FACE_WEIGHT * entropy
    return loss


def fit_points(
    config: PointsConfig,
    progress: Callable[[PointsProgress], None],
    sources: PointsSources | None = None,
    validation: PointsSources | None = None,
) -> Path:
    """Train, or go on training, in ``config.run``; returns RUN/points.onnx."""
    cv2.setNumThreads(1)
    config.run.mkdir(parents=True, exist_ok=True)
    sources = sources or read_points_sources(config)
    held_out = make_batch(
        np.random.default_rng([config.seed, 7]),
        validation or read_points_sources(config, "val"),
        1000,
    )
    trainer = _Trainer(config)
    total, taken = 0.0, 0
    while trainer.step < config.steps:
        rng = np.random.default_rng([config.seed, 1, trainer.step])
        total += trainer.advance(make_batch(rng, sources, config.batch))
        taken += 1
        if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
            trainer.save()
            error, face = evaluate_points(trainer.averaged(), held_out)
            progress(PointsProgress(trainer.step, config.steps, total / taken, error, face))
            total, taken = 0.0, 0
    path = config.run / "points.onnx"
    export_points(trainer.averaged(), path, _about(config, sources))
    return path


@torch.inference_mode()
def evaluate_points(net: PointsNet, batch: Batch) -> tuple[float, float]:
    """Mean distance of points in distances between the eyes, and share of right face answers."""
    images, offsets, face = batch
    points, logit = net(images)
    seen = torch.isfinite(offsets).all(dim=2).all(dim=1) & (face == 1)
    told = torch.isfinite(face)
    error = (points - offsets).norm(dim=2)[seen].mean()
    right = ((logit[told] > 0) == (face[told] > 0.5)).float().mean()
    return float(error), float(right)


def _about(config: PointsConfig, sources: PointsSources) -> dict[str, str]:
    """What the file says about itself; file names without their folders."""
    training = {
        "faces": config.faces.name,
        "crops": [path.name for path in config.crops],
        "scenes": config.scenes.name,
        "clips": config.clips.name,
        "teacher": config.teacher.name,
        "used": sources.counts(),
        "steps": config.steps,
        "batch": config.batch,
        "seed": config.seed,
    }
    return {"name": "facer-points-1", "training": json.dumps(training)}


class _Trainer:
    def __init__(self, config: PointsConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.step = 0
        self.net = PointsNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.checkpoint = config.run / "last.safetensors"
        if self.checkpoint.exists():
            self._load()

    def advance(self, batch: Batch) -> float:
        images, offsets, face = batch
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.net.train()
        points, logit = self.net(images.contiguous(memory_format=torch.channels_last))
        loss = points_loss(points, logit, offsets, face)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)
        self.step += 1
        return float(loss.detach())

    def _rate(self) -> float:
        c = self.config
        if self.step < c.warmup:
            return c.learning_rate * (self.step + 1) / c.warmup
        share = (self.step - c.warmup) / max(c.steps - c.warmup, 1)
        return c.learning_rate * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * share)))

    def averaged(self) -> PointsNet:
        net = PointsNet()
        net.load_state_dict(self.average)
        return net.eval()

    def save(self) -> None:
        tensors = {f"net.{k}": v.numpy() for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v.numpy() for k, v in self.average.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": np.asarray(v) for k, v in state.items()}
        save_checkpoint(self.checkpoint, tensors, {"step": self.step, "config": self._settings()})

    def _settings(self) -> dict[str, object]:
        plain: dict[str, object] = json.loads(json.dumps(asdict(self.config), default=str))
        return plain

    def _load(self) -> None:
        tensors, meta = load_checkpoint(self.checkpoint)
        if meta["config"] != self._settings():
            raise FacerError(
                f"{self.checkpoint}: found a training with other settings; expected the same to "
                "go on with, choose another run folder"
            )
        self.step = int(meta["step"])
        self.net.load_state_dict(_under(tensors, "net."))
        self.average = _under(tensors, "ema.")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under(tensors, "adam.").items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _under(tensors: dict[str, npt.NDArray[np.generic]], prefix: str) -> dict[str, Tensor]:
    return {
        k.removeprefix(prefix): torch.from_numpy(np.array(v))
        for k, v in tensors.items()
        if k.startswith(prefix)
    }
