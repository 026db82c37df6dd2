"""Training of the detector: synthesise, assign, step; stop and go on to the same result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from facer.stages.detection.config import DetectorTrainConfig, to_json
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
from facer.stages.detection.export import export_onnx
from facer.stages.detection.targets import Faces
from facer.stages.detection.trainer import Trainer
from facer.stages.features.config import STARTER_SIZE_PX, STARTER_THRESHOLD
from facer.storage.files.objects import write_atomic

SHAPES = ((192, 320), (256, 320), (320, 320), (320, 192), (160, 160), (128, 128))  # height, width
SHAPE_SHARES = (0.2, 0.12, 0.14, 0.12, 0.2, 0.22)
"""How often a batch has which shape. Small images hold more faces for the same work and teach
the points; large ones teach what is no face."""


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


def make_batch(config: DetectorTrainConfig, sources: Sources, step: int) -> tuple[Tensor, Faces]:
    """Images (N, 3, H, W) in [-1, 1] and faces of one step; depends on seed and step alone."""
    rng = np.random.default_rng([config.seed, step])
    height, width = SHAPES[rng.choice(len(SHAPES), p=SHAPE_SHARES)]
    count = round(config.batch * SHAPES[0][0] * SHAPES[0][1] / (height * width))
    made = [compose(rng, sources, config.scene, height, width) for _ in range(count)]
    pixels = torch.from_numpy(np.stack([one.image for one in made])).permute(0, 3, 1, 2)
    counts = torch.tensor([len(one.bbox_px) for one in made])
    faces = Faces(
        image=torch.arange(len(made)).repeat_interleave(counts),
        bbox_px=torch.from_numpy(np.concatenate([one.bbox_px for one in made])).float(),
        kps_px=torch.from_numpy(np.concatenate([one.kps_px for one in made])).float(),
        ignore=torch.from_numpy(np.concatenate([one.ignore for one in made])),
    )
    return (pixels.float() - 127.5) / 128, faces


def read_sources(config: DetectorTrainConfig, validation: bool = False) -> Sources:
    """Training material, or what is held out of it (photographs and scenes; no frames)."""
    memory = config.run / "teacher.safetensors"
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
        shares=sampling_shares([picture.source for picture in pictures]),
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


def fit(
    config: DetectorTrainConfig,
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
    sources = sources or read_sources(config)
    trainer = Trainer(config, make_batch(config, sources, 0)[0])
    if checkpoint.exists():
        trainer.load(checkpoint)
    about = to_json(config) | {"sources": sources.counts()}
    write_atomic(config.run / "config.json", json.dumps(about, indent=2) + "\n")
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
