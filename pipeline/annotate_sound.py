"""The sound of a source under a video that was drawn from it, copied packet by packet."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from facer.stages.features.container import choose_stream, open_container, start_of
from facer.storage.errors import FacerError

_CODECS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        ".mp4": frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"}),
        ".webm": frozenset({"opus", "vorbis"}),
    }
)
_WRITTEN: Any = {"movflags": "+faststart", "movie_timescale": "90000"}  # of .mp4, as the pictures


def clock_start_s(video: Path) -> float:
    """The time in the file's own clock that ``VideoReader`` calls 0, in s; 0 for most files.

    A file that libav cannot read has 0.
    """
    try:
        with open_container(video) as container:
            return _start_s(container)
    except FacerError:
        return 0.0


def add_sound(video: Path, source: Path, start_s: float = 0.0) -> str:
    """Give a written video the sound of its source; returns why it was left out, or "".

    A source without sound is nothing to tell.

    ``start_s`` is the time of the source's frames that the video shows at its 0. Packets are
    copied, so a codec that the file cannot hold, like PCM in .mp4, is not kept. The video
    stays as it was until the new one is whole.
    """
    aside = video.with_name(f".sound-{video.name}")
    try:
        with open_container(source) as sounding:
            stream = sounding.streams.best("audio")
            if not isinstance(stream, AudioStream):
                return ""
            codec = stream.codec_context.codec.canonical_name
            if codec not in _CODECS[video.suffix.lower()]:
                return f"its sound ({codec}) cannot be copied into {video.suffix}"
            with av.open(str(video.absolute())) as silent:
                _copy(silent, sounding, stream, aside, _start_s(sounding) + start_s)
        aside.replace(video)
    except (FacerError, OSError, ValueError, av.FFmpegError) as error:
        return f"its sound cannot be copied ({error})"
    finally:
        with suppress(OSError):  # there only when it was not moved into place
            aside.unlink()
    return ""


def _start_s(container: InputContainer) -> float:
    stream, _ = choose_stream(container)
    return 0.0 if stream is None else float(start_of(container, stream))


def _copy(
    silent: InputContainer,
    sounding: InputContainer,
    sound: AudioStream,
    path: Path,
    start_s: float,
) -> None:
    """Write pictures and sound, in the order of their times."""
    pictures = silent.streams.video[0]
    form = path.suffix.lower().removeprefix(".")
    options = _WRITTEN if form == "mp4" else {}
    with av.open(str(path.absolute()), "w", format=form, options=options) as out:
        shown, heard = (out.add_stream_from_template(one) for one in (pictures, sound))
        video, audio = silent.demux(pictures), sounding.demux(sound)
        for packet in heapq.merge(_timed(video), _shifted(audio, start_s), key=_time_s):
            packet.stream = shown if packet.stream.type == "video" else heard
            out.mux(packet)


def _timed(packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Without the empty packet that ends a stream."""
    return (packet for packet in packets if packet.dts is not None)


def _shifted(packets: Iterator[Packet[Any]], start_s: float) -> Iterator[Packet[Any]]:
    """Packets with ``start_s`` as their 0; those before it are left out."""
    for packet in _timed(packets):
        shift = round(start_s / packet.time_base)
        packet.dts = (packet.dts or 0) - shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if packet.pts >= 0:
            yield packet


def _time_s(packet: Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)
