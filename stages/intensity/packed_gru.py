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
from typing import Any, NamedTuple

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


class _Block(NamedTuple):
    """Some steps on end, few enough for their temporaries to stay in the cache."""

    sizes: list[int]  # clips at each of its steps
    rows: slice


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
        blocks = _blocks(sizes)
        g = states.new_full((sizes[0], units), 0.5)
        for block in blocks:
            torch.addmm(bias, x[block.rows], w_x, out=gates[block.rows])
            g = _run(gates[block.rows], states[block.rows], g, w_g, block.sizes)
        if any(ctx.needs_input_grad):
            ctx.gates, ctx.blocks, ctx.sizes = gates, blocks, sizes
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
        before = _rows_before(ctx.sizes).to(states.device)
        sweep = _Backward(x, w_ih, w_hh, ctx.needs_input_grad[0])
        for block in reversed(ctx.blocks):
            previous = states.index_select(0, before[block.rows])
            if block.rows.start == 0:
                previous[: ctx.sizes[0]] = 0
            sweep.run(block, gates[block.rows], previous, gradients[0][block.rows].clone())
        _spare.append(gates)
        return *sweep.gradients(), None


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


def _run(gates: Tensor, states: Tensor, g: Tensor, w_g: Tensor, sizes: list[int]) -> Tensor:
    """Fill a block's ``gates`` (their input share is there already) and ``states``.

    ``g`` (clips, H) is the state before the block; the state after it is returned.
    """
    units = states.shape[1]
    s, r, z, hn = gates.chunk(4, 1)
    columns = (gates[:, units:], gates[:, units : 3 * units], s, r, z, hn, states)
    for recurrent, rz, s_t, r_t, z_t, hn_t, out in zip(
        *(column.split_with_sizes(sizes) for column in columns), strict=True
    ):
        if len(out) < len(g):
            g = g[: len(out)]
        recurrent.addmm_(g, w_g)
        rz.sigmoid_()
        s_t.addcmul_(r_t, hn_t).sigmoid_()
        g = torch.lerp(s_t, g, z_t, out=out)
    g = g.clone()
    states.mul_(2).sub_(1)
    return g


class _Backward:
    """The backward sweep, block by block from the last to the first.

    With d the gradient of h', every gate's gradient is d times a factor that is known before
    the sweep, so the loop only carries d through the recurrent weights.
    """

    def __init__(self, x: Tensor, w_ih: Tensor, w_hh: Tensor, needs_d_x: bool) -> None:
        self.x, self.w_ih, self.w_hh = x, w_ih, w_hh
        self.units = w_hh.shape[1]
        self.carried = w_hh.new_zeros(0, self.units)  # into the states before the last block
        self.d_x = torch.empty_like(x) if needs_d_x else None
        self.d_w_hh = torch.zeros_like(w_hh)
        self.d_w_ih = torch.zeros_like(w_ih.t())  # transposed: the faster product
        self.d_b_hh = w_hh.new_zeros(3 * self.units)
        self.d_b_n = w_hh.new_zeros(self.units)

    def run(self, block: _Block, gates: Tensor, previous: Tensor, d: Tensor) -> None:
        """Sweep one block: its gates, the states before each row, the states' gradient ``d``.

        ``d`` is used up.
        """
        s, r, z, hn = gates.chunk(4, 1)
        to_n = (1 - z).mul_(s).mul_(1 - s).mul_(4)  # (1 - z) (1 - n^2); 1 - n^2 = 4 s (1 - s)
        factors = gates.new_empty(len(d), 3, self.units)
        torch.mul(to_n, hn, out=factors[:, 0]).mul_(r).mul_(1 - r).mul_(0.5)
        torch.sub(previous, s, alpha=2, out=factors[:, 1]).add_(1).mul_(z).mul_(1 - z)
        torch.mul(to_n, r, out=factors[:, 2])
        d[len(d) - block.sizes[-1] :][: len(self.carried)] += self.carried
        self.carried = self._sweep(d, factors, z, block.sizes)
        self._accumulate(factors.flatten(1), to_n.mul_(d), previous, block.rows)

    def _sweep(self, d: Tensor, factors: Tensor, z: Tensor, sizes: list[int]) -> Tensor:
        """Turn ``d`` into the full gradients of h' and ``factors`` into the gates' gradients."""
        carried = d.new_zeros(sizes[0], self.units)
        flat = factors.view(len(d), 3 * self.units)
        d_steps, z_steps = d.split_with_sizes(sizes), z.split_with_sizes(sizes)
        factor_steps, gate_steps = factors.split_with_sizes(sizes), flat.split_with_sizes(sizes)
        wide = d.unsqueeze(1).split_with_sizes(sizes)
        before_steps = (carried, *d_steps[:-1])
        columns = zip(before_steps, d_steps, wide, factor_steps, gate_steps, z_steps, strict=True)
        for before, d_t, d_wide, factor, gate, z_t in reversed(list(columns)):
            factor.mul_(d_wide)
            if len(before) > len(d_t):
                before = before[: len(d_t)]
            before.addcmul_(d_t, z_t).addmm_(gate, self.w_hh)
        return carried

    def _accumulate(self, recurrent: Tensor, d_n: Tensor, previous: Tensor, rows: slice) -> None:
        """Add a block's share of the weights' gradients; write the input's."""
        rz, n = slice(0, 2 * self.units), slice(2 * self.units, None)
        x_t = self.x[rows].t()
        self.d_w_hh.addmm_(recurrent.t(), previous)
        self.d_w_ih[:, rz].addmm_(x_t, recurrent[:, rz])
        self.d_w_ih[:, n].addmm_(x_t, d_n)
        self.d_b_hh += recurrent.sum(0)
        self.d_b_n += d_n.sum(0)
        if self.d_x is not None:
            torch.mm(recurrent[:, rz], self.w_ih[rz], out=self.d_x[rows])
            self.d_x[rows].addmm_(d_n, self.w_ih[n])

    def gradients(self) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """Gradients of x, w_ih, w_hh, b_ih and b_hh."""
        d_b_ih = torch.cat([self.d_b_hh[: 2 * self.units], self.d_b_n])
        return self.d_x, self.d_w_ih.t(), self.d_w_hh, d_b_ih, self.d_b_hh


def _blocks(sizes: list[int]) -> list[_Block]:
    """Cut the steps into blocks of one step, or up to _BLOCK_ROWS rows."""
    blocks: list[_Block] = []
    row = first = 0
    for step, rows in enumerate(accumulate(sizes)):
        if step + 1 == len(sizes) or rows + sizes[step + 1] - row > _BLOCK_ROWS:
            blocks.append(_Block(sizes[first : step + 1], slice(row, rows)))
            row, first = rows, step + 1
    return blocks


def _rows_before(sizes: list[int]) -> Tensor:
    """Row of each row's clip one step earlier, (N,); 0 in the first step."""
    counts = torch.tensor(sizes)
    earlier = torch.cat([counts[:1], counts[:-1]])
    rows = torch.arange(int(counts.sum())) - torch.repeat_interleave(earlier, counts)
    return rows.clamp_min_(0)
