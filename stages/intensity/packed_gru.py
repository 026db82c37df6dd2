"""A GRU layer over packed clips on the CPU, forward and backward, with few operations a step.

The same function as ``torch.nn.GRU`` (gate order r, z, n; ``b_hn`` inside the reset product):

    r = s(W_ir x + b_ir + W_hr h + b_hr)        z = s(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
    h' = n + z * (h - n)

What makes it fast: the input's share of all steps is one matrix product; a step computes only
the clips that are still running; the loop holds what depends on the step before and nothing
else (five operations forward, three backward); weight gradients are one product per block of
steps; buffers are used again. n is taken as 2 s(2a) - 1 and the state as g = (h + 1) / 2, so
that g' = s + z * (g - s) needs sigmoids only: tanh costs three times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

_BLOCK_ROWS = 1024  # rows whose temporaries stay in the cache

_spare: list[Tensor] = []
"""Buffers of finished backward passes; a new one costs more than the arithmetic in it."""


def packed_gru(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Hidden states (N, H) of packed inputs (N, F), from a zero state.

    ``sizes`` (L,) is the number of clips running at each step, never growing; rows are step by
    step, the clips of a step in the same order (as in ``PackedSequence``). Weights as in
    ``torch.nn.GRU``: (3H, F), (3H, H), (3H,), (3H,).
    """
    result: Tensor = _PackedGru.apply(x, w_ih, w_hh, b_ih, b_hh, list(sizes))  # type: ignore[no-untyped-call]
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
        sizes: list[int],
    ) -> Tensor:
        units = w_hh.shape[1]
        gates = _take_buffer(x, 4 * units)  # columns: s(2a), r, z, 2 (W_hn h + b_hn)
        states = x.new_empty(len(x), units)
        w_x, w_g, bias = _sigmoid_form(w_ih, w_hh, b_ih, b_hh)
        torch.addmm(bias, x, w_x, out=gates)
        _run(gates, states, w_g, sizes)
        ctx.sizes = sizes
        if any(ctx.needs_input_grad):
            ctx.gates = gates
            ctx.save_for_backward(x, w_ih, w_hh, states)
        else:
            _spare.append(gates)
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, w_ih, w_hh, states = ctx.saved_tensors
        gates, ctx.gates = ctx.gates, None
        if gates is None:
            raise RuntimeError("packed_gru: backward ran before, its buffers are gone")
        sweep = _Backward(x, w_ih, w_hh, ctx.needs_input_grad[0])
        sweep.run(gates, states, gradients[0], ctx.sizes)
        _spare.append(gates)
        d_w_ih, d_w_hh, d_b_ih, d_b_hh = sweep.weight_gradients()
        return sweep.d_x, d_w_ih, d_w_hh, d_b_ih, d_b_hh, None


def _take_buffer(like: Tensor, columns: int) -> Tensor:
    """Return an uninitialised (len(like), columns) tensor, from a spare one if it fits."""
    needed = len(like) * columns
    while _spare:
        spare = _spare.pop()
        storage = spare.untyped_storage().nbytes() // spare.element_size()
        if spare.dtype == like.dtype and storage >= needed:
            return spare.as_strided((len(like), columns), (columns, 1), 0)
    return like.new_empty(len(like), columns)


