"""Stage one over many clips: parts of work, resumable, on any executor.

Several runs may fill one store at once. They do not wait for each other: each takes its parts
in an order of its own and leaves out what another has committed by then, so that nothing is
lost, nothing counts twice, and at most the parts in flight are worked on twice.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from facer import __version__
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.kinds import Models, located, on_gpu
from facer.pipeline.features.part import (
    ModelsAsked,
    ModelsFound,
    PartTask,
    extract_part,
    find_models,
    record_failure,
)
from facer.pipeline.features.pending import ClipTask, pending_clips, video_id
from facer.pipeline.features.preflight import check_cluster
from facer.pipeline.features.sources import Source, Videos, changed, fingerprint, open_videos
from facer.pipeline.runtime.executors import DaskExecutor, Executor, cpu_count, make_executor
from facer.pipeline.runtime.processes import ProcessExecutor
from facer.pipeline.runtime.progress import NullProgress, Progress
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.precision import stored_precision
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import Provenance, Record, Status
from facer.storage.study.faces import FacePoints, parse_points, read_faces

_PARTS_EACH = 8  # parts of a worker at least, so that all end at about the same time
_NAMED = 3  # clips named in a message about many
_BROKE_OFF = ("ended", "could not be decoded", "damaged")  # notes on a video that was not whole


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
            "store": self.store,
            "videos": self.n_clips,
            "done_before": self.n_done_before,
            "clips": {status: counts[status] for status in self.statuses},
            "frames": sum(record.n_frames for record in self.records),
            "new_frames": self.new_frames,
            "seconds": self.seconds,
            "failed": {record.clip_id: record.reason for record in self.failed},
            "missing": list(self.missing),
        }


@dataclass(frozen=True)
class ExtractPlan:
    """What a run will do, settled before the first frame is decoded."""

    config: ExtractRunConfig
    videos: Videos
    sources: tuple[Source, ...]
    store: FeatureStore
    provenance: Provenance  # of this run: its facer may be another one than the store's first
    pending: tuple[ClipTask, ...]
    models: Models
    executor: Executor

    @property
    def n_done_before(self) -> int:
        """Videos that the store has already."""
        return len(self.sources) - len(self.pending)


def extract_folder(config: ExtractRunConfig, progress: Progress | None = None) -> ExtractSummary:
    """Bring every video below a folder into a store; the same call again does what is missing.

    A clip that fails is a record with its reason and the run goes on. ``FacerError`` for a
    folder without videos, a store of other provenance, a place that cannot be written, or a
    cluster that cannot do the work; what was committed by then stays.
    """
    started = perf_counter()
    progress = progress or NullProgress()
    with ExitStack() as at_end:
        planned = plan(config, progress, at_end)
        new_frames = run(planned, progress) if planned.pending else 0
    return summarise(planned, new_frames, perf_counter() - started)


def plan(config: ExtractRunConfig, progress: Progress, at_end: ExitStack) -> ExtractPlan:
    """Find the videos, open or make the store, and list the clips that it lacks.

    What it starts, ``at_end`` closes.
    """
    videos = open_videos(config.video_dir, isinstance(config.extract, AudioConfig))
    found = videos.find(progress.note)
    sources = _settled(config, found, progress)
    path = config.store if "://" in config.store else str(Path(config.store).absolute())
    made: FeatureStore | None = None
    with suppress(FacerError):  # there is none, or opening it again says what is wrong with it
        made = FeatureStore.open(path)
    precision = None if made is None else stored_precision(made.provenance)
    asked = ModelsAsked(located(config.extract, cluster=config.scheduler is not None), precision)
    ahead = _workers_ahead(config, len(sources)) if made is None else None
    if ahead is not None:
        at_end.callback(ahead.close)
    models = _find(asked, ahead)
    _tell_precision(models, asked, path, progress.note)
    provenance = replace(models.provenance, facer_version=__version__)
    store = FeatureStore.open_or_create(
        path, provenance, feature_names=models.columns, weak_features=models.weak_features
    )
    if not videos.single:
        _tell_gone(config, found, store, progress)
    pending = tuple(_pending(config, videos, sources, store, progress))
    workers = config.workers or max(1, min(usual_workers(config), len(pending)))
    executor: Executor
    if ahead is not None:
        executor, ahead.workers = ahead, workers
    else:
        scheduler = config.scheduler if pending else None  # with nothing to do none is asked
        executor = make_executor(workers, scheduler, progress.note, config.tls)
        at_end.callback(executor.close)
    return ExtractPlan(config, videos, sources, store, provenance, pending, models.models, executor)


def run(planned: ExtractPlan, progress: Progress) -> int:
    """Extract what is pending, wherever the plan's configuration says; the frames it took."""
    config, sources, executor = planned.config, planned.sources, planned.executor
    here = executor.in_process
    template = PartTask(
        planned.videos.location, planned.store.path, planned.provenance, planned.models, (),
        cpu_count() if here else 1, not here,
    )  # fmt: skip
    if isinstance(executor, DaskExecutor):
        check_cluster(
            executor, planned.videos.location, sources[0], planned.store.path, progress.note
        )
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


