"""Stage one wired together: decode -> detect -> track -> align -> REC, batched over clips.

for result in Extractor(config).run(paths):
    result.sequences[0].clip.features  # (T, 26)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from facer.stages.features import detect, track
from facer.stages.features.align import align
from facer.stages.features.decode.container import DECODER, LIBAV
from facer.stages.features.decode.frames import Frame, VideoReader
from facer.stages.features.keyframes import STARTER_EVERY, ClipFrames, FaceFinder
from facer.stages.features.rec import loading as rec
from facer.storage.errors import FacerError, OptionError
from facer.storage.schema import F32, FEATURE_NAMES, U8, ClipFeatures, Provenance

_GPU_DECODERS = 8  # more seldom help, and each holds tens of megabytes
_BATCH_BYTES = 128 << 20  # of decoded frames held at a time


class Video(Protocol):
    """An open video, as :class:`VideoReader`: frames in order, then what was odd about it."""

    problem: str

    def __iter__(self) -> Iterator[Frame]: ...


OpenVideo = Callable[[Path, int, int], AbstractContextManager[Video]]
"""Opens (path, stride, threads); ``FacerError`` when it cannot."""


@dataclass(frozen=True)
class ExtractConfig:
    """Everything that decides a clip's features, and how fast they come."""

    detector: detect.DetectorConfig = field(default_factory=detect.DetectorConfig)
    rec: str = rec.STARTER
    device: str = "auto"
    face: track.FacePolicy = "track"
    stride: int = 1
    detect_every: int | None = None  # key frames of the detector; None: the detector's usual
    embedding: bool = False  # keep REC's embedding too
    batch_size: int = 32  # frames per detector run and crops per REC run; never changes results
    decoders: int | None = None  # videos decoded at once; None: 1, on a GPU one a core, 8 at most
    decode_threads: int = 1  # of each

    def __post_init__(self) -> None:
        track.check_policy(self.face)
        for name in ("stride", "batch_size", "decode_threads"):
            if getattr(self, name) < 1:
                raise OptionError(
                    f"--{name.replace('_', '-')}: found {getattr(self, name)}, expected 1 or more"
                )
        for name in ("detect_every", "decoders"):
            value = getattr(self, name)
            if value is not None and value < 1:
                option = name.replace("_", "-")
                raise OptionError(f"--{option}: found {value}, expected 1 or more")

    @property
    def key_distance(self) -> int:
        """The detector looks at every so many-th frame."""
        if self.detect_every is not None:
            return self.detect_every
        return STARTER_EVERY if self.detector.model == detect.STARTER else 1


@dataclass(frozen=True)
class FaceSequence:
    """One face through all frames of a clip."""

    clip: ClipFeatures
    track_switches: int  # how often it goes on as another track


@dataclass(frozen=True)
class Extraction:
    """What one video gave: a sequence for every chosen face, or the reason it failed."""

    sequences: tuple[FaceSequence, ...]  # one; more under --face all; none when it failed
    reason: str
    width_px: int = 0
    height_px: int = 0
    seconds: float = 0.0  # from the first to the last frame of the clip


