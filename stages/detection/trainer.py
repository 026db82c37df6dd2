"""What trainings of the detector and of its refiner share: steps, rows of the curve, states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.stages.common.training import Arrays, Descent, OnStep, Schedule
from facer.stages.detection.config import DetectorTrainConfig, RefinerTrainConfig
from facer.stages.detection.start import seen_splits

Network = TypeVar("Network", bound=nn.Module)
Row = TypeVar("Row")


class StepTrainer(Generic[Network, Row]):
    """A training in steps; an epoch lasts to the next row of the learning curve.

    Rows are at every checkpoint, and every ``row_steps`` steps where there are such.
    """

    max_norm: float  # of the gradient
    floor: float  # of the learning rate, as a share of the largest
    row_steps = 0

    def __init__(
        self, config: DetectorTrainConfig | RefinerTrainConfig, network: Network, groups: Any
    ) -> None:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = Schedule(config.learning_rate, config.warmup, config.steps, self.floor)
        self._steps, self._checkpoint_every = config.steps, config.checkpoint_every
        self._bf16 = config.bf16
        self.seen = seen_splits(config)
        self._descent = Descent(network, optimiser, schedule, config.ema_decay, self.max_norm)

    def _fresh(self) -> Network:
        """A network of this training before its first step."""
        raise NotImplementedError

    def _loss_terms(self, step: int) -> dict[str, Tensor]:
        """The loss of a step's batch as ``total``, and what it is made of; all scalars."""
        raise NotImplementedError

    def _row(self, step: int, losses: dict[str, float]) -> Row:
        """The row of the curve after a step, with the mean losses since the last one."""
        raise NotImplementedError

    @property
    def epochs_done(self) -> int:
        """Rows of the learning curve so far."""
        return sum(self._row_ends(step) for step in range(1, self._descent.step + 1))

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self._descent.step >= self._steps

    def _row_ends(self, step: int) -> bool:
        due = step % self._checkpoint_every == 0 or step == self._steps
        return due or (self.row_steps > 0 and step % self.row_steps == 0)

    def epoch(self, on_step: OnStep | None = None) -> Row:
        """Train to the end of the next row of the curve."""
        sums, taken = dict[str, float](), 0
        while not (taken and self._row_ends(self._descent.step)):
            terms = self._loss_terms(self._descent.step)
            self._descent.down(terms["total"])
            taken += 1
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            if on_step is not None:
                on_step(1, self._descent.step, self._steps)
        return self._row(self._descent.step, {name: value / taken for name, value in sums.items()})

    def _outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        """What the network in training says of images (N, 3, H, W), float32."""
        network = self._descent.network.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._bf16):
            found = network(images.contiguous(memory_format=torch.channels_last))
        return tuple(output.float() for output in found)

    def averaged(self) -> Network:
        """A copy of the network with the averaged weights, for evaluation and export."""
        network = self._fresh()
        network.load_state_dict(self._descent.averaged)
        return network.eval()

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and JSON to resume from."""
        return self._descent.state(), {"step": self._descent.step, "seen": list(self.seen)}

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
        """Take over what :meth:`state` returned."""
        self._descent.load_state(arrays, int(meta["step"]))
