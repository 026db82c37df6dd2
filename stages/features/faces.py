"""Faces of a frame, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from facer.storage.schema import F32, U8


class Faces(NamedTuple):
    """The n faces of one frame, best first, in pixels of the upright frame.

    bbox_px (n, 4) x1 y1 x2 y2, keypoints_px (n, 5, 2) in insightface's order, score (n,).
    """

    bbox_px: F32
    keypoints_px: F32
    score: F32


NO_FACES = Faces(
    np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)
)


class Detector(Protocol):
    """A loaded detector."""

    name: str
    sha256: str

    def detect(self, images: Sequence[U8]) -> list[Faces]:
        """Faces of each RGB uint8 (H, W, 3) image; images may differ in size."""


NMS_IOU = 0.4
"""Overlap above which two boxes of a frame are one face."""

MIRRORED = [1, 0, 2, 4, 3]
"""Order of the five points in a mirrored image."""


def iou(boxes: F32, others: F32) -> F32:
    """Intersection over union of boxes (..., 4) and others (..., 4), broadcast: in [0, 1]."""
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (boxes, others)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9), np.float32)


def suppress(bbox: F32) -> list[int]:
    """Greedy non-maximum suppression of boxes (n, 4) sorted by score: positions to keep."""
    kept: list[int] = []
    left = np.arange(len(bbox))
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][iou(bbox[left[0]], bbox[left[1:]]) <= NMS_IOU]
    return kept


def point_distance_px(keypoints_px: F32, others: F32) -> F32:
    """Mean distance of five points (..., 5, 2) and others (..., 5, 2), broadcast, in pixels."""
    return np.asarray(np.linalg.norm(others - keypoints_px, axis=-1).mean(axis=-1), np.float32)


def point_distance(keypoints_px: F32, others: F32) -> F32:
    """:func:`point_distance_px` of five points (5, 2) and others (n, 5, 2) in units of the face,
    about the distance between the eyes (:func:`face_unit`): (n,).
    """
    far = point_distance_px(keypoints_px, others)
    return np.asarray(far / face_unit(keypoints_px), np.float32)


def face_unit(keypoints_px: F32) -> float:
    """The length that distances between points (5, 2) are told in, in pixels: between the eyes, or
    0.8 of the way from them to the mouth where that is more: in profile the eyes nearly coincide.
    """
    eyes = float(np.linalg.norm(keypoints_px[1] - keypoints_px[0]))
    down = float(np.linalg.norm(keypoints_px[3:].mean(axis=0) - keypoints_px[:2].mean(axis=0)))
    return max(eyes, 0.8 * down, 1e-6)
