import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.stages.features.align import ARCFACE_TEMPLATE_PX, CROP_PX
from facer.stages.features.quality import (
    QualityCurve,
    frame_width_px,
    quality,
    signals,
    yaw_deg,
)

FRONTAL = ARCFACE_TEMPLATE_PX - ARCFACE_TEMPLATE_PX.mean(0)


@pytest.fixture
def crop() -> np.ndarray:
    """Something with detail at every scale, as bright as a face."""
    rng = np.random.default_rng(0)
    picture = np.zeros((CROP_PX, CROP_PX, 3), np.float32)
    for side in (7, 14, 28, 56, 112):
        layer = rng.normal(0, 25, (side, side, 3)).astype(np.float32)
        picture += cv2.resize(layer, (CROP_PX, CROP_PX), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture + 130, 0, 255).astype(np.uint8)


def one(crop: np.ndarray, keypoints: np.ndarray) -> float:
    return float(quality(crop[None], keypoints[None].astype(np.float32))[0])


def turned(degrees: float) -> np.ndarray:
    """The five points of a head in three dimensions, turned and seen from far away."""
    depth = np.array([0, 0, 0.59 * 35, 0, 0])  # the tip of the nose is nearer
    angle = np.radians(degrees)
    x = FRONTAL[:, 0] * np.cos(angle) + depth * np.sin(angle)
    return np.stack([x, FRONTAL[:, 1]], axis=1)


def test_what_worsens_a_picture_lowers_its_quality(crop: np.ndarray) -> None:
    best = one(crop, 2 * FRONTAL)
    assert 0.8 < best < 1
    worse = {
        "blur": one(cv2.GaussianBlur(crop, (0, 0), 3), 2 * FRONTAL),
        "size": one(crop, 0.2 * FRONTAL),
        "yaw": one(crop, 2 * turned(60)),
        "light": one((crop * 0.15).astype(np.uint8), 2 * FRONTAL),
    }
    assert all(value < best - 0.02 for value in worse.values()), worse
    assert one(cv2.GaussianBlur(crop, (0, 0), 6), 0.2 * turned(60)) < min(worse.values())


@given(st.floats(-80, 80), st.floats(0.1, 20), st.floats(-180, 180))
def test_yaw_and_size_do_not_depend_on_roll_or_place(yaw: float, scale: float, roll: float) -> None:
    angle = np.radians(roll)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (scale * turned(yaw) @ rotation.T + [300, 200])[None].astype(np.float32)
    assert yaw_deg(points)[0] == pytest.approx(yaw, abs=2)
    frontal = (scale * FRONTAL @ rotation.T + [300, 200])[None].astype(np.float32)
    assert frame_width_px(frontal)[0] == pytest.approx(CROP_PX * scale, rel=1e-3)


@given(st.integers(0, 255), st.floats(0, 1e-3))
def test_an_empty_picture_has_a_quality(level: int, scale: float) -> None:
    crop = np.full((CROP_PX, CROP_PX, 3), level, np.uint8)
    assert 0 <= one(crop, scale * FRONTAL) <= 1


def test_of_no_face_and_of_each_face_alone(crop: np.ndarray) -> None:
    assert quality(np.empty((0, 112, 112, 3), np.uint8), np.empty((0, 5, 2), np.float32)).shape == (
        0,
    )
    crops = np.stack([crop, cv2.blur(crop, (5, 5))])
    points = np.stack([FRONTAL, 0.3 * turned(30)]).astype(np.float32)
    together = quality(crops, points)
    assert together.dtype == np.float32
    alone = [one(c, p) for c, p in zip(crops, points, strict=True)]
    np.testing.assert_array_equal(together, np.array(alone, np.float32))


def test_the_curve_is_that_of_a_logistic_regression(crop: np.ndarray) -> None:
    points = FRONTAL[None].astype(np.float32)
    seen = signals(crop[None], points)[0]
    curve = QualityCurve(0.5, (-1.0, -0.5, 0.0, 0.0, -2.0))
    expected = 1 / (1 + np.exp(-(0.5 - seen[0] - 0.5 * seen[1] - 2 * seen[4])))
    assert quality(crop[None], points, curve)[0] == pytest.approx(expected, rel=1e-6)
