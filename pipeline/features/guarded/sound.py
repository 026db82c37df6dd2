"""The sound of a source under a video that was drawn from it, copied packet by packet.

Called in the guarded process, through :func:`facer.pipeline.features.guarded.guard.ask`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from facer.pipeline.features.guarded.headers import clock_start
from facer.stages.features.decode.container import open_container
from facer.storage.errors import FacerError

_CODECS: Mapping[str, frozenset[str]] = {
    ".mp4": frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"}),
    ".webm": frozenset({"opus", "vorbis"}),
}
_WRITTEN: Any = {"movflags": "+faststart", "movie_timescale": "90000"}  # of .mp4, as the pictures
_PACKETS = 1000  # between two signs of life: less than a second


def copy_sound(
    source: Path, video: str, target: str, start_s: float, alive: Callable[[], None]
) -> str:
    """Write ``target``: the pictures of ``video`` with the sound of ``source``, if it has any.

    Returns why the sound was left out, or "".
    """
    try:
        with open_container(source) as sounding:
            stream = sounding.streams.best("audio")
            if not isinstance(stream, AudioStream):
                return ""
            codec, suffix = stream.codec_context.codec.canonical_name, Path(target).suffix.lower()
            if codec not in _CODECS[suffix]:
                return f"its sound ({codec}) cannot be copied into {suffix}"
            with av.open(video) as silent:
                start_s += clock_start(sounding)
                _copy(silent, sounding, stream, target, start_s, alive)
    except (FacerError, OSError, ValueError, av.FFmpegError) as error:
        return f"its sound cannot be copied ({error})"
    return ""


def _copy(
    silent: InputContainer, sounding: InputContainer, sound: AudioStream, target: str,
    start_s: float, alive: Callable[[], None],
) -> None:  # fmt: skip
    """Write pictures and sound, in the order of their times."""
    pictures = silent.streams.video[0]
    form = Path(target).suffix.lower().removeprefix(".")
    options = _WRITTEN if form == "mp4" else {}
    with av.open(target, "w", format=form, options=options) as out:
        shown, heard = (out.add_stream_from_template(one) for one in (pictures, sound))
        video, audio = silent.demux(pictures), sounding.demux(sound)
        packets = heapq.merge(_timed(video), _shifted(audio, start_s), key=_time_s)
        for number, packet in enumerate(packets):
            if number % _PACKETS == 0:
                alive()
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