class Extractor:
    """Models loaded once; clips in, features out, in order.

    Results do not depend on the batch size or on which clips are extracted together.
    """

    def __init__(self, config: ExtractConfig) -> None:
        self.config = config
        device = rec.resolve_device(config.device)
        self.rec = rec.load(config.rec, str(device), config.embedding)
        asked = config.device != "auto"  # then the detector must be there too, or it is an error
        on_gpu = device.type == "cuda" and (asked or detect.cuda_available())
        where = str(device) if on_gpu else "cpu"
        self.detector = detect.load(replace(config.detector, device=where))
        usual = min(os.cpu_count() or 1, _GPU_DECODERS) if device.type == "cuda" else 1
        self._decoders = config.decoders or usual
        self._finder = FaceFinder(self.detector, config.key_distance)

    @property
    def provenance(self) -> Provenance:
        """What a store of these features records."""
        config, points = self.config, detect.points_sha256(self.detector)
        return Provenance(
            detector=self.detector.name,
            detector_sha256=self.detector.sha256,
            rec=self.rec.name,
            rec_sha256=self.rec.sha256,
            face_policy=config.face,
            frame_policy="every frame" if config.stride == 1 else f"one of {config.stride} frames",
            settings={
                "det_size_px": config.detector.size_px,
                "det_threshold": config.detector.threshold,
                "detect_every": config.key_distance,
                **({"points_sha256": points} if points else {}),
                **({"embedding": self.rec.embedding_width} if config.embedding else {}),
            },
            decoder=DECODER,
            libav_version=LIBAV,
        )

    def run(
        self,
        paths: Sequence[Path],
        on_frames: Callable[[int], None] | None = None,
        open_video: OpenVideo = VideoReader,
    ) -> Iterator[Extraction]:
        """Extract videos, results in their order; ``on_frames`` hears how many frames were done.

        ``decoders`` of them are open at a time and give their frames in turns.
        """
        open_clips: deque[_Clip] = deque()
        crops = _CropQueue(self.rec, self.config.batch_size)
        held = 0  # frames that wait for their faces
        for clip, frame in self._frames(paths, open_clips, open_video):
            clip.queue.frames.append(frame)
            held += 1
            if held >= self._room(frame):
                held -= self._measure(open_clips, crops, on_frames)
                yield from _finished(open_clips)
        self._measure(open_clips, crops, on_frames)
        crops.flush()
        yield from _finished(open_clips)

    def _frames(
        self, paths: Sequence[Path], open_clips: deque[_Clip], open_video: OpenVideo
    ) -> Iterator[tuple[_Clip, Frame]]:
        """Frames of several videos in turns, each with its clip, noted in ``open_clips``."""
        waiting = iter(paths)
        playing: deque[tuple[_Clip, Iterator[Frame]]] = deque()
        while True:
            while len(playing) < self._decoders and (path := next(waiting, None)) is not None:
                clip = _Clip(path, self.config.face, self.rec.embedding_width)
                open_clips.append(clip)
                playing.append((clip, clip.frames(self.config, open_video)))
            if not playing:
                return
            clip, frames = playing.popleft()
            frame = next(frames, None)
            if frame is None:
                clip.queue.ended = True
            else:
                playing.append((clip, frames))
                yield clip, frame

    def _room(self, frame: Frame) -> int:
        """How many such frames are held at most: key frames for a full batch, within bounds."""
        wanted = self.config.batch_size * self.config.key_distance
        height, width = frame.size
        return min(wanted, self.config.key_distance + _BATCH_BYTES // (height * width * 3))

    def _measure(
        self,
        clips: Sequence[_Clip],
        crops: _CropQueue,
        on_frames: Callable[[int], None] | None,
    ) -> int:
        """Find faces and crop them; returns how many frames are done."""
        done = 0
        for clip, seen in zip(clips, self._finder.find([c.queue for c in clips]), strict=True):
            for frame, faces in seen:
                chosen = clip.add(frame, faces)
                crops.put(clip, align(frame.picture, chosen.keypoints_px))
            done += len(seen)
        if on_frames is not None and done:
            on_frames(done)
        return done


def _finished(clips: deque[_Clip]) -> Iterator[Extraction]:
    while clips and clips[0].done:
        yield clips.popleft().result()


class _CropQueue:
    """Crops of several clips on their way to REC, in batches."""

    def __init__(self, model: rec.Rec, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self._waiting: list[tuple[_Clip, U8]] = []

    def put(self, clip: _Clip, crops: U8) -> None:
        clip.pending += len(crops)
        self._waiting.extend((clip, crop) for crop in crops)
        while len(self._waiting) >= self._batch_size:
            self._predict(self._batch_size)

    def flush(self) -> None:
        while self._waiting:
            self._predict(self._batch_size)

    def _predict(self, count: int) -> None:
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        crops = np.zeros((self._batch_size, *batch[0][1].shape), np.uint8)  # always as many:
        crops[: len(batch)] = [crop for _, crop in batch]  # the last digits depend on the number
        features = self._model.predict(crops)[: len(batch)]
        for (clip, _), row in zip(batch, features, strict=True):
            clip.features.add(row)
            clip.pending -= 1


class _Rows:
    """Growing float32 rows in one block of memory.

    Arrays of a few bytes, kept for a clip's length among large ones that come and go, leave
    holes in the heap that nothing fits in: tens of kilobytes for every frame.
    """

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._bytes = bytearray()

    def add(self, values: F32) -> None:
        """Add a row, or several (n, *shape)."""
        self._bytes += values.astype(np.float32, copy=False).tobytes()

    def array(self) -> F32:
        """All rows, (n, *shape)."""
        return np.frombuffer(self._bytes, np.float32).reshape(-1, *self._shape)


class _Clip:
    """One video on its way: what its frames gave so far; frames themselves are not kept."""

    def __init__(self, path: Path, policy: track.FacePolicy, embedding_width: int) -> None:
        self.path = path
        self.queue = ClipFrames()
        self.features = _Rows(len(FEATURE_NAMES) + embedding_width)  # of every measured face
        self.pending = 0  # faces that wait for REC
        self._policy = policy
        self._linker = track.Linker()
        self._ended = False
        self._problem = ""
        self._failed = ""
        self._started = perf_counter()
        self._size_px = (0, 0)
        self._timestamps: list[float] = []
        self._n_faces: list[int] = []
        self._n_read = 0
        self._frame: list[int] = []  # of every measured face
        self._track: list[int] = []
        self._bbox_px, self._keypoints_px, self._score = _Rows(4), _Rows(5, 2), _Rows()

    @property
    def done(self) -> bool:
        """Decoded to the end, detected and measured."""
        all_seen = self._n_read == len(self._timestamps)
        return self._ended and all_seen and self.pending == 0

    def frames(self, config: ExtractConfig, open_video: OpenVideo) -> Iterator[Frame]:
        """Decode; what goes wrong is kept as the clip's reason, not raised."""
        self._started = perf_counter()
        try:
            with open_video(self.path, config.stride, config.decode_threads) as reader:
                for frame in reader:
                    self._n_read += 1
                    yield frame
                self._problem = reader.problem
        except (FacerError, OSError) as error:
            self._failed = str(error).strip()
        if self._n_read == 0 and not self._failed:
            self._failed = f"{self.path.name}: no frame could be decoded"
        self._ended = True

    def add(self, frame: Frame, faces: detect.Faces) -> detect.Faces:
        """Note one frame; returns the faces whose crops REC shall see."""
        height, width = frame.size
        self._size_px = (width, height)
        chosen = track.candidates(faces, self._policy, width, height)
        tracked = self._policy in ("track", "all")
        numbers = self._linker.link(chosen) if tracked else [0] * len(chosen.score)
        self._frame.extend([len(self._timestamps)] * len(numbers))
        self._track.extend(numbers)
        self._bbox_px.add(chosen.bbox_px)
        self._keypoints_px.add(chosen.keypoints_px)
        self._score.add(chosen.score)
        self._timestamps.append(frame.timestamp_s)
        self._n_faces.append(len(faces.score))
        return chosen

    def result(self) -> Extraction:
        """The clip's arrays, with the rows of the chosen faces filled in."""
        sequences = () if self._failed else self._sequences()
        seconds = perf_counter() - self._started
        return Extraction(sequences, self._failed or self._problem, *self._size_px, seconds)

    def _sequences(self) -> tuple[FaceSequence, ...]:
        measured = _Measured(
            frame=np.array(self._frame, np.int64),
            bbox_px=self._bbox_px.array(),
            keypoints_px=self._keypoints_px.array(),
            score=self._score.array(),
            features=self.features.array(),
        )
        tracks = np.array(self._track, np.int64)
        chosen = track.sequences_of(
            measured.frame, tracks, measured.bbox_px, measured.score, self._policy
        )
        timestamp_s = np.array(self._timestamps, np.float64)
        n_faces = np.array(self._n_faces, np.int16)
        return tuple(
            FaceSequence(
                measured.clip(rows, timestamp_s, n_faces), track.count_switches(tracks[rows])
            )
            for rows in chosen
        )


@dataclass(frozen=True)
class _Measured:
    """All measured faces of a clip, in the order of their frames."""

    frame: npt.NDArray[np.int64]  # (n,)
    bbox_px: F32
    keypoints_px: F32
    score: F32
    features: F32  # and the embedding, where there is one

    def clip(
        self,
        rows: npt.NDArray[np.int64],
        timestamp_s: npt.NDArray[np.float64],
        n_faces: npt.NDArray[np.int16],
    ) -> ClipFeatures:
        """The arrays of one sequence, NaN in the frames that it has no row for."""
        n_frames = len(timestamp_s)
        valid = np.zeros(n_frames, bool)
        valid[self.frame[rows]] = True

        def spread(values: F32) -> F32:
            result = np.full((n_frames, *values.shape[1:]), np.nan, np.float32)
            result[self.frame[rows]] = values[rows]
            return result

        n = len(FEATURE_NAMES)
        embedding = self.features[:, n:]
        return ClipFeatures(
            features=spread(self.features[:, :n]),
            timestamp_s=timestamp_s,
            valid=valid,
            det_score=spread(self.score),
            bbox_px=spread(self.bbox_px),
            keypoints_px=spread(self.keypoints_px),
            n_faces=n_faces,
            embedding=spread(embedding).astype(np.float16) if embedding.shape[1] else None,
        )
