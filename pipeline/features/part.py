"""One part: clips are extracted and committed together, in whichever process runs this.

What takes long to import is imported where models are loaded: the process that hands parts out
needs none of it, and a worker has its decoding process started before.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

import numpy as np

from facer import __version__
from facer.pipeline.features.guarded.guard import start_ahead
from facer.pipeline.features.kinds import (
    AnyExtractor,
    Models,
    decided,
    make_extractor,
    model_files,
    opener,
)
from facer.pipeline.features.pending import ClipTask, pending_clips, video_id
from facer.pipeline.features.sources import Fingerprint, Reading, fingerprint, open_videos
from facer.pipeline.runtime.gpus import take_one_gpu
from facer.stages.features.config import Precision
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError, PlaceError
from facer.storage.parts import Entry
from facer.storage.schema import F32, Record, Status, mean_rate_hz
from facer.storage.study.faces import points_text

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@dataclass(frozen=True)
class PartTask:
    """A unit of work, of commit and of a Dask task."""

    video_dir: str
    store: str
    provenance: Provenance
    extract: Models
    clips: tuple[ClipTask, ...]
    threads: int  # for the models, in the process that runs it
    shares_gpus: bool  # it runs in one of several processes that share a host's GPUs out


@dataclass(frozen=True)
class ModelsAsked:
    """Models that are to be loaded, for a store that may be there already."""

    models: Models
    made: Precision | None  # what the store was made in; None for a new one


@dataclass(frozen=True)
class ModelsFound:
    """What models are called and give."""

    models: Models  # as they were asked for, their precision decided
    native_bf16: bool  # here
    provenance: Provenance
    columns: tuple[str, ...]
    weak_features: tuple[str, ...]


class PartWorker:
    """What a process keeps from part to part: models, and stores with their lists of clips."""

    def __init__(self) -> None:
        _keep_freed_memory()
        start_ahead()
        self._loaded = lru_cache(maxsize=2)(lambda models, _: make_extractor(models))
        self._stores: dict[str, FeatureStore] = {}
        self._loading = Lock()  # tasks of a worker with several threads share the models

    def extractor(self, config: Models) -> AnyExtractor:
        """The models of a configuration, loaded again where one of their files has changed."""
        return self._loaded(config, model_files(config))

    def extract(
        self, task: PartTask, on_frames: Callable[[int], None] | None = None
    ) -> tuple[Record, ...]:
        """See :func:`extract_part`."""
        with self._loading:
            extractor = self._models(task)
            store = self._store(task)
        _use_threads(task.threads)
        policy = task.extract.face
        clips, committed = pending_clips(store, task.clips, policy)
        reading = Reading(open_videos(task.video_dir), opener(task.extract))
        entries: list[Entry] = []
        try:
            points = {place: clip.points for place, clip in enumerate(clips) if clip.points}
            paths = [Path(clip.path) for clip in clips]
            results = extractor.run(paths, on_frames, reading.open, points)
            for clip, result in zip(clips, results, strict=True):
                source = reading.fingerprints.get(clip.path)
                entries.extend(_entries(clip, result, source, policy, store))
        except PlaceError as error:
            host = f"host {socket.gethostname()}: " if task.shares_gpus else ""
            text = f"{host}{error}; run the same command again when that is mended"
            raise FacerError(text) from error
        finally:
            if entries:
                store.write_part(entries)
        return (*committed, *(record for record, _ in entries))

    def _models(self, task: PartTask) -> AnyExtractor:
        """The task's extractor; ``FacerError`` when facer or its weights are not the run's."""
        host = f"host {socket.gethostname()}"
        expected_facer = task.provenance.facer_version or __version__
        if expected_facer != __version__:
            raise FacerError(
                f"{host}: found facer {__version__}, expected {expected_facer}; install it there "
                "and start the worker again"
            )
        try:
            if task.shares_gpus and task.extract.device in ("auto", "cuda"):
                take_one_gpu()
            extractor = self.extractor(task.extract)
        except FacerError as error:
            raise FacerError(f"{host}: {error}") from error
        found, expected = _digests(extractor.provenance), _digests(task.provenance)
        if found != expected:
            raise FacerError(
                f"{host}: found {_listed(found)}, expected {_listed(expected)}; "
                "give all hosts the same files"
            )
        return extractor

    def _store(self, task: PartTask) -> FeatureStore:
        """The store with its list of clips as it is now; only new parts are read.

        It is never made here: a host that does not see the run's store would fill one of its own.
        """
        host = f"host {socket.gethostname()}"
        try:
            now = FeatureStore.open(task.store)
        except FacerError as error:
            raise FacerError(
                f"{host}: the run's store cannot be read there ({error}); give a path that all "
                "hosts share, or a URL"
            ) from error
        run, made = task.provenance, now.root.provenance
        if replace(made, facer_version=run.facer_version, libav_version=run.libav_version) != run:
            raise FacerError(
                f"{host}: {task.store}: found another store than the run's; give a path that all "
                "hosts share"
            )
        known = self._stores.get(task.store)
        if known is None or known.root != now.root:
            known = self._stores[task.store] = now
        known.refresh()
        return known


def _use_threads(count: int) -> None:
    import cv2

    cv2.setNumThreads(count)
    if torch := sys.modules.get("torch"):  # absent where no model runs on it
        torch.set_num_threads(count)


@cache
def process_worker() -> PartWorker:
    """The one of this process."""
    return PartWorker()


def load_extractor(config: Models) -> AnyExtractor:
    """The models of a configuration, loaded once per process."""
    return process_worker().extractor(config)


def find_models(asked: ModelsAsked) -> ModelsFound:
    """Load models, on the CPU, and say what they are."""
    worker = process_worker()  # first: its decoding process starts meanwhile
    models, native = decided(asked.models, asked.made)
    extractor = worker.extractor(replace(models, device="cpu"))
    return ModelsFound(
        models, native, extractor.provenance, extractor.columns, extractor.weak_features
    )


def extract_part(
    task: PartTask, on_frames: Callable[[int], None] | None = None
) -> tuple[Record, ...]:
    """Extract the clips of one part and commit them; runs in a worker.

    Clips that another run has committed by now are left as they are. Interrupted, it commits
    the clips that are finished.
    """
    return process_worker().extract(task, on_frames)


def record_failure(task: PartTask, error: Exception) -> tuple[Record, ...]:
    """Commit a record that says why the only clip of a task failed."""
    (clip,) = task.clips
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    source = fingerprint(open_videos(task.video_dir), clip.path)
    store = FeatureStore.open(task.store)
    entries = _entries(clip, Extraction((), reason), source, task.extract.face, store)
    store.write_part(entries)
    return tuple(record for record, _ in entries)


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of one batch for the next.

    Dask's workers start with a setting that gives every freed array back to the system, which
    then clears its pages anew: a third of the time of an extraction.
    """
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)  # as large as it may be
        mallopt(_M_TRIM_THRESHOLD, 256 << 20)


