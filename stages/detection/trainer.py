"""The detector's training, a step at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facer.stages.detection.config import DetectorTrainConfig, to_json
from facer.stages.detection.losses import detection_loss
from facer.stages.detection.network import DetectorNet
from facer.stages.detection.start import start_detector
from facer.stages.detection.state import Schedule, TrainingState, weights_under
from facer.stages.detection.targets import Faces, anchor_grid, assign
from facer.storage.checkpoints import load_checkpoint

_MAX_NORM = 10.0  # of the gradient


class Trainer:
    """Network, optimiser and averaged weights at one step of a training."""

    def __init__(self, config: DetectorTrainConfig, images: Tensor) -> None:
        """``images`` (N, 3, H, W) are like those of the training: an exported network that it
        starts from gets its normalisation back from them.
        """
        torch.manual_seed(config.seed)
        self.config = config
        self.net = DetectorNet(config.network)
        if config.start is not None and config.start.suffix == ".onnx":
            start_detector(self.net, config.start, images)
        elif config.start is not None:
            tensors, _ = load_checkpoint(config.start)
            self.net.load_state_dict(weights_under(tensors, "ema"))
        for parameter in self.net.parameters():  # oneDNN's preferred order
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        optimiser = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
        )
        schedule = Schedule(config.learning_rate, config.warmup, config.steps, floor=0.01)
        self._state = TrainingState(
            self.net, optimiser, schedule, to_json(config), config.ema, _MAX_NORM
        )

    @property
    def step(self) -> int:
        """Optimiser steps that are done."""
        return self._state.step

    def advance(self, images: Tensor, faces: Faces) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        grid = anchor_grid(images.shape[2], images.shape[3])
        targets = assign(grid, faces, len(images))
        self.net.train()
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.config.bf16):
            outputs = self.net(images)
        outputs = tuple(output.float() for output in outputs)
        terms = detection_loss(outputs, grid, targets, self.config.loss)
        self._state.descend(terms["total"])
        return {name: float(value.detach()) for name, value in terms.items()}

    def averaged(self) -> DetectorNet:
        """A copy of the network with the averaged weights, for evaluation and export."""
        net = DetectorNet(self.config.network)
        net.load_state_dict(self._state.average)
        return net.eval()

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs."""
        self._state.save(path)

    def load(self, path: Path) -> None:
        """Take up the training that ``save`` wrote; its configuration must be the same."""
        self._state.load(path)
