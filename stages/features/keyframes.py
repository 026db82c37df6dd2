"""Step 2, all of it: the faces of every frame, from a detector on key frames and a refiner between.

The detector sees every ``interval``-th frame of a clip and its last. On a frame between two key
frames with the same faces, keypoints interpolated in a straight line are the refiner's guess; it
corrects them on that frame's own pixels and says whether a face is there. Where the key frames
differ, a face moved too far between them, or the refiner doubts a guess, the detector sees that
frame too. So keypoints are always measured, never carried over, and a face can go unseen only
when it comes and goes between two key frames that both have the same other faces.

What a frame gives depends on its clip alone, not on how frames are batched. Frames that repeat the
one before bit for bit are left out, and get what it gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from facer.stages.features.decode.frames import Frame
from facer.stages.features.faces import NO_FACES, Detector, Faces, point_distance
from facer.stages.features.looks import RefiningDetector
from facer.stages.features.refine import MIN_FACE
from facer.stages.features.turned import TurnWatch
from facer.storage.errors import FacerError, named

MAX_MOVE = 0.5
"""Mean distance of the five points between two key frames, in distances between the eyes, up to
which a face is the same one on its way."""


class ClipFrame(NamedTuple):
    """A frame of one of several clips."""

    clip: int
    frame: Frame
    repeats_s: tuple[float, ...] = ()  # times of the frames after it that show the same picture


class ClipEnd(NamedTuple):
    """No frame of a clip comes after it."""

    clip: int
    started: float  # perf_counter() when it was opened
    failed: bool
    reason: str  # why it failed, or what was odd about it

    def with_note(self, note: str) -> ClipEnd:
        """The same with one more thing that was odd, or "" for nothing."""
        return self._replace(reason="; ".join(filter(None, [self.reason, note])))


class FramesToKey(NamedTuple):
    """Frames of one of several clips up to its next key frame, which is the last of them."""

    clip: int
    items: list[ClipFrame]

    @property
    def frames(self) -> list[Frame]:
        """The frames alone."""
        return [item.frame for item in self.items]


class FrameFaces(NamedTuple):
    """A frame of one of several clips with its faces."""

    clip: int
    frame: Frame
    faces: Faces
    repeats_s: tuple[float, ...] = ()  # as of ClipFrame


class KeyframeSegment(NamedTuple):
    """The frames between two key frames of a clip, and the faces of both."""

    before: Faces | None  # None at a clip's start, where no frames come before a key frame
    frames: Sequence[Frame]
    after: Faces


def cut_at_keys(
    items: Iterable[ClipFrame | ClipEnd], interval: int
) -> Iterator[FramesToKey | ClipEnd]:
    """Collect each clip's frames up to its key frames: the first, every ``interval``-th from
    there, and the last.
    """
    frames_of: dict[int, list[ClipFrame]] = {}
    for item in items:
        if isinstance(item, ClipFrame):
            first = item.clip not in frames_of
            frames = frames_of.setdefault(item.clip, [])
            frames.append(item)
            if first or len(frames) == interval:
                frames_of[item.clip] = []
                yield FramesToKey(item.clip, frames)
            continue
        if frames := frames_of.pop(item.clip, []):
            yield FramesToKey(item.clip, frames)
        yield item


def interpolate(segment: KeyframeSegment) -> list[Faces]:
    """A guess for every frame between: faces on a straight line from one key frame to the other,
    in the order of the first. None at all when the key frames have different faces.
    """
    before, after = segment.before, segment.after
    pairs = None if before is None else same_faces(before, after)
    if before is None or pairs is None:
        return []
    to = [values[pairs] for values in after] if pairs else NO_FACES
    shares = ((place + 1) / (len(segment.frames) + 1) for place in range(len(segment.frames)))
    return [
        Faces(
            *(np.asarray((1 - x) * a + x * b, np.float32) for a, b in zip(before, to, strict=True))
        )
        for x in shares
    ]


def same_faces(before: Faces, after: Faces) -> list[int] | None:
    """For every face before, its row after, when the faces are the same and none moved far;
    None otherwise.
    """
    if len(after.score) != len(before.score):
        return None
    rows: list[int] = []
    for keypoints_px in before.keypoints_px:
        distance = point_distance(keypoints_px, after.keypoints_px)
        nearest = int(distance.argmin())
        if distance[nearest] > MAX_MOVE or nearest in rows:
            return None
        rows.append(nearest)
    return rows


class KeyframeDetector:
    """A detector on every ``interval``-th frame and its keypoint refiner on those between.

    ``FacerError`` for an interval beyond 1 with a detector that has no refiner.
    """

    def __init__(self, detector: Detector, interval: int = 1) -> None:
        self._detector = detector
        self._refiner = detector.refiner if isinstance(detector, RefiningDetector) else None
        self._interval = interval
        if interval > 1 and self._refiner is None:
            raise FacerError(
                f"{named('detect_every')} {interval}: {detector.name} has no points model to "
                f"follow faces with; expected 1, or {named('detector')} facer-det"
            )

    def faces(
        self, items: Iterable[ClipFrame | ClipEnd], room: Callable[[Frame], int]
    ) -> Iterator[list[FrameFaces | ClipEnd]]:
        """The same items with faces, in batches of about ``room(frame)`` frames."""
        key_faces: dict[int, Faces] = {}  # of each clip's latest key frame
        turns: dict[int, TurnWatch] = {}
        batch: list[FramesToKey | ClipEnd] = []
        n_frames = 0
        for item in cut_at_keys(items, self._interval):
            batch.append(item)
            if isinstance(item, FramesToKey):
                n_frames += len(item.items)
                if n_frames >= room(item.items[-1].frame):
                    yield self._resolve(batch, key_faces, turns)
                    batch, n_frames = [], 0
        yield self._resolve(batch, key_faces, turns)

    def _resolve(
        self,
        batch: Sequence[FramesToKey | ClipEnd],
        key_faces: dict[int, Faces],
        turns: dict[int, TurnWatch],
    ) -> list[FrameFaces | ClipEnd]:
        """Detect on all key frames at once, correct all guesses at once, detect on the rest."""
        runs = [item for item in batch if isinstance(item, FramesToKey)]
        frames = [frame for run in runs for frame in run.frames]
        found: list[Faces | None] = []
        guesses: dict[int, Faces] = {}  # by position in frames
        for run, after in zip(
            runs, self._detect([run.items[-1].frame for run in runs]), strict=True
        ):
            segment = KeyframeSegment(key_faces.get(run.clip), run.frames[:-1], after)
            guesses.update(enumerate(interpolate(segment), len(found)))
            found += [*[None] * len(segment.frames), after]
            key_faces[run.clip] = after
            turns.setdefault(run.clip, TurnWatch(self._detector)).add(run.items[-1].frame, after)
        for position, faces in self._follow(frames, guesses):
            found[position] = faces
        rest = [position for position, faces in enumerate(found) if faces is None]
        for position, faces in zip(rest, self._detect([frames[i] for i in rest]), strict=True):
            found[position] = faces
        in_order = iter(found)
        result: list[FrameFaces | ClipEnd] = []
        for item in batch:
            if isinstance(item, ClipEnd):
                watch = turns.pop(item.clip, None)
                result.append(item.with_note(watch.note()) if watch and not item.failed else item)
            else:
                pairs = zip(item.items, in_order)  # noqa: B905 - as many as there are frames
                result += [
                    FrameFaces(item.clip, one.frame, cast(Faces, faces), one.repeats_s)
                    for one, faces in pairs
                ]
        return result

    def _detect(self, frames: Sequence[Frame]) -> list[Faces]:
        return self._detector.detect([frame.image for frame in frames])

    def _follow(
        self, frames: Sequence[Frame], guesses: Mapping[int, Faces]
    ) -> Iterator[tuple[int, Faces]]:
        """Guesses corrected on their own pixels, but for those with a face in doubt."""
        if self._refiner is None or not guesses:
            return
        pictures = [frames[position].picture for position in guesses]
        refined = self._refiner.refine(pictures, [g.keypoints_px for g in guesses.values()])
        for (position, guess), keypoints_px, face in zip(guesses.items(), *refined, strict=True):
            if (face >= MIN_FACE).all():
                shift = (keypoints_px - guess.keypoints_px).mean(axis=1)
                bbox_px = guess.bbox_px + np.tile(shift, 2)
                yield position, Faces(bbox_px, keypoints_px, guess.score)
