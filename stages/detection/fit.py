"""Training of the detector: synthesise, assign, step; stop and go on to the same result."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facer.stages.detection.camera import SceneConfig
from facer.stages.detection.export import export_onnx
from facer.stages.detection.losses import LossWeights, detection_loss
from facer.stages.detection.network import DetectorNet, NetworkConfig
from facer.stages.detection.scenes import compose
from facer.stages.detection.sources import (
    Sources,
    list_videos,
    read_frames,
    read_photos,
    read_scenes,
)
from facer.stages.detection.targets import Faces, anchor_grid, assign
from facer.stages.detection.teacher import Teacher
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError

SHAPES = ((192, 320), (256, 256), (320, 192))  # (height, width) of a batch
SHAPE_SHARES = (0.45, 0.35, 0.2)
INPUT_PX = 320  # longer side of what the detector is meant to see
THRESHOLD = 0.5  # score from which on it is a face


@dataclass(frozen=True)
class DetectorConfig:
    """One training of the detector; everything that decides its result.

    Attributes:
        run: the folder that is written.
        name: what the ONNX file calls itself.
        faces: HDF5 of photographs (columns jpeg, points_px, split).
        scenes: folder of photographs without faces.
        clips: folder of videos whose frames the teacher labels.
        teacher: RetinaFace ONNX model that insightface reads.
        held_out_scenes: scenes kept from training, for false positives.
        frame_every: every how many-th frame of a video is used.
        steps, batch: optimiser steps and images in each.
        start: checkpoint of another training to start from, or None.
    """

    faces: Path
    scenes: Path
    clips: Path
    teacher: Path
    run: Path
    name: str = "facer-det-1"
    steps: int = 6000
    batch: int = 16
    learning_rate: float = 2.5e-3
    warmup: int = 300
    weight_decay: float = 0.02
    ema: float = 0.999
    teacher_threshold: float = 0.5
    held_out_scenes: int = 100
    frame_every: int = 2
    checkpoint_every: int = 500
    seed: int = 0
    start: Path | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "frame_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"DetectorConfig: {name} must be at least 1, got {getattr(self, name)}"
                )
        if not 0 < self.learning_rate < 1:
            raise ValueError(
                f"DetectorConfig: learning_rate must be in (0, 1), got {self.learning_rate}"
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"DetectorConfig: ema must be in [0, 1), got {self.ema}")


@dataclass(frozen=True)
class FitProgress:
    """What the training tells its caller after a step."""

    step: int
    steps: int
    losses: dict[str, float]  # means since the last report


@dataclass(frozen=True)
class FitResult:
    """Files and last losses of a finished training."""

    onnx: Path
    checkpoint: Path
    losses: dict[str, float]


class Trainer:
    """Network, optimiser and averaged weights at one step of a training."""

    def __init__(self, config: DetectorConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.step = 0
        self.net = DetectorNet(config.network)
        if config.start is not None:
            tensors, _ = load_checkpoint(config.start)
            self.net.load_state_dict(_group(tensors, "ema"))
        for parameter in self.net.parameters():  # oneDNN's preferred order
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()}
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to one hundredth."""
        c = self.config
        if self.step < c.warmup:
            return c.learning_rate * (self.step + 1) / c.warmup
        share = (self.step - c.warmup) / max(c.steps - c.warmup, 1)
        return c.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))

    def advance(self, images: Tensor, faces: Faces) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        grid = anchor_grid(images.shape[2], images.shape[3])
        targets = assign(grid, faces, len(images))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.net.train()
        terms = detection_loss(self.net(images), grid, targets, self.config.loss)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(terms["total"])
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.optimiser.step()
        self._update_average()
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()}

    def _update_average(self) -> None:
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)

    def averaged(self) -> DetectorNet:
        """A copy of the network with the averaged weights, for evaluation and export."""
        net = DetectorNet(self.config.network)
        net.load_state_dict(self.average)
        return net.eval()

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs."""
        tensors = {f"net.{k}": v.numpy() for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v.numpy() for k, v in self.average.items()}
        for i, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{k}": np.asarray(v) for k, v in state.items()}
        save_checkpoint(path, tensors, {"step": self.step, "config": to_json(self.config)})

    def load(self, path: Path) -> None:
        """Take up the training that ``save`` wrote; its configuration must be the same."""
        tensors, meta = load_checkpoint(path)
        found, wanted = meta["config"], to_json(self.config)
        differing = sorted(k for k in wanted if found.get(k) != wanted[k])
        if differing:
            raise FacerError(
                f"{path}: found a training with other {', '.join(differing)}; expected the same "
                "settings to go on with, choose another run folder"
            )
        self.step = int(meta["step"])
        self.net.load_state_dict(_group(tensors, "net"))
        self.average = _group(tensors, "ema")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _group(tensors, "adam").items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
        full = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": state, "param_groups": full["param_groups"]})


def _group(tensors: dict[str, npt.NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    start = prefix + "."
    return {
        k.removeprefix(start): torch.from_numpy(np.array(v))
        for k, v in tensors.items()
        if k.startswith(start)
    }


def to_json(config: DetectorConfig) -> dict[str, object]:
    """The configuration as plain JSON values."""
    plain: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain


def make_batch(config: DetectorConfig, sources: Sources, step: int) -> tuple[Tensor, Faces]:
    """Images (N, 3, H, W) in [-1, 1] and faces of one step; depends on seed and step alone."""
    rng = np.random.default_rng([config.seed, step])
    height, width = SHAPES[rng.choice(len(SHAPES), p=SHAPE_SHARES)]
    made = [compose(rng, sources, config.scene, height, width) for _ in range(config.batch)]
    pixels = torch.from_numpy(np.stack([one.image for one in made])).permute(0, 3, 1, 2)
    counts = torch.tensor([len(one.bbox_px) for one in made])
    faces = Faces(
        image=torch.arange(len(made)).repeat_interleave(counts),
        bbox_px=torch.from_numpy(np.concatenate([one.bbox_px for one in made])).float(),
        kps_px=torch.from_numpy(np.concatenate([one.kps_px for one in made])).float(),
        ignore=torch.from_numpy(np.concatenate([one.ignore for one in made])),
    )
    return (pixels.float() - 127.5) / 128, faces


def read_sources(config: DetectorConfig, validation: bool = False) -> Sources:
    """Training material, or what is held out of it (photographs and scenes; no frames)."""
    memory = config.run / "teacher.safetensors"
    teacher = Teacher(config.teacher, config.teacher_threshold, memory)
    videos = [] if validation else list_videos(config.clips)
    sources = Sources(
        photos=read_photos(config.faces, "val" if validation else "train", teacher),
        scenes=read_scenes(config.scenes, config.held_out_scenes, validation),
        frames=tuple(read_frames(videos, teacher, config.frame_every)),
    )
    teacher.remember()
    return sources


def summary(config: DetectorConfig, sources: Sources) -> dict[str, object]:
    """What the ONNX file says about itself; file names without their folders."""
    return {
        "name": config.name,
        "layout": "insightface SCRFD, strides 8 16 32, 2 anchors, 5 points",
        "input_px": INPUT_PX,
        "threshold": THRESHOLD,
        "training": {
            "faces": config.faces.name,
            "scenes": config.scenes.name,
            "clips": config.clips.name,
            "teacher": config.teacher.name,
            "used": sources.counts(),
            "steps": config.steps,
            "batch": config.batch,
            "seed": config.seed,
        },
    }


def fit(
    config: DetectorConfig,
    progress: Callable[[FitProgress], None],
    sources: Sources | None = None,
) -> FitResult:
    """Train, or go on training, in ``config.run``.

    Writes ``config.json``, ``last.safetensors`` (weights, averages, optimiser, step) every
    ``checkpoint_every`` steps and at the end, and then ``detector.onnx``. A run folder that
    holds a checkpoint of the same settings is taken up where it stopped; the result is that of
    an uninterrupted training. ``sources`` overrides what the paths of ``config`` hold.
    """
    cv2.setNumThreads(1)  # many small images: threads cost more than they give
    config.run.mkdir(parents=True, exist_ok=True)
    checkpoint = config.run / "last.safetensors"
    trainer = Trainer(config)
    if checkpoint.exists():
        trainer.load(checkpoint)
    sources = sources or read_sources(config)
    about = to_json(config) | {"sources": sources.counts()}
    (config.run / "config.json").write_text(json.dumps(about, indent=2) + "\n")
    losses: dict[str, float] = {}
    sums: dict[str, float] = {}
    taken = 0
    while trainer.step < config.steps:
        terms = trainer.advance(*make_batch(config, sources, trainer.step))
        taken += 1
        sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
        due = trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps
        if due or trainer.step % 50 == 0:
            losses = {name: value / taken for name, value in sums.items()}
            progress(FitProgress(trainer.step, config.steps, losses))
            sums, taken = {}, 0
        if due:
            trainer.save(checkpoint)
    onnx_path = config.run / "detector.onnx"
    export_onnx(trainer.averaged(), onnx_path, summary(config, sources))
    return FitResult(onnx_path, checkpoint, losses)
