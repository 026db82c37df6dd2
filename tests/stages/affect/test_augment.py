"""Augmentation: same kind of crop out as in, decided by the generator alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.affect.augment import augment
from facer.stages.affect.config import AugmentConfig
from facer.storage.errors import FacerError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (112, 112, 3), dtype=np.uint8)
GREY = np.repeat(COLOUR[..., :1], 3, 2)
FRAME = np.array([[20, 20], [90, 22], [92, 95], [18, 90]], np.float32)
NONE = AugmentConfig(
    **dict.fromkeys(("flip", "tint", "grey", "low_resolution", "blur", "noise", "jpeg"), 0),
    rotate_deg=0, scale=0, shift_px=0, erase=0, background=0,
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_shape_and_type_stay_and_the_input_is_untouched(seed, grey, framed):
    crop = GREY if grey else COLOUR
    before = crop.copy()
    frame = FRAME if framed else None
    first = augment(crop, np.random.default_rng(seed), AugmentConfig(), frame, COLOUR)
    again = augment(crop, np.random.default_rng(seed), AugmentConfig(), frame, COLOUR)
    assert first.shape == (112, 112, 3)
    assert first.dtype == np.uint8
    assert (first == again).all()
    assert (crop == before).all()


def test_flip_mirrors_a_crop_without_moving_the_template():
    ramp = np.repeat(np.tile(np.arange(112, dtype=np.uint8) * 2, (112, 1))[..., None], 3, 2)
    rng = np.random.default_rng(1)
    flipped = augment(ramp, rng, replace(NONE, flip=1.0)).astype(int)[:, 4:-4, 0]
    assert (np.diff(flipped.mean(0)) <= 0).all()


def test_outside_of_the_source_image_is_painted():
    black = np.zeros((112, 112, 3), np.uint8)
    config = replace(NONE, background=1.0)
    painted = [
        augment(black, np.random.default_rng(s), config, FRAME, np.full_like(black, 250))[2, 2]
        for s in range(20)
    ]
    assert max(int(pixel.max()) for pixel in painted) > 100


def test_grey_crops_get_colour_and_colour_may_turn_grey():
    rng = np.random.default_rng(3)
    tinted = [augment(GREY, rng, AugmentConfig(tint=1, erase=0)) for _ in range(10)]
    assert sum(int(c[..., 0].mean() != c[..., 2].mean()) for c in tinted) >= 8
    greys = [augment(COLOUR, rng, AugmentConfig(grey=1, tint=0, noise=0, erase=0, jpeg=0))
             for _ in range(5)]  # fmt: skip
    assert all((c[..., 0] == c[..., 1]).all() for c in greys)


@pytest.mark.parametrize("name", ["flip", "noise", "erase", "background"])
def test_probabilities_are_checked(name):
    with pytest.raises(FacerError, match=f"augment {name}: found 1.5, expected 0 to 1"):
        AugmentConfig(**{name: 1.5})  # type: ignore[arg-type]
