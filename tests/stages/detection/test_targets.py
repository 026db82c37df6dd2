import pytest
import torch

from facer.stages.detection.config import DetectionLossWeights
from facer.stages.detection.losses import detection_loss, distance_iou, focal
from facer.stages.detection.network import ANCHORS, STRIDES
from facer.stages.detection.targets import AnchorGrid, LabelledFaces, anchor_grid, assign, decode


def encode(
    grid: AnchorGrid, anchors: torch.Tensor, bbox_px: torch.Tensor, keypoints_px: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    centre, stride = grid.centre_px[anchors], grid.stride_px[anchors, None]
    distances = torch.cat([centre - bbox_px[:, :2], bbox_px[:, 2:] - centre], dim=1)
    return distances / stride, (keypoints_px - centre[:, None]).flatten(1) / stride


def face_at(
    x: float, y: float, width: float, height: float
) -> tuple[list[float], list[list[float]]]:
    box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    points = [(-0.2, -0.15), (0.2, -0.15), (0.0, 0.05), (-0.15, 0.25), (0.15, 0.25)]
    return box, [[x + a * width, y + b * height] for a, b in points]


def faces_of(*rows: tuple[int, float, float, float, float], ignore: bool = False) -> LabelledFaces:
    made = [face_at(*row[1:]) for row in rows]
    return LabelledFaces(
        image=torch.tensor([row[0] for row in rows], dtype=torch.int64),
        bbox_px=torch.tensor([box for box, _ in made]).reshape(-1, 4),
        keypoints_px=torch.tensor([points for _, points in made]).reshape(-1, 5, 2),
        ignore=torch.tensor([ignore] * len(rows), dtype=torch.bool),
    )


def test_grid_has_the_outputs_order() -> None:
    grid = anchor_grid(64, 96)
    assert len(grid.centre_px) == ANCHORS * sum((64 // s) * (96 // s) for s in STRIDES)
    assert grid.centre_px[:5].tolist() == [[0, 0], [0, 0], [8, 0], [8, 0], [16, 0]]
    assert grid.stride_px[-1] == 32
    assert grid.centre_px[-1].tolist() == [64, 32]


def test_encode_and_decode_are_inverse() -> None:
    grid = anchor_grid(128, 160)
    faces = faces_of((0, 60, 50, 30, 40), (0, 110, 70, 90, 120))
    anchors = torch.tensor([17, 800])
    boxes, points = decode(grid, anchors, *encode(grid, anchors, faces.bbox_px, faces.keypoints_px))
    torch.testing.assert_close(boxes, faces.bbox_px)
    torch.testing.assert_close(points, faces.keypoints_px)


@pytest.mark.parametrize("size", [15, 23, 24, 37, 39, 57, 59, 95, 97, 159, 161, 240])
def test_every_size_has_anchors_near_its_centre(size: float) -> None:
    grid = anchor_grid(192, 320)
    targets = assign(grid, faces_of((1, 158.3, 93.7, size, size)), batch=2)
    assert targets.score[0].sum() == 0
    places = targets.index - len(grid.stride_px)
    assert len(places) >= 1
    gap = (grid.centre_px[places] - torch.tensor([158.3, 93.7])).abs().amax(dim=1)
    assert (gap <= grid.stride_px[places]).all()
    assert (targets.weight[1, places] == 1).all()


def test_every_corner_of_the_image_is_answered() -> None:
    grid = anchor_grid(192, 320)
    for size in (20, 50, 90, 180):
        for x, y in ((1, 1), (319, 1), (1, 191), (319, 191)):
            assert len(assign(grid, faces_of((0, x, y, size, size)), 1).index) >= 1


def test_doubtful_faces_are_left_out_and_background_is_not() -> None:
    grid = anchor_grid(192, 320)
    targets = assign(grid, faces_of((0, 100, 100, 60, 60), ignore=True), batch=1)
    inside = ((grid.centre_px - 100).abs() <= 30).all(dim=1)
    assert len(targets.index) == 0
    assert (targets.weight[0, inside] == 0).all()
    assert (targets.weight[0, ~inside] == 1).all()


def test_the_smaller_face_wins() -> None:
    grid = anchor_grid(192, 320)
    faces = faces_of((0, 100, 100, 50, 50), (0, 104, 100, 45, 45))
    targets = assign(grid, faces, batch=1)
    shared = (grid.centre_px[targets.index] - torch.tensor([102.0, 100.0])).abs().amax(1) < 8
    assert (targets.bbox_px[shared] == faces.bbox_px[1]).all()


def test_focal_is_the_cross_entropy_weighed() -> None:
    logits, target = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])
    p = torch.sigmoid(logits)
    expected = [-0.25 * (1 - p[0]) ** 2 * p[0].log(), -0.75 * p[1] ** 2 * (1 - p[1]).log()]
    torch.testing.assert_close(focal(logits, target), torch.stack(expected))


def test_distance_iou_of_equal_and_distant_boxes() -> None:
    a = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    assert distance_iou(a, a).item() == pytest.approx(0)
    assert distance_iou(a, a + 90).item() == pytest.approx(1 + 90**2 / 100**2)


def perfect_outputs(faces: LabelledFaces) -> tuple[torch.Tensor, ...]:
    grid = anchor_grid(64, 64)
    targets = assign(grid, faces, batch=1)
    bbox, kps = torch.zeros(len(grid.stride_px), 4), torch.zeros(len(grid.stride_px), 10)
    bbox[targets.index], kps[targets.index] = encode(
        grid, targets.index, targets.bbox_px, targets.keypoints_px
    )
    logits = torch.full((len(grid.stride_px), 1), -20.0)
    logits[targets.index] = 20.0
    counts = [ANCHORS * (64 // s) ** 2 for s in STRIDES]
    return tuple(p[None] for part in (logits, bbox, kps) for p in part.split(counts))


def test_loss_is_zero_for_the_truth_and_finite_without_faces() -> None:
    grid = anchor_grid(64, 64)
    faces = faces_of((0, 30, 34, 28, 36))
    outputs = perfect_outputs(faces)
    truth = detection_loss(outputs, grid, assign(grid, faces, 1), DetectionLossWeights())
    assert truth["total"].item() == pytest.approx(0, abs=1e-5)
    empty = detection_loss(outputs, grid, assign(grid, faces_of(), 1), DetectionLossWeights())
    assert torch.isfinite(empty["total"])
    assert empty["bbox"].item() == 0
