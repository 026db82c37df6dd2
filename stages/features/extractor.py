"""Stage one wired together: decode -> detect -> track -> align -> REC, batched over clips.

for result in Extractor(config).run(paths):
    result.sequences[0].clip.features  # (T, 26)
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.stages.common.device import device_name
from facer.stages.common.onnx import cuda_available
from facer.stages.features import detect, track
from facer.stages.features.config import ExtractConfig, FacePolicy
from facer.stages.features.decode.container import DECODER, LIBAV
from facer.stages.features.decode.frames import Frame, OpenVideo, VideoReader
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.stages.features.faces import Faces
from facer.stages.features.keyframes import ClipEnd, ClipFrame, FrameFaces, KeyframeDetector
from facer.stages.features.quality import quality
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.crops import ARCFACE, cut_all
from facer.stages.features.rec.recognisers import Recognisers
from facer.storage.errors import FacerError
from facer.storage.schema import F32, U8, ClipFeatures, Provenance
from facer.storage.study.faces import FacePoints

_GPU_DECODERS = 8  # more seldom help, and each holds tens of megabytes
_BATCH_BYTES = 128 << 20  # of decoded frames held at a time
_CUT_TOGETHER = 8  # frames: what their geometry costs in Python is shared by them


class FrameCrops(NamedTuple):
    """A frame of one of several clips, without its pixels but for the faces to be measured."""

    clip: int
    timestamps_s: tuple[float, ...]  # its own, and those of frames that repeat it
    size_px: tuple[int, int]  # width and height
    n_faces: int  # found, of which n are measured
    faces: Faces
    crops: tuple[U8, ...]  # each (n, size, size, 3), as the networks want them
    quality: F32  # (n,)


class FrameRows(NamedTuple):
    """The same with what REC says of the faces."""

    frame: FrameCrops
    columns: Sequence[F32]  # n of (F + D,)


class Extractor:
    """Models loaded once; clips in, features out, in order.

    Results do not depend on the batch size or on which clips are extracted together.
    """

    def __init__(self, config: ExtractConfig, threads: int | None = None) -> None:
        self.config = config
        device = device_name(config.device)
        self.rec = rec.load_all(
            config.recs,
            device,
            config.embedding,
            config.prefer,
            bf16=config.precision == "bf16",
            threads=threads,
        )
        self._same_person = self.rec.same_person if config.identify else None
        asked = config.device != "auto"  # then the detector must be there too, or it is an error
        on_gpu = device != "cpu" and (asked or cuda_available())
        where = device if on_gpu else "cpu"
        self.detector = detect.load(
            replace(config.detector, device=where, bf16=config.precision == "bf16")
        )
        usual = min(os.cpu_count() or 1, _GPU_DECODERS) if device != "cpu" else 1
        self._decoders = config.decoders or usual
        self._keyframes = KeyframeDetector(self.detector, config.keyframe_interval)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features."""
        return self.rec.columns

    @property
    def weak_features(self) -> tuple[str, ...]:
        """Those that were learnt from weak labels."""
        return self.rec.weak_features

    @property
    def provenance(self) -> Provenance:
        """What a store of these features records."""
        config, points = self.config, detect.refiner_sha256(self.detector)
        return Provenance(
            detector=self.detector.name,
            detector_sha256=self.detector.sha256,
            rec=self.rec.name,
            rec_sha256=self.rec.sha256,
            face_policy=config.face,
            frame_policy="every frame" if config.stride == 1 else f"one of {config.stride} frames",
            settings={
                **self.rec.provenance,
                "det_size_px": config.detector.size_px,
                "det_threshold": config.detector.threshold,
                "detect_every": config.keyframe_interval,
                **({"points_sha256": points} if points else {}),
                **self._precision(),
                **({"embedding": width} if (width := self.rec.embedding_width) else {}),
                **({"identify": self._same_person} if self._same_person is not None else {}),
            },
            decoder=DECODER,
            libav_version=LIBAV,
        )

    def _precision(self) -> dict[str, str]:
        """What is not in float32, and which network is computed in something else."""
        asked = "bf16" if self.config.precision == "bf16" else "float32"
        others = self.rec.apart_from(asked)
        own = {"precision": asked} if asked == "bf16" else {}
        return {**own, **{f"rec {name} precision": other for name, other in others.items()}}

    def run(
        self,
        paths: Sequence[Path],
        on_frames: Callable[[int], None] | None = None,
        open_video: OpenVideo = VideoReader,
        points: Mapping[int, FacePoints] = MappingProxyType({}),
    ) -> Iterator[Extraction]:
        """Extract videos, results in their order; ``on_frames`` hears how many frames were done.

        ``decoders`` of them are open at a time and give their frames in turns. ``points``, by the
        place of a path: where somebody pointed at the face that is meant.
        """
        frames = self._frames(paths, open_video)
        faces = self._faces(frames, on_frames or (lambda _: None))
        rows = self._rows(self._crops(faces, points))
        builders: defaultdict[int, _ClipBuilder] = defaultdict(
            lambda: _ClipBuilder(self.config.face, self.rec, self._same_person)
        )
        done: dict[int, Extraction] = {}
        n_given = 0
        for item in rows:
            if isinstance(item, FrameRows):
                builders[item.frame.clip].add(*item)
                continue
            done[item.clip] = builders[item.clip].build(item, points.get(item.clip, ()))
            del builders[item.clip]
            while n_given in done:
                yield done.pop(n_given)
                n_given += 1

    def _frames(
        self, paths: Sequence[Path], open_video: OpenVideo
    ) -> Iterator[ClipFrame | ClipEnd]:
        """Frames of several videos in turns, and the end of each."""
        waiting = (self._decode(clip, path, open_video) for clip, path in enumerate(paths))
        playing = deque(islice(waiting, self._decoders))
        while playing:
            video = playing.popleft()
            item = next(video)
            yield item
            if isinstance(item, ClipFrame):
                playing.append(video)
            else:
                playing.extend(islice(waiting, 1))

    def _decode(
        self, clip: int, path: Path, open_video: OpenVideo
    ) -> Iterator[ClipFrame | ClipEnd]:
        """The frames of one video; what goes wrong is its reason, not raised."""
        started = perf_counter()
        n_frames, failed, reason = 0, "", ""
        try:
            with open_video(path, self.config.stride, self.config.decode_threads) as reader:
                for frame, repeats_s in without_repeats(reader):
                    n_frames += 1
                    yield ClipFrame(clip, frame, repeats_s)
                reason = reader.problem
        except (FacerError, OSError) as error:
            failed = str(error).strip()
        if n_frames == 0 and not failed:
            failed = f"{path.name}: no frame could be decoded"
        yield ClipEnd(clip, started, bool(failed), failed or reason)

    def _faces(
        self, items: Iterable[ClipFrame | ClipEnd], on_frames: Callable[[int], None]
    ) -> Iterator[list[FrameFaces | ClipEnd]]:
        """Find the faces of frames, many frames at a time."""
        for batch in self._keyframes.faces(items, self._room):
            yield batch
            found = (item for item in batch if isinstance(item, FrameFaces))
            on_frames(sum(1 + len(item.repeats_s) for item in found))
            batch.clear()  # its frames need not lie beside the next ones

    def _room(self, frame: Frame) -> int:
        """How many such frames are held at most: key frames for a full batch, within bounds."""
        wanted = self.config.batch_size * self.config.keyframe_interval
        height, width = frame.size
        return min(wanted, self.config.keyframe_interval + _BATCH_BYTES // (height * width * 3))

    def _crops(
        self,
        batches: Iterable[list[FrameFaces | ClipEnd]],
        points: Mapping[int, FacePoints],
    ) -> Iterator[FrameCrops | ClipEnd]:
        """Cut out the faces worth measuring, aligned; frames themselves end here.

        Where somebody pointed at a face, small ones are worth it too.
        """
        for batch in batches:
            for start in range(0, len(batch), _CUT_TOGETHER):
                some = batch[start : start + _CUT_TOGETHER]
                frames = [item for item in some if isinstance(item, FrameFaces)]
                cut = iter(self._cut(frames, points))
                for item in some:
                    yield item if isinstance(item, ClipEnd) else next(cut)
                some.clear()

    def _cut(
        self, items: Sequence[FrameFaces], points: Mapping[int, FacePoints]
    ) -> list[FrameCrops]:
        if not items:
            return []
        chosen = [
            track.candidates(
                item.faces, "all" if item.clip in points else self.config.face,
                *item.frame.size[::-1],
            )
            for item in items
        ]  # fmt: skip
        pictures = [item.frame.picture for item in items]
        places = [(faces.bbox_px, faces.keypoints_px) for faces in chosen]
        specs = self.rec.crops
        crops = {spec: cut_all(pictures, places, spec) for spec in {*specs, ARCFACE}}
        measured = quality(crops[ARCFACE], np.concatenate([keypoints for _, keypoints in places]))
        stops = np.cumsum([len(faces.score) for faces in chosen]).tolist()
        return [
            FrameCrops(
                item.clip, (item.frame.timestamp_s, *item.repeats_s), item.frame.size[::-1],
                len(item.faces.score), faces, tuple(crops[spec][start:stop] for spec in specs),
                measured[start:stop],
            )
            for item, faces, start, stop in zip(items, chosen, [0, *stops], stops, strict=False)
        ]  # fmt: skip

    def _rows(self, items: Iterable[FrameCrops | ClipEnd]) -> Iterator[FrameRows | ClipEnd]:
        """Run REC on full batches of crops, of whichever frames and clips."""
        size = self.config.batch_size
        waiting: deque[FrameCrops | ClipEnd] = deque()
        crops: deque[tuple[U8, ...]] = deque()
        rows: deque[F32] = deque()
        for item in chain(items, [None]):
            if item is not None:
                waiting.append(item)
                crops.extend(() if isinstance(item, ClipEnd) else zip(*item.crops, strict=True))
            while len(crops) >= size or (item is None and crops):
                rows.extend(self._predict([crops.popleft() for _ in range(min(size, len(crops)))]))
            while waiting:
                first = waiting[0]
                if isinstance(first, ClipEnd):
                    yield first
                elif len(first.faces.score) <= len(rows):
                    own = [rows.popleft() for _ in first.faces.score]
                    yield FrameRows(first, own)
                else:
                    break
                waiting.popleft()

    def _predict(self, crops: Sequence[tuple[U8, ...]]) -> F32:
        """Columns (n, F + D) of n faces, always in batches of the same size: the last digits
        depend on it.
        """
        batches = []
        for of_one_kind in zip(*crops, strict=True):
            batch = np.zeros((self.config.batch_size, *of_one_kind[0].shape), np.uint8)
            np.stack(of_one_kind, out=batch[: len(crops)])
            batches.append(batch)
        return self.rec.predict(batches)[: len(crops)]


def without_repeats(frames: Iterable[Frame]) -> Iterator[tuple[Frame, tuple[float, ...]]]:
    """Each frame with the times of those after it that repeat it, which are left out."""
    first: Frame | None = None
    repeats_s: list[float] = []
    for frame in frames:
        if first is not None and frame.repeats:
            repeats_s.append(frame.timestamp_s)
            continue
        if first is not None:
            yield first, tuple(repeats_s)
        first, repeats_s = frame, []
    if first is not None:
        yield first, tuple(repeats_s)


class _Rows:
    """Growing rows of a structured dtype in one block of memory.

    Arrays of a few bytes, kept for a clip's length among large ones that come and go, leave
    holes in the heap that nothing fits in: tens of kilobytes for every frame.
    """

    def __init__(self, *columns: tuple[Any, ...]) -> None:
        self._dtype = np.dtype(list(columns))
        self._bytes = bytearray()

    def add(self, n: int, **columns: npt.ArrayLike) -> None:
        """Add n rows."""
        rows = np.empty(n, self._dtype)
        for name, values in columns.items():
            rows[name] = values
        self._bytes += rows.tobytes()

    def array(self) -> npt.NDArray[Any]:
        """All rows, (n,) with named fields."""
        return np.frombuffer(self._bytes, self._dtype)


class _ClipBuilder:
    """Collects the rows of one clip; at its end, those of the chosen faces are its arrays."""

    def __init__(self, policy: FacePolicy, rec: Recognisers, same_person: float | None) -> None:
        self._policy = policy
        self._same_person = same_person  # cosine of embeddings; None: faces are not identified
        self._n_columns = len(rec.columns)
        self._tracker = track.Tracker()
        self._size_px = (0, 0)
        self._n_frames = 0
        self._frames = _Rows(("timestamp_s", "f8"), ("n_faces", "i2"))
        self._faces = _Rows(
            ("frame", "i8"), ("track", "i8"), ("det_score", "f4"), ("bbox_px", "f4", 4),
            ("keypoints_px", "f4", (5, 2)), ("features", "f4", (len(rec.columns),)),
            ("embedding", "f4", (rec.embedding_width,)), ("quality", "f4"),
        )  # fmt: skip

    def add(self, frame: FrameCrops, columns: Sequence[F32]) -> None:
        """Add the next frame with those that repeat it, and what was measured of its faces."""
        self._size_px = frame.size_px
        for timestamp_s in frame.timestamps_s:
            self._add(frame, timestamp_s, columns)

    def _add(self, frame: FrameCrops, timestamp_s: float, columns: Sequence[F32]) -> None:
        faces, n = frame.faces, len(frame.faces.score)
        tracked = self._policy in ("track", "all")
        track_ids = self._tracker.update(faces) if tracked else [0] * n
        if n:
            rows = np.stack(columns)
            self._faces.add(
                n, frame=self._n_frames, track=track_ids, det_score=faces.score,
                bbox_px=faces.bbox_px, keypoints_px=faces.keypoints_px,
                features=rows[:, : self._n_columns], embedding=rows[:, self._n_columns :],
                quality=frame.quality,
            )  # fmt: skip
        self._frames.add(1, timestamp_s=timestamp_s, n_faces=frame.n_faces)
        self._n_frames += 1

    def build(self, end: ClipEnd, points: FacePoints = ()) -> Extraction:
        """The clip's sequences, or the reason why there are none."""
        sequences, notes = ((), []) if end.failed else self._sequences(points)
        seconds = perf_counter() - end.started
        reason = "; ".join(filter(None, [end.reason, *notes]))
        return Extraction(sequences, reason, *self._size_px, seconds)

    def _sequences(self, points: FacePoints) -> tuple[tuple[ClipSequence, ...], list[str]]:
        """The sequences, and what is to be said of points that are on no face."""
        faces = self._faces.array()
        people = faces["track"]
        if self._same_person is not None:
            people = track.join_people(
                faces["frame"], people, faces["embedding"], self._same_person
            )
        times = self._frames.array()["timestamp_s"][faces["frame"]]
        pointed, missed = track.pointed_tracks(points, times, people, faces["bbox_px"])
        chosen = track.choose_sequences(
            faces["frame"], people, faces["bbox_px"], faces["det_score"], self._policy,
            stand_ins=self._same_person is None, pointed=pointed,
        )  # fmt: skip
        notes = [f"found no face where one was pointed at: {point}" for point in missed]
        return tuple(self._sequence(faces[rows]) for rows in chosen), notes

    def _sequence(self, faces: npt.NDArray[Any]) -> ClipSequence:
        """One face's arrays, NaN in the frames that it has no row for."""
        frames = self._frames.array()

        def spread(name: str) -> F32:
            values = faces[name]
            result = np.full((len(frames), *values.shape[1:]), np.nan, np.float32)
            result[faces["frame"]] = values
            return result

        valid = np.zeros(len(frames), bool)
        valid[faces["frame"]] = True
        measured = ("features", "det_score", "bbox_px", "keypoints_px", "quality")
        embedding = spread("embedding").astype(np.float16)
        clip = ClipFeatures(
            timestamp_s=frames["timestamp_s"].copy(),
            n_faces=frames["n_faces"].copy(),
            valid=valid,
            embedding=embedding if embedding.shape[1] else None,
            **{name: spread(name) for name in measured},
        )
        return ClipSequence(clip, track.count_switches(faces["track"]))
