"""Four one-thread workers against one, and what Dask costs a clip, in one run.

    python benchmarks/cluster.py [--clips 480] [--tasks-clips 10000]

The stage is simulated: it sleeps 5 ms a frame, so that two cores are enough for four workers,
and then commits its part to a store as stage one does. Clips have 15 to 45 frames. The second
number is the time from handing over the tasks of so many clips, in parts of 32 as in a real
run, to having all their records, with a stage that does nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from facer.pipeline.executors import DaskExecutor
from facer.pipeline.part import ClipTask, PartTask
from facer.stages.features.extract import ExtractConfig
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record

FRAME_S = 0.005
PART_SIZE = 32  # of a real run
PROVENANCE = Provenance("none", "", "simulated", "")


def n_frames(clip: ClipTask) -> int:
    """Frames of a clip: 15 to 45, by its name."""
    return 15 + int(clip.clip_id) * 7919 % 31


def features(frames: int) -> ClipFeatures:
    """What the simulated stage measures."""
    ones = np.ones(frames, np.float32)
    return ClipFeatures(
        np.ones((frames, len(FEATURE_NAMES)), np.float32), np.arange(frames) / 25.0, ones > 0, ones,
        np.ones((frames, 4), np.float32), np.ones((frames, 5, 2), np.float32),
        np.ones(frames, np.int16),
    )  # fmt: skip


def records(task: PartTask) -> tuple[Record, ...]:
    """What a part returns to the driver."""
    return tuple(
        Record(clip.clip_id, "ok", n_frames(clip), source=clip.path, source_sha256="0" * 64,
               n_valid=n_frames(clip))
        for clip in task.clips
    )  # fmt: skip


def simulated_part(task: PartTask) -> tuple[Record, ...]:
    """Sleep as long as the frames take, then commit; runs in a worker."""
    for clip in task.clips:
        time.sleep(FRAME_S * n_frames(clip))
    done = records(task)
    FeatureStore.open(task.store).write_part([(r, features(r.n_frames)) for r in done])
    return done


def tasks(store: Path, n_clips: int, part_size: int) -> list[PartTask]:
    """The tasks of a run over so many clips."""
    clips = [ClipTask(f"{index:05d}", f"train/{index:05d}.mp4") for index in range(n_clips)]
    empty = PartTask("/videos", str(store), PROVENANCE, ExtractConfig(device="cpu"), (), 1, True)
    return [
        replace(empty, clips=tuple(clips[start : start + part_size]))
        for start in range(0, n_clips, part_size)
    ]


def seconds(
    workers: int, function: Callable[[PartTask], tuple[Record, ...]], todo: Sequence[PartTask]
) -> float:
    """Time of a run on so many workers, once they are there and have loaded facer."""
    executor = DaskExecutor(workers=workers)
    try:
        list(executor.map(records, todo[:workers]))
        start = time.perf_counter()
        n_done = sum(len(found) for _, found in executor.map(function, todo))
        passed = time.perf_counter() - start
    finally:
        executor.close()
    assert n_done == sum(len(task.clips) for task in todo)
    return passed


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--tasks-clips", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "s.zarr"
        FeatureStore.create(store, PROVENANCE)
        todo = tasks(store, options.clips, part_size=8)
        one, four = (seconds(workers, simulated_part, todo) for workers in (1, 4))
        print(f"1 worker {one:.1f} s, 4 workers {four:.1f} s, {len(todo)} parts: "
              f"{one / four:.2f} x (target 3.6)")  # fmt: skip
        todo = tasks(store, options.tasks_clips, PART_SIZE)
        cost = seconds(4, records, todo) / options.tasks_clips
        print(f"{options.tasks_clips} clips in {len(todo)} tasks: {cost * 1e3:.3f} ms a clip "
              "for scheduling (target 2)")  # fmt: skip


if __name__ == "__main__":
    main()