def _workers_ahead(config: ExtractRunConfig, n_clips: int) -> ProcessExecutor | None:
    """Processes of this machine for so many new clips, to load their models while the rest is
    planned; None where one process does it, or others do.
    """
    if config.scheduler is not None or on_gpu(config.extract):
        return None
    workers = min(config.workers or cpu_count(), n_clips)
    return ProcessExecutor(workers) if workers > 1 else None


def _find(asked: ModelsAsked, ahead: ProcessExecutor | None) -> ModelsFound:
    """What the models are, as this process finds when it loads them, or each of several."""
    if ahead is None:
        return find_models(asked)
    found = [outcome for _, outcome in ahead.map(find_models, [asked] * ahead.workers)]
    for outcome in found:
        if isinstance(outcome, Exception):
            raise outcome
    return cast(ModelsFound, found[0])


def usual_workers(config: ExtractRunConfig) -> int:
    """One process a core, or one a GPU, which several decoding processes feed."""
    if config.scheduler is not None or not on_gpu(config.extract):
        return cpu_count()
    import torch

    return 1 if ":" in config.extract.device else torch.cuda.device_count()


def _tell_precision(
    found: ModelsFound, asked: ModelsAsked, store: str, note: Callable[[str], None]
) -> None:
    """Say so where this machine has no fast bfloat16, and it is used or would have been."""
    if isinstance(asked.models, AudioConfig) or isinstance(found.models, AudioConfig):
        return
    settings = found.provenance.settings  # it names the networks that are in another precision
    others = [
        key.split()[1] for key, of in settings.items() if (key[:4], of) == ("rec ", "float32")
    ]
    if found.models.precision == "bf16" and others:
        note(
            f"{store}: {', '.join(others)} in float32, as an ONNX network always is; facer's own "
            "networks in bfloat16"
        )
    if found.native_bf16:
        return
    if found.models.precision == "bf16":
        note(f"{store}: in bfloat16, which this machine has to emulate: slower than float32")
    elif asked.models.precision == "auto" and asked.made is None:
        note(f"{store}: in float32, as this machine has no fast bfloat16 (a CPU with AMX does)")


def _pending(
    config: ExtractRunConfig,
    videos: Videos,
    sources: Sequence[Source],
    store: FeatureStore,
    progress: Progress,
) -> Iterator[ClipTask]:
    """Clips without a record, and those whose record is to be replaced."""
    records = {video_id(record, config.extract.face): record for record in store.records}
    known = [(source, records[source.clip_id]) for source in sources if source.clip_id in records]
    other = changed(videos, known, progress.compared)
    retry = {s.clip_id for s, record in known if _unfinished(videos, s, record, other)}
    other -= retry
    if retry:
        progress.note(
            f"{config.video_dir}: {len(retry)} video(s) that failed or broke off have changed "
            f"({_names(sorted(retry))}); trying them again"
        )
    if other:
        _tell_changed(config, sorted(other), progress)
    if config.retry_failed:
        retry |= {source.clip_id for source, record in known if record.status == "failed"}
    pointed = _pointed(config, sources, progress)
    for source in sources:
        clip_id, record = source.clip_id, records.get(source.clip_id)
        before = () if record is None else parse_points(record.face_points)
        points = before if pointed is None else pointed.get(clip_id, ())
        if record is None:
            yield ClipTask(clip_id, source.path, points=points)
        elif clip_id in retry:
            yield ClipTask(clip_id, source.path, "retry", record.part, points)
        elif clip_id in other and config.changed == "re-extract":
            yield ClipTask(clip_id, source.path, "changed", record.part, points)
        elif points != before and record.status != "failed":
            yield ClipTask(clip_id, source.path, "pointed", record.part, points)


