"""Pictures that stay YUV give the pixels of the whole frame, bit for bit, wherever one looks."""

import av
import numpy as np
import pytest

from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align, similarity_transforms
from facer.stages.features.decode.picture import (
    Repeats,
    put,
    rgb,
    shown,
    size_of,
    stays_yuv,
    take,
)
from facer.stages.features.refine import crop_transforms, read_crop


def yuv(height, width, pixels="yuv420p", matrix=2, colour_range=0, seed=0):
    """A frame of noise."""
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, pixels)
    for plane in frame.planes:
        plane.update(rng.integers(0, 256, plane.buffer_size, np.uint8).tobytes())
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


def faces(rng, height, width, n):
    """Points of faces of all sizes and turns, in the picture, on its edge and outside."""
    angle, scale = rng.uniform(-np.pi, np.pi, n), np.exp(rng.uniform(-2, 2, n))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1)
    centre = rng.uniform(-0.3, 1.3, (n, 1, 2)) * (width, height)
    shape = (ARCFACE_TEMPLATE_PX - 56) @ turn.reshape(n, 2, 2)
    return (shape * scale[:, None, None] + centre).astype(np.float32)


@pytest.mark.parametrize("size", [(360, 640), (480, 270), (120, 214), (64, 2), (4, 96)])
@pytest.mark.parametrize(("pixels", "matrix", "colour_range"), [
    ("yuv420p", 2, 0), ("yuv420p", 1, 1), ("yuvj420p", 5, 2),
])  # fmt: skip
def test_crops_are_those_of_the_whole_frame(size, pixels, matrix, colour_range):
    height, width = size
    frame = yuv(height, width, pixels, matrix, colour_range)
    assert stays_yuv(frame)
    whole = rgb(frame)
    points = faces(np.random.default_rng(1), height, width, 60)
    np.testing.assert_array_equal(align(frame, points), align(whole, points))
    for matrix_ in crop_transforms(points):
        np.testing.assert_array_equal(read_crop(frame, matrix_), read_crop(whole, matrix_))


def test_only_what_a_crop_reads_is_converted_and_nothing_of_it_stays():
    frame = yuv(360, 640)
    (transform,) = similarity_transforms(ARCFACE_TEMPLATE_PX[None] + np.float32(100))
    with shown(frame, transform, 112) as image:
        assert image.shape == (360, 640, 3)
        rows, columns = (np.flatnonzero(image.any((2, axis))) for axis in (1, 0))
    assert 80 <= rows[0] <= 98
    assert 212 < rows[-1] < 232
    assert 80 <= columns[0] <= 98
    assert 212 < columns[-1] < 240
    transform[:, 2] += 5000
    with shown(frame, transform, 112) as after:  # a place beside the frame
        assert after is image
        assert not after.any()


@pytest.mark.parametrize("bad", [0, np.nan, np.inf, 1e-12])
def test_a_transform_that_says_nothing_reads_all(bad):
    frame = yuv(64, 96)
    with shown(frame, np.full((2, 3), bad), 112) as image:
        np.testing.assert_array_equal(image, rgb(frame))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "rgb"])
def test_what_is_put_is_taken(pixels):
    picture = yuv(60, 86, pixels, 1, 1) if pixels != "rgb" else rgb(yuv(60, 86))
    memory = np.full(60 * 86 * 3, 7, np.uint8)
    told = put(picture, memory)
    taken = take(memory, 60, 86, told)
    memory[:] = 0  # it is a copy
    assert size_of(taken) == (60, 86)
    np.testing.assert_array_equal(rgb(taken), rgb(picture))


@pytest.mark.parametrize(("height", "width", "pixels"), [
    (62, 96, "yuv420p"), (64, 95, "yuv420p"), (64, 96, "yuv444p"), (64, 96, "yuv420p10le"),
    (64, 96, "nv12"), (64, 96, "rgb24"), (64, 96, "gray"),
])  # fmt: skip
def test_other_frames_do_not_stay_yuv(height, width, pixels):
    assert not stays_yuv(av.VideoFrame(width, height, pixels))


def test_rgb_is_never_the_decoders_own_memory():
    frame = av.VideoFrame.from_ndarray(np.full((8, 16, 3), 9, np.uint8), format="rgb24")
    rgb(frame)[:] = 0
    assert (rgb(frame) == 9).all()


@pytest.mark.parametrize("pixels", ["yuv420p", "rgb"])
def test_a_picture_repeats_another_with_the_same_pixels_alone(pixels):
    def made(**other):
        frame = yuv(**{"height": 64, "width": 90, "matrix": 1} | other)
        return frame if pixels == "yuv420p" else rgb(frame)

    repeats = Repeats()
    others = [made(), made(seed=1), made(seed=1, height=60), made(seed=1), made(matrix=5, seed=1)]
    one = made()
    if pixels == "rgb":
        one[3, 50, 2] ^= 1
    else:
        plane = np.frombuffer(one.planes[2], np.uint8).copy()
        plane[44] ^= 1
        one.planes[2].update(plane.tobytes())
    for picture in (*others, made(), one, rgb(yuv(64, 90)), made()):
        assert not repeats(picture)
        assert repeats(picture)
        assert repeats(picture)
