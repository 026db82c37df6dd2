"""A GRU layer over packed clips on the CPU: the function of ``torch.nn.GRU``, much faster.

The clips are dealt out to threads, each of which sweeps its own clips through all steps
(:mod:`gru_sweeps`); torch's own threads would have to meet at every one of the small operations
of every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from facer.stages.intensity.gru_sweeps import Backward, Forward, GruWeights, Part

_LEAST_CLIPS = 16  # a thread; fewer are hardly faster than these

Item = TypeVar("Item")
Result = TypeVar("Result")


def packed_gru(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, sizes: Sequence[int]
) -> Tensor:
    """Hidden states (N, H) of packed inputs (N, F), from a zero state.

    ``sizes`` (L,) is the number of clips running at each step, never growing; rows are step by
    step, the clips of a step in the same order (as in ``PackedSequence``). Weights as in
    ``torch.nn.GRU``: (3H, F), (3H, H), (3H,), (3H,). One backward pass per forward pass.

    As with all of torch, results are the same to the bit for the same number of threads.
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
        weights = GruWeights(w_ih, w_hh, b_ih, b_hh)
        states = x.new_empty(len(x), weights.units)
        sweeps = [Forward(x, weights, part) for part in _parts(sizes)]
        _in_threads(lambda sweep: sweep.run(states), sweeps)
        if any(ctx.needs_input_grad):
            ctx.sweeps = sweeps
            ctx.save_for_backward(x, w_ih, w_hh, b_ih, b_hh)
        else:
            for sweep in sweeps:
                sweep.release()
        return states

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        forwards, ctx.sweeps = ctx.sweeps, None
        if forwards is None:
            raise RuntimeError("packed_gru: backward ran before, its buffers are gone")
        x, *tensors = ctx.saved_tensors
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        weights = GruWeights(*tensors)
        sweeps = [Backward(x, weights, forward, d_x) for forward in forwards]
        found = _in_threads(lambda sweep: sweep.run(gradients[0]), sweeps)
        totals = (sum(shares[1:], shares[0]) for shares in zip(*found, strict=True))
        return d_x, *totals, None


def _parts(sizes: list[int]) -> list[Part]:
    """Deal the clips out in turns, so that the parts are equally long."""
    count = max(1, min(torch.get_num_threads(), sizes[0] // _LEAST_CLIPS))
    counts = torch.tensor(sizes)
    starts = counts.cumsum(0) - counts
    clip = torch.arange(int(counts.sum())) - torch.repeat_interleave(starts, counts)
    parts = []
    for first in range(count):
        own = [(size - first + count - 1) // count for size in sizes]
        rows = torch.nonzero(clip % count == first).flatten()
        parts.append(Part(rows, [size for size in own if size > 0]))
    return parts


def _in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to each item, in one thread each, none of which uses torch's threads."""
    if len(items) == 1:
        return [function(items[0])]
    inference = torch.is_inference_mode_enabled()

    def call(item: Item) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return function(item)

    return list(_threads(len(items)).map(call, items))


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    """Threads for which torch has one thread; the caller's number of threads stays."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, "facer-gru", lambda: torch.set_num_threads(1))
    ready = [pool.submit(torch.get_num_threads) for _ in range(count)]
    for future in ready:
        future.result()
    torch.set_num_threads(before)  # set_num_threads also sets what new threads start with
    return pool
