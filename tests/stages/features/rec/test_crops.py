"""Every kind of crop against bilinear sampling written out in numpy."""

import av
import numpy as np
import pytest

from facer.stages.features.align import align
from facer.stages.features.rec.crops import ARCFACE, CropSpec, cut, transforms
from facer.storage.errors import FacerError

RNG = np.random.default_rng(3)
POINTS = np.array(
    [[[60, 52], [95, 55], [78, 74], [64, 92], [90, 94]],
     [[130, 40], [160, 36], [148, 58], [136, 78], [163, 74]]], np.float32,
)  # fmt: skip
BOXES = np.array([[45.5, 30, 110, 112.25], [120, -14, 205, 100]], np.float32)  # one leaves it
FACES = (BOXES, POINTS)
SIZES = np.array([[120.0, 200.0]])  # of the frames, height and width


def smooth_frame():
    """RGB (120, 200, 3) without edges, so that rounding of places stays small."""
    y, x = np.mgrid[:120, :200]
    return np.stack([60 + x / 2, 50 + y, 100 + 40 * np.sin(x / 17) + y / 8], -1).astype(np.uint8)


def bilinear(frame, places, outside):
    """Values (..., 3) at places (..., 2) as x, y: one neighbour after the other."""
    height, width = frame.shape[:2]
    low = np.floor(places).astype(int)
    share = places - low
    total = np.zeros((*places.shape[:-1], 3))
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = low[..., 0] + dx, low[..., 1] + dy
            weight = np.abs(1 - dx - share[..., 0]) * np.abs(1 - dy - share[..., 1])
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            if outside == "reflect":  # as a strip of the frame and itself mirrored, again and again
                x, y = (
                    np.minimum(v % (2 * n), 2 * n - 1 - v % (2 * n))
                    for v, n in ((x, width), (y, height))
                )
            values = frame[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)].astype(float)
            if outside == "black":
                values *= inside[..., None]
            total += weight[..., None] * values
    return total


def box_places(box, spec):
    """Places (S, S, 2) in the frame of the pixels of a box's crop."""
    x1, y1, x2, y2 = (float(v) for v in box)
    cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) * spec.margin, (y2 - y1) * spec.margin
    if spec.square:
        w = h = max(w, h)
    x1, x2, y1, y2 = cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2
    if spec.outside == "clip":
        x1, x2, y1, y2 = max(x1, 0), min(x2, 200), max(y1, 0), min(y2, 120)
    size = spec.size_px
    if spec.resize_px:  # an image of (w, h) * scale, of which the middle is kept
        scale = spec.resize_px / min(x2 - x1, y2 - y1)
        mx, my = ((x2 - x1) * scale - size) / 2, ((y2 - y1) * scale - size) / 2
        xs = x1 + (np.arange(size) + mx + 0.5) / scale - 0.5
        ys = y1 + (np.arange(size) + my + 0.5) / scale - 0.5
    else:
        xs = x1 + (np.arange(size) + 0.5) * (x2 - x1) / size - 0.5
        ys = y1 + (np.arange(size) + 0.5) * (y2 - y1) / size - 0.5
    return np.stack(np.meshgrid(xs, ys), -1)


BOX_SPECS = [
    CropSpec(64, "box"),
    CropSpec(96, "box", margin=1.2, square=True),
    CropSpec(96, "box", margin=1.5, square=True, outside="edge"),
    CropSpec(96, "box", margin=3.5, square=True, outside="reflect"),
    CropSpec(48, "box", margin=0.8, outside="clip"),
    CropSpec(56, "box", resize_px=64, outside="clip"),
    CropSpec(56, "box", resize_px=64, square=True),
]


