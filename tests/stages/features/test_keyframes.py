"""Key frames: what the detector sees, what is followed, and that batches change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from facer.stages.features.decode.frames import Frame
from facer.stages.features.faces import NO_FACES, Faces
from facer.stages.features.keyframes import (
    MAX_MOVE,
    ClipEnd,
    ClipFrame,
    FrameFaces,
    KeyframeDetector,
    KeyframeSegment,
    interpolate,
    same_faces,
)
from facer.stages.features.looks import RefiningDetector
from facer.storage.errors import FacerError

FIVE = np.array([[0, 0], [40, 0], [20, 22], [6, 42], [34, 42]], np.float32)


def five(x: float) -> np.ndarray:
    return np.asarray(FIVE + np.array([float(x), 0]), np.float32)


def face_at(x: float) -> Faces:
    return Faces(
        np.array([[x - 20, -20, x + 60, 70]], np.float32),
        five(x)[None],
        np.array([0.95], np.float32),
    )


def image(x: float | None, sure: float = 1.0) -> np.ndarray:
    """A frame that says where its face is, and how sure the refiner is of it."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 0] = 255 if x is None else int(x)
    pixels[..., 1] = int(sure * 255)
    return pixels


class Detector:
    name, sha256 = "fake", "f" * 64

    def __init__(self) -> None:
        self.looked: list[int] = []

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        self.looked.extend(int(i[0, 0, 0]) for i in images)
        return [NO_FACES if i[0, 0, 0] == 255 else face_at(float(i[0, 0, 0])) for i in images]

    def refine(self, images, guesses):
        """The frame's own points for a guess, whatever it was."""
        found = [
            np.repeat(five(i[0, 0, 0])[None], len(g), 0)
            for i, g in zip(images, guesses, strict=True)
        ]
        sure = [
            np.full(len(g), i[0, 0, 1] / 255, np.float32)
            for i, g in zip(images, guesses, strict=True)
        ]
        return found, sure


@pytest.fixture
def detector() -> Detector:
    return Detector()


def keyframes(detector: Detector, interval: int = 4) -> KeyframeDetector:
    return KeyframeDetector(RefiningDetector(detector, detector), interval)  # type: ignore[arg-type]


def frames(places: Sequence[float | None]) -> list[Frame]:
    return [Frame(i, i / 25, image(x)) for i, x in enumerate(places)]


def ending(clip: int = 0) -> ClipEnd:
    return ClipEnd(clip, 0.0, failed=False, reason="")


def found(keyframes: KeyframeDetector, seen: list[Frame], size: int) -> list[Faces]:
    """Faces of all frames when about ``size`` of them are held."""
    items: list[ClipFrame | ClipEnd] = [*(ClipFrame(0, frame) for frame in seen), ending()]
    result = [item for batch in keyframes.faces(items, lambda _: size) for item in batch]
    assert result.pop() == ending()
    assert indices(result) == list(range(len(seen)))
    return [item.faces for item in result if isinstance(item, FrameFaces)]


def indices(items: Sequence[FrameFaces | ClipEnd]) -> list[int]:
    """The frames' numbers; no clip ends among them."""
    assert all(isinstance(item, FrameFaces) for item in items)
    return [item.frame.frame_index for item in items if isinstance(item, FrameFaces)]


def test_a_calm_face_is_detected_on_key_frames_and_the_last_and_measured_on_all(detector):
    places = [10, 11, 13, 14, 16, 17, 18]
    faces = found(keyframes(detector), frames(places), 100)
    assert detector.looked == [10, 16, 18]
    for x, one in zip(places, faces, strict=True):
        np.testing.assert_allclose(one.keypoints_px[0], five(x), atol=1e-4)
        np.testing.assert_allclose(one.bbox_px[0], face_at(x).bbox_px[0], atol=1e-4)
        assert one.score == pytest.approx([0.95])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_batches_change_nothing(detector, size):
    places = [10, 12, 13, 15, None, 60, 62, 61, 63, 120, None, None, None, None, 70]
    together = found(keyframes(detector), frames(places), 100)
    looked = sorted(detector.looked)
    detector.looked.clear()
    apart = found(keyframes(detector), frames(places), size)
    assert sorted(detector.looked) == looked
    for a, b in zip(together, apart, strict=True):
        assert len(a.score) == len(b.score)
        np.testing.assert_array_equal(a.keypoints_px, b.keypoints_px)


def test_a_face_that_moved_far_is_detected_on_every_frame_between(detector):
    found(keyframes(detector), frames([10, 20, 40, 70, 100]), 100)
    assert sorted(detector.looked) == [10, 20, 40, 70, 100]


def test_a_face_that_comes_is_detected_on_every_frame_between(detector):
    faces = found(keyframes(detector), frames([None, None, 30, 30, 30]), 100)
    assert [len(f.score) for f in faces] == [0, 0, 1, 1, 1]
    assert len(detector.looked) == 5 + 3  # the first frame turned, too


