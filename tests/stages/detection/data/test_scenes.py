import cv2
import numpy as np
import pytest

from facer.stages.detection.config import SceneConfig
from facer.stages.detection.data.camera import Camera, move_faces, similarity, warp
from facer.stages.detection.data.pasting import draw_graphics, wear_glasses, wear_mask
from facer.stages.detection.data.photometry import distort, flesh
from facer.stages.detection.data.scenes import compose
from facer.stages.detection.data.sources import Sources, box_of_points
from facer.stages.detection.data.teacher import Labelled, nearest_points
from facer.stages.detection.evaluate import Score, as_table, together

POINTS = np.array([[[40, 40], [60, 40], [50, 52], [43, 62], [57, 62]]], np.float32)
SHIFT = np.array([2, 0], np.float32)
BOX = np.array([[30, 24, 70, 76]], np.float32)


def camera(scale: float = 1.0, roll: float = 0.0, mirrored: bool = False) -> Camera:
    return Camera(scale, roll, mirrored, np.array([80, 90], np.float32))


def test_points_keep_their_order_in_a_mirrored_face() -> None:
    boxes, points = move_faces(BOX, POINTS, similarity(camera(mirrored=True), BOX[0, :2]))
    assert points[0, 0, 0] < points[0, 1, 0]
    assert points[0, 3, 0] < points[0, 4, 0]
    assert boxes[0, 2] - boxes[0, 0] == pytest.approx(40, abs=1e-4)


def test_similarity_scales_turns_and_places() -> None:
    matrix = similarity(camera(2.0, 90.0), np.array([50, 50], np.float32))
    boxes, points = move_faces(BOX, POINTS, matrix)
    np.testing.assert_allclose(points[0, 1] - points[0, 0], [0, 40], atol=1e-4)
    np.testing.assert_allclose(boxes[0], [80 - 52, 90 - 40, 80 + 52, 90 + 40], atol=1e-3)


@pytest.mark.parametrize("scale", [0.2, 0.45, 1.0, 2.5])
def test_warp_takes_pixels_where_points_go(scale: float) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[48:56, 36:44] = 255
    matrix = similarity(camera(scale, 30.0), np.array([50, 50], np.float32))
    seen = warp(image, matrix, 192, 192)[..., 0].astype(float)
    rows, columns = np.mgrid[:192, :192]
    centre = [(axis * seen).sum() / seen.sum() for axis in (columns, rows)]
    _, points = move_faces(BOX, np.full((1, 5, 2), (39.5, 51.5), np.float32), matrix)
    np.testing.assert_allclose(centre, points[0, 0], atol=0.6)


def test_images_and_labels_are_sound_and_repeatable() -> None:
    rng = np.random.default_rng(0)
    photo = Labelled(
        rng.integers(0, 256, (100, 100)).astype(np.uint8), BOX, POINTS, np.zeros(1, bool)
    )
    scene = rng.integers(0, 256, (80, 120, 3)).astype(np.uint8)
    sources = Sources((photo,), (scene,), ())
    for seed in range(20):
        made = compose(np.random.default_rng(seed), sources, SceneConfig(), 96, 160)
        again = compose(np.random.default_rng(seed), sources, SceneConfig(), 96, 160)
        assert made.image.shape == (96, 160, 3)
        assert made.image.dtype == np.uint8
        np.testing.assert_array_equal(made.image, again.image)
        centre = (made.bbox_px[:, :2] + made.bbox_px[:, 2:]) / 2
        sure = centre[~made.ignore]
        assert (sure >= 0).all()
        assert (sure < (160, 96)).all()


def test_scenes_without_photographs_have_no_faces() -> None:
    sources = Sources((), (), ())
    made = compose(np.random.default_rng(0), sources, SceneConfig(), 64, 96)
    assert len(made.bbox_px) == 0


def test_colours_keep_the_shape() -> None:
    rng = np.random.default_rng(0)
    coloured = flesh(rng, np.full((8, 8), 140, np.uint8))
    assert coloured.shape == (8, 8, 3)
    assert coloured[0, 0, 0] > coloured[0, 0, 2]
    for _ in range(40):
        assert distort(rng, np.zeros((32, 48, 3), np.uint8)).shape == (32, 48, 3)


def test_box_of_points_holds_the_points() -> None:
    low_x, low_y, high_x, high_y = box_of_points(POINTS[0])
    assert low_x < 40
    assert low_y < 40
    assert high_x > 60
    assert high_y > 62


