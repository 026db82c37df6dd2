"""Stage one wired together: decode -> detect -> track -> align -> REC, batched over clips.

for result in Extractor(config).run(paths):
    result.sequences[0].clip.features  # (T, 26)
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from facer.stages.common.cores import cpu_count
from facer.stages.common.device import device_name
from facer.stages.common.onnx import cuda_available
from facer.stages.features import detect, track
from facer.stages.features.clip_rows import ClipBuilder, FrameCrops
from facer.stages.features.config import ExtractConfig
from facer.stages.features.decode.container import DECODER, LIBAV
from facer.stages.features.decode.frames import Frame, OpenVideo, VideoReader
from facer.stages.features.extraction import Extraction
from facer.stages.features.keyframes import ClipEnd, ClipFrame, FrameFaces, KeyframeDetector
from facer.stages.features.quality import quality
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.crops import ARCFACE, cut_all
from facer.storage.errors import FacerError
from facer.storage.schema import F32, U8, Provenance, network_setting
from facer.storage.study.faces import FacePoints

_GPU_DECODERS = 8  # more seldom help, and each holds tens of megabytes
_BATCH_BYTES = 128 << 20  # of decoded frames held at a time
_CUT_TOGETHER = 8  # frames: what their geometry costs in Python is shared by them


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
        usual = min(cpu_count(), _GPU_DECODERS) if device != "cpu" else 1
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
        return own | {network_setting(name, "precision"): other for name, other in others.items()}

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
        builders: defaultdict[int, ClipBuilder] = defaultdict(
            lambda: ClipBuilder(self.config.face, self.rec, self._same_person)
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
            with open_video(path, self.config.stride) as reader:
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
