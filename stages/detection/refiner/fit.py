"""Training of the points model; stop and go on to the same result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facer.stages.detection.config import PointsConfig
from facer.stages.detection.data.guesses import LOOKS, guessed
from facer.stages.detection.data.people import read_all_people
from facer.stages.detection.data.sources import list_videos, read_frames, read_photos, read_scenes
from facer.stages.detection.data.teacher import Teacher, without_faces
from facer.stages.detection.refiner.network import PointsNet, export_points
from facer.stages.detection.refiner.samples import (
    PointsSources,
    agreed_faces,
    draw_sample,
    read_crops,
)
from facer.stages.detection.start import read_weights, start_network
from facer.stages.detection.state import Schedule, TrainingState
from facer.stages.features.config import STARTER_SIZE_PX, DetectorConfig
from facer.stages.features.detect import Detector, load
from facer.stages.features.faces import NO_FACES, Faces
from facer.storage.schema import U8

_ERROR_SCALE = 0.03  # below this many distances between the eyes the loss is quadratic
_FACE_WEIGHT = 0.2
_CHECKPOINT = "last.safetensors"


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
    found = read_all_people(
        config.people, config.people_clips, "tune" if split == "val" else "train"
    )
    detector = _eager(config.detector)
    return PointsSources(
        photos,
        read_crops(config.crops, split),
        tuple(guessed((without_faces(scene) for scene in scenes), detector)),
        tuple(guessed((agreed_faces(picture) for picture in found), detector)),
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
    state = _state(config, make_batch(np.random.default_rng(config.seed), sources, 500)[0])
    total, taken = 0.0, 0
    while state.step < config.steps:
        rng = np.random.default_rng([config.seed, 1, state.step])
        total += _advance(state, make_batch(rng, sources, config.batch), config.bf16)
        taken += 1
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            state.save(config.run / _CHECKPOINT)
            error, face = evaluate_points(_averaged(state), held_out)
            progress(PointsProgress(state.step, config.steps, total / taken, error, face))
            total, taken = 0.0, 0
    path = config.run / "points.onnx"
    export_points(_averaged(state), path, _about(config, sources))
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
        "people": [p.name for p in (config.people, config.people_clips) if p is not None],
        "detector": config.detector.name if config.detector is not None else "",
        "start": config.start.name if config.start is not None else "",
        "used": sources.counts(),
        "steps": config.steps,
        "batch": config.batch,
        "seed": config.seed,
    }
    return {"name": "facer-points-2", "training": json.dumps(training)}


def _state(config: PointsConfig, images: Tensor) -> TrainingState:
    """A fresh training, or the one that the run folder holds; see ``start_network``."""
    torch.manual_seed(config.seed)
    net = PointsNet()
    if config.start is not None:
        start_network(net, read_weights(config.start), images, config.start)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = Schedule(config.learning_rate, config.warmup, config.steps, floor=0.005)
    settings = json.loads(json.dumps(asdict(config), default=str))
    state = TrainingState(net, optimiser, schedule, settings, config.ema, max_norm=5.0)
    checkpoint = config.run / _CHECKPOINT
    if checkpoint.exists():
        state.load(checkpoint)
    return state


def _advance(state: TrainingState, batch: Batch, bf16: bool) -> float:
    images, offsets, face = batch
    state.net.train()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        points, logit = state.net(images.contiguous(memory_format=torch.channels_last))
    loss = points_loss(points.float(), logit.float(), offsets, face)
    state.descend(loss)
    return float(loss.detach())


def _averaged(state: TrainingState) -> PointsNet:
    net = PointsNet()
    net.load_state_dict(state.average)
    return net.eval()
