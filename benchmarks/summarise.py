"""A store of the size of the Hume-Reaction training set into a lab's tables.

    python -m benchmarks.summarise [--clips 12660] [--frames 300]

Prints seconds, clips a second, and the peak memory of the run against that of a tenth of the
clips: the ratio is what growing with the store costs. Reference in the same run: reading the
same arrays without measuring anything.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record


def make(path: Path, clips: int, frames: int) -> None:
    """Write a store of smooth random curves with one frame in twenty without a face."""
    rng = np.random.default_rng(0)
    store = FeatureStore.create(path, Provenance("det", "d" * 64, "rec", "r" * 64))
    for start in range(0, clips, 50):
        store.write_part([_clip(i, frames, rng) for i in range(start, min(clips, start + 50))])


def _clip(index: int, frames: int, rng: np.random.Generator) -> tuple[Record, ClipFeatures]:
    curves = np.cumsum(rng.normal(0, 0.05, (frames, len(FEATURE_NAMES))), axis=0)
    features = (1 / (1 + np.exp(-curves))).astype(np.float32)
    valid = rng.random(frames) > 0.05
    features[~valid] = np.nan
    name = f"P{index // 2:05d}_{'ab'[index % 2]}"
    record = Record(name, "ok", frames, n_valid=int(valid.sum()), fps=30.0)
    return record, ClipFeatures(
        features, np.arange(frames) / 30.0, valid, np.ones(frames, np.float32),
        np.tile(np.float32([0, 0, 90, 120]), (frames, 1)), np.ones((frames, 5, 2), np.float32),
        valid.astype(np.int16),
    )  # fmt: skip


def _summarise(store: str, output: str, queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    from facer.pipeline.summary.door import summarise_to_folder
    from facer.pipeline.summary.summarise import study
    from facer.stages.summary.config import SummaryConfig

    started = time.perf_counter()
    config = SummaryConfig(windows={"after": (2, 6)}, baseline=(0, 2))
    found = study(FeatureStore.open(store), config, "{participant}_{condition}")
    summarise_to_folder(found, Path(output), "csv")
    spent, cpu = time.perf_counter() - started, time.process_time()
    queue.put((spent, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _read(store: str) -> float:
    from facer.storage.streaming import stream

    started = time.perf_counter()
    opened = FeatureStore.open(store)
    for _ in stream(opened, opened.clip_ids):
        pass
    return time.perf_counter() - started


def measure(folder: Path, clips: int, frames: int) -> tuple[float, float, float, float]:
    """Return seconds, CPU seconds, peak MiB and seconds of reading alone, of a fresh process."""
    store = folder / f"{clips}.zarr"
    make(store, clips, frames)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_summarise, args=(str(store), f"{store}.stats", queue))
    process.start()
    seconds, cpu, peak = queue.get(timeout=3600)
    process.join()
    return seconds, cpu, peak, _read(str(store))


def main() -> None:
    """Measure the store and a tenth of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=12660)
    parser.add_argument("--frames", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, _, small, _ = measure(Path(folder), max(1, options.clips // 10), options.frames)
        seconds, cpu, peak, reading = measure(Path(folder), options.clips, options.frames)
    print(
        f"{options.clips} clips of {options.frames} frames, {len(FEATURE_NAMES)} columns: "
        f"{seconds:.1f} s ({options.clips / seconds:.0f} clips/s; {cpu:.1f} s of one core), "
        f"{seconds / reading:.1f} times "
        f"the reading alone; peak memory {peak:.0f} MiB, {peak / small:.2f} times that of a tenth"
    )


if __name__ == "__main__":
    main()
