"""Opening a video of a user: only a regular file, only a container that holds its own data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.logging
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from facer.storage.errors import FacerError
from facer.storage.files.regular import LFS_POINTER, check_name, open_regular

DECODER = "libav"
"""What decodes: stores that another decoder made are told apart by it."""
LIBAV = av.ffmpeg_version_info
"""Version of the FFmpeg libraries that PyAV carries."""

_NO_VIDEO = (
    "not a video that can be decoded; expected a whole file with a picture track, of a container "
    "and codec that libav reads"
)
_NO_SOUND = (
    "not a file that can be decoded; expected a whole video or sound, of a container that libav "
    "reads"
)

# names of libav's demuxers; none of them opens a second file
SEGMENTS = frozenset({"mpegts", "mpeg", "dv"})
"""Containers that are joined by mere appending, so that their clock may start again."""
TIMELESS = frozenset({"h264", "hevc", "vvc", "obu", "m4v", "mpegvideo", "h263", "mjpeg"})
"""Bare streams, whose frames have no times."""
BARE = SEGMENTS | TIMELESS
"""Files without a header: their frames alone say what shape they have, and nothing how many."""
_WHOLE_DURATION = frozenset({"asf", "wtv", "matroska,webm", "flv"})
"""Containers that say of no stream how long it is: libav then gives it the whole file's length."""
_FORMATS = ",".join(
    ["mov,matroska,avi,flv,gif,ogg,asf,ivf,nut,mxf,rm,wtv,yuv4mpegpipe", *sorted(BARE)]
)
_SOUND_FORMATS = "wav,w64,mp3,flac,aac,aiff,caf,au,amr,ac3,eac3,ape,dts,loas,tta,wv,mpc,mpc8"
_PROTOCOLS = {"protocol_whitelist": "file"}
_OPTIONS = {**_PROTOCOLS, "format_whitelist": _FORMATS}
_SOUND_OPTIONS = {**_PROTOCOLS, "format_whitelist": f"{_FORMATS},{_SOUND_FORMATS}"}
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_JPEG = b"\xff\xd8\xff"
_BARE_JPEG = frozenset({".mjpeg", ".mjpg"})  # libav takes them for single pictures by their content
_PICTURE_CODECS = frozenset({"mjpeg", "png", "bmp", "webp", "tiff", "gif"})
MAX_PIXELS = 8192 * 4320
"""Of a frame, 8K: it bounds what a clip costs in memory. Headers that lie say more, too."""


def open_container(path: Path, sound: bool = False) -> InputContainer:
    """Open a user's video; no other file and no network is read for it.

    ``sound`` also takes files that hold nothing else. ``FacerError`` when it is no regular file,
    or no container that libav reads.
    """
    options = _SOUND_OPTIONS if sound else _OPTIONS
    jpeg = _checked_head(path).startswith(_JPEG)
    kind = "mjpeg" if jpeg and path.suffix.lower() in _BARE_JPEG else None
    try:
        # absolute: a name such as "http:x.mp4" is a file, not a URL
        return av.open(
            str(path.absolute()), format=kind, options=options, metadata_errors="replace"
        )
    except MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        raise FacerError(f"{path.name}: {_NO_SOUND if sound else _NO_VIDEO}") from error


def open_stream(path: Path) -> tuple[InputContainer, VideoStream, int]:
    """Open a video to decode it: the container, its stream and how many it could have been.

    ``FacerError`` as :func:`open_container`, when nothing can be decoded, and for frames of
    absurd size.
    """
    container = open_container(path)
    try:
        stream, n_streams = choose_stream(container)
        if stream is None:
            raise FacerError(f"{path.name}: {_NO_VIDEO}")
        if not codec_of(stream):
            raise FacerError(undecodable(path, foreign_codec(path), "libav has no decoder for it"))
        context = stream.codec_context
        check_size(path, context.width, context.height)
    except BaseException:
        container.close()
        raise
    context.options = {"max_pixels": str(MAX_PIXELS)}  # a frame may be larger than the first
    context.thread_count = 1
    return container, stream, n_streams


