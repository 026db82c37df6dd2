"""Step 3: which face of each frame is the clip's face.

Faces are linked into tracks as frames come in, by overlap and distance of the five points;
when the clip has ended, the face that dominates it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from facer.stages.features.config import FacePolicy
from facer.stages.features.faces import Faces, iou, point_distance
from facer.storage.schema import F32, F64, I64
from facer.storage.study.faces import FacePoint

MAX_CANDIDATES = {"largest": 1, "central": 1, "track": 3, "all": 16}
"""Faces of one frame that are measured; the largest ones, more are only counted."""

MIN_SEQUENCE = 5
"""Frames that a face must be measured in to be a sequence of its own under ``all``."""

POINT_TIME_S = 0.2
"""Seconds between a face and a point on it at most."""

_POINT_MARGIN = 0.1  # of the box's sides, on each side
_MIN_IOU = 0.3
_MAX_POINT_DISTANCE = 0.5  # mean distance of the five points, in units of the face
_DRIFT = 0.2  # by which that grows with every frame in which a track's face was not seen ...
_MAX_DRIFT = 2.0  # ... up to this, for a face that is about as large
_MAX_DRIFT_RATIO = 1.5  # between the sizes, to be the same face after a drift
_MAX_SIZE_RATIO = 2.0  # between a track and the chosen face, to stand in for it
_LEADING = 0.5  # of the most dominant track's dominance, to be the clip's face with its stand-ins


def candidates(faces: Faces, policy: FacePolicy, width_px: int, height_px: int) -> Faces:
    """The faces worth measuring, :data:`MAX_CANDIDATES` at most."""
    if len(faces.score) <= 1:
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


class _Track(NamedTuple):
    bbox_px: F32
    keypoints_px: F32
    seen: int  # the frame in which it was seen last


class Tracker:
    """Gives every face the id of its track.

    A track survives any gap if nothing moved, and a face that turned away may come back a little
    farther off the longer it was away.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._frame = 0

    def update(self, faces: Faces) -> list[int]:
        """Track ids (n,) of the next frame's faces, each at most once; best pairs first."""
        self._frame += 1
        track_ids = [-1] * len(faces.score)
        free = set(range(len(self._tracks)))
        for face, track_id in self._pairs(faces):
            if track_ids[face] < 0 and track_id in free:
                track_ids[face] = track_id
                free.remove(track_id)
        for face, track_id in enumerate(track_ids):
            seen = _Track(faces.bbox_px[face], faces.keypoints_px[face], self._frame)
            if track_id < 0:
                track_ids[face] = len(self._tracks)
                self._tracks.append(seen)
            else:
                self._tracks[track_id] = seen
        return track_ids

    def _pairs(self, faces: Faces) -> list[tuple[int, int]]:
        """Face and id of a track that may be the same, the surest first."""
        if not self._tracks or len(faces.score) == 0:
            return []
        boxes = np.stack([track.bbox_px for track in self._tracks])
        if len(boxes) == len(faces.score) == 1 and iou(faces.bbox_px[0], boxes)[0] >= _MIN_IOU:
            return [(0, 0)]  # most frames of most clips
        points = np.stack([track.keypoints_px for track in self._tracks])
        away = self._frame - 1 - np.array([track.seen for track in self._tracks])
        drift = np.minimum(_DRIFT * away, _MAX_DRIFT)
        scored: list[tuple[float, int, int]] = []
        for face in range(len(faces.score)):
            overlap = iou(faces.bbox_px[face], boxes)
            distance = point_distance(faces.keypoints_px[face], points)
            ratio = box_sizes(boxes) / np.maximum(box_sizes(faces.bbox_px[face][None]), 1e-6)
            alike = (ratio <= _MAX_DRIFT_RATIO) & (ratio >= 1 / _MAX_DRIFT_RATIO)
            reach = _MAX_POINT_DISTANCE + np.where(alike, drift, 0.0)
            near = np.flatnonzero((overlap >= _MIN_IOU) | (distance <= reach))
            scored.extend((float(distance[i] - overlap[i]), face, int(i)) for i in near)
        return [(face, track_id) for _, face, track_id in sorted(scored)]


def pointed_tracks(
    points: Sequence[FacePoint], time_s: F64, track: I64, bbox_px: F32
) -> tuple[list[int], list[FacePoint]]:
    """Tracks of the faces that a person pointed at, and the points that are on none.

    Given all measured faces (n,): when they were seen, their tracks and boxes. A face is pointed at
    when its box, a tenth larger on each side, holds the point within a fifth of a second of its
    time; of several it is the nearest in time, then the one whose middle is nearest.
    """
    found: list[int] = []
    missed: list[FacePoint] = []
    sides = bbox_px[:, 2:] - bbox_px[:, :2]
    for point in points:
        place, away_s = np.array(point[1:]), np.abs(time_s - point.time_s)
        low, high = bbox_px[:, :2] - _POINT_MARGIN * sides, bbox_px[:, 2:] + _POINT_MARGIN * sides
        inside = ((place >= low) & (place <= high)).all(axis=1) & (away_s <= POINT_TIME_S)
        rows = np.flatnonzero(inside)
        if len(rows) == 0:
            missed.append(point)
            continue
        middles = np.linalg.norm((bbox_px[rows, :2] + bbox_px[rows, 2:]) / 2 - place, axis=1)
        track_id = int(track[rows[np.lexsort((middles, away_s[rows]))[0]]])
        if track_id not in found:
            found.append(track_id)
    return found, missed


