"""What the header of a user's video says, without decoding.

All is called in the guarded process, through :func:`facer.pipeline.features.guarded.guard.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
from av.container import InputContainer

from facer.stages.features.decode.container import (
    choose_stream,
    frame_rate,
    open_container,
    start_of,
)
from facer.storage.errors import FacerError


def clock_start(container: InputContainer) -> float:
    """The time in a file's own clock that ``VideoReader`` calls 0, in s; 0 for most files."""
    stream, _ = choose_stream(container)
    return 0.0 if stream is None else float(start_of(container, stream))


def clock_start_s(path: Path, _alive: Callable[[], None]) -> float:
    """:func:`clock_start` of a file; one that libav cannot read has 0."""
    try:
        with open_container(path) as container:
            return clock_start(container)
    except FacerError:
        return 0.0


def header_frames(path: Path, _alive: Callable[[], None]) -> int:
    """Frames that a video's header promises; 0 where it does not, or cannot be read."""
    try:
        with open_container(path) as container:
            stream, _ = choose_stream(container)
            if stream is None:
                return 0
            length_s = (container.duration or 0) / av.time_base
            return stream.frames or round(length_s * frame_rate(stream))
    except FacerError:
        return 0
