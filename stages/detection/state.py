"""The state of a training: network, averaged weights, optimiser and step; saves and goes on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError
from facer.storage.text.differing import differing

_OPTIONS = ("faces", "crops", "scenes", "clips", "teacher", "steps", "seed")


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to ``learning_rate``, then a cosine down to the share ``floor`` of it."""

    learning_rate: float
    warmup: int
    steps: int
    floor: float

    def at(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        share = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)
        cosine = 0.5 * (1 + math.cos(math.pi * share))
        return self.learning_rate * (self.floor + (1 - self.floor) * cosine)


class TrainingState:
    """What a training changes; ``settings`` (plain JSON values) are what it must go on with."""

    def __init__(
        self,
        net: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        settings: Mapping[str, object],
        ema: float,
        max_norm: float,
    ) -> None:
        self.net = net
        self.average = {name: value.clone() for name, value in net.state_dict().items()}
        self.step = 0
        self._optimiser = optimiser
        self._schedule = schedule
        self._settings = settings
        self._ema = ema
        self._max_norm = max_norm

    def descend(self, loss: Tensor) -> None:
        """One optimiser step down a loss of the network."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._schedule.at(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), self._max_norm)
        self._optimiser.step()
        keep = min(self._ema, (1 + self.step) / (10 + self.step))
        for name, value in self.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - keep)
            else:
                self.average[name].copy_(value)
        self.step += 1

    def save(self, path: Path) -> None:
        """Write everything that a resumed training needs."""
        tensors = {f"net.{k}": v.numpy() for k, v in self.net.state_dict().items()}
        tensors |= {f"ema.{k}": v.numpy() for k, v in self.average.items()}
        for number, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{k}": np.asarray(v) for k, v in state.items()}
        save_checkpoint(path, tensors, {"step": self.step, "config": dict(self._settings)})

    def load(self, path: Path) -> None:
        """Take up the training that ``save`` wrote; FacerError when its settings were others."""
        tensors, meta = load_checkpoint(path)
        before = {name: meta["config"].get(name) for name in self._settings}
        if changed := differing(before, self._settings, _OPTIONS):
            raise FacerError(
                f"{path}: found a training with other {changed}; expected the same settings to go "
                "on with, choose another run folder"
            )
        self.step = int(meta["step"])
        self.net.load_state_dict(weights_under(tensors, "net"))
        self.average = weights_under(tensors, "ema")
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in weights_under(tensors, "adam").items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": state, "param_groups": groups})


def weights_under(tensors: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose names begin with ``prefix`` and a point."""
    start = prefix + "."
    return {
        name.removeprefix(start): torch.from_numpy(np.array(value))
        for name, value in tensors.items()
        if name.startswith(start)
    }
