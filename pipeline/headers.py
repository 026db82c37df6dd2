"""What the header of a user's video says, without decoding.

All is called in the guarded process, through :func:`facer.pipeline.guard.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
from av.container import InputContainer


def opened(path: Path) -> InputContainer:
    """A video of a user: no other file and no network is read for it."""
    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})


def picture_time_s(container: InputContainer) -> float:
    """When the first picture is shown in the time of the file, in seconds; 0 for most files.

    Frames of ``VideoReader`` count from there; players count from the file's own 0, and sound
    may begin before.
    """
    stream = container.streams.best("video")
    if stream is None or stream.start_time is None or stream.time_base is None:
        return 0.0
    return float(stream.start_time * stream.time_base)


def picture_start_s(path: Path, _alive: Callable[[], None]) -> float:
    """:func:`picture_time_s` of a file; one that ffmpeg cannot read has 0."""
    try:
        with opened(path) as container:
            return picture_time_s(container)
    except av.FFmpegError:
        return 0.0


def header_frames(path: Path, _alive: Callable[[], None]) -> int:
    """Frames that a video's header promises; 0 where it cannot be read."""
    try:
        with opened(path) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return int(stream.frames)
            rate, length = stream.average_rate, container.duration
            return round(length / av.time_base * rate) if rate and length else 0
    except (av.FFmpegError, OSError, IndexError):
        return 0
