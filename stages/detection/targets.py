"""Which anchor answers for which face, and what its numbers mean.

A face of size s (geometric mean of its box's sides) belongs to the anchors whose size range
holds s, at the locations within one stride of the box's centre. Locations a little farther away
and anchors of the neighbouring sizes are left out of the score's loss: both answers are right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from facer.stages.detection.network import ANCHORS, STRIDES

SIZE_EDGES_PX = (0.0, 28.0, 48.0, 80.0, 130.0, 200.0, float("inf"))
"""Ranges of face size, two for each stride."""
OVERLAP = 1.15  # a range reaches this factor beyond its edges for faces that it must find
TOLERANCE = 1.6  # and this factor for faces that it may find
NEAR, AROUND = 1.0, 2.0  # distance from the centre, in strides: must find, may find


@dataclass(frozen=True)
class LabelledFaces:
    """The faces of one batch, one after another; M faces.

    ``ignore`` marks faces too doubtful or too hidden to teach or to punish.
    """

    image: Tensor  # (M,) int64, index in the batch
    bbox_px: Tensor  # (M, 4) float32, x1 y1 x2 y2
    keypoints_px: Tensor  # (M, 5, 2) float32
    ignore: Tensor  # (M,) bool


@dataclass(frozen=True)
class AnchorTargets:
    """What every anchor of a batch is asked for; A anchors an image, P of them positive."""

    score: Tensor  # (N, A) float32, 1 for positives
    weight: Tensor  # (N, A) float32, 0 where the score is left out of the loss
    index: Tensor  # (P,) int64 into the flattened (N * A)
    bbox_px: Tensor  # (P, 4)
    keypoints_px: Tensor  # (P, 5, 2)


@dataclass(frozen=True)
class AnchorGrid:
    """Centres and size ranges of the A anchors of an H x W image, in the outputs' order."""

    centre_px: Tensor  # (A, 2) x, y
    stride_px: Tensor  # (A,)
    low_px: Tensor  # (A,) smallest and largest face size
    high_px: Tensor  # (A,)


def anchor_grid(height: int, width: int) -> AnchorGrid:
    """The grid of an image whose sides are multiples of 32; order: stride, row, column, anchor."""
    centres, strides, lows, highs = [], [], [], []
    for level, stride in enumerate(STRIDES):
        rows = torch.arange(height // stride, dtype=torch.float32) * stride
        columns = torch.arange(width // stride, dtype=torch.float32) * stride
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        places = torch.stack([x, y], dim=-1).reshape(-1, 2)
        centres.append(places.repeat_interleave(ANCHORS, dim=0))
        strides.append(torch.full((len(places) * ANCHORS,), float(stride)))
        edges = torch.tensor(SIZE_EDGES_PX[level * ANCHORS : (level + 1) * ANCHORS + 1])
        lows.append(edges[:-1].repeat(len(places)))
        highs.append(edges[1:].repeat(len(places)))
    return AnchorGrid(torch.cat(centres), torch.cat(strides), torch.cat(lows), torch.cat(highs))


def assign(grid: AnchorGrid, faces: LabelledFaces, batch: int) -> AnchorTargets:
    """Targets of a batch of ``batch`` images; where two faces claim an anchor the smaller wins."""
    score = torch.zeros(batch, len(grid.stride_px))
    weight = torch.ones_like(score)
    owner = torch.full(score.shape, -1, dtype=torch.int64)
    sides = faces.bbox_px[:, 2:] - faces.bbox_px[:, :2]
    size = sides.clamp(min=1e-3).prod(dim=1).sqrt()
    centre = (faces.bbox_px[:, :2] + faces.bbox_px[:, 2:]) / 2
    for face in torch.argsort(size, descending=True).tolist():
        image = int(faces.image[face])
        distance = (grid.centre_px - centre[face]).abs()
        steps = distance.amax(dim=1) / grid.stride_px
        inside = (distance <= sides[face] / 2).all(dim=1)
        may = (size[face] >= grid.low_px / TOLERANCE) & (size[face] <= grid.high_px * TOLERANCE)
        must = (size[face] >= grid.low_px / OVERLAP) & (size[face] <= grid.high_px * OVERLAP)
        if faces.ignore[face]:
            weight[image, inside] = 0.0
            continue
        weight[image, may & inside & (steps <= AROUND)] = 0.0
        found = must & (steps <= NEAR)
        score[image, found] = 1.0
        weight[image, found] = 1.0
        owner[image, found] = face
    index = torch.nonzero(owner.flatten() >= 0).flatten()
    face_of = owner.flatten()[index]
    return AnchorTargets(score, weight, index, faces.bbox_px[face_of], faces.keypoints_px[face_of])


def decode(grid: AnchorGrid, anchors: Tensor, bbox: Tensor, kps: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (P, 4) and points (P, 5, 2) in pixels from what ``anchors`` (P,) say, in strides.

    ``bbox`` (P, 4): distances from the anchor's centre to the left, top, right and bottom;
    ``kps`` (P, 10): offsets of the points from it.
    """
    centre, stride = grid.centre_px[anchors], grid.stride_px[anchors, None]
    distances = bbox * stride
    boxes = torch.cat([centre - distances[:, :2], centre + distances[:, 2:]], dim=1)
    return boxes, centre[:, None] + (kps * stride).reshape(-1, 5, 2)
