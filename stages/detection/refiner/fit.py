"""Training of the points model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from facer.stages.common.training import Arrays, Descent, OnStep, Schedule
from facer.stages.detection.config import RefinerTrainConfig
from facer.stages.detection.data.guesses import LOOKS, guessed
from facer.stages.detection.data.people import read_all_people, sampling_shares
from facer.stages.detection.data.sources import list_videos, read_frames, read_photos, read_scenes
from facer.stages.detection.data.teacher import Teacher, without_faces
from facer.stages.detection.refiner.network import PointsNet
from facer.stages.detection.refiner.samples import (
    PointsSources,
    agreed_points,
    draw_sample,
    read_crops,
)
from facer.stages.detection.start import read_weights, start_network
from facer.stages.features.config import STARTER_SIZE_PX, DetectorConfig
from facer.stages.features.detect import Detector, load
from facer.stages.features.faces import NO_FACES, Faces
from facer.storage.schema import U8

_ERROR_SCALE = 0.03  # below this many distances between the eyes the loss is quadratic
_FACE_WEIGHT = 0.5


@dataclass(frozen=True)
class RefinerRow:
    """One line of the learning curve, at every checkpoint."""

    step: int
    steps: int
    loss: float
    val_error: float  # mean distance of points on held-out faces, in distances between the eyes
    val_face: float  # share of held-out guesses whose face or no face is told right


def read_points_sources(
    config: RefinerTrainConfig, memory: Path, split: str = "train"
) -> PointsSources:
    """Photographs, frames, crops and scenes of one split; the val split has no frames.

    ``memory`` is the file of the teacher's earlier answers.
    """
    teacher = Teacher(config.teacher, memory=memory)
    photos = read_photos(config.faces, split, teacher)
    if split == "train":
        photos += tuple(read_frames(list_videos(config.clips), teacher, every=2))
    teacher.remember()
    scenes = read_scenes(config.scenes, config.held_out_scenes, split == "val")
    found = list(
        read_all_people(config.people, config.people_clips, "tune" if split == "val" else "train")
    )
    detector = _eager(config.detector)
    return PointsSources(
        photos,
        read_crops(config.crops, split),
        tuple(guessed((without_faces(scene) for scene in scenes), detector)),
        tuple(guessed((agreed_points(picture) for picture in found), detector)),
        sampling_shares(found),
    )


def _eager(path: Path | None) -> Detector:
    """The detector with a low threshold; without a path one that guesses nothing."""
    if path is None:
        return _NoDetector()
    return load(DetectorConfig(str(path), STARTER_SIZE_PX, LOOKS))


class _NoDetector:
    name = sha256 = ""

    def detect(self, images: Sequence[U8]) -> list[Faces]:
        """No face in any image."""
        return [NO_FACES] * len(images)


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


class RefinerTrainer:
    """One training; an epoch lasts from checkpoint to checkpoint."""

    def __init__(
        self, config: RefinerTrainConfig, sources: PointsSources, validation: PointsSources
    ) -> None:
        self.config, self.sources = config, sources
        self._held_out = make_batch(np.random.default_rng([config.seed, 7]), validation, 1000)
        torch.manual_seed(config.seed)
        net = PointsNet()
        if config.start is not None:
            images = make_batch(np.random.default_rng(config.seed), sources, 500)[0]
            start_network(net, read_weights(config.start), images, config.start)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(
            net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = Schedule(config.learning_rate, config.warmup, config.steps, floor=0.005)
        self._descent = Descent(net, optimiser, schedule, config.ema_decay, max_norm=5.0)

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far."""
        return math.ceil(self._descent.step / self.config.checkpoint_every)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._descent.step >= self.config.steps

    def epoch(self, on_step: OnStep | None = None) -> RefinerRow:
        """Train to the next checkpoint."""
        config, before = self.config, self._descent.step
        end = min(config.steps, (before // config.checkpoint_every + 1) * config.checkpoint_every)
        total = 0.0
        for step in range(before, end):
            rng = np.random.default_rng([config.seed, 1, step])
            total += self._advance(make_batch(rng, self.sources, config.batch))
            if on_step is not None:
                on_step(self.epochs_done, step + 1, config.steps)
        error, face = evaluate_points(self.averaged(), self._held_out)
        return RefinerRow(end, config.steps, total / (end - before), error, face)

    def _advance(self, batch: Batch) -> float:
        images, offsets, face = batch
        net = self._descent.network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.bf16):
            points, logit = net(images.contiguous(memory_format=torch.channels_last))
        loss = points_loss(points.float(), logit.float(), offsets, face)
        self._descent.down(loss)
        return float(loss.detach())

    def averaged(self) -> PointsNet:
        """A copy of the network with the averaged weights."""
        net = PointsNet()
        net.load_state_dict(self._descent.averaged)
        return net.eval()

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to resume from."""
        return self._descent.state(), {"step": self._descent.step}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self._descent.load_state(arrays, int(meta["step"]))


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


def summary(config: RefinerTrainConfig, sources: PointsSources) -> dict[str, str]:
    """What the ONNX file says about itself; file names without their folders."""
    training = {
        "faces": config.faces.name,
        "crops": [path.name for path in config.crops],
        "scenes": config.scenes.name,
        "clips": config.clips.name,
        "teacher": config.teacher.name,
        "people": [p.name for p in (config.people, config.people_clips) if p is not None],
        "detector": config.detector.name if config.detector is not None else "",
        "start": config.start.name if config.start is not None else "",
        "used": sources.counts(),
        "steps": config.steps,
        "batch": config.batch,
        "seed": config.seed,
    }
    return {"name": "facer-points-2", "training": json.dumps(training)}
