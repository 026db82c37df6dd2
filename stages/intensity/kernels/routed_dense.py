"""The Mask layer and the dense layer after it, as one operation over packed clips.

FaceRNET concatenates the GRU's outputs of all t steps, sets those at steps >= length to zero
(Mask) and applies a dense layer: y = sum over steps s < length of h_s W_s + b. Clips of a batch
that end together share their steps, so the sum runs over stretches of steps with the same
number of clips: nothing is padded and nothing is multiplied by zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


def routed_dense(states: Tensor, weight: Tensor, batch_sizes: Sequence[int]) -> Tensor:
    """Masked dense layer without bias: packed states (N, H), weight (t, H, D) -> (B, D).

    ``batch_sizes`` (L,) with L <= t is the clips at each step, never growing. The gradient
    of ``weight`` is exactly zero at steps >= L.
    """
    result: Tensor = _RoutedDense.apply(states, weight, [*batch_sizes])  # type: ignore[no-untyped-call]
    return result


class _Stretch(NamedTuple):
    """Steps with the same number of clips."""

    clips: int
    rows: slice  # of the packed states
    steps: slice

    def by_step(self, packed: Tensor) -> Tensor:
        """View packed (N, H) as (steps, clips, H)."""
        return packed[self.rows].view(-1, self.clips, packed.shape[1])


def _stretches(batch_sizes: list[int]) -> Iterator[_Stretch]:
    row = first = 0
    for step, clips in enumerate(batch_sizes):
        if step + 1 == len(batch_sizes) or batch_sizes[step + 1] != clips:
            count = (step + 1 - first) * clips
            yield _Stretch(clips, slice(row, row + count), slice(first, step + 1))
            row, first = row + count, step + 1


class _RoutedDense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, batch_sizes: list[int]) -> Tensor:
        out = states.new_zeros(batch_sizes[0], weight.shape[2])
        for stretch in _stretches(batch_sizes):
            shares = torch.bmm(stretch.by_step(states), weight[stretch.steps])
            out[: stretch.clips] += shares.sum(0)
        ctx.save_for_backward(states, weight)
        ctx.batch_sizes = batch_sizes
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        states, weight = ctx.saved_tensors
        d_states, d_weight = torch.empty_like(states), torch.empty_like(weight)
        d_weight[len(ctx.batch_sizes) :] = 0
        for stretch in _stretches(ctx.batch_sizes):
            inputs, w = stretch.by_step(states), weight[stretch.steps]
            d = gradients[0][: stretch.clips].expand(len(w), -1, -1)
            torch.bmm(inputs.transpose(1, 2), d, out=d_weight[stretch.steps])
            torch.bmm(d, w.transpose(1, 2), out=stretch.by_step(d_states))
        return d_states, d_weight, None
