"""Stage one over many clips: parts of work, resumable, on any executor.

Several runs may fill one store at once. They do not wait for each other: each takes its parts
in an order of its own and leaves out what another has committed by then, so that nothing is
lost, nothing counts twice, and at most the parts in flight are worked on twice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.part import (
    PartTask,
    extract_part,
    record_failure,
)
from facer.pipeline.features.pending import ClipTask, pending_clips, video_id
from facer.pipeline.features.plan import ExtractPlan, plan
from facer.pipeline.features.preflight import check_cluster, check_writing
from facer.pipeline.runtime.executors import DaskExecutor, Executor
from facer.pipeline.runtime.processes import WorkerDiedError
from facer.pipeline.runtime.progress import Progress
from facer.stages.common.cores import usual_threads
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.schema import Record, Status

_MAX_DEAD = 4  # tasks whose workers died, where none was done
_PARTS_EACH = 8  # parts of a worker at least, so that all end at about the same time


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds of the folder now."""

    store: str
    n_clips: int  # videos in the folder
    n_done_before: int
    records: tuple[Record, ...]  # of the folder's clips
    new_frames: int
    seconds: float
    statuses: tuple[Status, Status, Status]  # that clips of the store can have
    missing: tuple[str, ...] = ()  # clips without a record, which should have one by now

    @property
    def failed(self) -> tuple[Record, ...]:
        """Clips that could not be extracted."""
        return tuple(r for r in self.records if r.status == "failed")

    def to_json(self) -> dict[str, Any]:
        """As the last line of ``facer extract --json``."""
        counts = Counter(record.status for record in self.records)
        return {
            "store": self.store, "videos": self.n_clips, "done_before": self.n_done_before,
            "clips": {status: counts[status] for status in self.statuses},
            "frames": sum(record.n_frames for record in self.records),
            "new_frames": self.new_frames, "seconds": self.seconds,
            "failed": {record.clip_id: record.reason for record in self.failed},
            "missing": list(self.missing),
        }  # fmt: skip


def extract_folder(config: ExtractRunConfig, progress: Progress | None = None) -> ExtractSummary:
    """Bring every video below a folder into a store; the same call again does what is missing.

    A clip that fails is a record with its reason and the run goes on. ``FacerError`` for a
    folder without videos, a store of other provenance, a place that cannot be written, or a
    cluster that cannot do the work; what was committed by then stays.
    """
    started = perf_counter()
    progress = progress or Progress()
    with ExitStack() as at_end:
        planned = plan(config, progress, at_end)
        new_frames = run(planned, progress) if planned.pending else 0
    return summarise(planned, new_frames, perf_counter() - started)


def run(planned: ExtractPlan, progress: Progress) -> int:
    """Extract what is pending, wherever the plan's configuration says; the frames it took."""
    config, sources, executor = planned.config, planned.sources, planned.executor
    here = executor.in_process
    template = PartTask(
        planned.videos.location, planned.store.path, planned.provenance, planned.models, (),
        usual_threads() if here else 1, not here,
    )  # fmt: skip
    if isinstance(executor, DaskExecutor):
        check_cluster(
            executor, planned.videos.location, sources[0], planned.store.path, progress.note
        )
    else:
        check_writing(planned.store.path)
    progress.start(len(sources), planned.n_done_before, executor.workers)
    return _run_parts(executor, template, planned.pending, config.part_size, progress)


def summarise(planned: ExtractPlan, new_frames: int, seconds: float) -> ExtractSummary:
    """What was done, and what the store holds of the folder now."""
    store, policy = planned.store, planned.config.extract.face
    store.refresh()
    ids = {source.clip_id for source in planned.sources}
    records = tuple(r for r in store.records if video_id(r, policy) in ids)
    missing = ids - {video_id(record, policy) for record in records}
    return ExtractSummary(
        planned.config.store, len(ids), planned.n_done_before, records, new_frames, seconds,
        planned.provenance.statuses, tuple(sorted(missing)),
    )  # fmt: skip


def _run_parts(
    executor: Executor, template: PartTask, todo: Sequence[ClipTask], part_size: int,
    progress: Progress,
) -> int:  # fmt: skip
    """Do all clips; one that breaks its whole part is tried alone, then recorded as failed.

    ``FacerError`` where the workers die of whatever they are given.
    """
    size = max(1, min(part_size, -(-len(todo) // (_PARTS_EACH * executor.workers))))
    parts = [tuple(todo[start : start + size]) for start in range(0, len(todo), size)]
    random.Random().shuffle(parts)  # runs on the same store seldom meet
    function = (
        partial(extract_part, on_frames=progress.frames) if executor.in_process else extract_part
    )
    frames = n_done = n_dead = 0
    while parts:
        tasks = [replace(template, clips=clips) for clips in parts]
        parts = []
        for task, outcome in executor.map(function, tasks):
            n_dead += isinstance(outcome, WorkerDiedError)
            n_done += not isinstance(outcome, Exception)
            if n_dead >= _MAX_DEAD and not n_done:
                raise FacerError(
                    f"worker processes die of whatever they are given, {n_dead} times out of "
                    f"{n_dead}; raise the limit on their memory (of a shell, a container or a dask "
                    f"worker), then run the same command with {named('retry_failed')}"
                )
            if not isinstance(outcome, Exception):
                records, new = outcome, tuple(r for r in outcome if not r.part)
            elif len(task.clips) == 1:
                records = new = record_failure(task, outcome)
            else:  # what it finished before it broke is committed
                missing, records = pending_clips(
                    FeatureStore.open(task.store), task.clips, task.extract.face
                )
                new = records
                parts.extend((clip,) for clip in missing)
            videos = {r.source: r for r in new}  # of one or more sequences
            frames += sum(r.n_frames for r in videos.values())
            progress.part(records)
    return frames
