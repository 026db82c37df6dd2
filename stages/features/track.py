"""Step 3: which face of each frame is the clip's face.

Faces are linked into tracks as frames come in, by overlap and distance of the five points;
when the clip has ended, the face that dominates it is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facer.stages.features.config import FacePolicy
from facer.stages.features.faces import NO_FACES, Faces, iou, point_distance
from facer.storage.schema import F32, F64, I64, Bools
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


class Tracker:
    """Gives every face the id of its track.

    A track survives any gap if nothing moved, and a face that turned away may come back a little
    farther off the longer it was away.
    """

    def __init__(self) -> None:
        self._bbox_px = NO_FACES.bbox_px  # of each track's face where it was seen last
        self._keypoints_px = NO_FACES.keypoints_px
        self._seen = np.zeros(0, np.int64)  # in this frame
        self._frame = 0

    def update(self, faces: Faces) -> list[int]:
        """Track ids (n,) of the next frame's faces, each at most once; best pairs first."""
        self._frame += 1
        track_ids = [-1] * len(faces.score)
        for face, track_id in self._pairs(faces):
            if track_ids[face] < 0 and track_id not in track_ids:
                track_ids[face] = track_id
        new = [face for face, track_id in enumerate(track_ids) if track_id < 0]
        for track_id, face in enumerate(new, len(self._seen)):
            track_ids[face] = track_id
        if new:
            self._bbox_px = np.concatenate([self._bbox_px, faces.bbox_px[new]])
            self._keypoints_px = np.concatenate([self._keypoints_px, faces.keypoints_px[new]])
            self._seen = np.concatenate([self._seen, np.zeros(len(new), np.int64)])
        self._bbox_px[track_ids], self._keypoints_px[track_ids] = faces.bbox_px, faces.keypoints_px
        self._seen[track_ids] = self._frame
        return track_ids

    def _pairs(self, faces: Faces) -> list[tuple[int, int]]:
        """Face and id of a track that may be the same, the surest first."""
        boxes, points = self._bbox_px, self._keypoints_px
        if len(boxes) == 0 or len(faces.score) == 0:
            return []
        if len(boxes) == len(faces.score) == 1 and iou(faces.bbox_px[0], boxes)[0] >= _MIN_IOU:
            return [(0, 0)]  # most frames of most clips
        away = self._frame - 1 - self._seen
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
    points: Sequence[FacePoint], time_s: F64, track: I64, bbox_px: F32, step_s: float = 0.0
) -> tuple[list[int], list[FacePoint]]:
    """Tracks of the faces that a person pointed at, and the points that are on none.

    Given all measured faces (n,): when they were seen, their tracks and boxes. A face is pointed at
    when its box, a tenth larger on each side, holds the point within a fifth of a second of its
    time, or ``step_s``, the time between two frames, where that is more; of several it is the
    nearest in time, then the one whose middle is nearest.
    """
    found: list[int] = []
    missed: list[FacePoint] = []
    sides, within_s = bbox_px[:, 2:] - bbox_px[:, :2], max(POINT_TIME_S, step_s)
    for point in points:
        place, away_s = np.array(point[1:]), np.abs(time_s - point.time_s)
        low, high = bbox_px[:, :2] - _POINT_MARGIN * sides, bbox_px[:, 2:] + _POINT_MARGIN * sides
        inside = ((place >= low) & (place <= high)).all(axis=1) & (away_s <= within_s)
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
    """Rows (at most one per frame) of each sequence that a clip gives; at least one sequence.

    Given all measured faces (n,). Under ``all`` one for every face that was measured in
    :data:`MIN_SEQUENCE` frames or more, the most dominant first; under every other policy the
    first of these alone.

    A track's dominance is its sum of score times size over the clip. Where a track is absent,
    others of a similar size that never appear beside it stand in, the most dominant first: the
    same person after a cut, a jump or a return. The clip's face is the one whose tracks together
    dominate, among tracks that have half the dominance of the first or more by themselves.
    Without ``stand_ins``: the rows of the most dominant track alone. The tracks that somebody
    ``pointed`` at are the clip's face whatever they dominate, the first before the others.
    """
    tracks = _Tracks(frame, track, bbox_px, score)
    if pointed:
        return [tracks.pointed(pointed, stand_ins)]
    sequences: list[I64] = []
    while (policy == "all" and tracks.left.any()) or not sequences:
        rows = tracks.take(stand_ins)
        if not sequences or len(rows) >= MIN_SEQUENCE:
            sequences.append(rows)
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
    sizes = np.bincount(track)
    rows_of = np.split(np.argsort(track, kind="stable"), np.cumsum(sizes)[:-1])
    sums = np.zeros((len(sizes), embedding.shape[1]), np.float32)
    frames: list[set[int]] = []  # of each person
    for track_id in np.argsort(-sizes, kind="stable").tolist():
        rows = rows_of[track_id]
        if len(rows) == 0:
            break
        total, seen = embedding[rows].sum(axis=0, dtype=np.float32), set(frame[rows].tolist())
        alike = _cosine(sums[: len(frames)], total)
        free = [i for i in np.flatnonzero(alike >= same_person) if not seen & frames[i]]
        found = int(max(free, key=lambda i: alike[i], default=len(frames)))
        if found == len(frames):
            frames.append(set())
        sums[found] += total
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


