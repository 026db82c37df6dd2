"""Forward and backward sweep of a GRU over packed clips, with few operations a step.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)        z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))     h' = n + z * (h - n)

What makes it fast: the input's share is one matrix product per block of steps, bias included
(a column of ones stands beside the input); a step computes only the clips that are still
running; the loop holds what depends on the step before and nothing else (five operations
forward, three backward); weight gradients are one product per block; buffers are used again.

A change of variable leaves out tanh, which costs three sigmoids. From here on, and in the code,
n and h are (n + 1) / 2 and (h + 1) / 2 of the above, and hn is the recurrent share of n's
argument, twice over:

    n = sigmoid(2 (W_in x + b_in) + r * hn)           h' = n + z * (h - n)
    hn = 4 W_hn h + 2 (b_hn - W_hn 1)                 W_h h + b_h becomes 2 W_h h + b_h - W_h 1

With d the gradient of the hidden state itself, 2 h' - 1, those of the gates' arguments are

    d_n = 4 d (1 - z) n (1 - n)                       d_hn = d_n r
    d_r = d_n hn / 2 r (1 - r)                        d_z = 2 d (h - n) z (1 - z)

d times factors that are known before the backward sweep, so its loop only carries d through the
recurrent weights. The constants 2, 2, 4 of r, z, n are left out of the factors and put on the
weights (``Backward.scale``).
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK_ROWS = 1024  # rows whose temporaries stay in the cache

_spare: list[Tensor] = []
"""Buffers of finished sweeps; a new one costs more than the arithmetic in it."""

_sigmoid_gradient = torch.ops.aten.sigmoid_backward  # (d, y) -> d * y * (1 - y), in one pass


class GruWeights:
    """A GRU's weights as the sweeps use them; torch's are (3H, F), (3H, H), (3H,), (3H,)."""

    def __init__(self, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> None:
        self.w_ih, self.w_hh = w_ih, w_hh
        self.hidden_size = hidden_size = w_hh.shape[1]
        rz, n = slice(0, 2 * hidden_size), slice(2 * hidden_size, None)
        b_h = b_hh - w_hh.sum(1)
        w_x = torch.cat([2 * w_ih[n], w_ih[rz]])  # for n, r, z
        b_x = torch.cat([2 * b_ih[n], b_ih[rz] + b_h[rz]])
        self.w_x = torch.cat([w_x.t(), b_x[None]])  # on x and a column of ones
        self.w_h = torch.cat([2 * w_hh[rz], 4 * w_hh[n]]).t().contiguous()  # for r, z, hn
        self.b_hn = 2 * b_h[n]


class Block(NamedTuple):
    """Some steps on end, few enough for their temporaries to stay in the cache."""

    batch_sizes: list[int]  # clips at each step
    rows: slice


class Forward:
    """The forward sweep; keeps what the backward sweep needs."""

    def __init__(self, x: Tensor, weights: GruWeights, batch_sizes: list[int]) -> None:
        self.weights, self.batch_sizes = weights, batch_sizes
        self.x = torch.cat([x, x.new_ones(len(x), 1)], 1)
        self.blocks = _blocks(batch_sizes)
        hidden_size = weights.hidden_size
        self.buffer = _take_buffer(x, len(x), 5 * hidden_size)
        self.gates = self.buffer[:, : 4 * hidden_size]  # columns: n, r, z, hn
        self.h = self.buffer[:, 4 * hidden_size :]

    def run(self) -> Tensor:
        """Return the hidden states (N, H)."""
        weights = self.weights
        states = self.x.new_empty(len(self.x), weights.hidden_size)
        last = states.new_full((self.batch_sizes[0], weights.hidden_size), 0.5)
        for block in self.blocks:
            gates, h = self.gates[block.rows], self.h[block.rows]
            torch.mm(self.x[block.rows], weights.w_x, out=gates[:, : -weights.hidden_size])
            gates[:, -weights.hidden_size :] = weights.b_hn
            last = self._steps(gates, h, last, block.batch_sizes)
            torch.mul(h, 2, out=states[block.rows]).sub_(1)
        return states

    def _steps(self, gates: Tensor, states: Tensor, h: Tensor, batch_sizes: list[int]) -> Tensor:
        """Finish a block's gates, which hold the input's share, and its states, step by step."""
        size, w_h = self.weights.hidden_size, self.weights.w_h
        parts = (gates[:, size:], gates[:, size : 3 * size], *gates.chunk(4, 1), states)
        steps = (part.split_with_sizes(batch_sizes) for part in parts)
        for recurrent, rz, n, r, z, hn, out in zip(*steps, strict=True):
            if len(out) < len(h):
                h = h[: len(out)]
            recurrent.addmm_(h, w_h)
            rz.sigmoid_()
            n.addcmul_(r, hn).sigmoid_()
            h = torch.lerp(n, h, z, out=out)
        return h

    def release(self) -> None:
        """Give the buffers back; neither sweep may run after that."""
        _spare.append(self.buffer)


class Backward:
    """The backward sweep, block by block from the last to the first."""

    def __init__(self, forward: Forward, needs_d_x: bool) -> None:
        self.forward, self.x = forward, forward.x
        self.hidden_size = hidden_size = forward.weights.hidden_size
        w_ih, w_hh = forward.weights.w_ih, forward.weights.w_hh
        self.d_x = self.x.new_empty(len(self.x), w_ih.shape[1]) if needs_d_x else None
        self.scale = w_hh.new_tensor([2.0, 2.0, 4.0]).repeat_interleave(hidden_size)[:, None]
        self.w_back, self.w_back_x = self.scale * w_hh, self.scale * w_ih
        self.carried = w_hh.new_zeros(0, hidden_size)  # into the states before the last block
        self.d_w_h = torch.zeros_like(w_hh)  # of weights on h, without the constants; likewise:
        self.d_w_x = w_ih.new_zeros(self.x.shape[1], 3 * hidden_size)  # transposed; last row: b_ih
        self.d_b_hn = w_hh.new_zeros(hidden_size)

    def run(self, d_out: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of x (if needed), w_ih, w_hh, b_ih and b_hh.

        ``d_out`` (N, H) is the gradient of the hidden states. Uses up the forward sweep.
        """
        batch_sizes, h = self.forward.batch_sizes, self.forward.h
        before = _rows_before(batch_sizes)
        for block in reversed(self.forward.blocks):
            previous = h.index_select(0, before[block.rows])
            if block.rows.start == 0:
                previous[: batch_sizes[0]] = 0.5
            self._block(block, self.forward.gates[block.rows], previous, d_out[block.rows].clone())
        self.forward.release()
        d_i = self.d_w_x.t() * self.scale
        d_w_ih, d_b_i = d_i[:, :-1], d_i[:, -1]
        d_b_h = torch.cat([d_b_i[: 2 * self.hidden_size], 4 * self.d_b_hn])
        d_w_hh = 2 * self.d_w_h * self.scale - d_b_h[:, None]
        return self.d_x, d_w_ih, d_w_hh, d_b_i, d_b_h

    def _block(self, block: Block, gates: Tensor, previous: Tensor, d: Tensor) -> None:
        """Sweep one block: its gates, h before each row, the states' gradient ``d``.

        ``previous`` and ``d`` are used up.
        """
        n, r, z, hn = gates.chunk(4, 1)
        to_n = _sigmoid_gradient(1 - z, n)
        factors = gates.new_empty(len(d), 3, self.hidden_size)
        to_r, to_z, to_hn = factors.unbind(1)
        _sigmoid_gradient(torch.mul(to_n, hn, out=to_r), r, grad_input=to_r)
        _sigmoid_gradient(torch.sub(previous, n, out=to_z), z, grad_input=to_z)
        torch.mul(to_n, r, out=to_hn)
        d[len(d) - block.batch_sizes[-1] :][: len(self.carried)] += self.carried
        self.carried = self._steps(d, factors, z, block.batch_sizes)
        self._accumulate(factors.flatten(1), to_n.mul_(d), previous, block.rows)

    def _steps(self, d: Tensor, factors: Tensor, z: Tensor, batch_sizes: list[int]) -> Tensor:
        """Turn ``d`` into the full gradients of h' and ``factors`` into the gates' gradients."""
        carried = d.new_zeros(batch_sizes[0], self.hidden_size)
        parts = (d, d.unsqueeze(1), factors, factors.flatten(1), z)
        steps = [part.split_with_sizes(batch_sizes) for part in parts]
        columns = zip((carried, *steps[0][:-1]), *steps, strict=True)
        for before, d_t, d_wide, factor, gate, z_t in reversed(list(columns)):
            factor.mul_(d_wide)
            if len(before) > len(d_t):
                before = before[: len(d_t)]
            before.addcmul_(d_t, z_t).addmm_(gate, self.w_back)
        return carried

    def _accumulate(self, recurrent: Tensor, d_n: Tensor, previous: Tensor, rows: slice) -> None:
        """Add a block's share of the weights' gradients; write the input's."""
        rz, n = slice(0, 2 * self.hidden_size), slice(2 * self.hidden_size, None)
        x_t = self.x[rows].t()
        self.d_w_h.addmm_(recurrent.t(), previous)
        self.d_w_x[:, rz].addmm_(x_t, recurrent[:, rz])
        self.d_w_x[:, n].addmm_(x_t, d_n)
        self.d_b_hn += recurrent[:, n].sum(0)
        if self.d_x is not None:
            torch.mm(recurrent[:, rz], self.w_back_x[rz], out=self.d_x[rows])
            self.d_x[rows].addmm_(d_n, self.w_back_x[n])


