"""A frame's pixels: RGB, or YUV as the decoder left it until RGB is needed.

Most video is 8-bit YUV 4:2:0. It has half of RGB's bytes, and what facer looks at, a face, is a
small part of a frame: only that is converted. Other video is RGB from the start.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from facer.storage.schema import F64, U8

Picture: TypeAlias = U8 | av.VideoFrame
"""RGB uint8 (H, W, 3), or a frame for which :func:`stays_yuv` holds."""

Transform = F64
"""(2, 3), from a picture's pixels (x, y) to those of a crop."""

_YUV = frozenset({"yuv420p", "yuvj420p"})
_STEP_X, _STEP_Y = 16, 4  # parts begin and end at multiples: whole vectors of swscale
_SPARE = 64  # bytes after the last row, as swscale reads in vectors
_MARGIN = 2.0  # px around what a transform reads, for bilinear neighbours


class _Kept(threading.local):
    """What a thread keeps: to make it anew costs more than the pixels of a face."""

    def __init__(self) -> None:
        self.converter = VideoReformatter()
        self.canvas: U8 = np.zeros((0, 0, 3), np.uint8)  # black


_kept = _Kept()


class Yuv(NamedTuple):
    """What must be known to read packed planes."""

    pixels: str
    matrix: int
    range: int


def stays_yuv(frame: av.VideoFrame) -> bool:
    """Whether a frame can be kept as it is: 8-bit 4:2:0 whose planes lie in whole rows."""
    if frame.format.name not in _YUV or frame.width % 2 or frame.height % _STEP_Y:
        return False
    return all(plane.line_size > 0 for plane in frame.planes)


def size_of(picture: Picture) -> tuple[int, int]:
    """Height and width."""
    if isinstance(picture, av.VideoFrame):
        return picture.height, picture.width
    return picture.shape[0], picture.shape[1]


def rgb(picture: Picture) -> U8:
    """All of a picture, RGB uint8 (H, W, 3); :class:`av.FFmpegError` when libav cannot do it."""
    if not isinstance(picture, av.VideoFrame):
        return picture
    converted = _kept.converter.reformat(picture, format="rgb24", threads=1)
    pixels = rgb_view(converted)
    return pixels.copy() if converted is picture else np.ascontiguousarray(pixels)


def rgb_view(frame: av.VideoFrame) -> U8:
    """The pixels of an RGB frame, (H, W, 3), which they keep alive."""
    plane: Any = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


class Repeats:
    """Tells of each picture of a video whether it has the pixels of the one before, bit for bit.

    It keeps a copy: a decoder's own frame, kept, would change what is left in others that are
    damaged.
    """

    def __init__(self) -> None:
        self._kind: object = None
        self._planes: list[U8] = []

    def __call__(self, picture: Picture) -> bool:
        """Whether the next picture repeats the one before; most that do not differ at once."""
        yuv = _yuv_of(picture) if isinstance(picture, av.VideoFrame) else None
        planes = _planes(picture) if isinstance(picture, av.VideoFrame) else [picture]
        kind = size_of(picture), yuv
        if kind != self._kind:
            self._kind, self._planes = kind, [plane.copy() for plane in planes]
            return False
        pairs = list(zip(self._planes, planes, strict=True))
        if all(np.array_equal(a[::16], b[::16]) and np.array_equal(a, b) for a, b in pairs):
            return True
        for kept, plane in pairs:
            np.copyto(kept, plane)
        return False


