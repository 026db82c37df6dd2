"""What many cores or GPUs would make of it, from the steps measured on one core.

Of each frame a worker's decoding process does one part, beside it, and the worker the rest; the
process that hands out parts does something for each clip. The slowest of these is the rate::

    frames/s = min(cores / (decode + work), workers / max(decode, work), 1 / driver)

What the model leaves out: memory and caches that cores share, disks, and start-up. Checked by
``benchmarks/features/scaling.py``; see docs/precision.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CORES = (1, 2, 4, 8, 16, 64)
GPUS = (1, 8)
CORES_A_GPU = 16


@dataclass(frozen=True)
class FrameCost:
    """Seconds of a core that one frame costs."""

    decode_s: float  # in the decoding process
    work_s: float  # in the worker
    networks_s: float  # of which in REC, which a GPU takes over
    driver_s: float  # in the process that hands out parts


@dataclass(frozen=True)
class Rate:
    """How many frames a second, and what keeps it from more."""

    frames_per_s: float
    limit: str  # cores, workers or driver


def predict(cost: FrameCost, workers: int, cores: int) -> Rate:
    """The rate of so many workers on so many cores.

    >>> predict(FrameCost(0.001, 0.004, 0.002, 0), 1, 2)  # its decoder has the other core
    Rate(frames_per_s=250.0, limit='workers')
    >>> predict(FrameCost(0.001, 0.004, 0.002, 0), 16, 8).limit
    'cores'
    """
    return _slowest(
        {
            "cores": cores / (cost.decode_s + cost.work_s),
            "workers": workers / max(cost.decode_s, cost.work_s),
        },
        cost,
    )


def predict_gpus(cost: FrameCost, gpus: int, cores: int) -> Rate:
    """The most that a worker a GPU can feed, with as many decoders as there are cores: REC's
    time is taken as nothing.
    """
    host_s = cost.work_s - cost.networks_s
    return _slowest({"cores": cores / (cost.decode_s + host_s), "workers": gpus / host_s}, cost)


def _slowest(bounds: Mapping[str, float], cost: FrameCost) -> Rate:
    driver = 1 / cost.driver_s if cost.driver_s else float("inf")
    rates = {**bounds, "driver": driver}
    name = min(rates, key=lambda bound: rates[bound])
    return Rate(rates[name], name)
