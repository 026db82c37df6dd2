"""Stage one over many clips: parts of work, resumable, on any executor."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

from facer import __version__
from facer.pipeline.executors import Executor, cpu_count, make_executor
from facer.stages.features.decode import find_videos
from facer.stages.features.extract import ExtractConfig, Extraction, Extractor
from facer.stages.features.rec import file_sha256
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError
from facer.storage.schema import ClipFeatures, Record, Status


@dataclass(frozen=True)
class ExtractRunConfig:
    """One ``facer extract``: which videos, into which store, how."""

    video_dir: Path  # or one video
    store: str  # local path or fsspec URL
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    workers: int | None = None  # processes; None: one per core, at most one per part
    scheduler: str | None = None  # address of a Dask scheduler, instead of workers
    part_size: int = 32  # clips per part at most
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.part_size < 1:
            raise FacerError(f"--part-size: found {self.part_size}, expected 1 or more")
        if self.workers is not None and self.workers < 1:
            raise FacerError(f"--workers: found {self.workers}, expected 1 or more")


@dataclass(frozen=True)
class PartTask:
    """A unit of work, of commit and of a Dask task: some clips of one folder."""

    video_dir: Path
    store: str
    provenance: Provenance
    extract: ExtractConfig
    clips: tuple[tuple[str, str], ...]  # (clip_id, path relative to video_dir)
    threads: int  # for the models, in the process that runs it


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did, and what the store holds of the folder now."""

    store: str
    n_clips: int  # videos in the folder
    n_done_before: int
    records: tuple[Record, ...]  # of the folder's clips
    new_frames: int
    seconds: float

    @property
    def failed(self) -> tuple[Record, ...]:
        """Clips that could not be extracted."""
        return tuple(r for r in self.records if r.status == "failed")


class Progress(Protocol):
    """Who wants to hear how a run goes."""

    def start(self, n_clips: int, n_done: int, workers: int) -> None:
        """Before the first clip."""

    def frames(self, count: int) -> None:
        """Frames were measured in this process, before their clip is committed."""

    def part(self, records: Sequence[Record]) -> None:
        """A part was committed."""


class Silent:
    """No progress."""

    def start(self, n_clips: int, n_done: int, workers: int) -> None:
        """Ignore it."""

    def frames(self, count: int) -> None:
        """Ignore it."""

    def part(self, records: Sequence[Record]) -> None:
        """Ignore it."""


def extract_folder(config: ExtractRunConfig, progress: Progress | None = None) -> ExtractSummary:
    """Bring every video below a folder into a store; the same call again does what is missing.

    A clip that fails is a record with its reason and the run goes on. ``FacerError`` for a
    folder without videos, a store of other provenance, or a place that cannot be written.
    """
    progress = progress or Silent()
    started = perf_counter()
    video_dir, videos = _videos(config.video_dir.absolute())
    extractor = load_extractor(config.extract)
    provenance = replace(extractor.provenance, facer_version=__version__)
    path = config.store if "://" in config.store else str(Path(config.store).absolute())
    store = FeatureStore.open_or_create(path, provenance, weak_features=extractor.rec.weak_features)
    known = {r.clip_id for r in store.records if not (config.retry_failed and r.status == "failed")}
    todo = [(clip, str(p.relative_to(video_dir))) for clip, p in videos if clip not in known]
    new_frames = 0
    if todo:
        workers = config.workers or min(cpu_count(), len(todo))
        executor = make_executor(workers, config.scheduler)
        try:
            threads = cpu_count() if executor.workers == 1 and not config.scheduler else 1
            template = PartTask(video_dir, path, provenance, config.extract, (), threads)
            progress.start(len(videos), len(videos) - len(todo), executor.workers)
            new_frames = _run(executor, template, todo, config.part_size, progress)
        finally:
            executor.close()
    store.refresh()
    ids = {clip for clip, _ in videos}
    records = tuple(r for r in store.records if r.clip_id in ids)
    before = len(videos) - len(todo)
    return ExtractSummary(
        config.store, len(videos), before, records, new_frames, perf_counter() - started
    )


