"""How far REC's answer on one face can be trusted, from what the picture itself shows.

Four things are measured on the aligned crop and its five points: how many pixels of the frame
the face had, how sharp it is, how far the head is turned, and the light. A logistic curve, fitted
by ``docs/make_quality.py``, turns them into a quality in 0 to 1: of the labelled faces that look
so, about that share has its expression told right by ``rec-small``. It knows nothing of what the
face shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from facer.stages.features.align import CROP_PX, similarity_transforms
from facer.storage.schema import F32, F64, U8

SIGNALS = ("size", "sharpness", "yaw", "dark", "flat")
"""Columns of :func:`signals`."""

_SMALL_PX = 56  # side on which the picture is measured
_FACE = slice(10, 46)  # of it: forehead to chin
_LARGEST_PX = 112.0  # wider faces show REC nothing more
_NOSE_DEPTH = 0.59  # of the nose's tip before the eyes, in distances between the eyes
_BLUR_PX = 1.5
_LIGHT, _CONTRAST = 90.0, 40.0  # luminance and its deviation from which on nothing gets better


@dataclass(frozen=True)
class QualityCurve:
    """Logistic regression of "told right" on :data:`SIGNALS`."""

    intercept: float
    weights: tuple[float, ...]


STARTER_CURVE = QualityCurve(3.042, (-0.224, -0.367, -0.453, 0.0, -0.349))
"""For ``rec-small``: made by ``docs/make_quality.py`` on half of its packs' val splits."""


def quality(crops: U8, keypoints_px: F32, curve: QualityCurve = STARTER_CURVE) -> F32:
    """Quality (n,) in 0 to 1 of crops (n, 112, 112, 3) RGB with points in the frame (n, 5, 2)."""
    # no matrix product, whose last digits depend on how many faces there are
    logits = curve.intercept + (signals(crops, keypoints_px) * np.array(curve.weights)).sum(axis=1)
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def signals(crops: U8, keypoints_px: F32) -> F64:
    """(n, 5): what is measured, each 0 or near it for a good picture and larger for a worse one.

    size: log2 of 112 over the width of the crop in pixels of the frame, at least 0; sharpness:
    minus log2 of the share of the contrast that is finer than 1.5 of 56 pixels; yaw: square of the
    angle over 45 degrees; dark and flat: log2 of what the luminance and its deviation lack to 90
    and 40 of 255.
    """
    sharpness, light, contrast = _seen(crops)
    return np.stack(
        [
            _lacking(frame_width_px(keypoints_px), _LARGEST_PX),
            sharpness,
            np.square(yaw_deg(keypoints_px) / 45),
            _lacking(light, _LIGHT),
            _lacking(contrast, _CONTRAST),
        ],
        axis=1,
    )


def frame_width_px(keypoints_px: F32) -> F64:
    """Width (n,) in pixels of the frame of what the crop shows, from five points (n, 5, 2)."""
    matrices = similarity_transforms(keypoints_px)
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    return np.asarray(CROP_PX / np.maximum(scale, 1e-6))


def yaw_deg(keypoints_px: F32) -> F64:
    """Turn of the head (n,) in degrees from five points (n, 5, 2), positive to the picture's right.

    Under weak perspective the tip of the nose, d before the eyes, moves by d sin(yaw) along their
    line while the eyes come as near as w cos(yaw): tan(yaw) = (offset / distance) (w / d). Rough:
    the far eye of a profile is guessed.
    """
    points = keypoints_px.astype(np.float64)
    eyes = points[:, 1] - points[:, 0]
    middle = points[:, :2].mean(1)
    down = points[:, 3:].mean(1) - middle
    across = np.stack([down[:, 1], -down[:, 0]], axis=1)  # the face's own horizontal
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)
    offset = ((points[:, 2] - middle) * across).sum(1)
    distance = np.maximum((eyes * across).sum(1), 1e-6)
    return np.asarray(np.degrees(np.arctan2(offset / _NOSE_DEPTH, distance)))


def _lacking(values: F64, enough: float) -> F64:
    return np.asarray(np.maximum(np.log2(enough / np.maximum(values, 1.0)), 0))


def _seen(crops: U8) -> tuple[F64, F64, F64]:
    """Of each crop: sharpness as in :func:`signals`, mean and deviation of the luminance."""
    side = _FACE.stop - _FACE.start
    grey = np.empty((len(crops), side, side), np.float32)
    fine = np.empty_like(grey)
    for crop, own, blurred in zip(crops, grey, fine, strict=True):
        small = cv2.resize(crop, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        own[:] = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)[_FACE, _FACE]
        cv2.GaussianBlur(own, (0, 0), _BLUR_PX, dst=blurred)
    np.subtract(grey, fine, out=fine)
    light, contrast, left = (
        values.astype(np.float64)
        for values in (grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), fine.std(axis=(1, 2)))
    )
    return -np.log2(np.maximum(left / np.maximum(contrast, 1.0), 1e-3)), light, contrast
