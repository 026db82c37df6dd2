"""What an extraction will do: which videos, into which store, by which models, where."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from facer import __version__
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.fingerprints import changed, fingerprint
from facer.pipeline.features.kinds import Models, located, on_gpu
from facer.pipeline.features.part import ModelsAsked, ModelsFound, find_models
from facer.pipeline.features.pending import ClipTask, video_id
from facer.pipeline.features.sources import Source, Videos, open_videos
from facer.pipeline.runtime.executors import Executor, make_executor
from facer.pipeline.runtime.processes import ProcessExecutor, WorkerDiedError
from facer.pipeline.runtime.progress import Progress
from facer.stages.common.cores import cpu_count
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.precision import stored_precision
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.files.regular import refuse_empty, refuse_tilde
from facer.storage.schema import Provenance, Record, networks_of
from facer.storage.study.faces import FacePoints, parse_points, read_faces
from facer.storage.text.names import some

_AHEAD_NS = 24 * 3600 * 10**9  # a time further ahead is of a wrong clock, and says nothing
_BROKE_OFF = ("ended", "could not be decoded", "damaged")  # notes on a video that was not whole


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


def plan(config: ExtractRunConfig, progress: Progress, at_end: ExitStack) -> ExtractPlan:
    """Find the videos, open or make the store, and list the clips that it lacks.

    What it starts, ``at_end`` closes.
    """
    refuse_empty(config.store)
    refuse_tilde(Path(config.store))
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
    provenance = replace(models.provenance, facer_version=__version__)
    store = FeatureStore.open_or_create(
        path, provenance, feature_names=models.columns, weak_features=models.weak_features
    )
    _tell_precision(models, asked, path, progress.note)
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
        if isinstance(outcome, WorkerDiedError):
            raise FacerError(
                f"loading the models: {outcome}; give it more memory, or use {named('workers')} 1"
            ) from outcome
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
    networks = networks_of(found.provenance.settings)
    others = [name for name, said in networks.items() if said.get("precision") == "float32"]
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
        note(
            f"{store}: in float32, as this machine has no fast bfloat16 (Intel's AMX and AMD's "
            "AVX512-BF16 are)"
        )


def _pending(
    config: ExtractRunConfig, videos: Videos, sources: Sequence[Source], store: FeatureStore,
    progress: Progress,
) -> Iterator[ClipTask]:  # fmt: skip
    """Clips without a record, and those whose record is to be replaced."""
    records = {video_id(record, config.extract.face): record for record in store.records}
    known = [(source, records[source.clip_id]) for source in sources if source.clip_id in records]
    again = _again(config, videos, known, progress)
    pointed = _pointed(config, sources, progress)
    for source in sources:
        record = records.get(source.clip_id)
        before = () if record is None else parse_points(record.face_points)
        points = before if pointed is None else pointed.get(source.clip_id, ())
        if record is None:
            yield ClipTask(source.clip_id, source.path, points=points)
        elif source.clip_id in again or (points != before and record.status != "failed"):
            yield ClipTask(source.clip_id, source.path, record.part, points)


def _again(
    config: ExtractRunConfig, videos: Videos, known: Sequence[tuple[Source, Record]],
    progress: Progress,
) -> set[str]:  # fmt: skip
    """Clips to extract again: they failed or broke off, or are other videos now."""
    other = changed(videos, known, progress.compared)
    retry = {s.clip_id for s, record in known if _unfinished(videos, s, record, other)}
    other -= retry
    if retry:
        found = _told(
            config.video_dir, sorted(retry), "video(s) that failed or broke off have changed"
        )
        progress.note(f"{found}; trying them again")
    if other:
        found = _told(config.video_dir, sorted(other), "video(s) changed since they were extracted")
        if config.changed == "error":
            way = named("changed")
            raise FacerError(f"{found}; use {way} re-extract, or {way} keep")
        kept = "their features are kept; --changed re-extract makes them anew"
        progress.note(f"{found}; {kept if config.changed == 'keep' else 'extracting them again'}")
    if config.retry_failed:
        retry |= {source.clip_id for source, record in known if record.status == "failed"}
    return retry | other if config.changed == "re-extract" else retry


def _pointed(
    config: ExtractRunConfig, sources: Sequence[Source], progress: Progress
) -> Mapping[str, FacePoints] | None:
    """Where somebody pointed at a face, by clip; None where that is not asked for."""
    if config.faces is None:
        return None
    found = read_faces(config.faces, [source.clip_id for source in sources])
    if found.unknown:
        what = f"of its clips are not in {config.video_dir}"
        progress.note(_told(config.faces, found.unknown, what))
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
    now_ns = time.time_ns()
    latest_ns = now_ns - int(config.settle_s * 1e9)
    fresh = {s.clip_id for s in sources if latest_ns < s.mtime_ns <= now_ns + _AHEAD_NS}
    if fresh:
        what = f"video(s) were written to less than {config.settle_s:g} s ago"
        found = _told(config.video_dir, sorted(fresh), what)
        progress.note(f"{found}; they are left for the next run")
    return tuple(source for source in sources if source.clip_id not in fresh)


def _tell_gone(
    config: ExtractRunConfig, sources: Sequence[Source], store: FeatureStore, progress: Progress
) -> None:
    """Name the clips of the store whose video is not in the folder, and drop them if asked to."""
    there = {source.clip_id for source in sources}
    gone = [r.clip_id for r in store.records if video_id(r, config.extract.face) not in there]
    if not gone:
        return
    if config.gone == "drop":
        store.drop_clips(gone)
    found = _told(store.path, gone, f"clip(s) have no video in {config.video_dir}")
    done = "were taken out" if config.gone == "drop" else "are kept; --gone drop takes them out"
    progress.note(f"{found}; they {done}")


def _told(place: object, clip_ids: Collection[str], what: str) -> str:
    """How many clips of a place something is true of, and the first of them."""
    return f"{place}: {len(clip_ids)} {what} ({some(clip_ids)})"