def _videos(path: Path) -> tuple[Path, tuple[tuple[str, Path], ...]]:
    """Folder and (clip_id, path) of its videos; one video stands for itself alone."""
    if path.is_file():
        return path.parent, ((path.stem, path),)
    return path, find_videos(path)


def _run(
    executor: Executor,
    template: PartTask,
    todo: Sequence[tuple[str, str]],
    part_size: int,
    progress: Progress,
) -> int:
    """Do all clips; one that breaks its whole part is tried alone, then recorded as failed."""
    size = max(1, min(part_size, -(-len(todo) // (2 * executor.workers))))
    parts = [tuple(todo[start : start + size]) for start in range(0, len(todo), size)]
    function = (
        partial(extract_part, on_frames=progress.frames) if executor.in_process else extract_part
    )
    frames = 0
    while parts:
        tasks = [replace(template, clips=clips) for clips in parts]
        parts = []
        for task, outcome in executor.map(function, tasks):
            if isinstance(outcome, Exception) and len(task.clips) > 1:
                parts.extend((clip,) for clip in _uncommitted(task))
                continue
            records = _give_up(task, outcome) if isinstance(outcome, Exception) else outcome
            frames += sum(r.n_frames for r in records)
            progress.part(records)
    return frames


def _uncommitted(task: PartTask) -> list[tuple[str, str]]:
    done = set(FeatureStore.open(task.store).clip_ids)
    return [clip for clip in task.clips if clip[0] not in done]


def _give_up(task: PartTask, error: Exception) -> tuple[Record, ...]:
    ((clip_id, source),) = task.clips
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    record = _record(clip_id, source, task.video_dir, Extraction(None, reason))
    FeatureStore.open(task.store).write_part([(record, None)])
    return (record,)


@lru_cache(maxsize=2)
def load_extractor(config: ExtractConfig) -> Extractor:
    """The models of a configuration, loaded once per process."""
    return Extractor(config)


def extract_part(
    task: PartTask, on_frames: Callable[[int], None] | None = None
) -> tuple[Record, ...]:
    """Extract the clips of one part and commit them; runs in a worker.

    Interrupted, it commits the clips that are finished.
    """
    import cv2
    import torch

    torch.set_num_threads(task.threads)
    cv2.setNumThreads(task.threads)
    extractor = load_extractor(task.extract)
    store = FeatureStore.open_or_create(
        task.store, task.provenance, weak_features=extractor.rec.weak_features
    )
    entries: list[tuple[Record, ClipFeatures | None]] = []
    paths = [task.video_dir / source for _, source in task.clips]
    try:
        results = extractor.run(paths, on_frames)
        for (clip_id, source), result in zip(task.clips, results, strict=True):
            entries.append((_record(clip_id, source, task.video_dir, result), result.clip))
    finally:
        if entries:
            store.write_part(entries)
    return tuple(record for record, _ in entries)


def _record(clip_id: str, source: str, video_dir: Path, result: Extraction) -> Record:
    path = video_dir / source
    record = Record(
        clip_id, "failed", 0, result.reason, source=source, seconds=result.seconds,
        width_px=result.width_px, height_px=result.height_px,
    )  # fmt: skip
    with contextlib.suppress(OSError):  # unreadable: the reason says so already
        stat = path.stat()
        record = replace(record, source_size=stat.st_size, source_mtime_ns=stat.st_mtime_ns)
        record = replace(record, source_sha256=file_sha256(path))
    clip = result.clip
    if clip is None:
        return record
    n_valid = int(clip.valid.sum())
    status: Status = "ok" if n_valid else "no_face"
    return replace(
        record, status=status, n_frames=clip.n_frames, n_valid=n_valid, fps=_frame_rate(clip)
    )


def _frame_rate(clip: ClipFeatures) -> float:
    """Mean frame rate in Hz by the frames' own times; nan for fewer than two."""
    if clip.n_frames < 2:
        return float("nan")
    span = float(clip.timestamp_s[-1] - clip.timestamp_s[0])
    return (clip.n_frames - 1) / span if span > 0 else float("nan")