def choose_sequences(
    frame: I64, track: I64, bbox_px: F32, score: F32, policy: FacePolicy, stand_ins: bool = True,
    pointed: Sequence[int] = (),
) -> list[I64]:  # fmt: skip
    """Rows of each sequence that a clip gives, given all measured faces (n,); at least one.

    Under ``all`` one for every face that was measured in :data:`MIN_SEQUENCE` frames or more,
    the most dominant first; under every other policy the first of these alone. ``stand_ins`` and
    ``pointed`` are those of :func:`choose_rows`.
    """
    left = np.arange(len(frame))
    sequences: list[I64] = []
    while policy == "all" or not sequences:
        rows = left[
            choose_rows(frame[left], track[left], bbox_px[left], score[left], stand_ins, pointed)
        ]
        if sequences and len(rows) < MIN_SEQUENCE:
            if len(rows) == 0:
                break
            left = np.setdiff1d(left, rows)
            continue
        sequences.append(rows)
        left = np.setdiff1d(left, rows)
    return sequences


def count_switches(track: I64) -> int:
    """How often a sequence goes on with another track, given its rows' tracks (n,) in order."""
    return int(np.count_nonzero(np.diff(track)))


def join_people(frame: I64, track: I64, embedding: F32, same_person: float) -> I64:
    """The person (n,) of every measured face, given its track and identity embedding (n, D).

    A track ends where its face is another one than so far: a cut to somebody in the same place.
    Then, the longest first, each joins the person whose mean embedding it is most like, by a
    cosine of ``same_person`` or more, among those who are never in a frame of it.
    """
    track = _split_people(track, embedding, same_person)
    person = np.zeros_like(track)
    sums: list[F32] = []
    frames: list[set[int]] = []
    sizes = np.bincount(track) if len(track) else np.zeros(0, np.int64)
    for track_id in np.argsort(-sizes, kind="stable"):
        rows = np.flatnonzero(track == track_id)
        if len(rows) == 0:
            continue
        total, seen = embedding[rows].sum(axis=0, dtype=np.float32), set(frame[rows].tolist())
        alike = [_cosine(total, other) for other in sums]
        free = [i for i, a in enumerate(alike) if a >= same_person and not seen & frames[i]]
        found = max(free, key=lambda i: alike[i], default=len(sums))
        if found == len(sums):
            sums.append(np.zeros_like(total))
            frames.append(set())
        sums[found] = sums[found] + total
        frames[found] |= seen
        person[rows] = found
    return person


def _split_people(track: I64, embedding: F32, same_person: float) -> I64:
    """Tracks (n,) that go on as another one from a face that is not the one so far."""
    split = track.copy()
    going: dict[int, tuple[int, F32]] = {}  # by track: how it goes on, and its sum so far
    following = int(track.max(initial=-1)) + 1
    for row, (track_id, vector) in enumerate(zip(track.tolist(), embedding, strict=True)):
        now, total = going.get(track_id, (track_id, np.zeros_like(vector)))
        if total.any() and _cosine(vector, total) < same_person:
            now, total, following = following, np.zeros_like(vector), following + 1
        going[track_id] = now, total + vector
        split[row] = now
    return split


def _cosine(a: F32, b: F32) -> float:
    return float(a @ b / max(1e-12, float(np.linalg.norm(a) * np.linalg.norm(b))))


def choose_rows(
    frame: I64, track: I64, bbox_px: F32, score: F32, stand_ins: bool = True,
    pointed: Sequence[int] = (),
) -> I64:  # fmt: skip
    """Rows (at most one per frame) that make the clip's face, given all measured faces (n,).

    A track's dominance is its sum of score times size over the clip. Where a track is absent,
    others of a similar size that never appear beside it stand in, the most dominant first: the
    same person after a cut, a jump or a return. The clip's face is the one whose tracks together
    dominate, among tracks that have half the dominance of the first or more by themselves.
    Without ``stand_ins``: the rows of the most dominant track alone. The tracks that somebody
    ``pointed`` at are the clip's face whatever they dominate, the first before the others.
    """
    if len(frame) == 0:
        return np.zeros(0, np.int64)
    weight = score * box_sizes(bbox_px)
    dominance = np.bincount(track, weights=weight)
    order = [n for n in np.argsort(-dominance, kind="stable") if (track == n).any()]
    first = [n for n in order if dominance[n] >= _LEADING * dominance[order[0]]]
    if not stand_ins:
        return _together(pointed or order[:1], frame, track)
    if pointed:
        return _with_stand_ins(pointed, order, frame, track, bbox_px)
    people = [_with_stand_ins([n], order, frame, track, bbox_px) for n in first]
    return max(people, key=lambda rows: float(weight[rows].sum()))


def _together(tracks: Sequence[int], frame: I64, track: I64) -> I64:
    """Rows of some tracks, of a later one only in frames that the earlier ones are not in."""
    chosen = np.zeros(0, np.int64)
    for track_id in tracks:
        rows = np.flatnonzero(track == track_id)
        chosen = np.concatenate([chosen, rows[~np.isin(frame[rows], frame[chosen])]])
    return np.sort(chosen)


def _with_stand_ins(
    first: Sequence[int], order: list[int], frame: I64, track: I64, bbox_px: F32
) -> I64:
    """Rows of tracks and of those that stand in for them."""
    size = box_sizes(bbox_px)
    chosen = _together(first, frame, track)
    main_size = float(np.median(size[chosen]))
    for track_id in order:
        rows = np.flatnonzero(track == track_id)
        ratio = float(np.median(size[rows])) / max(main_size, 1e-6)
        similar = 1 / _MAX_SIZE_RATIO <= ratio <= _MAX_SIZE_RATIO
        if similar and not np.isin(frame[rows], frame[chosen]).any():
            chosen = np.concatenate([chosen, rows])
    return np.sort(chosen)