def _pointed(
    config: ExtractRunConfig, sources: Sequence[Source], progress: Progress
) -> Mapping[str, FacePoints] | None:
    """Where somebody pointed at a face, by clip; None where that is not asked for."""
    if config.faces is None:
        return None
    found = read_faces(config.faces, [source.clip_id for source in sources])
    if found.unknown:
        progress.note(
            f"{config.faces}: {len(found.unknown)} of its clips are not in {config.video_dir} "
            f"({_names(found.unknown)})"
        )
    return found.points


def _unfinished(videos: Videos, source: Source, record: Record, other: Collection[str]) -> bool:
    """Whether a video failed or broke off, and is another one now or can be read by now."""
    if record.status == "failed" and not record.source_sha256:  # it could not be read
        return fingerprint(videos, source.path) is not None
    broke_off = record.status == "failed" or any(note in record.reason for note in _BROKE_OFF)
    return broke_off and source.clip_id in other


def _settled(
    config: ExtractRunConfig, sources: tuple[Source, ...], progress: Progress
) -> tuple[Source, ...]:
    """The videos that nobody has written to for ``settle_s``, by their time of change."""
    if not config.settle_s:
        return sources
    latest_ns = time.time_ns() - int(config.settle_s * 1e9)
    fresh = [source.clip_id for source in sources if source.mtime_ns > latest_ns]
    if fresh:
        progress.note(
            f"{config.video_dir}: {len(fresh)} video(s) were written to less than "
            f"{config.settle_s:g} s ago ({_names(fresh)}); they are left for the next run"
        )
    return tuple(source for source in sources if source.mtime_ns <= latest_ns)


def _tell_gone(
    config: ExtractRunConfig, sources: Sequence[Source], store: FeatureStore, progress: Progress
) -> None:
    """Name the clips of the store whose video is not in the folder, and drop them if asked to."""
    there = {source.clip_id for source in sources}
    gone = [r.clip_id for r in store.records if video_id(r, config.extract.face) not in there]
    if not gone:
        return
    what = "are kept; --gone drop takes them out"
    if config.gone == "drop":
        store.drop_clips(gone)
        what = "were taken out"
    progress.note(
        f"{store.path}: {len(gone)} clip(s) have no video in {config.video_dir} "
        f"({_names(gone)}); they {what}"
    )


def _names(clip_ids: Sequence[str]) -> str:
    return ", ".join(clip_ids[:_NAMED]) + (", ..." if len(clip_ids) > _NAMED else "")


def _tell_changed(config: ExtractRunConfig, clip_ids: Sequence[str], progress: Progress) -> None:
    names = _names(clip_ids)
    text = (
        f"{config.video_dir}: {len(clip_ids)} video(s) changed since they were extracted ({names})"
    )
    if config.changed == "error":
        raise FacerError(f"{text}; use --changed re-extract, or --changed keep")
    keep = "their features are kept; --changed re-extract makes them anew"
    progress.note(f"{text}; {'extracting them again' if config.changed == 're-extract' else keep}")


def _run_parts(
    executor: Executor,
    template: PartTask,
    todo: Sequence[ClipTask],
    part_size: int,
    progress: Progress,
) -> int:
    """Do all clips; one that breaks its whole part is tried alone, then recorded as failed."""
    size = max(1, min(part_size, -(-len(todo) // (_PARTS_EACH * executor.workers))))
    parts = [tuple(todo[start : start + size]) for start in range(0, len(todo), size)]
    random.Random().shuffle(parts)  # runs on the same store seldom meet
    function = (
        partial(extract_part, on_frames=progress.frames) if executor.in_process else extract_part
    )
    frames = 0
    while parts:
        tasks = [replace(template, clips=clips) for clips in parts]
        parts = []
        for task, outcome in executor.map(function, tasks):
            if isinstance(outcome, Exception) and len(task.clips) > 1:
                missing, _ = pending_clips(
                    FeatureStore.open(task.store), task.clips, task.extract.face
                )
                parts.extend((clip,) for clip in missing)
                continue
            records = record_failure(task, outcome) if isinstance(outcome, Exception) else outcome
            videos = {r.source: r for r in records if not r.part}  # of one or more sequences
            frames += sum(r.n_frames for r in videos.values())
            progress.part(records)
    return frames
