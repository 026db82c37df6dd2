"""One part: clips are extracted and committed together, in whichever process runs this.

What takes long to import is imported where models are loaded: the process that hands parts out
needs none of it, and a worker has its decoding process started before.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

from facer import __version__
from facer.pipeline.features.entries import entries_of, sequences_before
from facer.pipeline.features.fingerprints import Reading, fingerprint
from facer.pipeline.features.guarded.guard import start_ahead
from facer.pipeline.features.kinds import (
    AnyExtractor,
    Models,
    decided,
    make_extractor,
    model_files,
    opener,
)
from facer.pipeline.features.pending import ClipTask, pending_clips
from facer.pipeline.features.sources import open_videos
from facer.pipeline.runtime.gpus import take_one_gpu
from facer.stages.common.threads import on_threads
from facer.stages.features.config import Precision
from facer.stages.features.extraction import Extraction
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError, PlaceError
from facer.storage.layout.parts import Entry
from facer.storage.root import provenance_differences
from facer.storage.schema import Record, network_setting, networks_of

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
            with _told_with_host():
                extractor, store = self._models(task), self._store(task)
            store.refresh()
        with on_threads(task.threads):
            return _extracted(task, extractor, store, on_frames)

    def _models(self, task: PartTask) -> AnyExtractor:
        """The task's extractor; ``FacerError`` when facer or its weights are not the run's."""
        expected_facer = task.provenance.facer_version or __version__
        if expected_facer != __version__:
            raise FacerError(
                f"found facer {__version__}, expected {expected_facer}; install it there and start "
                "the worker again"
            )
        if task.shares_gpus and task.extract.device in ("auto", "cuda"):
            take_one_gpu()
        extractor = self.extractor(task.extract)
        found, expected = _digests(extractor.provenance), _digests(task.provenance)
        if found != expected:
            raise FacerError(
                f"found {_listed(found)}, expected {_listed(expected)}; give all hosts the same "
                "files"
            )
        return extractor

    def _store(self, task: PartTask) -> FeatureStore:
        """The task's store; its list of clips is that of the last part until it is refreshed.

        It is never made here: a host that does not see the run's store would fill one of its own.
        """
        try:
            now = FeatureStore.open(task.store)
        except FacerError as error:
            raise FacerError(
                f"the run's store cannot be read there ({error}); give a path that all hosts "
                "share, or a URL"
            ) from error
        run, made = task.provenance, now.root.provenance
        if provenance_differences(made, run):
            raise FacerError(
                f"{task.store}: found another store than the run's; give a path that all hosts "
                "share"
            )
        known = self._stores.get(task.store)
        if known is None or known.root != now.root:
            known = self._stores[task.store] = now
        return known


@contextmanager
def _told_with_host() -> Iterator[None]:
    """Name this host in front of what is wrong with it."""
    try:
        yield
    except FacerError as error:
        raise FacerError(f"host {socket.gethostname()}: {error.marked}") from error


def _extracted(
    task: PartTask,
    extractor: AnyExtractor,
    store: FeatureStore,
    on_frames: Callable[[int], None] | None,
) -> tuple[Record, ...]:
    """Records of the task's clips, all of them committed."""
    policy = task.extract.face
    clips, committed = pending_clips(store, task.clips, policy)
    reading = Reading(open_videos(task.video_dir), opener(task.extract))
    entries: list[Entry] = []
    before = sequences_before(store, policy)
    try:
        points = {place: clip.points for place, clip in enumerate(clips) if clip.points}
        paths = [Path(clip.path) for clip in clips]
        results = extractor.run(paths, on_frames, reading.open, points)
        for clip, result in zip(clips, results, strict=True):
            source = reading.fingerprints.get(clip.path)
            entries.extend(entries_of(clip, result, source, policy, store, before))
    except PlaceError as error:
        host = f"host {socket.gethostname()}: " if task.shares_gpus else ""
        text = f"{host}{error}; run the same command again when that is mended"
        raise FacerError(text) from error
    finally:
        if entries:
            store.write_part(entries)
    return (*committed, *(record for record, _ in entries))


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
    policy = task.extract.face
    before = sequences_before(store, policy)
    entries = entries_of(clip, Extraction((), reason), source, policy, store, before)
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
    if provenance.of_sound:
        return {f"features {provenance.rec}": provenance.rec_sha256}
    return {
        f"detector {provenance.detector}": provenance.detector_sha256,
        f"REC {provenance.rec}": provenance.rec_sha256,
        "points model": str(provenance.settings.get("points_sha256", "none")),
        **{
            network_setting(name, what): value
            for name, said in networks_of(provenance.settings).items()
            for what, value in said.items()
            if what != "precision"
        },
    }


def _listed(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:12]})" for name, digest in digests.items())
