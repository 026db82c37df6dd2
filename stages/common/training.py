"""What trainings share: the protocol of a trainer, the descent of a network, states by name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.storage.errors import FacerError, named

Arrays = dict[str, npt.NDArray[Any]]
Row = TypeVar("Row", covariant=True)
T = TypeVar("T")

OnStep = Callable[[int, int, int], None]
"""Called with the epoch (from 1), its optimiser steps that are done, and its steps in all."""


CPU = torch.device("cpu")
_random = RLock()


def _free_random() -> None:
    """In a process that was forked: the thread that held the lock is not there."""
    global _random
    _random = RLock()


os.register_at_fork(after_in_child=_free_random)


@contextmanager
def seeded(seed: int = 0, device: torch.device = CPU) -> Iterator[None]:
    """Torch's random numbers from a seed on; the caller's state is restored after.

    Threads of one process take turns: torch has one state for all of them. So networks are made
    in here too: each draws weights, also one that gets its own from a file.
    """
    with _random, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class Trainer(Protocol[Row]):
    """One training: ``epoch`` until ``finished``. It owns no folder.

    Going on from a state gives the bits of an uninterrupted training on a CPU.
    """

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""

    def epoch(self, on_step: OnStep | None = None) -> Row:
        """Train one epoch and return its row of the learning curve."""

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return arrays and JSON to resume from."""

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to ``learning_rate``, then a cosine down to the share ``floor`` of it.

    ``warm_up`` and ``end`` are in optimiser steps, or in any other unit of so many ``steps``;
    the rate of the first step is that of ``first`` units.
    """

    learning_rate: float
    warm_up: float
    end: float
    floor: float = 0.0
    first: float = 1.0
    steps: int = 1

    def at(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        done = step / self.steps
        if done < self.warm_up:
            return self.learning_rate * (done + self.first) / self.warm_up
        cosine = 0.5 * (1 + math.cos(math.pi * (done - self.warm_up) / (self.end - self.warm_up)))
        return self.learning_rate * (self.floor + (1 - self.floor) * cosine)


class Descent:
    """A network going down its loss, and the exponential moving average (EMA) of its weights.

    The decay of the EMA rises with the steps to ``ema_decay``: (1 + n) / (10 + n), n counted from
    ``ema_first`` (``torch.optim.swa_utils`` knows no such start, and its average would differ).
    ``names`` are the prefixes of network and EMA in a state.
    """

    def __init__(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule,
        ema_decay: float,
        max_norm: float,
        names: tuple[str, str] = ("net.", "ema."),
        ema_first: int = 0,
    ) -> None:
        self.network = network
        self.averaged = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.step = 0
        self._optimiser = optimiser
        self._schedule = schedule
        self._ema_decay = ema_decay
        self._ema_first = ema_first
        self._max_norm = max_norm
        self._names = names

    def down(self, loss: Tensor) -> None:
        """Take one optimiser step, its gradient clipped to ``max_norm``, and average.

        FacerError where loss or gradient is not finite: no later step makes such weights good.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self._schedule.at(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._max_norm)
        if not bool(torch.isfinite(loss.detach() + norm)):
            raise FacerError(
                f"step {self.step + 1}: found a loss of {float(loss.detach()):g} with a gradient "
                f"of {float(norm):g}, expected finite numbers; train in another folder with a "
                f"lower {named('learning_rate')}"
            )
        self._optimiser.step()
        decay = ema_decay_at(self.step + self._ema_first, self._ema_decay)
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value, 1 - decay)
            else:
                self.averaged[name].copy_(value)
        self.step += 1

    def state(self) -> Arrays:
        """Return network, EMA and optimiser by name."""
        network, averaged = self._names
        return (
            to_arrays(self.network.state_dict(), network)
            | to_arrays(self.averaged, averaged)
            | optimiser_state(self._optimiser, "adam.")
        )

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], step: int) -> None:
        """Take over what :meth:`state` returned after so many steps."""
        network, averaged = self._names
        self.network.load_state_dict(tensors_under(arrays, network))
        for name, value in tensors_under(arrays, averaged).items():
            self.averaged[name].copy_(value)
        load_optimiser(self._optimiser, under(arrays, "adam."))
        self.step = step


def ema_decay_at(step: int, decay: float) -> float:
    """Return the decay of an EMA at a step, from 0: it rises to ``decay``."""
    return min(decay, (1 + step) / (10 + step))


def decay_groups(parameters: Iterable[Tensor], decay: float) -> list[dict[str, Any]]:
    """Return an optimiser's groups: weight decay for weights, none for norms and biases."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def under(values: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Return the values whose names start with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}


def to_arrays(tensors: Mapping[str, Tensor], prefix: str = "") -> Arrays:
    """Return tensors as arrays, their names after ``prefix``; on a CPU they share memory."""
    return {f"{prefix}{k}": v.detach().cpu().numpy() for k, v in tensors.items()}


def tensors_under(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, Tensor]:
    """Return copies, as tensors, of the arrays whose names start with ``prefix``."""
    return {k: torch.from_numpy(np.array(v)) for k, v in under(arrays, prefix).items()}


def optimiser_state(optimiser: torch.optim.Optimizer, prefix: str = "") -> Arrays:
    """Return an optimiser's moments and counts by parameter number and name."""
    arrays: Arrays = {}
    for number, values in optimiser.state_dict()["state"].items():
        arrays |= to_arrays(values, f"{prefix}{number}.")
    return arrays


def load_optimiser(
    optimiser: torch.optim.Optimizer, arrays: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Take over what :func:`optimiser_state` returned; settings stay the optimiser's own."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors_under(arrays, "").items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
