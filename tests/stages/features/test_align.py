"""Alignment: the same transform as insightface's, vectorised; it inverts."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align, similarity_transforms


def place(angle, scale, dx, dy):
    """The template seen in a frame, rotated, scaled and moved."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (ARCFACE_TEMPLATE_PX @ turn.T + [dx, dy]).astype(np.float32)


@given(
    st.floats(-3, 3), st.floats(0.2, 8), st.floats(-500, 1500), st.floats(-500, 1500)
)  # fmt: skip
def test_points_of_any_similar_face_land_on_the_template(angle, scale, dx, dy):
    points = place(angle, scale, dx, dy)
    matrix = similarity_transforms(points[None])[0]
    landed = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(landed, ARCFACE_TEMPLATE_PX, atol=0.02)


def test_matches_insightface():
    from insightface.utils import face_align

    rng = np.random.default_rng(0)
    points = place(0.3, 2, 100, 60) + rng.normal(0, 4, (20, 5, 2)).astype(np.float32)
    ours = similarity_transforms(points)
    for matrix, face in zip(ours, points, strict=True):
        np.testing.assert_allclose(matrix, reference(face_align, face), atol=1e-3)


def reference(face_align, face):
    with warnings.catch_warnings():  # insightface uses a call that scikit-image deprecates
        warnings.simplefilter("ignore", FutureWarning)
        return face_align.estimate_norm(face)


def test_crop_of_template_points_is_the_image_itself():
    image = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    crop = align(image, ARCFACE_TEMPLATE_PX[None])
    assert crop.shape == (1, 112, 112, 3)
    assert np.abs(crop[0, 2:-2, 2:-2].astype(int) - image[2:-2, 2:-2]).max() <= 3


def test_no_face_gives_no_crop():
    assert align(np.zeros((50, 60, 3), np.uint8), np.zeros((0, 5, 2), np.float32)).shape[0] == 0