def _cosine(a: F32, b: F32) -> F32:
    """Cosines of vectors (..., D) and one (D,): (...)."""
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b)
    return np.asarray(a @ b / np.maximum(1e-12, norms), np.float32)


class _Tracks:
    """The tracks of a clip, the most dominant first: track 0, 1 ... here."""

    def __init__(self, frame: I64, track: I64, bbox_px: F32, score: F32) -> None:
        self._frame, self._size = frame, box_sizes(bbox_px)
        ids, track = np.unique(track, return_inverse=True)
        dominance = np.bincount(track, score * self._size, len(ids))
        order = np.argsort(-dominance, kind="stable")
        track = np.argsort(order)[track]
        self._place = dict(zip(ids[order].tolist(), range(len(ids)), strict=True))
        self._dominance = dominance[order]
        stops = np.cumsum(np.bincount(track, minlength=len(ids)))[:-1]
        self._rows = np.split(np.argsort(track, kind="stable"), stops) if len(ids) else []
        self._sizes = np.array([float(np.median(self._size[rows])) for rows in self._rows])
        self._beside = _seen_together(frame, track, len(ids))
        self.left = np.ones(len(ids), bool)

    def take(self, stand_ins: bool) -> I64:
        """Rows of the face that dominates among the tracks that are left, which it then is not."""
        places = np.flatnonzero(self.left)
        found, most = places[:1], 0.0
        least = _LEADING * self._dominance[found]
        leading = places[self._dominance[places] >= least] if stand_ins else found[:0]
        for place in leading.tolist():
            others = self._others([place], self._sizes[place])
            others[place] = True
            if self._dominance[others].sum() <= most:
                continue  # of the thousands in a film, most
            people = self._apart(others)
            if (together := float(self._dominance[people].sum())) > most:
                found, most = people, together
        self.left[found] = False
        return self._of(found)

    def pointed(self, track_ids: Sequence[int], stand_ins: bool) -> I64:
        """Rows of some tracks, of a later one only in frames that the earlier ones are not in."""
        chosen = np.zeros(0, np.int64)
        places = [self._place[track_id] for track_id in track_ids]
        for place in places:
            rows = self._rows[place]
            apart = ~np.isin(self._frame[rows], self._frame[chosen])
            chosen = np.concatenate([chosen, rows[apart]])
        if stand_ins:
            others = self._others(places, float(np.median(self._size[chosen])))
            chosen = np.concatenate([chosen, self._of(self._apart(others))])
        return np.sort(chosen)

    def _others(self, first: Sequence[int], size: float) -> Bools:
        """Tracks (n_tracks,) that are left, of a similar size and beside none of some."""
        ratio = self._sizes / max(size, 1e-6)
        others = self.left & (ratio >= 1 / _MAX_SIZE_RATIO) & (ratio <= _MAX_SIZE_RATIO)
        for place in first:
            others[[place, *self._beside[place]]] = False
        return others

    def _apart(self, tracks: Bools) -> I64:
        """Those of some tracks that are beside no more dominant one of them."""
        free, found = tracks.tolist(), []
        for place in np.flatnonzero(tracks).tolist():
            if free[place]:
                found.append(place)
                for other in self._beside[place]:
                    free[other] = False
        return np.array(found, np.int64)

    def _of(self, places: I64) -> I64:
        """Rows of some tracks."""
        rows = [self._rows[place] for place in places]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *rows]))


def _seen_together(frame: I64, track: I64, n_tracks: int) -> list[list[int]]:
    """For each track the others that are in a frame of it."""
    beside: list[set[int]] = [set() for _ in range(n_tracks)]
    order = np.argsort(frame, kind="stable")
    frame, track = frame[order], track[order]
    for step in range(1, len(frame)):
        same = frame[step:] == frame[:-step]
        if not same.any():
            break
        pairs = np.unique(np.stack([track[step:][same], track[:-step][same]], axis=1), axis=0)
        for one, other in pairs.tolist():
            beside[one].add(other)
            beside[other].add(one)
    return [sorted(others) for others in beside]
