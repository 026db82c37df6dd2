"""The optimiser of routed training: weights that no clip of the batch used do not move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim.adam import adam

from facer.stages.common.training import Arrays, load_optimiser, optimiser_state
from facer.storage.errors import FacerError

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class RoutedAdam:
    """Adam (Kingma & Ba 2015) in which a step touches only the routed part of one weight.

    The routed weight is (t, H, D), a block for each time step. A batch whose longest clip has L
    frames routes blocks 0 to L - 1. The other blocks keep their value bit for bit, although
    Adam's momentum would move them, and so do their moments and their step count: every block
    follows Adam exactly over the batches that routed it. All other parameters follow plain Adam.
    """

    def __init__(
        self, parameters: Iterable[Tensor], routed: Tensor | None, learning_rate: float
    ) -> None:
        if learning_rate <= 0:
            raise FacerError(f"learning rate: found {learning_rate}, expected > 0")
        others = [parameter for parameter in parameters if parameter is not routed]
        self.learning_rate = learning_rate
        self.routed = routed
        self._plain = torch.optim.Adam(
            others, lr=learning_rate, betas=_BETAS, eps=_EPSILON, fused=True
        )
        if routed is not None:
            self._moments = (torch.zeros_like(routed), torch.zeros_like(routed))
            self._counts = np.zeros(len(routed), np.float32)  # steps that each block has taken

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._plain.zero_grad()
        if self.routed is not None:
            self.routed.grad = None

    @torch.no_grad()
    def step(self, steps: int) -> None:
        """Update from the gradients; ``steps`` is L, the longest length in the batch."""
        self._plain.step()
        if self.routed is None or self.routed.grad is None:
            return
        runs = _equal_runs(self._counts[:steps])
        weight, gradient, mean, square = (
            [tensor[run] for run in runs]
            for tensor in (self.routed.detach(), self.routed.grad, *self._moments)
        )
        counts = torch.from_numpy(self._counts[[run.start for run in runs]])
        adam(
            weight,
            gradient,
            mean,
            square,
            max_exp_avg_sqs=[],
            state_steps=list(counts.to(self.routed.device).unbind()),
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )
        self._counts[:steps] += 1

    def state(self) -> Arrays:
        """Everything needed to go on, by name."""
        arrays = optimiser_state(self._plain)
        if self.routed is not None:
            arrays |= {"routed.counts": self._counts.copy()}
            for name, moment in zip(("exp_avg", "exp_avg_sq"), self._moments, strict=True):
                arrays[f"routed.{name}"] = moment.cpu().numpy()
        return arrays

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what :meth:`state` returned."""
        load_optimiser(self._plain, {k: v for k, v in arrays.items() if k[:7] != "routed."})
        if self.routed is not None:
            self._counts = np.array(arrays["routed.counts"], np.float32)
            for name, moment in zip(("exp_avg", "exp_avg_sq"), self._moments, strict=True):
                moment.copy_(torch.from_numpy(arrays[f"routed.{name}"]))


def _equal_runs(counts: npt.NDArray[np.float32]) -> list[slice]:
    """Slices over which the count is the same: each takes one call with one bias correction."""
    edges = np.flatnonzero(np.diff(counts)) + 1
    starts = [0, *edges.tolist()]
    return [slice(a, b) for a, b in pairwise([*starts, len(counts)])]
