"""Augmentation of aligned crops that keeps their labels true.

Packs of the field are grey, tight and soft; real video is coloured, has a background behind
the face, and comes at any size. So: grey crops get skin-like or arbitrary tints, the area
outside the source image gets another picture, and sharpness and geometry vary.
"""

from __future__ import annotations

import cv2
import numpy as np

from facer.stages.affect.config import LARGEST_SMALL_PX, SIDE_PX, AugmentConfig
from facer.storage.schema import F32, F64, U8


def augment(
    crop: U8, rng: np.random.Generator, config: AugmentConfig, frame_px: F32 | None = None,
    other: U8 | None = None,
) -> U8:  # fmt: skip
    """A random variant of one crop, RGB uint8 (112, 112, 3).

    ``frame_px`` (4, 2): corners of the source image in the crop; outside them ``other`` (any
    crop, used blurred) or a plain colour is painted.
    """
    if frame_px is not None and rng.random() < config.background:
        crop = _paint_outside(crop, frame_px, rng, other)
    crop = _warp(crop, rng, config)
    crop = _colour(crop, rng, config)
    crop = _degrade(crop, rng, config)
    if rng.random() < config.erase:
        crop = _erase(crop, rng)
    return crop


def _paint_outside(crop: U8, frame_px: F32, rng: np.random.Generator, other: U8 | None) -> U8:
    mask = np.zeros(crop.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(frame_px).astype(np.int32), 255)
    if mask.min() == 255:
        return crop
    if other is not None and rng.random() < 0.6:
        flipped = cv2.flip(other, int(rng.integers(-1, 2)))
        background = cv2.blur(flipped, (1 + 2 * int(rng.integers(0, 6)),) * 2)
    else:
        background = np.full_like(crop, rng.integers(0, 256) if rng.random() < 0.7 else 0)
    return np.where(mask[..., None] > 0, crop, background).astype(np.uint8, copy=False)


def _warp(crop: U8, rng: np.random.Generator, config: AugmentConfig) -> U8:
    centre = (SIDE_PX - 1) / 2
    angle = rng.uniform(-config.rotate_deg, config.rotate_deg)
    matrix = cv2.getRotationMatrix2D(
        (centre, centre), angle, 1 + rng.uniform(-config.scale, config.scale)
    )
    if rng.random() < config.flip:
        matrix = matrix @ np.array([[-1, 0, 2 * centre], [0, 1, 0], [0, 0, 1.0]])
    matrix = matrix + [[0, 0, rng.uniform(-config.shift_px, config.shift_px)] for _ in range(2)]
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    warped = cv2.warpAffine(crop, matrix, (SIDE_PX, SIDE_PX), borderMode=border)
    return warped.astype(np.uint8, copy=False)


def _colour(crop: U8, rng: np.random.Generator, config: AugmentConfig) -> U8:
    is_grey = bool((crop[..., 0] == crop[..., 1]).all() and (crop[..., 1] == crop[..., 2]).all())
    if not is_grey and rng.random() < config.grey:
        crop = np.repeat(crop @ np.array([[0.299], [0.587], [0.114]]), 3, 2).astype(np.uint8)
        is_grey = True
    gain = np.full(3, np.exp(rng.normal(0, 0.25)))
    gamma = np.full(3, np.exp(rng.normal(0, 0.25)))
    if is_grey and rng.random() < config.tint:
        if rng.random() < 0.7:  # skin: red over green over blue
            depth = rng.uniform(0.05, 0.35)
            gamma = gamma * np.array([1 - depth, 1.0, 1 + depth * rng.uniform(0.3, 1.2)])
        gain = gain * np.exp(rng.normal(0, 0.12, 3))
        gamma = gamma * np.exp(rng.normal(0, 0.08, 3))
    elif not is_grey:
        gain = gain * np.exp(rng.normal(0, 0.12, 3))
    return cv2.LUT(crop, _tone_curves(gain, gamma, rng.normal(0, 12))).astype(np.uint8, copy=False)


def _tone_curves(gain: F64, gamma: F64, offset: float) -> U8:
    level = np.arange(256)[:, None] / 255.0
    curves = 255 * gain * level**gamma + offset
    return np.clip(curves, 0, 255).astype(np.uint8).reshape(1, 256, 3)


def _degrade(crop: U8, rng: np.random.Generator, config: AugmentConfig) -> U8:
    image: U8 = crop
    if rng.random() < config.low_resolution:
        side = int(rng.integers(config.smallest_px, LARGEST_SMALL_PX))
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        how = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        image = cv2.resize(small, (SIDE_PX, SIDE_PX), interpolation=how).astype(np.uint8)
    elif rng.random() < config.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)).astype(np.uint8)
    if rng.random() < config.noise:
        noise = rng.standard_normal(image.shape, np.float32) * rng.uniform(1, 10)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < config.jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), np.uint8)
    return image


def _erase(crop: U8, rng: np.random.Generator) -> U8:
    crop = crop.copy()
    height, width = rng.integers(8, 36, 2)
    top, left = rng.integers(0, SIDE_PX - height), rng.integers(0, SIDE_PX - width)
    crop[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return crop