def _digests(provenance: Provenance) -> dict[str, str]:
    """SHA-256 of each model's file and of what each card says, by the model's name."""
    settings = provenance.settings
    if provenance.of_sound:
        return {f"features {provenance.rec}": provenance.rec_sha256}
    return {
        f"detector {provenance.detector}": provenance.detector_sha256,
        f"REC {provenance.rec}": provenance.rec_sha256,
        "points model": str(settings.get("points_sha256", "none")),
        **{name: str(value) for name, value in settings.items() if _is_digest(name)},
    }


def _is_digest(setting: str) -> bool:
    """Whether a setting is of one network among several: ``rec NAME sha256``, ``card_sha256``."""
    return setting.startswith("rec ") and setting.endswith("sha256")


def _listed(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:12]})" for name, digest in digests.items())


def _entries(
    clip: ClipTask,
    result: Extraction,
    source: Fingerprint | None,
    policy: str,
    store: FeatureStore,
) -> list[Entry]:
    """What the store gets of one video: a record a sequence, or one that says why there is none.

    Sequences that the store has of it from before and that are not found again are replaced by
    ones without a face.
    """
    record = Record(
        clip.clip_id, "failed", 0, result.reason, source=clip.path, seconds=result.seconds,
        width_px=result.width_px, height_px=result.height_px, face_points=points_text(clip.points),
    )  # fmt: skip
    if source is not None:
        record = replace(
            record, source_size=source.size, source_mtime_ns=source.mtime_ns,
            source_sha256=source.sha256,
        )  # fmt: skip
    if policy != "all":
        return [_entry(record, next(iter(result.sequences), None), store)]
    before = sum(video_id(known, policy) == clip.clip_id for known in store.records)
    sequences: list[ClipSequence | None] = [*result.sequences] or [None]
    gone = _without_face(sequences[0])
    sequences += [gone] * (before - len(sequences))
    return [
        _entry(replace(record, clip_id=f"{clip.clip_id}#{number}"), sequence, store)
        for number, sequence in enumerate(sequences)
    ]


def _entry(record: Record, sequence: ClipSequence | None, store: FeatureStore) -> Entry:
    if sequence is None:
        return record, None
    _, empty, _ = store.provenance.statuses
    return _described(record, sequence, empty), sequence.clip


def _without_face(sequence: ClipSequence | None) -> ClipSequence | None:
    """The same frames, with no face measured in them."""
    if sequence is None:
        return None
    clip = sequence.clip
    arrays = ("features", "det_score", "bbox_px", "keypoints_px", "embedding", "quality")
    values = {name: getattr(clip, name) for name in arrays}
    empty = {k: np.full_like(v, np.nan) for k, v in values.items() if v is not None}
    return ClipSequence(replace(clip, valid=np.zeros_like(clip.valid), **empty), 0)


def _described(record: Record, sequence: ClipSequence, empty: Status) -> Record:
    clip = sequence.clip
    n_valid = int(clip.valid.sum())
    return replace(
        record,
        status="ok" if n_valid else empty,
        n_frames=clip.n_frames,
        n_valid=n_valid,
        fps=mean_rate_hz(clip.timestamp_s),
        track_switches=sequence.track_switches,
        quality=_mean(clip.quality),
    )


def _mean(quality: F32 | None) -> float | None:
    """Of the frames with a face."""
    if quality is None or np.isnan(quality).all():
        return None
    return round(float(np.nanmean(quality.astype(np.float64))), 4)
