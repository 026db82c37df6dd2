"""What workers make of cores, against the model of ``facer bench``.

    python -m benchmarks.features.scaling CLIPS [--workers 1,2,4] [--copies 8] [--precision bf16]

Pins itself to a number of cores, extracts copies of the clips with so many workers, and prints
frames/s, processor time a frame (all processes) and the rate that the model predicts from steps
measured alone on one core. Twice the copies less once the copies: start-up is left out of both.
Processor time says the same on a machine that is busy otherwise, frames/s does not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np

from benchmarks import shared
from benchmarks.shared import parser_of, repeat, scratch
from facer.pipeline.features.config import BenchConfig
from facer.pipeline.features.timing.bench import Bench, bench
from facer.pipeline.features.timing.bench_model import FrameCost, predict
from facer.storage import FeatureStore
from facer.storage.files.videos import VIDEO_SUFFIXES


def extract(folder: Path, store: Path, workers: int, precision: str) -> tuple[float, float, int]:
    """Seconds by the clock and of all processes, and frames, of one extraction."""
    shutil.rmtree(store, ignore_errors=True)
    before = getrusage(RUSAGE_CHILDREN)
    seconds = shared.extract(folder, store, "--workers", workers, "--precision", precision)
    after = getrusage(RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    frames = sum(record.n_frames for record in FeatureStore.open(store).records)
    return seconds, busy, frames


def mean_cost(benches: Sequence[Bench]) -> FrameCost:
    """What a frame of several clips costs, each clip extracted as often as the others."""
    frames = [bench.times.clip.n_frames for bench in benches]
    costs = np.array([astuple(bench.cost) for bench in benches])
    return FrameCost(*np.average(costs, axis=0, weights=frames).tolist())


def main() -> None:
    """Print a row for each number of workers."""
    parser = parser_of(__doc__, workers="1,2,4", copies=8, precision="auto")
    parser.add_argument("clips", type=Path)
    options = parser.parse_args()
    clips = [p for p in sorted(options.clips.iterdir()) if p.suffix.lower() in VIDEO_SUFFIXES]
    cores = sorted(os.sched_getaffinity(0))
    cost = mean_cost([bench(BenchConfig(clip, precision=options.precision)) for clip in clips])
    work_ms, decode_ms = cost.work_s * 1e3, cost.decode_s * 1e3
    print(f"measured on one core: {work_ms + decode_ms:.2f} ms a frame, decoding {decode_ms:.2f}")
    with scratch() as place:
        folders = [place / name for name in ("once", "twice")]
        for folder, copies in zip(folders, (options.copies, 2 * options.copies), strict=True):
            repeat(clips, copies, folder)
        for workers in map(int, options.workers.split(",")):
            used = min(workers, len(cores))
            os.sched_setaffinity(0, cores[:used])
            store = place / "features.zarr"
            once, twice = (extract(f, store, workers, options.precision) for f in folders)
            seconds, busy, frames = (b - a for a, b in zip(once, twice, strict=True))
            model = predict(cost, workers, used)
            print(
                f"{workers:3} workers on {used} cores: {frames / seconds:7.1f} frames/s, "
                f"{1e3 * busy / frames:.2f} ms of processor a frame; predicted "
                f"{model.frames_per_s:.1f} ({model.limit})"
            )


if __name__ == "__main__":
    main()
