"""Expressions painted onto a photograph: smooth local warps and an opening mouth.

Lengths are in units of the face (``Face.unit_px``, about the distance between the eyes) and
directions in the face's own axes: x along the eyes, y towards the chin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from facer.stages.synthesis.photographs import UNIT_PX, Portrait
from facer.storage.schema import F32, F64, U8, Bools

Floats = TypeVar("Floats", F32, F64)


@dataclass(frozen=True)
class Pull:
    """Skin around a landmark moved by a vector; the pull fades as a Gaussian."""

    landmark: str
    out: float  # away from the middle of the face
    down: float  # towards the chin
    radius: float  # the Gaussian's standard deviation
    at: tuple[float, float] = (0.0, 0.0)  # centre relative to the landmark: out, down


def _both(landmark: str, *numbers: float, at: tuple[float, float] = (0.0, 0.0)) -> list[Pull]:
    out, down, radius = numbers
    return [Pull(f"{side}_{landmark}", out, down, radius, at) for side in ("left", "right")]


PULLS: Mapping[str, tuple[Pull, ...]] = {
    "smile": (
        *_both("mouth", 0.10, -0.15, 0.17),
        *_both("mouth", 0.02, -0.06, 0.20, at=(0.18, -0.35)),
        *_both("eye", 0.00, -0.05, 0.10, at=(0.0, 0.10)),
    ),
    "frown": (
        *_both("mouth", -0.02, 0.12, 0.15),
        Pull("lower_lip", 0.0, -0.04, 0.15, at=(0.0, 0.08)),
    ),
    "round": (
        *_both("mouth", -0.13, 0.05, 0.17),
        Pull("upper_lip", 0.0, -0.05, 0.15),
    ),
    "brow_raise": (
        *_both("brow_outer", 0.0, -0.11, 0.14),
        *_both("brow_middle", 0.0, -0.11, 0.14),
        *_both("brow_inner", 0.0, -0.11, 0.14),
        *_both("eye", 0.0, -0.04, 0.07, at=(0.0, -0.07)),
    ),
    "brow_sad": (
        *_both("brow_inner", -0.03, -0.14, 0.13),
        *_both("brow_outer", 0.0, 0.06, 0.13),
    ),
}
"""What each smooth action does at amount 1."""

ACTIONS = (*PULLS, "jaw")
"""Names of all actions; ``jaw`` opens the mouth, negative amounts close it over the teeth."""

_JAW_DROP = 0.45  # opening of the lips at amount 1
_REACH = (2.0, 1.6, 2.7)  # region that moves: sideways, above the eyes, below them
_DARK = np.array((72, 26, 22), dtype=np.float32)  # inside of a mouth, RGB
_TEETH = np.array((270, 240, 205), dtype=np.float32)


class ExpressionWarp:
    """Applies amounts of :data:`ACTIONS` to one portrait."""

    def __init__(self, portrait: Portrait) -> None:
        self._image = portrait.image
        axes = _FaceAxes(portrait)
        self._region = axes.region(portrait.image.shape)
        ys, xs = self._region
        grid = _pixel_grid((ys.stop - ys.start, xs.stop - xs.start))
        place = grid + np.array([xs.start, ys.start])
        self._grid = grid.astype(np.float32)
        self._fields = np.stack(
            [_pull_field(axes, portrait, place, pulls) for pulls in PULLS.values()]
        ).astype(np.float32)
        self._mouth = _Mouth(portrait, place)

    def apply(self, amounts: Mapping[str, float]) -> U8:
        """The portrait, RGB uint8 (H, W, 3), with its expression changed.

        Amounts not named are 0; with all at 0 the portrait comes back unchanged. The picture
        is sampled at ``x - sum_k a_k d_k(x)`` after the mouth was opened, so pulls combine by
        adding up.
        """
        image = self._image.copy()
        patch = image[self._region]
        if jaw := amounts.get("jaw", 0.0):
            self._mouth.open(patch, jaw)
        weights = np.array([amounts.get(name, 0.0) for name in PULLS], dtype=np.float32)
        if weights.any():
            image[self._region] = _sample(
                patch, self._grid - np.tensordot(weights, self._fields, axes=1)
            )
        return image


class _FaceAxes:
    """Coordinates of the face: origin between the eyes, x along them, one unit long."""

    def __init__(self, portrait: Portrait) -> None:
        left, right = portrait.point("left_eye"), portrait.point("right_eye")
        x_axis = (right - left) / np.linalg.norm(right - left)
        self.origin = (left + right) / 2
        self.axes = np.stack([x_axis, [-x_axis[1], x_axis[0]]])  # rows: across, down

    def region(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Rows and columns that any action may change."""
        side, above, below = (reach * UNIT_PX for reach in _REACH)
        x, y = self.origin
        return (
            slice(max(int(y - above), 0), min(int(y + below), shape[0])),
            slice(max(int(x - side), 0), min(int(x + side), shape[1])),
        )

    def locate(self, portrait: Portrait, pull: Pull) -> tuple[F64, F64]:
        """Centre and movement of a pull, both (2,), in pixels."""
        side = {"left": -1.0, "right": 1.0}.get(pull.landmark.split("_")[0], 0.0)
        offset = np.array([side * pull.at[0], pull.at[1]]) @ self.axes
        movement = np.array([side * pull.out, pull.down]) @ self.axes
        return portrait.point(pull.landmark) + offset * UNIT_PX, movement * UNIT_PX


