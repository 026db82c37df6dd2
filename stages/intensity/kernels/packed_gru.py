"""A GRU layer over packed clips on the CPU: the function of ``torch.nn.GRU``, much faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from facer.stages.intensity.kernels.gru_sweeps import Backward, Forward, GruWeights


def packed_gru(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, batch_sizes: Sequence[int]
) -> Tensor:
    """Hidden states (N, H) of packed inputs (N, F), from a zero state.

    ``batch_sizes`` (L,) is how many clips run at each step, never growing; rows are step by
    step, the clips of a step in the same order (as in ``PackedSequence``). Weights as in
    ``torch.nn.GRU``: (3H, F), (3H, H), (3H,), (3H,). One backward pass per forward pass.
    """
    result: Tensor = _PackedGru.apply(x, w_ih, w_hh, b_ih, b_hh, [*batch_sizes])  # type: ignore[no-untyped-call]
    return result


class _PackedGru(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        batch_sizes: list[int],
    ) -> Tensor:
        sweep = Forward(x, GruWeights(w_ih, w_hh, b_ih, b_hh), batch_sizes)
        states = sweep.run()
        if any(ctx.needs_input_grad):
            ctx.sweep = sweep
        else:
            sweep.release()
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        sweep, ctx.sweep = ctx.sweep, None
        if sweep is None:
            raise RuntimeError("packed_gru: backward ran before, its buffers are gone")
        return *Backward(sweep, ctx.needs_input_grad[0]).run(gradients[0]), None
