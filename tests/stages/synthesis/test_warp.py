import numpy as np
import pytest

from facer.stages.synthesis.photographs import FACES, UNIT_PX, Face, face_named, load_portrait
from facer.stages.synthesis.warp import ACTIONS, ExpressionWarp
from facer.storage import FacerError

ASTRONAUT = FACES[0]


@pytest.fixture(scope="module")
def portrait():
    return load_portrait(ASTRONAUT)


@pytest.fixture(scope="module")
def warp(portrait):
    return ExpressionWarp(portrait)


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
def test_portraits_have_one_size_of_face(face):
    portrait = load_portrait(face)
    assert portrait.image.dtype == np.uint8
    height, width = portrait.image.shape[:2]
    assert (portrait.points >= 0).all()
    assert (portrait.points < [width, height]).all()
    eyes = np.linalg.norm(portrait.point("right_eye") - portrait.point("left_eye"))
    assert 0.6 * UNIT_PX < eyes < 1.01 * UNIT_PX


def test_no_amount_is_the_photograph(portrait, warp):
    np.testing.assert_array_equal(warp.apply({}), portrait.image)
    np.testing.assert_array_equal(warp.apply(dict.fromkeys(ACTIONS, 0.0)), portrait.image)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_tiny_amount_changes_almost_nothing(portrait, warp, action):
    change = np.abs(warp.apply({action: 1e-4}).astype(int) - portrait.image)
    assert change.max() <= 1


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_moves_skin_and_leaves_the_surroundings(portrait, warp, action):
    change = np.abs(warp.apply({action: 1.0}).astype(int) - portrait.image).max(axis=-1)
    assert change.max() > 30
    x, y = portrait.center.astype(int)
    reach = int(2.8 * UNIT_PX)
    change[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach] = 0
    assert change.max() == 0


def test_an_open_mouth_is_dark_and_opens_wider_with_the_amount(portrait, warp):
    x, y = portrait.point("lower_lip").astype(int)

    def dark_rows(amount):
        column = warp.apply({"jaw": amount})[y : y + 30, x]
        return int((column.max(axis=-1) < 90).sum())

    assert dark_rows(0.0) == 0
    assert 3 < dark_rows(0.5) < dark_rows(1.0)


def test_smile_lifts_the_mouth_corners(portrait, warp):
    """The patch above the corner after the smile resembles the corner before it."""
    x, y = portrait.point("left_mouth").astype(int)
    up, out, r = int(0.13 * UNIT_PX), int(0.09 * UNIT_PX), 5
    before = portrait.image[y - r : y + r, x - r : x + r].astype(float)
    there = np.s_[y - up - r : y - up + r, x - out - r : x - out + r]
    moved = np.abs(warp.apply({"smile": 1.0})[there] - before).mean()
    still = np.abs(portrait.image[there] - before).mean()
    assert moved < 0.5 * still


def test_unknown_face_and_missing_photograph():
    with pytest.raises(FacerError, match="expected one of astronaut"):
        face_named("nobody")
    absent = Face("x", "skimage", "data/absent.png", (10, 10), ASTRONAUT.points_px)
    with pytest.raises(FacerError, match=r"no picture.*reinstall skimage"):
        load_portrait(absent)
    other = Face("x", "skimage", "data/astronaut.png", (10, 10), ASTRONAUT.points_px)
    with pytest.raises(FacerError, match="512x512 pixels, expected the 10x10"):
        load_portrait(other)
    uninstalled = Face("x", "not_a_package", "x.png", (10, 10), ASTRONAUT.points_px)
    with pytest.raises(FacerError, match="no picture"):
        load_portrait(uninstalled)
