"""Training of the points model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facer.stages.detection.config import RefinerTrainConfig, Split
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
from facer.stages.detection.trainer import StepTrainer
from facer.stages.features.config import STARTER_SIZE_PX, DetectorConfig
from facer.stages.features.detect import load
from facer.storage.errors import FacerError, named

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
    of_people: Split = "tune" if split == "val" else config.split
    found = list(read_all_people(config.people, config.people_clips, of_people))
    detector = None
    if config.detector is not None:
        detector = load(DetectorConfig(str(config.detector), STARTER_SIZE_PX, LOOKS))
    return PointsSources(
        photos,
        read_crops(config.crops, split),
        tuple(guessed((without_faces(scene) for scene in scenes), detector)),
        tuple(guessed((agreed_points(picture) for picture in found), detector)),
        sampling_shares(found),
    )


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


class RefinerTrainer(StepTrainer[PointsNet, RefinerRow]):
    """One training; an epoch lasts from checkpoint to checkpoint."""

    max_norm, floor = 5.0, 0.005

    def __init__(
        self, config: RefinerTrainConfig, sources: PointsSources, validation: PointsSources
    ) -> None:
        self.config, self.sources = config, sources
        for split, found in (("train", sources), ("val", validation)):
            if not found.photos and not found.crops.jpegs:
                raise FacerError(
                    f"split {split}: found no face with points, expected some in "
                    f"{named('faces')} or {named('crops')}"
                )
        self._held_out = make_batch(np.random.default_rng([config.seed, 7]), validation, 1000)
        torch.manual_seed(config.seed)
        net = self._fresh()
        if config.start is not None:
            images = make_batch(np.random.default_rng(config.seed), sources, 500)[0]
            start_network(net, read_weights(config.start), images, config.start)
        super().__init__(config, net, net.parameters())

    def _fresh(self) -> PointsNet:
        return PointsNet()

    def _loss_terms(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.config.seed, 1, step])
        images, offsets, face = make_batch(rng, self.sources, self.config.batch)
        points, logit = self._outputs(images)
        return {"total": points_loss(points, logit, offsets, face)}

    def _row(self, step: int, losses: dict[str, float]) -> RefinerRow:
        errors = evaluate_points(self.averaged(), self._held_out)
        return RefinerRow(step, self.config.steps, losses["total"], *errors)


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


def summary(
    config: RefinerTrainConfig, sources: PointsSources, seen: Sequence[Split]
) -> dict[str, str]:
    """What the ONNX file says about itself."""
    training = config.provenance(sources.counts(), seen)
    return {"name": "facer-points-2", "training": json.dumps(training)}