def check_size(path: Path, width: int, height: int) -> None:
    """``FacerError`` for a frame of more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        raise FacerError(
            f"{path.name}: frames of {width}x{height} px, expected at most "
            f"{MAX_PIXELS / 1e6:.0f} megapixels (8K); make a smaller copy, as by: "
            "ffmpeg -i INPUT -vf scale=3840:-2 OUTPUT.mp4"
        )


def packets(
    container: InputContainer, *streams: VideoStream | AudioStream
) -> Iterator[Packet[Any]]:
    """Packets of some streams, or of all, in the file's order; empty ones end them.

    A stream that appears on the way, as in MPEG-TS, is left out: PyAV ends with an error there.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def choose_stream(container: InputContainer) -> tuple[VideoStream | None, int]:
    """The video stream that a player shows, and how many there are; None for no video.

    Covers and thumbnails are none: they say so, or are pictures beside a video.
    """
    real = [stream for stream in container.streams.video if not stream.disposition & _COVERS]
    moving = [stream for stream in real if codec_of(stream) not in _PICTURE_CODECS]
    streams = moving or real
    chosen = [stream for stream in streams if stream.disposition & Disposition.default]
    return next(iter(chosen or streams), None), len(streams)


def codec_of(stream: VideoStream | AudioStream) -> str:
    """The codec's name; "" where libav has no decoder for it."""
    context: VideoCodecContext | AudioCodecContext | None = stream.codec_context
    return "" if context is None else context.codec.canonical_name


def start_of(container: InputContainer, stream: VideoStream | AudioStream) -> Fraction:
    """What players call 0 in a file, in seconds of its own clock.

    It is the earliest start of any stream; sound that leads in before 0 does not count.
    """
    start = stream.start_time
    if start is None or stream.time_base is None:
        return Fraction(0)
    first, own_s = container.start_time, start * stream.time_base
    return own_s if first is None else min(own_s, max(Fraction(0), Fraction(first, av.time_base)))


def own_duration(container: InputContainer, stream: VideoStream | AudioStream) -> int | None:
    """How long a stream is, in its time base; None where the file says no more than for all."""
    duration, entries = stream.duration, stream.index_entries
    if container.format.name in _WHOLE_DURATION:
        return None
    if "mp4" in container.format.name and duration and stream.frames and len(entries):
        # where an edit list begins late and trims, libav counts what is before the start too
        end = entries[-1].timestamp + duration // len(entries)
        return min(duration, end - (stream.start_time or 0))
    return duration


def frame_rate(stream: VideoStream) -> float:
    """Frames/s by the file, or what libav takes where it says nothing; 0 for neither."""
    return float(stream.guessed_rate or stream.average_rate or 0)


def undecodable(path: Path, codec: str, reason: str, sound: bool = False) -> str:
    """What to say of a video, or of a sound, of which nothing could be decoded."""
    what, how = ("sound", "-vn -c:a flac OUTPUT.mka") if sound else _CONVERTED
    return (
        f"{path.name}: no {what} could be decoded: {reason} (codec {codec}, libav {LIBAV}); if it "
        f"plays elsewhere, convert it, as by: ffmpeg -i INPUT {how}"
    )


_CONVERTED = ("frame", "-c:v libx264 -crf 12 OUTPUT.mp4")


def foreign_codec(path: Path, sound: bool = False) -> str:
    """What libav's log calls a codec that it has no decoder for."""
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as log, open_container(path, sound):
            text = "\n".join(line for _, _, line in log)
    finally:
        av.logging.set_level(None)
    kind = "Audio" if sound else "Video"
    named = rf"{kind}: none \((\w+)|{kind}: (?!none)(\w+)|AVCodecID ([\w/.-]+\w)"
    found = re.search(named, text)
    return next(filter(None, found.groups())) if found else "unknown"


def _checked_head(path: Path) -> bytes:
    """Its first bytes; ``FacerError`` for what is no regular file, empty or a pointer."""
    check_name(path)
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise FacerError(f"{path.name}: empty file, expected a video")
        head = file.read(64)
    if head.startswith(LFS_POINTER):
        raise FacerError(f"{path.name}: a Git LFS pointer, expected a video; run: git lfs pull")
    return head
