"""From a plan to frames: expression, then camera, then light and sensor noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import cv2
import numpy as np

from facer.stages.synthesis.photographs import UNIT_PX, Face, Portrait, face_named, load_portrait
from facer.stages.synthesis.plan import EMOTIONS, ClipPlan
from facer.stages.synthesis.warp import ACTIONS, ExpressionWarp
from facer.storage.schema import F32, U8

_NOISE_MARGIN = 32  # one noise field a clip, shifted by up to this many pixels each frame


def render(plan: ClipPlan) -> Iterator[U8]:
    """Frames of a clip, RGB uint8 (height_px, width_px, 3), ``plan.n_frames`` of them.

    Raises ``FacerError`` when the face's photograph is not where its package puts it.
    """
    face = face_named(plan.face)
    portrait, warp = load_portrait(face), _warp(face)
    rng = np.random.default_rng(plan.noise_seed)
    size = (plan.height_px + _NOISE_MARGIN, plan.width_px + _NOISE_MARGIN, 3)
    noise = rng.standard_normal(size, dtype=np.float32) * np.float32(plan.noise)
    for time_s, strengths in zip(plan.timestamp_s.tolist(), plan.strengths(), strict=True):
        image = warp.apply(action_amounts(face, strengths.tolist()))
        view = cv2.warpAffine(
            image, camera(plan, portrait, time_s), (plan.width_px, plan.height_px),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        y, x = rng.integers(_NOISE_MARGIN, size=2)
        grain = noise[y : y + plan.height_px, x : x + plan.width_px]
        shot = np.asarray(view, dtype=np.float32) * _lighting(plan, time_s) + grain
        frame = np.clip(shot + 0.5, 0, 255).astype(np.uint8)
        yield np.ascontiguousarray(frame[:, ::-1]) if plan.mirrored else frame


def action_amounts(face: Face, strengths: list[float]) -> Mapping[str, float]:
    """Amount of each action: the face's rest, plus each emotion's share times its strength."""
    amounts = dict.fromkeys(ACTIONS, 0.0) | dict(face.rest)
    for actions, strength in zip(EMOTIONS.values(), strengths, strict=True):
        for action, amount in actions.items():
            amounts[action] += strength * amount
    return amounts


def camera(plan: ClipPlan, portrait: Portrait, time_s: float) -> F32:
    """Affine map (2, 3) from the portrait to the frame at a time.

    Roll and zoom about the face, whose middle is then put at the pan's place; where the frame
    would leave the photograph, it is moved back inside as far as it goes.
    """
    scale = plan.size_px.at(time_s) / UNIT_PX
    frame = np.array([plan.width_px, plan.height_px], dtype=np.float64)
    pan = np.array([plan.pan_x.at(time_s), plan.pan_y.at(time_s)])
    aim = portrait.center - pan * UNIT_PX  # what the middle of the frame looks at
    half = frame / (2 * scale)
    extent = np.array(portrait.image.shape[1::-1], dtype=np.float64)
    aim = np.clip(aim, np.minimum(half, extent / 2), np.maximum(extent - half, extent / 2))
    turn = cv2.getRotationMatrix2D((float(aim[0]), float(aim[1])), plan.roll_deg.at(time_s), scale)
    affine = np.array(turn, dtype=np.float64)
    affine[:, 2] += frame / 2 - aim
    return affine.astype(np.float32)


def _lighting(plan: ClipPlan, time_s: float) -> F32:
    """Factor on each value, (H, W, 3): brightness times a slope across the frame."""
    x = np.repeat(np.linspace(-1, 1, plan.width_px, dtype=np.float32), 3)
    y = np.linspace(-1, 1, plan.height_px, dtype=np.float32)[:, None]
    light = np.float32(plan.light.at(time_s))
    across = light * (1 + np.float32(plan.slope_x.at(time_s)) * x)
    factor = across + light * np.float32(plan.slope_y.at(time_s)) * y
    return np.asarray(factor.reshape(plan.height_px, plan.width_px, 3))


@lru_cache(maxsize=8)
def _warp(face: Face) -> ExpressionWarp:
    return ExpressionWarp(load_portrait(face))
