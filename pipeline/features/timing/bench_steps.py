"""Where the time of extraction goes, on one thread of the CPU.

Decoding and REC are timed inside a run of the extractor, aligning and writing afterwards on
what that run gave; finding and following faces is the rest of the run. Times, but for
writing, are what the processor was busy for: a process of its own decodes beside the rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.features.part import PartTask
from facer.pipeline.features.pending import ClipTask
from facer.pipeline.runtime.children import dumps, loads
from facer.stages.common.threads import on_threads
from facer.stages.features.align import align
from facer.stages.features.config import ExtractConfig, Precision
from facer.stages.features.decode.frames import Frame
from facer.stages.features.extractor import Extractor
from facer.stages.features.precision import usual_precision
from facer.stages.features.rec.recognisers import Recognisers
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import F32, U8, ClipFeatures, Record

STEPS = ("decode", "detect", "align", "rec", "write")

_REPEATS = 20  # of a short video, at most
_PART_SIZE = 32  # clips of the part that is written


@dataclass(frozen=True)
class StepTimes:
    """Milliseconds a frame by step, measured on ``frames`` frames of one video."""

    ms_per_frame: dict[str, float]  # of each of STEPS
    beside_ms: float  # of decoding, what a process of its own does
    driver_ms: float  # what the process that hands out parts does for a clip
    frames: int
    clip: ClipFeatures  # what the video gave, as far as it was read
    width_px: int
    height_px: int
    precision: Precision  # of the networks


def measure_steps(video: Path, limit_s: float, precision: Precision) -> StepTimes:
    """Time facer's defaults on a video, which is read again and again for up to ``limit_s``.

    ``auto`` is what a new store would be made in here.

    ``FacerError`` when it cannot be decoded.
    """
    with on_threads(1):
        precision = usual_precision("cpu") if precision == "auto" else precision
        extractor = Extractor(ExtractConfig(device="cpu", precision=precision), threads=1)
        _Run(extractor, [video], limit_s)  # oneDNN prepares for every number of frames it meets
        run = _Run(extractor, [video] * _REPEATS, limit_s)
        align_s = _align_seconds(video, run.clip) * run.rec.n_faces
        write_s = write_seconds(extractor, run.clip)
    detect_s = max(0.0, run.seconds - run.fetch_s - run.rec.seconds - align_s)
    seconds = (run.decode_s + run.fetch_s, detect_s, align_s, run.rec.seconds)
    times = [1e3 * s / run.frames for s in seconds]
    by_step = dict(zip(STEPS, (*times, 1e3 * write_s), strict=True))
    return StepTimes(
        by_step, 1e3 * run.decode_s / run.frames, 1e3 * driver_seconds(extractor, run.clip),
        run.frames, run.clip, run.width_px, run.height_px, precision,
    )  # fmt: skip


class _Run:
    """One run of an extractor over videos, with watches on decoding and REC."""

    def __init__(self, extractor: Extractor, videos: Sequence[Path], limit_s: float) -> None:
        self.decode_s = self.fetch_s = 0.0  # in all, and in this process
        self.rec = _TimedRec(extractor.rec)
        self._limit_s, self._deadline = limit_s, float("inf")
        started = process_time()
        plain, extractor.rec = extractor.rec, self.rec
        try:
            results = list(extractor.run(videos, open_video=self._open))
        finally:
            extractor.rec = plain
        self.seconds = process_time() - started
        if not results[0].sequences:
            raise FacerError(results[0].reason)
        clips = [s.clip for result in results for s in result.sequences]
        self.clip = clips[0]
        self.frames = sum(clip.n_frames for clip in clips)
        self.width_px, self.height_px = results[0].width_px, results[0].height_px

    @contextmanager
    def _open(self, path: Path, stride: int) -> Iterator[_TimedVideo]:
        with GuardedReader(path, stride) as reader:
            yield _TimedVideo(self, reader)
        self.decode_s += reader.cpu_s

    def frames_of(self, reader: GuardedReader) -> Iterator[Frame]:
        """The frames of an open video, until the time is up."""
        frames = iter(reader)
        while perf_counter() < self._deadline:
            started = process_time()
            frame = next(frames, None)
            self.fetch_s += process_time() - started
            if frame is None:
                return
            if self._deadline == float("inf"):  # the decoding process has started by now
                self._deadline = perf_counter() + self._limit_s
            yield frame


@dataclass
class _TimedVideo:
    run: _Run
    reader: GuardedReader
    problem: str = ""

    def __iter__(self) -> Iterator[Frame]:
        yield from self.run.frames_of(self.reader)
        self.problem = self.reader.problem


class _TimedRec(Recognisers):
    """Recognisers that count their crops and their time."""

    def __init__(self, model: Recognisers) -> None:
        super().__init__(model.members)
        self.seconds, self.n_faces = 0.0, 0

    def predict(self, crops: Sequence[U8]) -> F32:
        """As :meth:`Recognisers.predict`."""
        started = process_time()
        features = super().predict(crops)
        self.seconds += process_time() - started
        self.n_faces += len(crops[0])
        return features


def _align_seconds(video: Path, clip: ClipFeatures) -> float:
    """Seconds to align one face, over all frames of a clip that have one."""
    seconds = 0.0
    with GuardedReader(video) as reader:
        for row, frame in zip(range(clip.n_frames), reader, strict=False):
            if clip.valid[row]:
                started = process_time()
                align(frame.picture, clip.keypoints_px[row : row + 1])
                seconds += process_time() - started
    return seconds / max(1, int(clip.valid.sum()))


def write_seconds(extractor: Extractor, clip: ClipFeatures) -> float:
    """Seconds to write one frame, in a part of copies of the clip."""
    n_valid = int(clip.valid.sum())
    record = Record("", "ok" if n_valid else "no_face", clip.n_frames, n_valid=n_valid)
    entries = [(replace(record, clip_id=str(number)), clip) for number in range(_PART_SIZE)]
    with tempfile.TemporaryDirectory(prefix="facer-") as folder:
        store = FeatureStore.create(Path(folder) / "bench.zarr", extractor.provenance)
        started = perf_counter()
        store.write_part(entries)
        return (perf_counter() - started) / (_PART_SIZE * clip.n_frames)


def driver_seconds(extractor: Extractor, clip: ClipFeatures) -> float:
    """Seconds to hand one clip to a worker process and take its record back, as part of a part."""
    record = Record("", "ok", clip.n_frames, source_sha256="0" * 64)
    names = [f"{number:05}.mp4" for number in range(_PART_SIZE)]
    clips = tuple(ClipTask(name, name) for name in names)
    task = PartTask("", "", extractor.provenance, extractor.config, clips, 1, shares_gpus=True)
    records = tuple(replace(record, clip_id=name) for name in names)
    started = perf_counter()
    loads(dumps({"function": "", "item": task}))
    loads(dumps({"result": records}))
    return (perf_counter() - started) / _PART_SIZE
