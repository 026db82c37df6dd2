"""Where a virtual camera puts a source image and its faces."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from facer.stages.detection.config import SceneConfig
from facer.stages.features.faces import MIRRORED
from facer.storage.schema import F32, U8

TOO_BIG = 4.0  # largest enlargement of a source image


class Camera(NamedTuple):
    """How a source image is seen."""

    scale: float
    roll_degrees: float
    mirrored: bool
    place_px: F32  # (2,) where the point that it looks at comes to lie


def similarity(camera: Camera, source_px: F32) -> F32:
    """The (2, 3) matrix that scales, rolls, perhaps mirrors and takes ``source_px`` (2,) to the
    camera's place."""
    a = np.deg2rad(camera.roll_degrees)
    turn = camera.scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    if camera.mirrored:
        turn = turn @ np.diag([-1.0, 1.0])
    shift = camera.place_px - turn @ source_px
    matrix: F32 = np.concatenate([turn, shift[:, None]], axis=1).astype(np.float32)
    return matrix


def move_faces(boxes: F32, points: F32, matrix: F32) -> tuple[F32, F32]:
    """Boxes (n, 4) and points (n, 5, 2) under a similarity, points in order when mirrored.

    A box becomes the bounding box of its own turned ellipse, since a turned face fills the
    ellipse and not the corners.
    """
    turn, shift = matrix[:, :2], matrix[:, 2]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ turn.T + shift
    reach = np.sqrt(half**2 @ (turn**2).T)
    moved = points @ turn.T + shift
    if np.linalg.det(turn) < 0:
        moved = moved[:, MIRRORED]
    box = np.concatenate([centre - reach, centre + reach], axis=1)
    return box.astype(np.float32), moved.astype(np.float32)


def draw_camera(
    rng: np.random.Generator, config: SceneConfig, size_px: float, height: int, width: int,
    crowd: int = 1,
) -> Camera:  # fmt: skip
    """A camera that shows a face of ``size_px`` somewhere, at some size, one of a ``crowd``."""
    largest = config.max_face_share * min(height, width) / crowd**0.5
    wanted = log_uniform(rng, config.min_face_px, largest)
    wanted = min(wanted, size_px * TOO_BIG)
    if rng.random() < config.p_roll:
        roll = float(rng.uniform(-config.max_roll_degrees, config.max_roll_degrees))
    else:
        roll = float(rng.normal(0, config.roll_sd_degrees))
    slack = wanted * rng.uniform(0.1, 0.55)
    place = np.array(
        [_between(rng, slack, width - slack), _between(rng, slack, height - slack)], np.float32
    )
    return Camera(wanted / size_px, roll, bool(rng.random() < 0.5), place)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high)) if high > low else (low + high) / 2


def centre_of(box: F32) -> F32:
    """Centre (2,) of a box (4,)."""
    return np.asarray((box[:2] + box[2:]) / 2, np.float32)


def size_of(box: F32) -> float:
    """Geometric mean of a box's (4,) sides, in pixels."""
    return float(np.sqrt(np.prod(box[2:] - box[:2])))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of ``low`` and ``high``."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def warp(
    image: U8, matrix: F32, height: int, width: int, border: tuple[int, ...] | None = None
) -> U8:
    """``image`` under a similarity, without aliasing; ``border`` None repeats the edge.

    Halving shifts the picture by the half pixel that ``cv2.resize`` shifts it when a frame is
    shrunk for the detector, so points are learnt as they will be read: divided by the scale.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    matrix = matrix.copy()
    while scale < 0.6 and min(image.shape[:2]) > 8:
        size = (image.shape[1] // 2, image.shape[0] // 2)
        matrix[:, 0] *= image.shape[1] / size[0]
        matrix[:, 1] *= image.shape[0] / size[1]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        scale *= 2
    mode = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    fill = border or (0, 0, 0)
    warped = cv2.warpAffine(image, matrix, (width, height), borderMode=mode, borderValue=fill)
    return np.asarray(warped, np.uint8)
