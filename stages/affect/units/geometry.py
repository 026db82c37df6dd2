"""Action units as geometry: how each moves the 478 points of a face mesh, and a crop with them.

A photograph is warped by the displacement of one unit, in the face's own pose: its pixels stay
those of a photograph, only their places change. That teaches the *order* of two crops of one
face (:func:`facer.stages.affect.losses.unit_pair_loss`), not an absolute intensity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facer.stages.affect.config import SIDE_PX
from facer.storage.errors import FacerError
from facer.storage.files.numpy_files import read_npz
from facer.storage.schema import ACTION_UNITS, F32, F64, I32, I64, U8, Bools

N_POINTS = 478  # of MediaPipe's face mesh
_RIGID = (33, 133, 362, 263, 168, 6, 197, 10, 151, 9, 8, 127, 356, 234, 454)
"""Eye corners, bridge of the nose, forehead and temples: what no unit moves much."""
_OUTER_EYES = (33, 263)
_FIVE_POINTS = ((33, 133, 159, 145), (362, 263, 386, 374), (1, 4), (61,), (291,))
"""Mesh points whose means are the five points, left as seen in the picture first."""
_FADE = 0.18  # of the distance between the outer eye corners: how far a shift reaches outside
_SMOOTH = 0.012  # of the same: blur of the field
_INVERSIONS = 3
_NO_MAP = np.empty(0, np.float32)  # the map of remap holds x and y together


@dataclass(frozen=True)
class UnitGeometry:
    """Displacements of the 17 units in units of the distance between the outer eye corners.

    Attributes:
        left, right: (17, 478, 3) float32, the two halves of the face; x to the right of the
            picture, y down, z towards the camera.
        neutral: (478, 3) float32 mean face in the same frame.
        triangles: (K, 3) int32 surface of the face, closed over eyes and mouth.
        warps: (17,) bool, whether the unit can be made by a warp at all.
    """

    left: F32
    right: F32
    neutral: F32
    triangles: I32
    warps: Bools

    @property
    def overlap(self) -> F32:
        """(17, 17) cosine of the displacements of two units, in [-1, 1]."""
        flat = (self.left + self.right)[..., :2].reshape(len(ACTION_UNITS), -1)
        unit = flat / np.linalg.norm(flat, axis=1, keepdims=True).clip(1e-9)
        return np.asarray(unit @ unit.T, np.float32)


def read_geometry(path: Path) -> UnitGeometry:
    """Read ``displacements.npz``; ``FacerError`` for a file of another kind."""
    shape = (len(ACTION_UNITS), N_POINTS, 3)
    names = ("au", "use", "left", "right", "neutral", "triangles")
    arrays = read_npz(path, names, "displacements of units (displacements.npz)")
    triangles = arrays["triangles"].astype(np.int32)
    order = [int(unit) for unit in arrays["au"]]
    if sorted(order) != sorted(ACTION_UNITS) or arrays["left"].shape != shape:
        raise FacerError(
            f"{path}: found units {order} in arrays {arrays['left'].shape}, expected "
            f"{', '.join(map(str, ACTION_UNITS))} in {shape}"
        )
    if triangles.min() < 0 or triangles.max() >= N_POINTS or triangles.shape[1:] != (3,):
        raise FacerError(f"{path}: triangles name points that are not there, expected 0 to 477")
    rows = [order.index(unit) for unit in ACTION_UNITS]  # by number, never by position
    return UnitGeometry(
        left=arrays["left"][rows].astype(np.float32),
        right=arrays["right"][rows].astype(np.float32),
        neutral=arrays["neutral"].astype(np.float32),
        triangles=triangles,
        warps=np.array([str(arrays["use"][row]) != "no-warp" for row in rows]),
    )


@dataclass(frozen=True)
class Pose:
    """Weak perspective of a face: pixels = scale * rotation @ point + shift."""

    matrix: F64  # (3, 3), scale times rotation
    yaw_deg: float
    residual: float  # root mean square of the fit, in distances between the outer eye corners


def fit_pose(geometry: UnitGeometry, mesh: F32) -> Pose:
    """Fit the mean face to a mesh (478, 3) in pixels by its rigid points (Umeyama 1991)."""
    source = geometry.neutral[list(_RIGID)].astype(np.float64)
    target = mesh[list(_RIGID)].astype(np.float64)
    a, b = source - source.mean(0), target - target.mean(0)
    u, spread, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = (spread * np.diag(sign)).sum() / (a**2).sum()
    error = np.sqrt(((b - scale * a @ rotation.T) ** 2).sum(1).mean()) / scale
    yaw = np.degrees(np.arctan2(rotation[0, 2], rotation[2, 2]))
    return Pose(scale * rotation, float(yaw), float(error))


class FaceField:
    """The surface of one face in its crop: shifts of mesh points become shifts of pixels."""

    def __init__(self, geometry: UnitGeometry, mesh: F32) -> None:
        self._mesh = mesh.astype(np.float64)
        self._pose = fit_pose(geometry, mesh)
        self._eye_px = float(np.linalg.norm(np.subtract(*mesh[list(_OUTER_EYES), :2])))
        self._vertices, self._weights, self._fade = _rasterise(
            geometry.triangles, self._mesh, _FADE * self._eye_px
        )

    def warp(self, crop: U8, displacement: F32) -> U8:
        """The crop with its points moved by ``displacement`` (478, 3), aligned again.

        RGB uint8 (112, 112, 3) -> the same. Zero displacement samples the crop once as well, so
        that two crops of a pair are equally smooth.
        """
        shift = (displacement.astype(np.float64) @ self._pose.matrix.T)[:, :2]
        forward = (self._weights[..., None] * shift[self._vertices]).sum(2) * self._fade[..., None]
        forward = cv2.GaussianBlur(
            forward.astype(np.float32), (0, 0), max(0.3, _SMOOTH * self._eye_px)
        )
        grid = np.stack(np.meshgrid(*[np.arange(SIDE_PX, dtype=np.float32)] * 2), axis=2)
        moved = _five_points(self._mesh[:, :2] + shift)
        back = _similarity(moved, _five_points(self._mesh[:, :2]))
        inverse = cv2.invertAffineTransform(back).astype(np.float32)
        places = grid @ inverse[:, :2].T + inverse[:, 2]  # in the warped, unaligned picture
        source = places
        for _ in range(_INVERSIONS):  # x = y - forward(x)
            x = np.ascontiguousarray(source)
            source = places - cv2.remap(
                forward, x, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        warped = cv2.remap(
            crop, np.ascontiguousarray(source), _NO_MAP, cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(warped, np.uint8)


def _rasterise(triangles: I32, mesh: F64, fade_px: float) -> tuple[I64, F32, F32]:
    """For every pixel of the crop: three mesh points, their weights, and how much it follows.

    Near triangles are drawn over far ones. A pixel outside the mesh follows its nearest pixel
    on it, less and less.
    """
    corners = mesh[triangles]
    order = np.argsort(corners[..., 2].mean(1))
    drawn = np.zeros((SIDE_PX, SIDE_PX), np.int32)
    fixed = np.round(corners[..., :2] * 16).astype(np.int32)
    for number in order:
        cv2.fillConvexPoly(drawn, fixed[number], int(number) + 1, lineType=cv2.LINE_8, shift=4)
    outside = (drawn == 0).astype(np.uint8)
    distance, label = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    flat = np.flatnonzero(outside == 0)
    if len(flat) == 0:
        raise FacerError("mesh: found no point inside the crop, expected a face")
    place_of = np.zeros(label.max() + 1, np.int64)
    place_of[label.ravel()[flat]] = flat
    nearest = place_of[label]
    which = drawn.ravel()[nearest] - 1
    y, x = np.divmod(nearest, SIDE_PX)
    weights = _barycentric(corners[which, :, :2], np.stack([x, y], axis=-1).astype(np.float64))
    fade = np.exp(-np.square(distance / fade_px))
    return triangles[which].astype(np.int64), weights.astype(np.float32), fade.astype(np.float32)


def _barycentric(corners: F64, points: F64) -> F64:
    """Weights (..., 3) of the corners (..., 3, 2) at points (..., 2), clipped to the triangle."""
    a, b, c = (corners[..., i, :] for i in range(3))
    u, v, w = b - a, c - a, points - a
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    cross = np.where(np.abs(cross) < 1e-6, 1e-6, cross)
    second = (w[..., 0] * v[..., 1] - w[..., 1] * v[..., 0]) / cross
    third = (u[..., 0] * w[..., 1] - u[..., 1] * w[..., 0]) / cross
    weights = np.stack([1 - second - third, second, third], axis=-1).clip(0, 1)
    return np.asarray(weights / weights.sum(-1, keepdims=True).clip(1e-9))


def _five_points(places: F64) -> F64:
    return np.stack([places[list(group)].mean(0) for group in _FIVE_POINTS])


def _similarity(source: F64, target: F64) -> F64:
    """The 2x3 similarity that maps source (5, 2) onto target with least squares."""
    a, b = source - source.mean(0), target - target.mean(0)
    norm = (a**2).sum()
    cosine = (a * b).sum() / norm
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / norm
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.concatenate([linear, (target.mean(0) - linear @ source.mean(0))[:, None]], axis=1)
