"""Colours, blur and noise of training images; none of it moves a face."""

from __future__ import annotations

import cv2
import numpy as np

from facer.storage.schema import F32, U8

LEVELS = np.arange(256, dtype=np.float32) / 255


def flesh(rng: np.random.Generator, grey: U8) -> U8:
    """A grey image (H, W) in the colours of some skin under some light: (H, W, 3) RGB.

    Red, green and blue get gamma curves of falling brightness, so that black and white stay and
    the middle turns from yellow to red brown; a gain darkens or lights the whole.
    """
    warmth = rng.uniform(0.1, 0.75)
    tint = rng.uniform(0.35, 0.8)
    gammas = np.exp(np.array([-warmth * tint, rng.normal(0, 0.06), warmth * (1.1 - tint)]))
    gains = rng.uniform(0.55, 1.1) * np.exp(rng.normal(0, 0.05, 3))
    base = rng.uniform(0.75, 1.5)
    table = 255 * gains[:, None] * LEVELS[None] ** (base * gammas[:, None])
    return _apply(np.repeat(grey[..., None], 3, axis=2), table)


def coloured(rng: np.random.Generator, image: U8, share: float) -> U8:
    """A picture (H, W, 3): as it is, or a grey one in the colours of skin; 1 - ``share`` of those
    stay grey.
    """
    if image.ndim == 3:
        return image
    if rng.random() < share:
        return flesh(rng, image)
    return np.repeat(image[..., None], 3, axis=2)


def _apply(image: U8, table: F32) -> U8:
    """Look every channel up in its row of ``table`` (3, 256)."""
    lut = table.clip(0, 255).astype(np.uint8).T.reshape(1, 256, 3)
    return np.asarray(cv2.LUT(image, lut), np.uint8)


def wall(rng: np.random.Generator, height: int, width: int) -> U8:
    """A painted surface: a colour gradient with broad spots of light and sometimes straight
    edges (door, screen, horizon)."""
    corners = rng.integers(0, 256, (1, 1, 3)) + rng.normal(0, 25, (3, 3, 3))
    corners = corners.astype(np.float32)
    image = np.asarray(
        cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
    )
    for _ in range(rng.integers(0, 4)):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(4, width)), int(rng.integers(4, height))
        image[y : y + h, x : x + w] += rng.normal(0, 35, 3).astype(np.float32)
    return image.clip(0, 255).astype(np.uint8)


def distort(rng: np.random.Generator, image: U8) -> U8:
    """Light, colour, blur, noise and compression as webcams and phones have them."""
    image = _light(rng, image)
    if rng.random() < 0.15:
        image = _dim(rng, image)
    if rng.random() < 0.3:
        image = _saturate(rng, image)
    if rng.random() < 0.35:
        image = _blur(rng, image)
    if rng.random() < 0.3:
        image = _noise(rng, image)
    if rng.random() < 0.35:
        quality = int(rng.integers(12, 95))
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(image)


def _light(rng: np.random.Generator, image: U8) -> U8:
    gamma = np.exp(rng.normal(0, 0.3))
    contrast, offset = rng.uniform(0.65, 1.25), rng.normal(0, 0.06)
    gains = np.exp(rng.normal(0, 0.1, 3))
    curve = ((LEVELS**gamma - 0.5) * contrast + 0.5 + offset).clip(0, 1)
    return _apply(image, 255 * gains[:, None] * curve[None])


def _dim(rng: np.random.Generator, image: U8) -> U8:
    """A dark room, or light of one colour, with what a sensor makes of it."""
    gains = rng.uniform(0.08, 0.6) * np.exp(rng.normal(0, 0.3, 3))
    gamma = np.exp(rng.normal(0.1, 0.2))
    return _noise(rng, _apply(image, 255 * gains[:, None] * LEVELS[None] ** gamma), most=8.0)


def _saturate(rng: np.random.Generator, image: U8) -> U8:
    share = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.3, 1.6))
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, share, grey, 1 - share, 0), np.uint8)


def _blur(rng: np.random.Generator, image: U8) -> U8:
    kind = rng.integers(0, 3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.8))), np.uint8)
    if kind == 1:  # motion
        length = int(rng.integers(3, 10))
        kernel = np.zeros((length, length), np.float32)
        a = rng.uniform(0, np.pi)
        reach = np.array([np.cos(a), np.sin(a)]) * length / 2
        start, end = length / 2 - reach, length / 2 + reach
        cv2.line(kernel, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1)), np.uint8)
    height, width = image.shape[:2]
    share = rng.uniform(0.35, 0.8)
    small = cv2.resize(
        image, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _noise(rng: np.random.Generator, image: U8, most: float = 12.0) -> U8:
    noise = np.zeros(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(0, 2**31)))
    cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(2, most)))
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