def test_nearest_points() -> None:
    nearest, distance = nearest_points(np.concatenate([POINTS + 30, POINTS + SHIFT]), POINTS[0])
    assert nearest == 1
    assert distance == pytest.approx(0.1)
    assert nearest_points(POINTS[:0], POINTS[0])[1] == float("inf")


def test_a_score_counts_found_missed_and_false_faces() -> None:
    far = 200.0
    truth = Labelled(
        np.zeros((4, 4, 3), np.uint8),
        np.concatenate([BOX, BOX + far, BOX + 2 * far]),
        np.concatenate([POINTS, POINTS + far, POINTS + 2 * far]),
        np.array([False, False, True]),
    )
    found = np.concatenate([BOX, BOX + 2 * far, BOX + 3 * far])
    points = np.concatenate([POINTS + SHIFT, POINTS + 2 * far, POINTS + 3 * far])
    score = Score("clip")
    score.add(truth, np.column_stack([found, np.ones(3)]), points)
    score.add(truth, np.zeros((0, 5), np.float32), np.zeros((0, 5, 2), np.float32))
    assert (score.frames, score.faces, score.found, score.false) == (2, 4, 1, 1)
    assert score.recall == 0.25
    assert score.frame_recall == 0.5
    assert score.points_error == pytest.approx(0.1)
    assert "| clip | 2 | 4 | 1 | 25.0 % | 50.0 % | 10.0 % | 0.500 |" in as_table([score])


def test_scores_add_up() -> None:
    truth = Labelled(np.zeros((4, 4, 3), np.uint8), BOX, POINTS, np.zeros(1, np.bool_))
    scores = []
    for shift in (SHIFT, 2 * SHIFT):
        scores.append(Score("clip"))
        scores[-1].add(truth, np.column_stack([BOX, np.ones(1)]), POINTS + shift)
    scores.append(Score("empty"))
    total = together(scores)
    assert (total.frames, total.faces, total.found) == (2, 2, 2)
    assert total.points_error == pytest.approx(0.15)
    assert together(scores[2:]).points_error != together(scores[2:]).points_error  # nan


@pytest.fixture
def crowd() -> Sources:
    """Two photographs of people, one of whose faces is doubtful and has no points."""
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (9, 12, 3), np.uint8)
    image = np.asarray(cv2.resize(small, (240, 180)), np.uint8)
    boxes = np.concatenate([BOX, BOX + 60])
    points = np.concatenate([POINTS, np.full((1, 5, 2), np.nan, np.float32)])
    two = Labelled(image, boxes, points, np.array([False, True]))
    one = Labelled(image, BOX, POINTS, np.zeros(1, np.bool_))
    return Sources((), (image,), (), (one, two), np.array([0.5, 0.5]))


@pytest.mark.parametrize(("height", "width"), [(128, 128), (192, 320)])
def test_people_are_seen_with_sure_faces_in_view(crowd: Sources, height: int, width: int) -> None:
    config = SceneConfig(p_people=1.0, p_frame=0.0, p_scene=0.0, p_four=0.5)
    counts = []
    for seed in range(40):
        made = compose(np.random.default_rng(seed), crowd, config, height, width)
        again = compose(np.random.default_rng(seed), crowd, config, height, width)
        np.testing.assert_array_equal(made.image, again.image)
        assert made.image.shape == (height, width, 3)
        sure = ~made.ignore
        inside = ((made.keypoints_px[sure] >= 0) & (made.keypoints_px[sure] < (width, height))).all(
            axis=2
        )
        assert (inside.sum(axis=1) >= 3).all()
        assert np.isfinite(made.keypoints_px[sure]).all()
        counts.append(int(sure.sum()))
    assert max(counts) >= (4 if height > 160 else 1)
    assert sum(counts) > 30


def test_masks_and_glasses_leave_the_rest_of_a_face() -> None:
    face = np.full((120, 120, 3), 255, np.uint8)
    covered = {}
    for wear in (wear_mask, wear_glasses):
        image = face.copy()
        wear(np.random.default_rng(0), image, POINTS[0])
        covered[wear] = image[..., 0] < 255
    mask, glasses = covered[wear_mask], covered[wear_glasses]
    assert mask[60, 50]
    assert not mask[40, 40]
    assert glasses[40, 40]
    assert not glasses[62, 43]


def test_graphics_fill_an_image_with_shapes() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    draw_graphics(np.random.default_rng(0), image)
    again = np.zeros_like(image)
    draw_graphics(np.random.default_rng(0), again)
    np.testing.assert_array_equal(image, again)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 3
