"""The points model: its samples tell the truth, its training goes on, its file is what ran."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facer.stages.detection.data.guesses import Guessed, guessed
from facer.stages.detection.data.teacher import Labelled, without_faces
from facer.stages.detection.refiner.fit import points_loss
from facer.stages.detection.refiner.network import PointsNet, export_points
from facer.stages.detection.refiner.samples import (
    FAR,
    NEAR,
    Crops,
    PointsSources,
    draw_sample,
    wrong_guess,
)
from facer.stages.features.faces import Faces
from facer.stages.features.refine import (
    EYES_PX,
    POINTS_TEMPLATE_PX,
    KeypointRefiner,
    crop_transforms,
    read_crop,
)

FIVE = np.array([[60, 70], [100, 70], [80, 92], [66, 112], [94, 112]], np.float32)
NO_CROPS = Crops([], np.zeros((0, 5, 2), np.float32))


@pytest.fixture
def dotted() -> np.ndarray:
    """An image whose five points are white dots on black, and nothing else."""
    image = np.zeros((180, 180, 3), np.uint8)
    for x, y in FIVE.astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    return image


@pytest.fixture
def sources(dotted: np.ndarray) -> PointsSources:
    box = np.array([[40, 40, 120, 140]], np.float32)
    photo = Labelled(dotted, box, FIVE[None], np.zeros(1, np.bool_))
    scene = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    return PointsSources((photo,), NO_CROPS, (unguessed(without_faces(scene)),))


def unguessed(shot: Labelled) -> Guessed:
    none = np.zeros((0, 5, 2), np.float32)
    return Guessed(shot, none, (), none)


def test_a_right_guess_lies_on_the_template(dotted):
    matrix = crop_transforms(FIVE[None])[0]
    placed = FIVE @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(placed - POINTS_TEMPLATE_PX, axis=1).mean() < 0.1 * EYES_PX
    crop = read_crop(dotted, matrix)
    assert all(crop[round(float(y)), round(float(x))].max() > 100 for x, y in placed)


def test_a_large_face_is_read_where_a_small_one_is(dotted):
    """Shrinking before the crop is read moves nothing by a pixel."""
    small = read_crop(dotted, crop_transforms(FIVE[None])[0])
    large = cv2.resize(dotted, None, fx=6, fy=6, interpolation=cv2.INTER_LINEAR)
    points = (FIVE + 0.5) * 6 - 0.5
    same = read_crop(np.asarray(large, np.uint8), crop_transforms(points[None])[0])
    shift, _ = cv2.phaseCorrelate(
        small[..., 0].astype(np.float32),
        same[..., 0].astype(np.float32),
        cv2.createHanningWindow((64, 64), 5),
    )
    assert np.abs(shift).max() < 0.3


def test_samples_say_where_the_points_are_and_whether_there_is_a_face(sources):
    kinds = {0: 0, 1: 0}
    for seed in range(200):
        sample = draw_sample(np.random.default_rng(seed), sources)
        assert sample.image.shape == (64, 64, 3)
        error = float(np.linalg.norm(sample.offsets, axis=1).mean())
        if np.isfinite(sample.face):
            kinds[int(sample.face)] += 1
        if sample.face == 1:
            assert error < NEAR
        if sample.face == 0:
            assert np.isnan(error)
        if np.isfinite(error):
            assert error < FAR
    assert kinds[0] > 20
    assert kinds[1] > 80


def test_a_far_guess_is_far(sources):
    distance = [
        np.linalg.norm(wrong_guess(np.random.default_rng(s), FIVE, far=True).mean(0) - FIVE.mean(0))
        for s in range(50)
    ]
    assert min(distance) > 0.5 * 40  # of 40 px between the eyes


def test_unlabelled_samples_teach_nothing():
    points = torch.randn(4, 5, 2, requires_grad=True)
    logit = torch.randn(4, requires_grad=True)
    offsets = torch.full((4, 5, 2), torch.nan)
    offsets[0] = 0
    face = torch.tensor([1.0, torch.nan, 0.0, torch.nan])
    points_loss(points, logit, offsets, face).backward()
    assert points.grad is not None
    assert logit.grad is not None
    assert (points.grad[0] != 0).all()
    assert (points.grad[1:] == 0).all()
    assert (logit.grad != 0).tolist() == [True, False, True, False]


def test_the_file_is_what_ran(tmp_path: Path, dotted):
    torch.manual_seed(0)
    net = PointsNet().eval()
    export_points(net, tmp_path / "points.onnx", {"name": "test"})
    model = KeypointRefiner(tmp_path / "points.onnx")
    guess = FIVE + np.float32(2)
    (points,), (face,) = model.refine([dotted], [guess[None]])
    matrix = crop_transforms(guess[None])[0]
    pixels = torch.from_numpy(read_crop(dotted, matrix)).permute(2, 0, 1)[None].float() / 127.5 - 1
    offsets, logit = net(pixels)
    placed = points[0] @ matrix[:, :2].T + matrix[:, 2]
    expected = POINTS_TEMPLATE_PX + offsets[0].detach().numpy() * EYES_PX
    np.testing.assert_allclose(placed, expected, atol=1e-2)
    assert face[0] == pytest.approx(float(logit.detach().sigmoid()), abs=1e-4)


def test_frames_without_faces_take_no_part(dotted):
    none = np.zeros((0, 5, 2), np.float32)
    points, faces = KeypointRefiner().refine([dotted, dotted], [none, none])
    assert [p.shape for p in points] == [(0, 5, 2)] * 2
    assert [f.shape for f in faces] == [(0,)] * 2


def test_a_detectors_guesses_are_sorted_by_what_they_are_on(dotted):
    """One on a face, one on a doubtful face, one on nothing."""
    right, down = np.array([[100, 0], [0, 120]], np.float32)
    boxes = np.array([[40, 40, 120, 140], [140, 40, 220, 140]], np.float32)
    shot = Labelled(dotted, boxes, np.stack([FIVE, FIVE + right]), np.array([False, True]))

    class Detector:
        name = sha256 = ""

        def detect(self, images):
            places = np.stack([FIVE + 2, FIVE + right, FIVE + down])
            found = np.concatenate([boxes, boxes[:1] + np.tile(down, 2)])
            return [Faces(found, places, np.ones(3, np.float32)) for _ in images]

    (seen,) = guessed([shot], Detector())
    np.testing.assert_array_equal(seen.right_px, FIVE[None] + 2)
    assert seen.face == (0,)
    np.testing.assert_array_equal(seen.wrong_px, FIVE[None] + down)
    people = PointsSources((shot,), NO_CROPS, (), (seen,))
    kinds = [draw_sample(np.random.default_rng(n), people).face for n in range(60)]
    assert {0.0, 1.0} <= set(kinds)


def test_no_answer_is_taught_where_every_place_may_be_a_face(dotted):
    """A picture that is one doubtful face says nothing about faces."""
    everywhere = np.array([[-900, -900, 900, 900]], np.float32)
    shot = Labelled(dotted, everywhere, np.full((1, 5, 2), np.nan, np.float32), np.ones(1, bool))
    people = PointsSources(
        (shot,), Crops([], np.zeros((0, 5, 2), np.float32)), (), (unguessed(shot),)
    )
    for seed in range(20):
        sample = draw_sample(np.random.default_rng(seed), people)
        assert np.isnan(sample.face)
        assert np.isnan(sample.offsets).all()
