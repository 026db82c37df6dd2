"""Step 4: five points become an aligned 112x112 crop on the ArcFace template."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from facer.stages.features.decode.picture import Picture, shown
from facer.storage.schema import F32, F64, U8

CROP_PX = 112

ARCFACE_TEMPLATE_PX: F32 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)
"""The eye, nose and mouth positions that insightface aligns to (Deng et al. 2019, ArcFace)."""


def similarity_transforms(
    keypoints_px: F32, template_px: npt.NDArray[np.floating[Any]] = ARCFACE_TEMPLATE_PX
) -> F64:
    """Least-squares similarity transforms onto the template (5, 2): (n, 5, 2) -> (n, 2, 3).

    As complex numbers, z -> a z + b with a = sum conj(z) t / sum |z|^2 over centred points:
    the closed form of Umeyama 1991 in the plane, without reflection.
    """
    points = keypoints_px.astype(np.float64)
    z = points[..., 0] + 1j * points[..., 1]
    template = template_px[:, 0] + 1j * template_px[:, 1].astype(np.float64)
    z_mean, t_mean = z.mean(1), template.mean()
    centred = z - z_mean[:, None]
    norm = np.maximum((np.abs(centred) ** 2).sum(1), 1e-12)
    a = (centred.conj() * (template - t_mean)).sum(1) / norm
    b = t_mean - a * z_mean
    rows = np.stack([a.real, -a.imag, b.real, a.imag, a.real, b.imag], axis=1)
    return np.asarray(rows.reshape(-1, 2, 3))


def align(picture: Picture, keypoints_px: F32) -> U8:
    """Crops of all faces of one frame: (H, W, 3), (n, 5, 2) -> RGB uint8 (n, 112, 112, 3).

    Bilinear, black outside the frame, as insightface's ``norm_crop``.
    """
    crops = np.empty((len(keypoints_px), CROP_PX, CROP_PX, 3), np.uint8)
    for crop, matrix in zip(crops, similarity_transforms(keypoints_px), strict=True):
        with shown(picture, matrix, CROP_PX) as image:
            cv2.warpAffine(image, matrix, (CROP_PX, CROP_PX), dst=crop)
    return crops
