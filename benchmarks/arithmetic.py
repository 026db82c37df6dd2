"""What the cores can do at best: the yardstick of the other benchmarks."""

from __future__ import annotations

from time import perf_counter

import torch


def product_flops(dtype: torch.dtype = torch.float32, side: int = 2048) -> float:
    """Multiplications and additions a second of a large matrix product."""
    a = torch.randn(side, side).to(dtype)
    times = []
    for _ in range(5):
        started = perf_counter()
        a @ a
        times.append(perf_counter() - started)
    return 2 * side**3 / min(times)
