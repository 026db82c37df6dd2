"""What the cores can do at best: the yardstick of the other benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch


def product_flops(
    dtype: torch.dtype = torch.float32,
    side: int = 2048,
    clock: Callable[[], float] = perf_counter,
) -> float:
    """Multiplications and additions a second, of ``clock``, of a large matrix product."""
    a = torch.randn(side, side).to(dtype)
    times = []
    for _ in range(5):
        started = clock()
        a @ a
        times.append(clock() - started)
    return 2 * side**3 / min(times)
