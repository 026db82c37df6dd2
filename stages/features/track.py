"""Step 3: which face of each frame is the clip's face.

Faces are linked into tracks as frames come in, by overlap and distance of the five points;
when the clip has ended, the face that dominates it is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from facer.stages.features.detect import Faces, iou
from facer.storage.errors import OptionError
from facer.storage.schema import F32

I64 = npt.NDArray[np.int64]
FacePolicy = Literal["track", "largest", "central", "all"]

MAX_CANDIDATES = {"largest": 1, "central": 1, "track": 3, "all": 16}
"""Faces of one frame that are measured; the largest ones, more are only counted."""

MIN_SEQUENCE = 5
"""Frames that a face must be measured in to be a sequence of its own under ``all``."""

_MIN_IOU = 0.3
_MAX_POINT_DISTANCE = 0.5  # mean distance of the five points, in distances between the eyes
_MAX_SIZE_RATIO = 2.0  # between a track and the chosen face, to stand in for it


def check_policy(policy: str) -> None:
    """``FacerError`` for an unknown face policy."""
    if policy not in get_args(FacePolicy):
        raise OptionError(f"--face: found {policy!r}, expected {', '.join(get_args(FacePolicy))}")


def candidates(faces: Faces, policy: FacePolicy, width_px: int, height_px: int) -> Faces:
    """The faces worth measuring, :data:`MAX_CANDIDATES` at most."""
    if len(faces.score) == 0:
        return faces
    size = box_sizes(faces.bbox_px)
    if policy == "central":
        centres = (faces.bbox_px[:, :2] + faces.bbox_px[:, 2:]) / 2
        offset = np.linalg.norm(centres - np.array([width_px, height_px]) / 2, axis=1)
        keep = np.argsort(offset, kind="stable")[:1]
    else:
        keep = np.argsort(-size, kind="stable")[: MAX_CANDIDATES[policy]]
    return Faces(faces.bbox_px[keep], faces.keypoints_px[keep], faces.score[keep])


def box_sizes(bbox_px: F32) -> F32:
    """Square root of the area of boxes (n, 4), in pixels: (n,)."""
    sides = np.clip(bbox_px[:, 2:] - bbox_px[:, :2], 0, None)
    return np.asarray(np.sqrt(sides.prod(axis=1)), np.float32)


@dataclass
class _Track:
    number: int
    bbox_px: F32
    keypoints_px: F32


class Linker:
    """Gives every face the number of its track; a track survives any gap if nothing moved."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []

    def link(self, faces: Faces) -> list[int]:
        """Track numbers (n,) of one frame's faces, each at most once; best pairs first."""
        numbers = [-1] * len(faces.score)
        free = list(self._tracks)
        for face, track in self._pairs(faces):
            if numbers[face] < 0 and track in free:
                numbers[face] = track.number
                free.remove(track)
        for face, number in enumerate(numbers):
            if number < 0:
                numbers[face] = len(self._tracks)
                self._tracks.append(
                    _Track(numbers[face], faces.bbox_px[face], faces.keypoints_px[face])
                )
            else:
                track = self._tracks[number]
                track.bbox_px, track.keypoints_px = faces.bbox_px[face], faces.keypoints_px[face]
        return numbers

    def _pairs(self, faces: Faces) -> list[tuple[int, _Track]]:
        """Face and track that may be the same, the surest first."""
        if not self._tracks or len(faces.score) == 0:
            return []
        boxes = np.stack([track.bbox_px for track in self._tracks])
        points = np.stack([track.keypoints_px for track in self._tracks])
        scored: list[tuple[float, int, int]] = []
        for face in range(len(faces.score)):
            overlap = iou(faces.bbox_px[face], boxes)
            distance = point_distance(faces.keypoints_px[face], points)
            near = np.flatnonzero((overlap >= _MIN_IOU) | (distance <= _MAX_POINT_DISTANCE))
            scored.extend((float(distance[i] - overlap[i]), face, int(i)) for i in near)
        return [(face, self._tracks[number]) for _, face, number in sorted(scored)]


def point_distance(points: F32, others: F32) -> F32:
    """Mean distance of five points (5, 2) to others (n, 5, 2) in distances between the eyes."""
    eyes = np.linalg.norm(points[0] - points[1]) + 1e-6
    return np.asarray(np.linalg.norm(others - points, axis=2).mean(axis=1) / eyes, np.float32)


def sequences_of(frame: I64, track: I64, bbox_px: F32, score: F32, policy: FacePolicy) -> list[I64]:
    """Rows of each sequence that a clip gives, given all measured faces (n,); at least one.

    Under ``all`` one for every face that was measured in :data:`MIN_SEQUENCE` frames or more,
    the most dominant first; under every other policy the first of these alone.
    """
    left = np.arange(len(frame))
    sequences: list[I64] = []
    while policy == "all" or not sequences:
        rows = left[choose_rows(frame[left], track[left], bbox_px[left], score[left])]
        if sequences and len(rows) < MIN_SEQUENCE:
            if len(rows) == 0:
                break
            left = np.setdiff1d(left, rows)
            continue
        sequences.append(rows)
        left = np.setdiff1d(left, rows)
    return sequences


def count_switches(track: I64) -> int:
    """How often a sequence goes on with another track, given its rows' tracks in order."""
    return int(np.count_nonzero(np.diff(track)))


def choose_rows(frame: I64, track: I64, bbox_px: F32, score: F32) -> I64:
    """Rows (at most one per frame) that make the clip's face, given all measured faces (n,).

    The dominant track is the one with the largest sum of score times size over the clip.
    Where it is absent, other tracks of a similar size that never appear beside the face chosen
    so far stand in, the most dominant first: the same person after a cut or a jump.
    """
    if len(frame) == 0:
        return np.zeros(0, np.int64)
    size = box_sizes(bbox_px)
    dominance = np.bincount(track, weights=score * size)
    order = [n for n in np.argsort(-dominance, kind="stable") if (track == n).any()]
    chosen = np.flatnonzero(track == order[0])
    main_size = float(np.median(size[chosen]))
    for number in order[1:]:
        rows = np.flatnonzero(track == number)
        ratio = float(np.median(size[rows])) / max(main_size, 1e-6)
        similar = 1 / _MAX_SIZE_RATIO <= ratio <= _MAX_SIZE_RATIO
        if similar and not np.isin(frame[rows], frame[chosen]).any():
            chosen = np.concatenate([chosen, rows])
    return np.sort(chosen)
