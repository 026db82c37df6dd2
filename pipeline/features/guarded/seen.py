"""What libav sees of a file: for a person who wonders why its clip failed.

Called in the guarded process, through :func:`facer.pipeline.features.guarded.guard.ask`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import av.logging
from av.container import InputContainer

from facer.stages.features.decode.container import (
    choose_stream,
    foreign_codec,
    open_container,
)
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular

_STREAMS, _LINES, _CHARACTERS = 20, 20, 200  # that are told
_DECODE_S = 20.0  # of decoding, whose answer a person waits for
_HEAD_BYTES = 16


def libav_view(path: Path, alive: Callable[[], None]) -> dict[str, Any]:
    """Container, streams, how many frames decode, libav's log; JSON.

    ``read`` is the stream that facer reads. ``error`` is why it cannot be opened or decoded,
    ``problem`` what was odd; both may be "".
    """
    found: dict[str, Any] = {"bytes": path.stat().st_size, "begins_with": _head(path)}
    found |= {"container": None, "streams": [], "read": None, "frames": 0, "all_frames": False}
    found |= {"problem": "", "error": "", "libav": av.ffmpeg_version_info}
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as log:
            _open(path, found)
            _decode(path, found, alive)
    finally:
        av.logging.set_level(None)
        av.logging.set_skip_repeated(True)
    lines = dict.fromkeys(f"{source}: {text.strip()}"[:_CHARACTERS] for _, source, text in log)
    return {**found, "log": list(lines)[:_LINES]}


def _head(path: Path) -> str:
    """The first bytes, as letters where they are some."""
    with open_regular(path) as file:
        data = file.read(_HEAD_BYTES)
    return "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)


def _open(path: Path, found: dict[str, Any]) -> None:
    try:
        with open_container(path) as container:
            chosen, _ = choose_stream(container)
            found["read"] = None if chosen is None else chosen.index
            found["container"] = _container(container)
            found["streams"] = [_stream(path, one) for one in list(container.streams)[:_STREAMS]]
    except FacerError as error:
        why = getattr(error.__cause__, "strerror", None) or error.__cause__
        found["error"] = f"{error} ({why})" if why else str(error)


def _container(container: InputContainer) -> dict[str, Any]:
    seconds = None if container.duration is None else container.duration / av.time_base
    return {
        "format": container.format.name, "name": container.format.long_name,
        "duration_s": seconds, "bit_rate": container.bit_rate, "streams": len(container.streams),
    }  # fmt: skip


def _stream(path: Path, stream: Any) -> dict[str, Any]:
    context, base = stream.codec_context, stream.time_base
    known = context is not None
    said = {
        "type": stream.type, "codec": context.name if known else foreign_codec(path),
        "decoder": known, "profile": stream.profile if known else None,
        "duration_s": float(stream.duration * base) if stream.duration and base else None,
        "packets_in_header": stream.frames or None, "language": stream.language,
    }  # fmt: skip
    if known and stream.type == "video":
        aspect, rate = stream.sample_aspect_ratio, stream.average_rate
        said |= {
            "width_px": context.width, "height_px": context.height, "pixels": context.pix_fmt,
            "rate_hz": float(rate) if rate else None, "sample_aspect": str(aspect or "1"),
        }  # fmt: skip
    return said


def _decode(path: Path, found: dict[str, Any], alive: Callable[[], None]) -> None:
    if found["error"]:
        return
    started = perf_counter()
    try:
        with VideoReader(path) as reader:
            for _ in reader.steps():
                found["frames"] = reader.n_decoded
                if reader.n_decoded % 50 == 0:
                    alive()
                if perf_counter() - started > _DECODE_S:
                    return
            found |= {"frames": reader.n_decoded, "problem": reader.problem, "all_frames": True}
    except FacerError as error:
        found["error"] = str(error)
