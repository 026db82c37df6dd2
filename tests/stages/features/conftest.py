"""Small videos of every kind, encoded in the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from facer.stages.features.decode.frames import VideoReader

Encode = Callable[..., Path]


def numbered(index: int, width: int = 96, height: int = 64) -> np.ndarray:
    """Grey, red in the upper left quarter, with a bright bar that tells the frame's number."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[: height // 2, : width // 2] = (200, 30, 30)
    image[height // 2 :, (4 * index) % width : (4 * index) % width + 4] = 250
    return image


def read(path: Path, stride: int = 1) -> tuple[list[Any], str]:
    """All frames of a video, and what was odd."""
    with VideoReader(path, stride) as reader:
        frames = list(reader)
    return frames, reader.problem


@pytest.fixture(name="read")
def _read() -> Callable[..., tuple[list[Any], str]]:
    return read


@contextmanager
def usual_priority() -> Iterator[None]:
    """SVT-AV1 puts root's process before all others, which then stand still; undone after."""
    yield
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@pytest.fixture
def encode(tmp_path: Path) -> Encode:
    """``encode(name, frames)``: RGB images, or n numbered ones, as a video.

    ``stream(s)`` changes its stream before, ``frame(f, index)`` each of its frames; ``times`` are
    in ``base`` (1/fps).
    """

    def make(
        name: str,
        frames: int | list[np.ndarray] = 10,
        codec: str = "libx264",
        pixels: str = "yuv420p",
        fps: int = 25,
        times: list[int] | None = None,
        base: Fraction | None = None,
        size: tuple[int, int] = (96, 64),
        stream: Callable[[Any], Any] = lambda stream: None,
        frame: Callable[[Any, int], Any] = lambda frame, index: None,
        container: str | None = None,
        options: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        images = [numbered(i, *size) for i in range(frames)] if isinstance(frames, int) else frames
        base = base or Fraction(1, fps)
        opened = av.open(str(path), "w", format=container, options=muxer or {})
        with usual_priority(), opened as file:
            out: Any = file.add_stream(codec, rate=fps, options=options or {})
            out.height, out.width = images[0].shape[:2]
            out.pix_fmt = pixels
            out.time_base = out.codec_context.time_base = base
            stream(out)
            for index, image in enumerate(images):
                one = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                one.pts, one.time_base = times[index] if times else index, base
                frame(one, index)
                file.mux(out.encode(one))
            file.mux(out.encode(None))
        return path

    return make
