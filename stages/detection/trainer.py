"""The state of a training: network, optimiser, averaged weights; steps, saves, goes on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from facer.stages.detection.config import DetectorConfig, to_json
from facer.stages.detection.losses import detection_loss
from facer.stages.detection.network import DetectorNet
from facer.stages.detection.targets import Faces, anchor_grid, assign
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError


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
