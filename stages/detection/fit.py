"""Training of the detector: compose images, assign anchors, step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facer.stages.common.training import decay_groups, tensors_under
from facer.stages.detection.config import DetectorTrainConfig, Split
from facer.stages.detection.data.people import read_all_people, sampling_shares
from facer.stages.detection.data.scenes import compose
from facer.stages.detection.data.sources import (
    Sources,
    list_videos,
    read_frames,
    read_photos,
    read_scenes,
)
from facer.stages.detection.data.teacher import Teacher
from facer.stages.detection.losses import detection_loss
from facer.stages.detection.network import DetectorNet
from facer.stages.detection.start import check_finite, start_detector
from facer.stages.detection.targets import LabelledFaces, anchor_grid, assign
from facer.stages.detection.trainer import StepTrainer
from facer.stages.features.config import STARTER_SIZE_PX, STARTER_THRESHOLD
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint

SHAPES = ((192, 320), (256, 320), (320, 320), (320, 192), (160, 160), (128, 128))  # height, width
SHAPE_SHARES = (0.2, 0.12, 0.14, 0.12, 0.2, 0.22)
"""How often a batch has which shape. Small images hold more faces for the same work and teach
the points; large ones teach what is no face."""


@dataclass(frozen=True)
class DetectorRow:
    """One line of the learning curve."""

    step: int
    steps: int
    losses: dict[str, float]  # means since the last row


def make_batch(
    config: DetectorTrainConfig, sources: Sources, step: int
) -> tuple[Tensor, LabelledFaces]:
    """Images (N, 3, H, W) in [-1, 1] and faces of one step; depends on seed and step alone."""
    rng = np.random.default_rng([config.seed, step])
    height, width = SHAPES[rng.choice(len(SHAPES), p=SHAPE_SHARES)]
    count = round(config.batch * SHAPES[0][0] * SHAPES[0][1] / (height * width))
    made = [compose(rng, sources, config.scene, height, width) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([one.image for one in made])).permute(0, 3, 1, 2)
    counts = torch.tensor([len(one.bbox_px) for one in made])
    faces = LabelledFaces(
        image=torch.arange(len(made)).repeat_interleave(counts),
        bbox_px=torch.from_numpy(np.concatenate([one.bbox_px for one in made])).float(),
        keypoints_px=torch.from_numpy(np.concatenate([one.keypoints_px for one in made])).float(),
        ignore=torch.from_numpy(np.concatenate([one.ignore for one in made])),
    )
    return (pixels.float() - 127.5) / 128, faces


def read_sources(config: DetectorTrainConfig, memory: Path) -> Sources:
    """Training material; ``memory`` is the file of the teacher's earlier answers."""
    teacher = Teacher(config.teacher, config.teacher_threshold, memory)
    frames = read_frames(list_videos(config.clips), teacher, config.frame_every)
    pictures = list(read_all_people(config.people, config.people_clips, config.split))
    sources = Sources(
        photos=read_photos(config.faces, "train", teacher),
        scenes=read_scenes(config.scenes, config.held_out_scenes, validation=False),
        frames=tuple(frames),
        people=tuple(picture.labelled for picture in pictures),
        shares=sampling_shares(pictures),
    )
    teacher.remember()
    return sources


def summary(
    config: DetectorTrainConfig, sources: Sources, seen: Sequence[Split]
) -> dict[str, object]:
    """What the ONNX file says about itself."""
    return {
        "name": config.name,
        "layout": "insightface SCRFD, strides 8 16 32, 2 anchors, 5 points",
        "input_px": STARTER_SIZE_PX,
        "threshold": STARTER_THRESHOLD,
        "training": config.provenance(sources.counts(), seen),
    }


class DetectorTrainer(StepTrainer[DetectorNet, DetectorRow]):
    """One training. The rows of its curve are at every 50th step and every checkpoint."""

    max_norm, floor, row_steps = 10.0, 0.01, 50

    def __init__(self, config: DetectorTrainConfig, sources: Sources) -> None:
        torch.manual_seed(config.seed)
        self.config, self.sources = config, sources
        net = self._fresh()
        if config.start is not None and config.start.suffix == ".onnx":
            # its normalisation comes back from images like those of the training
            start_detector(net, config.start, make_batch(config, sources, 0)[0])
        elif config.start is not None:
            self._start_from(net, config.start)
        super().__init__(config, net, decay_groups(net.parameters(), config.weight_decay))

    @staticmethod
    def _start_from(net: DetectorNet, path: Path) -> None:
        """Take the averaged weights of a checkpoint."""
        weights = tensors_under(load_checkpoint(path)[0], "ema.")
        check_finite(path, weights)
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise FacerError(
                f"{path}: found no checkpoint of this network, expected last.safetensors or "
                "detector.onnx of train-detector"
            ) from error

    def _fresh(self) -> DetectorNet:
        return DetectorNet(self.config.network)

    def _loss_terms(self, step: int) -> dict[str, Tensor]:
        images, faces = make_batch(self.config, self.sources, step)
        grid = anchor_grid(images.shape[2], images.shape[3])
        targets = assign(grid, faces, len(images))
        return detection_loss(self._outputs(images), grid, targets, self.config.loss)

    def _row(self, step: int, losses: dict[str, float]) -> DetectorRow:
        return DetectorRow(step, self.config.steps, losses)