def test_a_guess_in_doubt_is_left_to_the_detector(detector):
    seen = frames([10, 11, 12, 13, 14])
    seen[2] = Frame(2, 0.08, image(12, sure=0.2))
    found(keyframes(detector), seen, 100)
    assert sorted(detector.looked) == [10, 12, 14]


def test_an_empty_stretch_costs_key_frames_alone_and_a_few_of_them_turned(detector):
    faces = found(keyframes(detector), frames([None] * 97), 100)
    assert len(detector.looked) == 25 + 3 * 5
    assert all(len(f.score) == 0 for f in faces)


class Upright:
    """A detector that is sure of a face with its bright side up, and finds others now and then."""

    name, sha256 = "upright", "f" * 64

    def detect(self, images: Sequence[np.ndarray]) -> list[Faces]:
        found = [face_at(0.0) if i[0].min() > 100 else face_at(0.0)._replace(
            score=np.array([0.7], np.float32)) for i in images]  # fmt: skip
        return [NO_FACES if not i.any() else f for i, f in zip(images, found, strict=True)]


@pytest.mark.parametrize(
    ("turns", "filters"), [(0, ""), (1, "transpose=1"), (2, "hflip,vflip"), (3, "transpose=2")]
)
def test_a_clip_whose_faces_stand_upright_only_when_it_is_turned_says_so(turns, filters):
    upright = np.zeros((4, 4, 3), np.uint8)
    upright[0] = 200
    picture = np.ascontiguousarray(np.rot90(upright, turns))
    shown = [np.zeros((4, 4, 3), np.uint8), *[picture] * 8]  # dark at first
    items = [ClipFrame(0, Frame(i, i / 25, image)) for i, image in enumerate(shown)]
    *_, end = next(KeyframeDetector(Upright()).faces([*items, ending()], lambda _: 100))
    assert isinstance(end, ClipEnd)
    assert (f"ffmpeg -i INPUT -vf {filters} " in end.reason) if filters else end.reason == ""


def test_frames_after_the_last_key_frame_wait(detector):
    seen = frames([10] * 7)
    items: list[ClipFrame | ClipEnd] = [*(ClipFrame(0, frame) for frame in seen), ending()]
    first, (*rest, end) = keyframes(detector).faces(iter(items), lambda _: 5)
    assert indices(first) == [0, 1, 2, 3, 4]
    assert indices(rest) == [5, 6]
    assert end == ending()


def test_clips_do_not_see_each_other(detector):
    one, two = frames([10, 11, 12, 13, 14]), frames([80, 81, 82, 83, 84])
    turns = [
        ClipFrame(n, frame) for pair in zip(one, two, strict=True) for n, frame in enumerate(pair)
    ]
    (batch,) = keyframes(detector).faces([*turns, ending(0), ending(1)], lambda _: 100)
    assert sorted(detector.looked) == [10, 14, 80, 84]
    for clip, middle in enumerate((12, 82)):
        own = [item for item in batch if item.clip == clip]
        assert indices(own[:-1]) == [0, 1, 2, 3, 4]
        assert isinstance(own[2], FrameFaces)
        assert float(own[2].faces.keypoints_px[0, 0, 0]) == middle
        assert own[-1] == ending(clip)


def test_guesses_lie_on_a_straight_line_between_the_key_frames():
    between = frames([None] * 3)
    guesses = interpolate(KeyframeSegment(face_at(10), between, face_at(18)))
    for x, guess in zip((12, 14, 16), guesses, strict=True):
        np.testing.assert_allclose(guess.keypoints_px[0], five(x), atol=1e-5)
        np.testing.assert_allclose(guess.bbox_px, face_at(x).bbox_px, atol=1e-5)
    empty = interpolate(KeyframeSegment(NO_FACES, between, NO_FACES))
    assert [len(guess.score) for guess in empty] == [0, 0, 0]
    assert interpolate(KeyframeSegment(face_at(10), between, NO_FACES)) == []
    assert interpolate(KeyframeSegment(None, [], face_at(10))) == []


def test_same_faces_pairs_each_with_the_nearest_and_no_two_with_one():
    two = Faces(*(np.concatenate(pair) for pair in zip(face_at(0), face_at(100), strict=True)))
    swapped = Faces(*(values[::-1] for values in two))
    assert same_faces(two, swapped) == [1, 0]
    assert same_faces(two, face_at(0)) is None
    near = Faces(*(np.concatenate(pair) for pair in zip(face_at(0), face_at(5), strict=True)))
    assert same_faces(near, two) is None
    assert same_faces(face_at(0), face_at(40 * MAX_MOVE - 1)) == [0]
    assert same_faces(face_at(0), face_at(40 * MAX_MOVE + 1)) is None


def test_a_detector_without_a_points_model_cannot_leave_frames_out(detector):
    with pytest.raises(FacerError, match="detect_every 4: fake has no points model"):
        KeyframeDetector(detector, 4)
    assert len(found(KeyframeDetector(detector), frames([10] * 5), 100)) == 5
