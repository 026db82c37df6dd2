"""Backdrops, and what is pasted onto them: faces, and patches that are none."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facer.stages.detection.data.camera import log_uniform, warp
from facer.stages.detection.data.photometry import coloured, flesh, wall
from facer.stages.detection.data.teacher import Labelled
from facer.storage.schema import F32, U8

BLUISH = np.array([-15, 5, 15])  # of most masks
MASK_PX = 48  # side of the soft masks before they are enlarged


def backdrop(rng: np.random.Generator, scenes: Sequence[U8], height: int, width: int) -> U8:
    """A crop of a scene, a painted wall or a drawing, with patches and lettering, all no faces."""
    draw = rng.random()
    if scenes and draw < 0.7:
        image = scene_crop(rng, scenes, height, width)
    else:
        image = wall(rng, height, width)
        if draw > 0.85:
            draw_graphics(rng, image)
    for _ in range(rng.integers(0, 3)):
        paste_patch(rng, scenes, image)
    if rng.random() < 0.2:
        draw_shapes(rng, image)
    return image


def scene_crop(rng: np.random.Generator, scenes: Sequence[U8], height: int, width: int) -> U8:
    """A piece of one of the scenes, of the wanted shape."""
    scene = scenes[int(rng.integers(len(scenes)))]
    h, w = scene.shape[:2]
    share = rng.uniform(0.35, 1.0)
    crop_w = min(w, h * width / height) * share
    crop_h = crop_w * height / width
    x, y = rng.uniform(0, w - crop_w), rng.uniform(0, h - crop_h)
    top, bottom = int(y), max(int(y + crop_h), int(y) + 2)
    left, right = int(x), max(int(x + crop_w), int(x) + 2)
    crop = scene[top:bottom, left:right]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.asarray(cv2.resize(np.ascontiguousarray(crop), (width, height)), np.uint8)


def paste_patch(rng: np.random.Generator, scenes: Sequence[U8], image: U8) -> None:
    """A flesh-coloured or plain piece of a scene in the same soft mask as a face: no face."""
    if not scenes:
        return
    h, w = image.shape[:2]
    side = int(log_uniform(rng, 12, 0.8 * min(h, w)))
    patch = scene_crop(rng, scenes, side, max(int(side * rng.uniform(0.6, 1.0)), 4))
    if rng.random() < 0.6:
        patch = flesh(rng, np.asarray(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY), np.uint8))
    mask = np.asarray(cv2.resize(_soft_mask(rng), patch.shape[1::-1]), np.float32)
    y = int(rng.integers(0, h - patch.shape[0] + 1))
    x = int(rng.integers(0, w - patch.shape[1] + 1))
    _blend(image[y : y + patch.shape[0], x : x + patch.shape[1]], patch, mask)


def draw_graphics(rng: np.random.Generator, image: U8) -> None:
    """Fill an image with shapes of all sizes in a few colours, as animations and maps are made."""
    if rng.random() < 0.5:
        image[:] = rng.integers(0, 256, 3)
    palette = rng.integers(0, 256, (int(rng.integers(3, 9)), 3))
    h, w = image.shape[:2]
    for _ in range(rng.integers(15, 70)):
        colour = tuple(int(v) for v in palette[rng.integers(len(palette))])
        x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
        size = int(log_uniform(rng, 3, 0.3 * min(h, w)))
        width = -1 if rng.random() < 0.7 else int(rng.integers(1, 4))
        kind = rng.integers(0, 4)
        if kind == 0:
            axes = (size, int(size * rng.uniform(0.5, 1)) + 1)
            cv2.ellipse(image, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, colour, width)
        elif kind == 1:
            cv2.rectangle(image, (x, y), (x + size, y + 2 * size), colour, width)
        elif kind == 2:
            end = (int(rng.integers(0, w)), int(rng.integers(0, h)))
            cv2.line(image, (x, y), end, colour, max(width, 1), cv2.LINE_AA)
        else:
            corners = rng.normal(0, size, (5, 2)) + np.array([x, y])
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)


def draw_shapes(rng: np.random.Generator, image: U8) -> None:
    """Lettering, discs and polygons in flat colours, as titles and cartoons have them."""
    h, w = image.shape[:2]
    for _ in range(rng.integers(1, 6)):
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        x, y = int(rng.integers(0, w)), int(rng.integers(0, h))
        kind = rng.integers(0, 3)
        if kind == 0:
            text = "".join(chr(c) for c in rng.integers(65, 123, rng.integers(1, 9)))
            font, scale = int(rng.integers(0, 4)), float(rng.uniform(0.4, 2.5))
            cv2.putText(image, text, (x // 2, y), font, scale, colour, int(rng.integers(1, 5)))
        elif kind == 1:
            axes = (int(rng.integers(3, w // 5)), int(rng.integers(3, h // 4)))
            cv2.ellipse(image, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        else:
            corners = (rng.normal(0, 0.15 * h, (4, 2)) + np.array([x, y])).astype(np.int32)
            cv2.fillPoly(image, [corners], colour)


def paste_photo(
    rng: np.random.Generator, image: U8, photo: Labelled, matrix: F32, box: F32
) -> None:
    """Put a photograph into ``image`` under ``matrix`` (2, 3), its face coming to ``box`` (4,)."""
    height, width = image.shape[:2]
    picture = coloured(rng, photo.image, 0.9)
    h, w = picture.shape[:2]
    mask = _soft_mask(rng, photo.bbox_px[0] / np.array([w, h, w, h], np.float32))
    to_mask = matrix * np.array([w / MASK_PX, h / MASK_PX, 1.0], np.float32)
    shown = np.asarray(cv2.warpAffine(mask, to_mask, (width, height)), np.float32)
    x1, y1, x2, y2 = _reach(matrix, w, h, width, height)
    if x2 <= x1 or y2 <= y1:
        return
    matrix = matrix - np.array([[0, 0, x1], [0, 0, y1]], np.float32)
    _blend(image[y1:y2, x1:x2], warp(picture, matrix, y2 - y1, x2 - x1), shown[y1:y2, x1:x2])
    if rng.random() < 0.12:
        cover(rng, image, box)


def _reach(matrix: F32, w: int, h: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of the image that a w x h photograph covers under ``matrix``: x1 y1 x2 y2."""
    corners = np.array([[0, 0], [w, 0], [0, h], [w, h]], np.float32)
    corners = corners @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
    x1, y1 = (int(v) for v in low.clip(0, (width, height)))
    x2, y2 = (int(v) for v in high.clip(0, (width, height)))
    return x1, y1, x2, y2


