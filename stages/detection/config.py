"""The settings of one training of the detector."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from facer.stages.detection.data.camera import SceneConfig
from facer.stages.detection.losses import LossWeights
from facer.stages.detection.network import NetworkConfig
from facer.storage.errors import OptionError


@dataclass(frozen=True)
class DetectorTrainConfig:
    """One training of the detector; everything that decides its result.

    Attributes:
        name: what the ONNX file calls itself.
        faces: HDF5 of photographs (columns jpeg, points_px, split).
        scenes: folder of photographs without faces.
        clips: folder of videos whose frames the teacher labels.
        teacher: RetinaFace ONNX model that insightface reads.
        held_out_scenes: scenes kept from training, for false positives.
        frame_every: every how many-th frame of a video is used.
        steps: optimiser steps.
        batch: images of 192 x 320 in a step; as many pixels of images of other shapes.
        people: folder of photographs of people at every pose with their faces, or None.
        people_clips: folder of clips of people with the faces of some frames, or None.
        start: weights to begin with, or None: the checkpoint of another training of the same
            network, or the detector.onnx of a network that lacks some residual units at most.
        bf16: compute products in bfloat16, twice as fast on a CPU with AVX512-BF16.
    """

    faces: Path
    scenes: Path
    clips: Path
    teacher: Path
    people: Path | None = None
    people_clips: Path | None = None
    name: str = "facer-det-2"
    steps: int = 7000
    batch: int = 16
    learning_rate: float = 2.5e-3
    warmup: int = 300
    weight_decay: float = 0.02
    ema_decay: float = field(default=0.999, metadata={"was": "ema"})
    teacher_threshold: float = 0.5
    held_out_scenes: int = 100
    frame_every: int = 2
    checkpoint_every: int = 500
    seed: int = 0
    start: Path | None = None
    bf16: bool = False
    network: NetworkConfig = field(default_factory=NetworkConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "frame_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise OptionError(
                    f"train-detector {name}: found {getattr(self, name)}, expected 1 or more"
                )
        if not 0 < self.learning_rate < 1:
            raise OptionError(
                f"train-detector learning_rate: found {self.learning_rate}, expected 0 to 1"
            )
        if not 0 <= self.ema_decay < 1:
            raise OptionError(
                f"train-detector ema_decay: found {self.ema_decay}, expected 0 <= ema_decay < 1"
            )
