"""Four one-thread workers against one, and what handing out work costs a clip, in one run.

    python -m benchmarks.features.cluster [--clips 480] [--tasks-clips 10000]

Both on a Dask cluster of this machine and on facer's own processes.

The stage is simulated: it sleeps 5 ms a frame, so that two cores are enough for four workers,
and then commits its part to a store as stage one does. Clips have 15 to 45 frames. The second
number is the time from handing over the tasks of so many clips, in parts of 32 as in a real
run, to having all their records, with a stage that does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared import made_clip, parser_of, scratch
from facer.pipeline.features.part import PartTask
from facer.pipeline.features.pending import ClipTask
from facer.pipeline.runtime.executors import DaskExecutor, Executor, ProcessExecutor
from facer.stages.features.config import ExtractConfig
from facer.storage import FEATURE_NAMES, FeatureStore, Provenance, Record
from facer.storage.schema import F32

FRAME_S = 0.005
PART_SIZE = 32  # of a real run
PROVENANCE = Provenance("none", "", "simulated", "")


def n_frames(clip: ClipTask) -> int:
    """Frames of a clip: 15 to 45, by its name."""
    return 15 + int(clip.clip_id) * 7919 % 31


def features(frames: int) -> F32:
    """What the simulated stage measures."""
    return np.ones((frames, len(FEATURE_NAMES)), np.float32)


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
    clips = [(r, made_clip(r.clip_id, features(r.n_frames))[1]) for r in done]
    FeatureStore.open(task.store).write_part(clips)
    return done


def tasks(store: Path, n_clips: int, part_size: int) -> list[PartTask]:
    """The tasks of a run over so many clips."""
    clips = [ClipTask(f"{index:05d}", f"train/{index:05d}.mp4") for index in range(n_clips)]
    empty = PartTask("/videos", str(store), PROVENANCE, ExtractConfig(device="cpu"), (), 1, True)
    return [
        replace(empty, clips=tuple(clips[start : start + part_size]))
        for start in range(0, n_clips, part_size)
    ]


@contextmanager
def executor_on(place: str, workers: int) -> Iterator[Executor]:
    """So many workers of one thread: ``dask`` or ``processes``."""
    if place == "processes":
        executor = ProcessExecutor(workers)
        yield executor
        executor.close()
        return
    from distributed import LocalCluster

    cluster = LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
    )
    with cluster:
        dask = DaskExecutor(cluster.scheduler_address)
        yield dask
        dask.close()


def seconds(
    place: str, workers: int, function: Callable[[Any], tuple[Record, ...]], todo: Sequence[Any]
) -> float:
    """Time of a run on so many workers, once they are there and have loaded facer."""
    with executor_on(place, workers) as executor:
        list(executor.map(records, todo[:workers]))
        start = time.perf_counter()
        n_done = sum(len(found) for _, found in executor.map(function, todo))  # type: ignore[arg-type]
        passed = time.perf_counter() - start
    assert n_done == sum(len(task.clips) for task in todo)
    return passed


def main() -> None:
    """Parse options and run."""
    options = parser_of(__doc__, clips=480, tasks_clips=10_000).parse_args()
    for place in ("dask", "processes"):
        with scratch() as folder:
            measure(place, folder / "s.zarr", options.clips, options.tasks_clips)


def measure(place: str, store: Path, n_clips: int, n_tasks_clips: int) -> None:
    """Both numbers of one place."""
    FeatureStore.create(store, PROVENANCE)
    todo = tasks(store, n_clips, part_size=8)
    one, four = (seconds(place, workers, simulated_part, todo) for workers in (1, 4))
    print(f"{place}: 1 worker {one:.1f} s, 4 workers {four:.1f} s, {len(todo)} parts: "
          f"{one / four:.2f} x (target 3.6)")  # fmt: skip
    todo = tasks(store, n_tasks_clips, PART_SIZE)
    cost = seconds(place, 4, records, todo) / n_tasks_clips
    print(f"{place}: {n_tasks_clips} clips in {len(todo)} tasks: {cost * 1e3:.3f} ms a clip "
          "for scheduling (target 2)")  # fmt: skip


if __name__ == "__main__":  # workers find the functions in a module of this name
    from benchmarks.features import cluster

    cluster.main()