def _planes(frame: av.VideoFrame) -> list[U8]:
    """What is seen of a frame's planes, (h, w) each."""
    planes = []
    for number, plane in enumerate(frame.planes):
        buffer: Any = plane
        step = 2 if number else 1
        rows = np.frombuffer(buffer, np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: frame.height // step, : frame.width // step])
    return planes


def put(picture: Picture, out: U8) -> Yuv | None:
    """Copy a picture into ``out``, H * W * 3 bytes; returns what :func:`take` must know of it."""
    if not isinstance(picture, av.VideoFrame):
        np.copyto(out.reshape(picture.shape), picture)
        return None
    _pack(picture, out, 0, 0, picture.width, picture.height)
    return _yuv_of(picture)


def take(data: U8, height: int, width: int, yuv: Yuv | None) -> Picture:
    """A copy of the picture that :func:`put` left in ``data``."""
    if yuv is None:
        return data[: height * width * 3].reshape(height, width, 3).copy()
    size = height * width * 3 // 2
    packed = np.empty(size + _SPARE, np.uint8)
    packed[:size] = data[:size]
    return _frame(packed, width, yuv)


@contextmanager
def shown(picture: Picture, transform: Transform, side_px: int) -> Iterator[U8]:
    """What a transform into a square crop reads of a picture: RGB uint8 (H, W, 3), in its place.

    The rest is black where the picture is YUV. The pixels are those of :func:`rgb`, bit for bit,
    and last as long as the context.
    """
    if not isinstance(picture, av.VideoFrame):
        yield picture
        return
    left, top, right, bottom = _reach(picture, transform, side_px)
    canvas = _canvas(picture.height, picture.width)
    if left < right and top < bottom:
        packed = np.empty((right - left) * (bottom - top) * 3 // 2 + _SPARE, np.uint8)
        _pack(picture, packed, left, top, right, bottom)
        part = _frame(packed, right - left, _yuv_of(picture))
        np.copyto(canvas[top:bottom, left:right], rgb(part))
    try:
        yield canvas
    finally:
        canvas[top:bottom, left:right] = 0  # nothing of it shows up in another picture


def _canvas(height: int, width: int) -> U8:
    """This thread's black image."""
    if _kept.canvas.shape[:2] != (height, width):
        _kept.canvas = np.zeros((height, width, 3), np.uint8)
    return _kept.canvas


def _reach(frame: av.VideoFrame, transform: Transform, side_px: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what a transform reads; all of it if that is unclear."""
    (a, b, x), (c, d, y) = transform.tolist()
    scale = a * d - b * c
    if not 1e-9 < abs(scale) < 1e9 or not isfinite(x + y):
        return 0, 0, frame.width, frame.height
    middle, half = (side_px - 1) / 2, (side_px + 1) / 2
    u, v = middle - x, middle - y
    wide, high = (abs(b) + abs(d)) / abs(scale), (abs(a) + abs(c)) / abs(scale)
    left, right = _span((d * u - b * v) / scale, half * wide, _STEP_X, frame.width)
    top, bottom = _span((a * v - c * u) / scale, half * high, _STEP_Y, frame.height)
    return left, top, right, bottom


def _span(centre: float, half: float, step: int, size: int) -> tuple[int, int]:
    """First and last multiple of ``step`` around a stretch, within 0 and ``size``."""
    low = min(max(0.0, centre - half - _MARGIN), size)
    high = min(max(0.0, centre + half + _MARGIN), size)
    return int(low) // step * step, min(size, -(-int(high) // step) * step)


def _pack(frame: av.VideoFrame, out: U8, left: int, top: int, right: int, bottom: int) -> None:
    """Copy a part of a frame's planes, one after another."""
    start = 0
    for number, plane in enumerate(_planes(frame)):
        step = 2 if number else 1
        part = plane[top // step : bottom // step, left // step : right // step]
        np.copyto(out[start : start + part.size].reshape(part.shape), part)
        start += part.size


def _yuv_of(frame: av.VideoFrame) -> Yuv:
    return Yuv(frame.format.name, frame.colorspace, frame.color_range)


def _frame(packed: U8, width: int, yuv: Yuv) -> av.VideoFrame:
    """A frame over packed planes, ``_SPARE`` bytes after them."""
    rows = packed[: len(packed) - _SPARE].reshape(-1, width)
    frame = av.VideoFrame.from_numpy_buffer(rows, yuv.pixels)
    frame.colorspace, frame.color_range = yuv.matrix, yuv.range
    return frame
