"""Step 2, all of it: the faces of every frame, from a detector on key frames and a points model.

The detector looks at every ``every``-th frame of a clip and at its last. On a frame between two
key frames with the same faces, points carried over in a straight line are the points model's
guess; it corrects them on that frame's own pixels and says whether a face is there. Where the
key frames differ, a face moved too far between them, or the model doubts a guess, the detector
looks at that frame too. So points are always measured, never carried over, and a face can go
unseen only when it comes and goes between two key frames that both have the same other faces.

What a frame gives depends on its clip alone, not on how frames are batched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from facer.stages.features.decode.frames import Frame
from facer.stages.features.detect import NO_FACES, Detector, Faces, RefinedDetector
from facer.stages.features.refine import MIN_FACE
from facer.stages.features.track import point_distance
from facer.storage.errors import FacerError
from facer.storage.schema import F32

STARTER_EVERY = 4
"""Distance of key frames for facer-det: what is gained beyond is little beside REC's share."""

MAX_MOVE = 0.5
"""Mean distance of the five points between two key frames, in distances between the eyes, up to
which a face is the same one on its way."""


@dataclass
class ClipFrames:
    """Frames of one clip that wait for their faces, after those that have them."""

    frames: list[Frame] = field(default_factory=list)
    first: int = 0  # number of frames[0] in its clip
    before: Faces | None = None  # the faces of the frame before it, a key frame
    ended: bool = False  # no frame comes after them

    def is_key(self, place: int, every: int) -> bool:
        """Whether the detector looks at frames[place] in any case."""
        last = self.ended and place == len(self.frames) - 1
        return last or (self.first + place) % every == 0


class _Place(NamedTuple):
    clip: int
    place: int


Seen = list[tuple[Frame, Faces]]
"""Frames with their faces, in order."""


class FaceFinder:
    """A detector on every ``every``-th frame and its points model on those between.

    ``FacerError`` for ``every`` beyond 1 with a detector that has no points model.
    """

    def __init__(self, detector: Detector, every: int = 1) -> None:
        self._detector = detector
        self._points = detector.points if isinstance(detector, RefinedDetector) else None
        self._every = every
        if every > 1 and self._points is None:
            raise FacerError(
                f"--detect-every {every}: {detector.name} has no points model to follow faces "
                "with; expected 1, or --detector facer-det"
            )

    def find(self, clips: Sequence[ClipFrames]) -> list[Seen]:
        """Leading frames of every clip, up to its last key frame, with their faces; takes them
        from ``clips``. Frames after it wait for the next one.
        """
        found: dict[_Place, Faces] = {}
        self._detect(clips, found, [p for p in _places(clips) if self._is_key(clips, p)])
        guesses: dict[_Place, Faces] = {}
        for number, clip in enumerate(clips):
            guesses.update(_guesses(number, clip, found))
        self._follow(clips, found, guesses)
        rest = [p for p in _places(clips) if p not in found and self._is_due(clips, p)]
        self._detect(clips, found, rest)
        return [_take(number, clip, found) for number, clip in enumerate(clips)]

    def _is_key(self, clips: Sequence[ClipFrames], at: _Place) -> bool:
        return clips[at.clip].is_key(at.place, self._every)

    def _is_due(self, clips: Sequence[ClipFrames], at: _Place) -> bool:
        """Whether a key frame comes after it."""
        clip = clips[at.clip]
        return any(clip.is_key(later, self._every) for later in range(at.place, len(clip.frames)))

    def _detect(
        self, clips: Sequence[ClipFrames], found: dict[_Place, Faces], places: list[_Place]
    ) -> None:
        images = [clips[at.clip].frames[at.place].image for at in places]
        found.update(zip(places, self._detector.detect(images), strict=True))

    def _follow(
        self,
        clips: Sequence[ClipFrames],
        found: dict[_Place, Faces],
        guesses: dict[_Place, Faces],
    ) -> None:
        """Correct guesses on their own pixels; those in doubt are left out of ``found``."""
        if self._points is None or not guesses:
            return
        pictures = [clips[at.clip].frames[at.place].picture for at in guesses]
        points, faces = self._points.refine(pictures, [g.keypoints_px for g in guesses.values()])
        for (at, guess), better, face in zip(guesses.items(), points, faces, strict=True):
            if (face >= MIN_FACE).all():
                moved = (better - guess.keypoints_px).mean(axis=1)
                found[at] = Faces(guess.bbox_px + np.tile(moved, 2), better, guess.score)


def _places(clips: Sequence[ClipFrames]) -> list[_Place]:
    return [_Place(n, place) for n, clip in enumerate(clips) for place in range(len(clip.frames))]


def _guesses(number: int, clip: ClipFrames, found: Mapping[_Place, Faces]) -> dict[_Place, Faces]:
    """Straight lines between key frames that have the same faces."""
    guesses: dict[_Place, Faces] = {}
    start, before = -1, clip.before
    for place in range(len(clip.frames)):
        after = found.get(_Place(number, place))
        if after is None:
            continue
        pairs = None if before is None else same_faces(before, after)
        for between in range(start + 1, place):
            if before is not None and pairs is not None:
                share = (between - start) / (place - start)
                guesses[_Place(number, between)] = _between(before, after, pairs, share)
        start, before = place, after
    return guesses


def _take(number: int, clip: ClipFrames, found: Mapping[_Place, Faces]) -> Seen:
    """Remove the leading frames that have their faces from a clip."""
    seen: Seen = []
    for place, frame in enumerate(clip.frames):
        if (at := _Place(number, place)) not in found:
            break
        seen.append((frame, found[at]))
    if seen:
        del clip.frames[: len(seen)]
        clip.first += len(seen)
        clip.before = seen[-1][1]
    return seen


def same_faces(before: Faces, after: Faces) -> list[int] | None:
    """For every face before, its number after, when the faces are the same and none moved far;
    None otherwise.
    """
    count = len(before.score)
    if len(after.score) != count:
        return None
    pairs: list[int] = []
    for points in before.keypoints_px:
        distance = point_distance(points, after.keypoints_px)
        nearest = int(distance.argmin())
        if distance[nearest] > MAX_MOVE or nearest in pairs:
            return None
        pairs.append(nearest)
    return pairs


def _between(before: Faces, after: Faces, pairs: Sequence[int], share: float) -> Faces:
    """Faces on their way from one key frame to the next, in the order of the first."""
    if not pairs:
        return NO_FACES

    def mean(first: F32, second: F32) -> F32:
        return np.asarray((1 - share) * first + share * second[list(pairs)], np.float32)

    return Faces(*(mean(a, b) for a, b in zip(before, after, strict=True)))