def _sigmoid_form(
    w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (F, 4H) of x, (H, 3H) of g and bias (4H,) for the columns of ``gates``.

    W h = W (2 g - 1): the weights double and the bias loses W's row sums.
    """
    units = w_hh.shape[1]
    rz, n = slice(0, 2 * units), slice(2 * units, None)
    b_g = b_hh - w_hh.sum(1)
    w_x = torch.cat([2 * w_ih[n], w_ih[rz], torch.zeros_like(w_ih[n])]).t()
    w_g = torch.cat([2 * w_hh[rz], 4 * w_hh[n]]).t().contiguous()
    bias = torch.cat([2 * b_ih[n], b_ih[rz] + b_g[rz], 2 * b_g[n]])
    return w_x, w_g, bias


def _run(gates: Tensor, states: Tensor, w_g: Tensor, sizes: list[int]) -> None:
    """Fill ``gates`` (their input share is there already) and ``states`` step by step."""
    units = states.shape[1]
    s, r, z, hn = gates.split(units, 1)
    columns = (gates[:, units:], gates[:, units : 3 * units], s, r, z, hn, states)
    g = states.new_full((sizes[0], units), 0.5)
    for recurrent, rz, s_t, r_t, z_t, hn_t, out in zip(
        *(column.split(sizes) for column in columns), strict=True
    ):
        if len(out) < len(g):
            g = g[: len(out)]
        recurrent.addmm_(g, w_g)
        rz.sigmoid_()
        s_t.addcmul_(r_t, hn_t).sigmoid_()
        g = torch.lerp(s_t, g, z_t, out=out)
    states.mul_(2).sub_(1)


class _Backward:
    """The backward sweep, from the last block of steps to the first.

    With d the gradient of h', every gate's gradient is d times a factor that is known before
    the sweep, so the loop only carries d through the recurrent weights.
    """

    def __init__(self, x: Tensor, w_ih: Tensor, w_hh: Tensor, needs_d_x: bool) -> None:
        self.x, self.w_ih, self.w_hh = x, w_ih, w_hh
        self.units = w_hh.shape[1]
        self.d_x = torch.empty_like(x) if needs_d_x else None
        self.d_w_ih = torch.zeros_like(w_ih)
        self.d_w_hh = torch.zeros_like(w_hh)
        self.d_b_hh = w_hh.new_zeros(3 * self.units)
        self.d_b_n = w_hh.new_zeros(self.units)

    def run(self, gates: Tensor, states: Tensor, d_out: Tensor, sizes: list[int]) -> None:
        """Sweep all steps; ``d_out`` (N, H) is the gradient of the states."""
        starts = list(accumulate(sizes, initial=0))
        before = _rows_before(sizes).to(states.device)
        stop = len(sizes)
        carried: Tensor | None = None
        while stop > 0:
            start = _block_start(starts, stop)
            rows = slice(starts[start], starts[stop])
            previous = states.index_select(0, before[rows].clamp_min(0))
            if start == 0:
                previous[: sizes[0]] = 0
            d = d_out[rows].clone()
            if carried is not None:
                d[-sizes[stop - 1] :][: len(carried)] += carried
            carried = self._block(gates[rows], previous, d, sizes[start:stop], self.x[rows], rows)
            stop = start

    def _block(
        self, gates: Tensor, previous: Tensor, d: Tensor, sizes: list[int], x: Tensor, rows: slice
    ) -> Tensor:
        """Sweep one block; return the gradient of the states before it."""
        units = self.units
        s, r, z, hn = gates.split(units, 1)
        to_n = (1 - z).mul_(s).mul_(1 - s)  # dh'/da_n = (1 - z) (1 - n^2), 1 - n^2 = 4 s (1 - s)
        to_n.mul_(4)
        factors = gates.new_empty(len(d), 3, units)
        torch.mul(to_n, hn, out=factors[:, 0]).mul_(r).mul_(1 - r).mul_(0.5)
        torch.sub(previous, s, alpha=2, out=factors[:, 1]).add_(1).mul_(z).mul_(1 - z)
        torch.mul(to_n, r, out=factors[:, 2])
        carried = self._sweep(d, factors, z, sizes)
        recurrent = factors.view(len(d), 3 * units)
        d_n = to_n.mul_(d)
        self._accumulate(recurrent, d_n, previous, x, rows)
        return carried

    def _sweep(self, d: Tensor, factors: Tensor, z: Tensor, sizes: list[int]) -> Tensor:
        """Turn ``d`` into the full gradients of h' and ``factors`` into the gates' gradients."""
        carried = d.new_zeros(sizes[0], self.units)
        flat = factors.view(len(d), 3 * self.units)
        targets = (carried, *d.split(sizes))
        steps = (targets, targets[1:], d.unsqueeze(1).split(sizes), factors.split(sizes))
        columns = zip(*steps, flat.split(sizes), z.split(sizes), strict=False)
        for before, d_t, d_wide, factor, gate, z_t in reversed(list(columns)):
            factor.mul_(d_wide)
            if len(before) > len(d_t):
                before = before[: len(d_t)]
            before.addcmul_(d_t, z_t).addmm_(gate, self.w_hh)
        return carried

    def _accumulate(
        self, recurrent: Tensor, d_n: Tensor, previous: Tensor, x: Tensor, rows: slice
    ) -> None:
        """Add a block's share of the weight gradients; write the input's."""
        rz = slice(0, 2 * self.units)
        n = slice(2 * self.units, None)
        self.d_w_hh.addmm_(recurrent.t(), previous)
        self.d_w_ih[rz].addmm_(recurrent[:, rz].t(), x)
        self.d_w_ih[n].addmm_(d_n.t(), x)
        self.d_b_hh += recurrent.sum(0)
        self.d_b_n += d_n.sum(0)
        if self.d_x is not None:
            torch.mm(recurrent[:, rz], self.w_ih[rz], out=self.d_x[rows])
            self.d_x[rows].addmm_(d_n, self.w_ih[n])

    def weight_gradients(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of w_ih, w_hh, b_ih and b_hh."""
        d_b_ih = torch.cat([self.d_b_hh[: 2 * self.units], self.d_b_n])
        return self.d_w_ih, self.d_w_hh, d_b_ih, self.d_b_hh


def _rows_before(sizes: list[int]) -> Tensor:
    """Row of each row's clip one step earlier, (N,); negative in the first step."""
    counts = torch.tensor(sizes)
    earlier = torch.cat([counts[:1], counts[:-1]])
    return torch.arange(int(counts.sum())) - torch.repeat_interleave(earlier, counts)


def _block_start(starts: list[int], stop: int) -> int:
    """First step of the block that ends before ``stop``: about _BLOCK_ROWS rows, a step at least."""
    start = stop - 1
    while start > 0 and starts[stop] - starts[start - 1] <= _BLOCK_ROWS:
        start -= 1
    return start
