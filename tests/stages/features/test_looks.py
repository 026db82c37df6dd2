"""Further looks at what the detector takes for a face: who counts, where, and how surely."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facer.stages.features.faces import NO_FACES, Faces
from facer.stages.features.looks import SEEN, SURE, TILE_PX, RefiningDetector
from facer.stages.features.refine import KeypointRefiner

FIVE = np.array([[210, 120], [250, 124], [228, 142], [212, 162], [244, 166]], np.float32)
BOX = np.array([195, 95, 265, 185], np.float32)
FRAME = np.zeros((300, 400, 3), np.uint8)


def row(points=FIVE, score=0.9, box=BOX) -> Faces:
    return Faces(box[None].copy(), points[None].copy(), np.array([score], np.float32))


class Sees:
    """Stands in for a detector: the same faces in every image."""

    name = sha256 = "fake"

    def __init__(self, *faces: Faces) -> None:
        self.faces = Faces(*(np.concatenate(values) for values in zip(*faces, strict=True)))

    def detect(self, images):
        return [self.faces for _ in images]


class Points(KeypointRefiner):
    """Stands in for a points model: moves points by 1, and is as sure as it is told."""

    sha256 = "fake"

    def __init__(self, *sure: float) -> None:
        self.sure = sure
        self.looked: list[int] = []

    def refine(self, pictures, guesses_px):
        self.looked += [len(guess) for guess in guesses_px]
        sure = [np.array(self.sure[: len(guess)], np.float32) for guess in guesses_px]
        return [guess + 1 for guess in guesses_px], sure


def test_a_face_counts_that_the_points_model_does_not_rule_out():
    far = np.array([100, 0], np.float32)
    four = [row(FIVE + n * far, 0.9, BOX + n * np.tile(far, 2)) for n in range(4)]
    model = Points(0.9, 0.03, 0.4, 0.01)
    (faces,) = RefiningDetector(Sees(*four), model).detect([FRAME])
    assert model.looked == [4, 2]  # and those that count once more, from where they are now
    np.testing.assert_array_equal(faces.keypoints_px, np.stack([FIVE + 2, FIVE + 2 + 2 * far]))
    np.testing.assert_array_equal(faces.bbox_px[:, 0], [195, 395])


class Dots:
    """Stands in for the detector at further looks: five white dots are a face, seen as from here,
    with the box that belongs to them. As sure as it is told, look by look.
    """

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.squares: list[np.ndarray] = []

    def __call__(self, images):
        self.squares += images
        return [self.one(image) for image in images]

    def one(self, image):
        score = self.scores.pop(0)
        n, _, _, centres = cv2.connectedComponentsWithStats((image[..., 0] > 100).astype(np.uint8))
        if n != 6 or score < SEEN:
            return NO_FACES
        points = centres[1:][np.argsort(centres[1:, 1])].astype(np.float32)
        rows = (points[:2], points[2:3], points[3:])  # eyes, nose, mouth
        five = np.concatenate([part[np.argsort(part[:, 0])] for part in rows])
        scale = np.linalg.norm(five[1] - five[0]) / np.linalg.norm(FIVE[1] - FIVE[0])
        middle = five.mean(axis=0)
        off = np.abs(BOX.reshape(2, 2) - FIVE.mean(axis=0)) * scale
        box = np.concatenate([middle - off[0], middle + off[1]]).astype(np.float32)
        return row(five, score, box)


@pytest.fixture
def dotted() -> np.ndarray:
    frame = FRAME.copy()
    for x, y in FIVE.astype(int):
        cv2.circle(frame, (int(x), int(y)), 3, (255, 255, 255), -1)
    return frame


@pytest.mark.parametrize("scores", [(0.8, 0.9), (0.8, 0.15), (0.8, 0.02)])
def test_a_face_in_doubt_has_the_score_of_three_looks_and_lies_where_they_saw_it(dotted, scores):
    """From a guess that is off, on the frame and mirrored alike."""
    guess, box = FIVE + np.array([9, -7], np.float32), BOX + np.array([8, -9, 10, -6], np.float32)
    look = Dots(*scores)
    detector = RefiningDetector(Sees(row(guess, 0.4, box)), Points(0.3), look, 0.01)
    (faces,) = detector.detect([dotted])
    odds = [np.log(p / (1 - p)) for p in [0.4, 0.4, *(s if s >= SEEN else 1e-3 for s in scores)]]
    assert faces.score == pytest.approx([1 / (1 + np.exp(-np.mean(odds)))], abs=1e-5)
    assert {square.shape for square in look.squares} == {(TILE_PX, TILE_PX, 3)}
    assert len(look.squares) == len(scores)
    np.testing.assert_allclose(faces.keypoints_px[0], FIVE + 1, atol=0.5)  # Points adds one


def test_who_is_not_seen_again_counts_for_little_and_stays_where_it_was(dotted):
    look = Dots(0.9)
    detector = RefiningDetector(Sees(row(score=0.6)), Points(0.3), look, 0.01)
    (faces,) = detector.detect([FRAME])
    assert faces.score[0] == pytest.approx(1 / (1 + 1000**0.5 / 1.5**0.5), rel=0.01)
    np.testing.assert_array_equal(faces.keypoints_px, FIVE[None] + 2)
    (none,) = RefiningDetector(Sees(row(score=0.6)), Points(0.3), Dots(0.9), 0.1).detect([FRAME])
    assert len(none.score) == 0


def test_who_the_detector_is_sure_of_is_not_looked_at_again():
    look = Dots()
    (faces,) = RefiningDetector(Sees(row(score=SURE)), Points(0.3), look, 0.5).detect([FRAME])
    assert faces.score == pytest.approx([SURE])
    assert not look.squares


def test_two_guesses_that_are_seen_as_one_face_are_one(dotted):
    two = [row(score=0.5), row(FIVE + 3, 0.6, BOX + np.array([0, 0, 60, 90], np.float32))]
    detector = RefiningDetector(Sees(*two), Points(0.9, 0.9), Dots(0.8, 0.8, 0.8, 0.8), 0.3)
    (faces,) = detector.detect([dotted])
    assert len(faces.score) == 1
    assert faces.score[0] > 0.65  # the surer of the two


def test_images_without_candidates_take_no_part(dotted):
    """And what one image gives depends on no other."""
    none = Faces(*(values[:0] for values in row()))

    class Mixed(Sees):
        def detect(self, images):
            return [row(score=0.5) if image.any() else none for image in images]

    def found(*images):
        return RefiningDetector(Mixed(row()), Points(0.9), Dots(*[0.8] * 8), 0.3).detect(images)

    empty, seen, again = found(FRAME, dotted, dotted)
    assert len(empty.score) == 0
    for values, others, alone in zip(seen, again, found(dotted)[0], strict=True):
        np.testing.assert_array_equal(values, others)
        np.testing.assert_array_equal(values, alone)


def test_of_a_crowd_the_largest_are_looked_at_again(dotted):
    crowd = [
        row(FIVE, 0.6, np.array([n * 90, 0, n * 90 + 20 + n, 20 + n], np.float32))
        for n in range(12)
    ]
    look = Dots(*[0.1] * 20)
    detector = RefiningDetector(Sees(*crowd), Points(*[0.9] * 12), look, 0.5)
    (faces,) = detector.detect([FRAME])
    assert len(look.squares) == 8
    assert faces.bbox_px[:, 0].tolist() == [0, 90, 180, 270]  # by the detector's word alone