def _pull_field(axes: _FaceAxes, portrait: Portrait, place: F64, pulls: tuple[Pull, ...]) -> F64:
    """Displacement in pixels, (H, W, 2): a sum of Gaussians, next to nothing at the rim."""
    field = np.zeros_like(place)
    for pull in pulls:
        center, movement = axes.locate(portrait, pull)
        distance2 = ((place - center) ** 2).sum(axis=-1, keepdims=True)
        field += movement * np.exp(-0.5 * distance2 / (pull.radius * UNIT_PX) ** 2)
    return field


class _Mouth:
    """Opens the lips along the line between them and drops the jaw.

    With u across the mouth (-1 and 1 at its corners) and v down from the lip line, in pixels,
    an opening O parts the lips by ``L(u) = O (1 - u^2)^0.7``; skin below moves down by L at
    the lip and as one piece at the chin, and comes to rest below the chin. What the parted
    lips uncover is painted dark, with upper teeth where the photograph shows none.
    """

    def __init__(self, portrait: Portrait, place: F64) -> None:
        left, right = portrait.point("left_mouth"), portrait.point("right_mouth")
        upper, lower = portrait.point("upper_lip"), portrait.point("lower_lip")
        middle, half = (left + right) / 2, float(np.linalg.norm(right - left)) / 2
        across = (right - left) / (2 * half)
        down = np.array([-across[1], across[0]])
        self._chin = float((portrait.point("chin") - lower) @ down)
        bend = (lower - middle) @ down / max(1 - ((lower - middle) @ across / half) ** 2, 0.5)

        offset = place - middle
        curve = np.clip(1 - (offset @ across / half) ** 2, 0, None)
        v = offset @ down - bend * curve
        jaw = np.clip(1 - (offset @ across / UNIT_PX) ** 2, 0, None) ** 2
        rest = (1 - _smooth((v - self._chin) / UNIT_PX)) * (v > -0.5 * UNIT_PX)
        self._region = _bounds(np.maximum(curve, jaw) * rest > 0)
        self._lips, self._v, self._jaw, self._rest = (
            field[self._region].astype(np.float32) for field in (curve**0.7, v, jaw, rest)
        )
        self._down = down.astype(np.float32)
        self._grid = _pixel_grid(self._lips.shape).astype(np.float32)
        self._paints_teeth = (lower - upper) @ down < 0.08 * UNIT_PX
        self._light = _skin_brightness(portrait) / 255

    def open(self, patch: U8, amount: float) -> None:
        """Open the mouth in the patch, in place; negative amounts close it."""
        opening = _JAW_DROP * UNIT_PX * amount
        lens = opening * self._lips
        below = self._v - lens
        mix = _smooth(below / (0.6 * self._chin))
        moves = (1 - mix) * self._lips + mix * self._jaw
        moves *= opening * self._rest * np.clip(below + 1, 0, 1)
        view = patch[self._region]
        opened = _sample(view, self._grid - moves[..., None] * self._down)
        view[:] = opened if opening <= 0 else self._paint(opened, lens)

    def _paint(self, image: U8, lens: F32) -> U8:
        inside = np.clip(np.minimum(self._v, lens - self._v) / 2.5 + 0.5, 0, 1)
        inside *= np.clip(lens / 4, 0, 1)
        color = np.broadcast_to(_DARK, image.shape)
        if self._paints_teeth:
            edge = np.minimum(0.8 * lens, 0.12 * UNIT_PX) * self._lips
            teeth = 0.9 * np.clip((edge - self._v) / 3 + 0.5, 0, 1)[..., None]
            color = color + teeth * (_TEETH - color)
        mixed = image + inside[..., None] * (self._light * color - image)
        return np.asarray(np.clip(mixed + 0.5, 0, 255), dtype=np.uint8)


def _sample(image: U8, places: F32 | F64) -> U8:
    """The image's colours at places (H, W, 2) in (x, y), bilinear."""
    x, y = (np.asarray(places[..., axis], dtype=np.float32) for axis in (0, 1))
    sampled = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(sampled, dtype=np.uint8)


def _pixel_grid(shape: tuple[int, ...]) -> F64:
    """Coordinates (x, y) of every pixel, (H, W, 2)."""
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    return np.stack([xs, ys], axis=-1).astype(np.float64)


def _bounds(mask: Bools) -> tuple[slice, slice]:
    """Rows and columns that hold every True of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _skin_brightness(portrait: Portrait) -> float:
    """Mean of the brightest channel in the middle of the face, 0 to 255."""
    x, y = portrait.center.astype(int)
    reach = int(0.2 * UNIT_PX)
    skin = portrait.image[y - reach : y + reach, x - reach : x + reach]
    return float(skin.mean(axis=(0, 1)).max())


def _smooth(x: Floats) -> Floats:
    """Smoothstep: 0 below 0, 1 above 1, ``3 x^2 - 2 x^3`` between."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