def draw_body(rng: np.random.Generator, image: U8, box: F32) -> None:
    """A neck and shoulders in one colour each, below where the face will be."""
    (x, y), (w, h) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    cloth = tuple(int(v) for v in rng.integers(0, 256, 3))
    skin = tuple(int(v) for v in flesh(rng, np.full((1, 1), rng.integers(60, 200), np.uint8))[0, 0])
    centre = (int(x), int(y + h * rng.uniform(1.2, 1.5)))
    axes = (int(w * rng.uniform(1.0, 1.7)) + 1, int(h * rng.uniform(0.6, 0.9)) + 1)
    neck = (int(x), int(y + 0.5 * h))
    cv2.ellipse(image, neck, (int(w * 0.35) + 1, int(h * 0.5) + 1), 0, 0, 360, skin, -1)
    cv2.ellipse(image, centre, axes, 0, 0, 360, cloth, -1)


def cover(rng: np.random.Generator, image: U8, box: F32) -> None:
    """A bar or disc in one colour over a third of the face at most: a hand, a cup, hair."""
    (x, y), (w, h) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    place = (int(x + w * rng.uniform(-0.5, 0.5)), int(y + h * rng.choice([-0.55, 0.5])))
    axes = (int(w * rng.uniform(0.1, 0.35)) + 1, int(h * rng.uniform(0.1, 0.3)) + 1)
    cv2.ellipse(image, place, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)


def wear_mask(rng: np.random.Generator, image: U8, points: F32) -> None:
    """A mask over nose, mouth and chin of a face with ``points`` (5, 2), in one colour."""
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    side = np.array([-down[1], down[0]]) * rng.uniform(0.6, 0.9)
    top, low = points[2] - down * rng.uniform(0.05, 0.35), mouth + down * rng.uniform(0.5, 0.8)
    cheek = (points[2] + mouth) / 2
    corners = [top, cheek + side - down * 0.2, low + side * 0.4, low - side * 0.4]
    corners.append(cheek - side - down * 0.2)
    cloth = rng.integers(0, 256, 3) if rng.random() < 0.3 else rng.choice([25, 120, 225]) + BLUISH
    hull = cv2.convexHull(np.array(corners, np.float32)).astype(np.int32)
    cv2.fillPoly(image, [hull], tuple(int(v) for v in cloth))


def wear_glasses(rng: np.random.Generator, image: U8, points: F32) -> None:
    """Sunglasses over the eyes of a face with ``points`` (5, 2)."""
    across = points[1] - points[0]
    unit = max(float(np.hypot(*across)), 0.8 * float(np.hypot(*(points[3:] - points[:2]).mean(0))))
    turn = float(np.degrees(np.arctan2(across[1], across[0])))
    dark = tuple(int(v) for v in rng.integers(0, 70, 3))
    size = unit * rng.uniform(0.28, 0.42)
    wide = min(size, 0.45 * float(np.hypot(*across)) + 1)
    for x, y in points[:2]:
        axes = (max(int(wide), 1), max(int(size * rng.uniform(0.6, 0.9)), 1))
        cv2.ellipse(image, (int(x), int(y)), axes, turn, 0, 360, dark, -1)
    ends = [(int(x), int(y)) for x, y in points[:2]]
    cv2.line(image, ends[0], ends[1], dark, max(int(unit * 0.06), 1))


def _soft_mask(rng: np.random.Generator, box: F32 | None = None) -> F32:
    """(MASK_PX, MASK_PX) in [0, 1]: an ellipse or a rectangle with an edge of random softness.

    ``box`` (4,), in shares of the photograph, is what the ellipse must hold.
    """
    box = np.array([0.12, 0.08, 0.88, 0.92], np.float32) if box is None else box
    grid = (np.arange(MASK_PX, dtype=np.float32) + 0.5) / MASK_PX
    x, y = grid[None, :], grid[:, None]
    rim = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    soft = log_uniform(rng, 0.02, 0.15)
    edge = np.clip(rim / soft, 0, 1)
    if rng.random() < 0.25:
        return np.asarray(edge, np.float32)
    (cx, cy), (a, b) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * rng.uniform(1.1, 1.6)
    radius = np.sqrt(((x - cx) / max(a, 1e-3)) ** 2 + ((y - cy) / max(b, 1e-3)) ** 2)
    ellipse = np.clip((1 - radius) * min(a, b) / soft + 1, 0, 1)
    return np.asarray(ellipse * edge, np.float32)


def _blend(onto: U8, image: U8, mask: F32) -> None:
    """Mix ``image`` into ``onto`` in place by ``mask`` (H, W) in [0, 1]."""
    share = mask[..., None]
    onto[:] = (onto + share * (image.astype(np.float32) - onto) + 0.5).astype(np.uint8)
