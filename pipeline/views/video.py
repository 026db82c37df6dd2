"""Videos written frame by frame, every frame at its own time, in codecs that browsers play, and
their sound.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import NamedTuple, cast

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from facer.pipeline.features.guarded.guard import ask
from facer.storage.errors import FacerError, OptionError, one_line
from facer.storage.files.atomic import written_aside
from facer.storage.schema import U8

_TIME_BASE = Fraction(1, 90_000)
_LONE_FRAME = 3_600  # ticks that the only frame of a video is shown: 1/25 s
_BT601 = 6  # what tags say; readers that ignore tags (OpenCV) take it for granted
_KEY_FRAME_EVERY = 60  # frames; what a player decodes at most after a jump


class _Format(NamedTuple):
    container: str
    codec: str
    options: dict[str, str]  # of the codec


# bf 0: with frames coded out of order, the last one would lose its duration
_FORMATS = {
    ".mp4": _Format("mp4", "libx264", {"preset": "veryfast", "crf": "20", "bf": "0"}),
    ".webm": _Format(
        "webm",
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": "30", "b": "0"},
    ),
}


def write_video(
    path: Path, frames: Iterable[tuple[float, U8]], *, height_px: int | None = None
) -> None:
    """Write (timestamp_s, RGB uint8 (H, W, 3)) frames as H.264 (.mp4) or VP9 (.webm).

    Times are kept to 1/90000 s in .mp4 and to 1 ms in .webm, however uneven they are; the last
    frame is shown for the median step. Frames higher than ``height_px`` are scaled down to it;
    a side of an odd number of pixels gets one more, and frames of another size than the first
    are scaled to it. The file appears whole or not at all, replacing an older one.

    ``FacerError`` for another suffix, no frames, times that do not rise, and a place that
    cannot be written.
    """
    form = _format_of(path)
    if height_px is not None and height_px < 2:
        raise FacerError(f"{path}: found a height of {height_px} px, expected 2 or more")
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise FacerError(f"{path}: no frames to write, expected at least one")
    size = _even_size(first[1], height_px)
    images = _fitted(itertools.chain([first], waiting), size)
    try:
        with written_aside(path) as aside:
            _encode(aside, form, size, _timed(path, images))
    except (OSError, av.FFmpegError) as error:
        raise FacerError(f"{path}: the video cannot be written ({one_line(error)})") from error


def _format_of(path: Path) -> _Format:
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise OptionError(
            f"{path}: found {path.suffix or 'no suffix'!r}, expected a name that ends in "
            f"{' or '.join(_FORMATS)}"
        ) from None


def _even_size(image: U8, height_px: int | None) -> tuple[int, int]:
    """Width and height, both even, that every frame gets."""
    height, width = image.shape[:2]
    if height_px is not None and height > height_px:
        width, height = round(width * height_px / height), height_px
    return max(2, width + width % 2), height + height % 2


def _fitted(
    frames: Iterable[tuple[float, U8]], size: tuple[int, int]
) -> Iterator[tuple[float, U8]]:
    """The frames at one size: padded by repeating the edge where a pixel is missing."""
    width, height = size
    for time_s, image in frames:
        right, below = width - image.shape[1], height - image.shape[0]
        if right in (0, 1) and below in (0, 1):
            image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
        else:
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        yield time_s, image


def _timed(path: Path, frames: Iterable[tuple[float, U8]]) -> Iterator[tuple[int, int, U8]]:
    """(start, duration, image) in ticks; a frame lasts until the next one."""
    steps: list[int] = []
    held: tuple[int, U8] | None = None
    for time_s, image in frames:
        ticks = round(time_s / _TIME_BASE)
        if held is not None:
            if ticks <= held[0]:
                raise FacerError(
                    f"{path}: found a frame at {time_s:.4f} s after one at "
                    f"{float(held[0] * _TIME_BASE):.4f} s, expected rising times"
                )
            steps.append(ticks - held[0])
            yield held[0], steps[-1], held[1]
        held = ticks, image
    if held is not None:
        yield held[0], round(median(steps)) if steps else _LONE_FRAME, held[1]


def _encode(
    path: Path, form: _Format, size: tuple[int, int], frames: Iterator[tuple[int, int, U8]]
) -> None:
    durations: dict[int, int] = {}  # by start, of frames inside the encoder
    options = (
        {"movflags": "+faststart", "movie_timescale": "90000"} if form.container == "mp4" else {}
    )
    with av.open(str(path), "w", format=form.container, options=options) as container:
        stream = cast(VideoStream, container.add_stream(form.codec, options=form.options))
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt, context.time_base = "yuv420p", _TIME_BASE
        context.gop_size = _KEY_FRAME_EVERY
        context.colorspace, context.color_range = _BT601, ColorRange.MPEG

        def mux(frame: av.VideoFrame | None) -> None:
            for packet in context.encode(frame):
                if packet.pts is not None:
                    packet.duration = durations.pop(packet.pts)
                container.mux(packet)

        for start, duration, image in frames:
            durations[start] = duration
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU601
            )
            frame.pts, frame.time_base = start, _TIME_BASE
            mux(frame)
        mux(None)


def add_sound(video: Path, source: Path, start_s: float = 0.0) -> str:
    """Give a written video the sound of its source; returns why it was left out, or "".

    A source without sound is nothing to tell.

    ``start_s`` is the time of the source's frames that the video shows at its 0. A codec that
    the file cannot hold, like PCM in .mp4, becomes another one. The video stays as it was until
    the new one is whole. The source is read in the guarded process.
    """
    aside = video.with_name(f".{uuid.uuid4().hex}-{video.name}").absolute()
    try:
        reason: str = ask("copy_sound", source, str(video.absolute()), str(aside), start_s)
        if not reason and aside.exists():
            aside.replace(video)
    except (OSError, FacerError) as error:
        reason = f"its sound cannot be copied ({error})"
    finally:
        with suppress(OSError):  # there only when it was not moved into place
            aside.unlink()
    return reason
