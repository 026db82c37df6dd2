"""A store of the size of the Hume-Reaction training set into a lab's tables.

    python -m benchmarks.summary.summarise [--clips 12660] [--frames 300]

Prints seconds, clips a second, and the peak memory of the run against that of a tenth of the
clips: the ratio is what growing with the store costs. Reference in the same run: reading the
same arrays without measuring anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import shared
from facer.storage import FEATURE_NAMES, FeatureStore
from facer.storage.layout.parts import Entry


def make(path: Path, clips: int, frames: int) -> None:
    """Write a store of smooth random shared.curves with one frame in twenty without a face."""
    shared.write_store(path, _clips(clips, frames))


def _clips(clips: int, frames: int) -> Iterator[Entry]:
    random = np.random.default_rng(0)
    for index in range(clips):
        yield shared.made_clip(
            f"P{index // 2:05d}_{'ab'[index % 2]}", shared.curves(random, frames, 0.05),
            valid=random.random(frames) > 0.05, det_score=np.ones(frames),
            bbox_px=np.tile([0, 0, 90, 120], (frames, 1)),
        )  # fmt: skip


def _summarise(store: str, output: Path) -> None:
    from facer.pipeline.summary.output import summarise_to_folder
    from facer.pipeline.summary.summarise import study
    from facer.stages.summary.config import SummaryConfig

    config = SummaryConfig(windows={"after": (2, 6)}, baseline=(0, 2))
    found = study(FeatureStore.open(store), config, "{participant}_{condition}")
    summarise_to_folder(found, output, "csv")


def _measured(store: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MiB of this process."""
    _, (seconds, cpu) = shared.timed(_summarise, store, Path(f"{store}.stats"))
    return float(seconds), float(cpu), shared.peak_bytes() / shared.MIB


def _read(store: str) -> None:
    from facer.storage.streaming import stream

    opened = FeatureStore.open(store)
    for _ in stream(opened, opened.clip_ids):
        pass


def measure(folder: Path, clips: int, frames: int) -> tuple[float, float, float, float]:
    """Return seconds, CPU seconds, peak MiB and seconds of reading alone, of a fresh process."""
    store = folder / f"{clips}.zarr"
    make(store, clips, frames)
    return *shared.in_a_process(_measured, str(store)), float(shared.timed(_read, str(store))[1][0])


def main() -> None:
    """Measure the store and a tenth of it."""
    options = shared.parser_of(__doc__, clips=12660, frames=300).parse_args()
    with shared.scratch() as folder:
        _, _, small, _ = measure(folder, max(1, options.clips // 10), options.frames)
        seconds, cpu, peak, reading = measure(folder, options.clips, options.frames)
    print(
        f"{options.clips} clips of {options.frames} frames, {len(FEATURE_NAMES)} columns: "
        f"{seconds:.1f} s ({options.clips / seconds:.0f} clips/s; {cpu:.1f} s of one core), "
        f"{seconds / reading:.1f} times "
        f"the reading alone; peak memory {peak:.0f} MiB, {peak / small:.2f} times that of a tenth"
    )


if __name__ == "__main__":
    main()
