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

from facer.stages.common.training import (
    Arrays,
    decay_groups,
    ema_decay_at,
    load_optimiser,
    optimiser_state,
)
from facer.storage.errors import FacerError
from facer.storage.schema import F32

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_MOMENTS = ("routed.exp_avg", "routed.exp_avg_sq")


class RoutedAdam:
    """Adam (Kingma & Ba 2015) in which a step touches only the routed part of one weight.

    The routed weight is (t, H, D), a block for each time step. A batch whose longest clip has L
    frames routes blocks 0 to L - 1. The other blocks keep their value bit for bit, although
    Adam's momentum would move them, and so do their moments and their step count: every block
    follows Adam exactly over the batches that routed it. All other parameters follow plain Adam.

    ``weight_decay`` is decoupled (AdamW, Loshchilov & Hutter 2019), and shrinks weights in the
    steps that update them: unrouted blocks keep their bits. Vectors (biases, norms) have none.
    ``clip_norm`` bounds the norm of all gradients together, to which unrouted blocks add zero.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        routed: Tensor | None,
        learning_rate: float,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        if learning_rate <= 0:
            raise FacerError(f"learning rate: found {learning_rate}, expected > 0")
        others = [parameter for parameter in parameters if parameter is not routed]
        self.learning_rate = learning_rate
        self.routed = routed
        self._parameters = others if routed is None else [*others, routed]
        self._weight_decay, self._clip_norm = weight_decay, clip_norm
        self._plain = torch.optim.Adam(
            decay_groups(others, weight_decay) if weight_decay else others,
            lr=learning_rate, betas=_BETAS, eps=_EPSILON, fused=True,
            decoupled_weight_decay=True,
        )  # fmt: skip
        if routed is not None:
            self._moments = (torch.zeros_like(routed), torch.zeros_like(routed))
            self.counts = np.zeros(len(routed), np.float32)  # steps that each block has taken

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._plain.zero_grad()
        if self.routed is not None:
            self.routed.grad = None

    @torch.no_grad()
    def step(self, steps: int) -> None:
        """Update from the gradients; ``steps`` is L, the longest length in the batch."""
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        for group in self._plain.param_groups:
            group["lr"] = self.learning_rate
        self._plain.step()
        if self.routed is None or self.routed.grad is None:
            return
        runs = _equal_runs(self.counts[:steps])
        weight, gradient, mean, square = (
            [tensor[run] for run in runs]
            for tensor in (self.routed.detach(), self.routed.grad, *self._moments)
        )
        counts = torch.from_numpy(self.counts[[run.start for run in runs]])
        adam(
            weight, gradient, mean, square, max_exp_avg_sqs=[], amsgrad=False, maximize=False,
            state_steps=list(counts.to(self.routed.device).unbind()), fused=True,
            beta1=_BETAS[0], beta2=_BETAS[1], lr=self.learning_rate, eps=_EPSILON,
            weight_decay=self._weight_decay, decoupled_weight_decay=True,
        )  # fmt: skip
        self.counts[:steps] += 1

    def state(self) -> Arrays:
        """Everything needed to go on, by name."""
        arrays = optimiser_state(self._plain)
        if self.routed is not None:
            arrays["routed.counts"] = self.counts.copy()
            for name, moment in zip(_MOMENTS, self._moments, strict=True):
                arrays[name] = moment.cpu().numpy()
        return arrays

    def load_state(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what :meth:`state` returned."""
        load_optimiser(self._plain, {k: v for k, v in arrays.items() if k[:7] != "routed."})
        if self.routed is not None:
            self.counts = np.array(arrays["routed.counts"], np.float32)
            for name, moment in zip(_MOMENTS, self._moments, strict=True):
                moment.copy_(torch.from_numpy(arrays[name]))


class RoutedAverage:
    """An exponential moving average (EMA) of weights that :class:`RoutedAdam` updates.

    A block of the routed weight is averaged over the steps that routed it, with a decay that
    rises with their number; in other steps its average keeps its bits, as the block does.
    """

    def __init__(
        self, parameters: Iterable[Tensor], averages: Iterable[Tensor], optimiser: RoutedAdam,
        decay: float,
    ) -> None:  # fmt: skip
        self._pairs = list(zip(averages, parameters, strict=True))
        self._optimiser, self._decay = optimiser, decay

    @torch.no_grad()
    def update(self, step: int, steps: int) -> None:
        """Average after optimiser step ``step``, from 0, that routed ``steps`` blocks."""
        share = 1 - ema_decay_at(step, self._decay)
        for average, value in self._pairs:
            if value is not self._optimiser.routed:
                average.lerp_(value, share)
                continue
            before = torch.from_numpy(self._optimiser.counts[:steps]) - 1  # of this step
            rising = (1 + before) / (10 + before)
            shares = 1 - rising.clamp_max(self._decay).to(value.device)
            average[:steps].lerp_(value[:steps], shares.view(-1, *[1] * (value.ndim - 1)))


def _equal_runs(counts: F32) -> list[slice]:
    """Slices over which the count is the same: each takes one call with one bias correction."""
    edges = np.flatnonzero(np.diff(counts)) + 1
    starts = [0, *edges.tolist()]
    return [slice(a, b) for a, b in pairwise([*starts, len(counts)])]