@pytest.mark.parametrize("spec", BOX_SPECS, ids=str)
def test_boxes_are_bilinear_samples(spec):
    frame = smooth_frame()
    crops = cut(frame, FACES, spec)
    assert crops.shape == (2, spec.size_px, spec.size_px, 3)
    for crop, box in zip(crops, BOXES, strict=True):
        expected = bilinear(frame, box_places(box, spec), spec.outside)
        # OpenCV knows places to 1/32 of a pixel, which beside black is several grey levels
        assert np.abs(crop - expected).mean() < 0.6
        assert np.percentile(np.abs(crop - expected), 95) < 4


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize("resize", [None, 256])
def test_five_points_reach_the_template(size, resize):
    template = tuple((2.0 * x + 9, 2.0 * y) for x, y in ARCFACE.template_px)
    spec = CropSpec(size, template_px=template, template_size_px=256, resize_px=resize)
    side = resize or size
    wanted = np.array(template) * side / 256 - (side - size) / 2
    for points, matrix in zip(POINTS, transforms(FACES, SIZES, spec), strict=True):
        # least squares by normal equations: a similarity has four numbers
        x, y = points.astype(float).T
        rows = np.block([[np.stack([x, -y, np.ones(5), np.zeros(5)], 1)],
                         [np.stack([y, x, np.zeros(5), np.ones(5)], 1)]])  # fmt: skip
        a, b, tx, ty = np.linalg.lstsq(rows, wanted.T.reshape(-1), rcond=None)[0]
        np.testing.assert_allclose(matrix, [[a, -b, tx], [b, a, ty]], rtol=1e-9, atol=1e-9)


PROFILE = ((20.0, 50.0), (35.0, 50.0), (12.0, 72.0), (28.0, 92.0), (40.0, 92.0))


def test_a_face_goes_onto_the_template_that_its_points_fit_best():
    profile = np.array(PROFILE) * 0.9 + 20  # another face: the template itself, moved
    points = np.stack([POINTS[0], profile.astype(np.float32), POINTS[1]])
    boxes = np.repeat(BOXES[:1], 3, axis=0)
    spec = CropSpec(112, pose_templates_px=(PROFILE,))
    found = transforms((boxes, points), SIZES, spec)
    alone = CropSpec(112, template_px=PROFILE)
    frontal = transforms((boxes, points), SIZES, ARCFACE)
    profiled = transforms((boxes, points), SIZES, alone)
    np.testing.assert_array_equal(found, np.stack([frontal[0], profiled[1], frontal[2]]))


def test_facers_own_crop_is_that_of_align_bit_for_bit():
    frame = RNG.integers(0, 256, (120, 200, 3), np.uint8)
    np.testing.assert_array_equal(cut(frame, FACES, ARCFACE), align(frame, POINTS))


def test_antialiasing_averages_what_sampling_leaves_out():
    frame = RNG.integers(0, 256, (120, 200, 3), np.uint8)
    box = np.array([[0, 0, 120, 120]], np.float32), POINTS[:1]
    crop = cut(frame, box, CropSpec(15, "box", antialias=True))[0]
    means = frame[:, :120].reshape(15, 8, 15, 8, 3).mean((1, 3))
    assert np.abs(crop - means).max() <= 1
    assert np.abs(cut(frame, box, CropSpec(15, "box"))[0] - means).max() > 20


@pytest.mark.parametrize("spec", [*BOX_SPECS, ARCFACE, CropSpec(32, "box", antialias=True)])
def test_yuv_frames_give_the_pixels_of_rgb_ones(spec):
    yuv = av.VideoFrame.from_ndarray(smooth_frame(), "rgb24").reformat(format="yuv420p")
    rgb = np.asarray(yuv.to_ndarray(format="rgb24"), np.uint8)
    np.testing.assert_array_equal(cut(yuv, FACES, spec), cut(rgb, FACES, spec))


def test_no_face_and_a_box_without_extent_give_crops():
    frame = smooth_frame()
    none = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
    away = np.array([[300, 300, 300, 300]], np.float32), POINTS[:1]
    for spec in BOX_SPECS:
        assert cut(frame, none, spec).shape == (0, spec.size_px, spec.size_px, 3)
        assert cut(frame, away, spec).shape == (1, spec.size_px, spec.size_px, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_px": 4}, "size_px: found 4"),
        ({"size_px": 4096}, "size_px: found 4096"),
        ({"kind": "box", "margin": 0.0}, "margin: found 0.0"),
        ({"kind": "box", "margin": float("nan")}, "margin: found nan"),
        ({"margin": 1.2}, "belong to kind = 'box'"),
        ({"outside": "clip"}, "belong to kind = 'box'"),
        ({"resize_px": 64}, "resize_px: found 64"),
        ({"template_px": ((0.0, 0.0),)}, "expected five x, y"),
        ({"pose_templates_px": (ARCFACE.template_px, ())}, "pose_templates_px: .* five x, y"),
        ({"pose_templates_px": (ARCFACE.template_px,) * 17}, "found 17, expected 16 at most"),
    ],
)
def test_what_is_no_crop_is_refused(changes, message):
    with pytest.raises(FacerError, match=message):
        CropSpec(**changes)