def _take_buffer(like: Tensor, rows: int, columns: int) -> Tensor:
    """Return an uninitialised (rows, columns) tensor, from a spare one if it fits."""
    size, inference = rows * columns, torch.is_inference_mode_enabled()
    for place, spare in enumerate(_spare):
        if spare.dtype == like.dtype and spare.is_inference() == inference:
            del _spare[place]
            if spare.untyped_storage().nbytes() >= size * spare.element_size():
                return spare.as_strided((rows, columns), (columns, 1), 0)
            break  # the larger one takes its place
    room = like.new_empty(size + size // 8)  # the next batch is a little longer, or shorter
    return room[:size].view(rows, columns)


def _blocks(batch_sizes: list[int]) -> list[Block]:
    """Cut the steps into blocks of one step, or up to BLOCK_ROWS rows."""
    blocks: list[Block] = []
    row = first = 0
    for step, rows in enumerate(accumulate(batch_sizes)):
        if step + 1 == len(batch_sizes) or rows + batch_sizes[step + 1] - row > BLOCK_ROWS:
            blocks.append(Block(batch_sizes[first : step + 1], slice(row, rows)))
            row, first = rows, step + 1
    return blocks


def _rows_before(batch_sizes: list[int]) -> Tensor:
    """Row of each row's clip one step earlier; 0 in the first step."""
    counts = torch.tensor(batch_sizes)
    earlier = torch.cat([counts[:1], counts[:-1]])
    rows = torch.arange(int(counts.sum())) - torch.repeat_interleave(earlier, counts)
    return rows.clamp_min_(0)
