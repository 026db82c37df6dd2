"""What was measured of a clip's faces, frame by frame, and the arrays it becomes at its end."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.stages.features import track
from facer.stages.features.config import FacePolicy
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.stages.features.faces import Faces
from facer.stages.features.keyframes import ClipEnd
from facer.stages.features.rec.recognisers import Recognisers
from facer.storage.schema import F32, U8, ClipFeatures
from facer.storage.study.faces import FacePoints


class FrameCrops(NamedTuple):
    """A frame of one of several clips, without its pixels but for the faces to be measured."""

    clip: int
    timestamps_s: tuple[float, ...]  # its own, and those of frames that repeat it
    size_px: tuple[int, int]  # width and height
    n_faces: int  # found, of which n are measured
    faces: Faces
    crops: tuple[U8, ...]  # each (n, size, size, 3), as the networks want them
    quality: F32  # (n,)


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


class ClipBuilder:
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
        times = self._frames.array()["timestamp_s"]
        step_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        pointed, missed = track.pointed_tracks(
            points, times[faces["frame"]], people, faces["bbox_px"], step_s
        )
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
