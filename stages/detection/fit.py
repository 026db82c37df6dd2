"""Training of the detector: compose images, assign anchors, step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facer.stages.common.training import (
    Arrays,
    Descent,
    OnStep,
    Schedule,
    decay_groups,
    tensors_under,
)
from facer.stages.detection.config import DetectorTrainConfig
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
from facer.stages.detection.start import start_detector
from facer.stages.detection.targets import LabelledFaces, anchor_grid, assign
from facer.stages.features.config import STARTER_SIZE_PX, STARTER_THRESHOLD
from facer.storage.files.checkpoints import load_checkpoint

SHAPES = ((192, 320), (256, 320), (320, 320), (320, 192), (160, 160), (128, 128))  # height, width
SHAPE_SHARES = (0.2, 0.12, 0.14, 0.12, 0.2, 0.22)
"""How often a batch has which shape. Small images hold more faces for the same work and teach
the points; large ones teach what is no face."""


_MAX_NORM = 10.0  # of the gradient
_ROW_STEPS = 50  # of a row of the learning curve, at most


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


def read_sources(config: DetectorTrainConfig, memory: Path, validation: bool = False) -> Sources:
    """Training material, or what is held out of it (photographs and scenes; no frames).

    ``memory`` is the file of the teacher's earlier answers.
    """
    teacher = Teacher(config.teacher, config.teacher_threshold, memory)
    videos = [] if validation else list_videos(config.clips)
    pictures = list(
        read_all_people(config.people, config.people_clips, "tune" if validation else "train")
    )
    sources = Sources(
        photos=read_photos(config.faces, "val" if validation else "train", teacher),
        scenes=read_scenes(config.scenes, config.held_out_scenes, validation),
        frames=tuple(read_frames(videos, teacher, config.frame_every)),
        people=tuple(picture.labelled for picture in pictures),
        shares=sampling_shares(pictures),
    )
    teacher.remember()
    return sources


def summary(config: DetectorTrainConfig, sources: Sources) -> dict[str, object]:
    """What the ONNX file says about itself; file names without their folders."""
    return {
        "name": config.name,
        "layout": "insightface SCRFD, strides 8 16 32, 2 anchors, 5 points",
        "input_px": STARTER_SIZE_PX,
        "threshold": STARTER_THRESHOLD,
        "training": {
            "faces": config.faces.name,
            "scenes": config.scenes.name,
            "clips": config.clips.name,
            "teacher": config.teacher.name,
            "people": [p.name for p in (config.people, config.people_clips) if p is not None],
            "start": config.start.name if config.start is not None else "",
            "used": sources.counts(),
            "steps": config.steps,
            "batch": config.batch,
            "seed": config.seed,
        },
    }


class DetectorTrainer:
    """One training. The rows of its curve are at every 50th step and every checkpoint."""

    def __init__(self, config: DetectorTrainConfig, sources: Sources) -> None:
        torch.manual_seed(config.seed)
        self.config, self.sources = config, sources
        net = DetectorNet(config.network)
        if config.start is not None and config.start.suffix == ".onnx":
            # its normalisation comes back from images like those of the training
            start_detector(net, config.start, make_batch(config, sources, 0)[0])
        elif config.start is not None:
            net.load_state_dict(tensors_under(load_checkpoint(config.start)[0], "ema."))
        for parameter in net.parameters():  # oneDNN's preferred order
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        groups = decay_groups(net, config.weight_decay)
        schedule = Schedule(config.learning_rate, config.warmup, config.steps, floor=0.01)
        optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
        self._descent = Descent(net, optimiser, schedule, config.ema_decay, _MAX_NORM)

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far."""
        return sum(self._row_ends(step) for step in range(1, self._descent.step + 1))

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._descent.step >= self.config.steps

    def _row_ends(self, step: int) -> bool:
        every = self.config.checkpoint_every
        return step % every == 0 or step % _ROW_STEPS == 0 or step == self.config.steps

    def epoch(self, on_step: OnStep | None = None) -> DetectorRow:
        """Train to the end of the next row of the curve."""
        config, sums, taken = self.config, dict[str, float](), 0
        while not (taken and self._row_ends(self._descent.step)):
            terms = self._advance(*make_batch(config, self.sources, self._descent.step))
            taken += 1
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
            if on_step is not None:
                on_step(1, self._descent.step, config.steps)
        losses = {name: value / taken for name, value in sums.items()}
        return DetectorRow(self._descent.step, config.steps, losses)

    def _advance(self, images: Tensor, faces: LabelledFaces) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        grid = anchor_grid(images.shape[2], images.shape[3])
        targets = assign(grid, faces, len(images))
        net = self._descent.network.train()
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.bf16):
            outputs = net(images)
        outputs = tuple(output.float() for output in outputs)
        terms = detection_loss(outputs, grid, targets, self.config.loss)
        self._descent.down(terms["total"])
        return {name: float(value.detach()) for name, value in terms.items()}

    def averaged(self) -> DetectorNet:
        """A copy of the network with the averaged weights, for evaluation and export."""
        net = DetectorNet(self.config.network)
        net.load_state_dict(self._descent.averaged)
        return net.eval()

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to resume from."""
        return self._descent.state(), {"step": self._descent.step}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self._descent.load_state(arrays, int(meta["step"]))
