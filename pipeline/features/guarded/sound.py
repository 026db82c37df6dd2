"""The sound of a source under a video that was drawn from it.

It is copied packet by packet. Where the file cannot hold its codec or its times, or the source is
of segments, whose clock may start again, it is made anew as one channel, as :class:`AudioReader`
places it.

Called in the guarded process, through :func:`facer.pipeline.features.guarded.guard.ask`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from facer.pipeline.features.guarded.headers import clock_start
from facer.stages.features.audio.reader import AudioReader, choose_sound
from facer.stages.features.decode.container import SEGMENTS, codec_of, open_container, packets
from facer.storage.errors import FacerError

_CODECS: Mapping[str, frozenset[str]] = {
    ".mp4": frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"}),
    ".webm": frozenset({"opus", "vorbis"}),
}
_MADE_ANEW = {".mp4": "aac", ".webm": "libopus"}
_RATE_HZ = 48_000
_SILENCE = np.zeros(_RATE_HZ, np.float32)
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
            stream, _ = choose_sound(sounding)
            if stream is None:
                return ""
            held = codec_of(stream) in _CODECS[Path(target).suffix.lower()]
            if held and sounding.format.name not in SEGMENTS:
                with suppress(av.FFmpegError), av.open(video) as silent:
                    _write(silent, (sounding, stream), source, target, start_s, alive)
                    return ""
        with av.open(video) as silent:
            _write(silent, None, source, target, start_s, alive)
    except (FacerError, OSError, ValueError, av.FFmpegError) as error:
        return f"its sound cannot be copied ({error})"
    return ""


def _write(
    silent: InputContainer, copied: tuple[InputContainer, AudioStream] | None, source: Path,
    target: str, start_s: float, alive: Callable[[], None],
) -> None:  # fmt: skip
    """Write pictures and sound, ``copied`` or made anew, in the order of their times."""
    pictures, suffix = silent.streams.video[0], Path(target).suffix.lower()
    options = _WRITTEN if suffix == ".mp4" else {}
    with av.open(target, "w", format=suffix.removeprefix("."), options=options) as out:
        shown = out.add_stream_from_template(pictures)
        if copied is not None:
            sounding, sound = copied
            heard = out.add_stream_from_template(sound)
            audio = _shifted(packets(sounding, sound), start_s + clock_start(sounding))
        else:
            made = out.add_stream(_MADE_ANEW[suffix], rate=_RATE_HZ, layout="mono")
            heard = cast(AudioStream, made)
            audio = _made_anew(source, heard, start_s)
        video = _timed(silent.demux(pictures))
        merged = heapq.merge(_of(shown, video), _of(heard, audio), key=_time_s)
        for number, packet in enumerate(merged):
            if number % _PACKETS == 0:
                alive()
            out.mux(packet)


def _of(stream: Any, found: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    for packet in found:
        packet.stream = stream
        yield packet


def _timed(found: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
    """Without the empty packet that ends a stream."""
    return (packet for packet in found if packet.dts is not None)


def _shifted(found: Iterator[Packet[Any]], start_s: float) -> Iterator[Packet[Any]]:
    """Packets with ``start_s`` as their 0; those that end before it are left out."""
    for packet in _timed(found):
        shift = round(start_s / packet.time_base)
        packet.dts = (packet.dts or 0) - shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        if packet.pts >= 0 or packet.pts + (packet.duration or 0) > 0:
            yield packet


def _made_anew(source: Path, heard: AudioStream, start_s: float) -> Iterator[Packet[Any]]:
    """Packets of a file's sound from ``start_s`` on, which is their 0; silence in its holes."""
    skipped = round(start_s * _RATE_HZ)
    with AudioReader(source, _RATE_HZ) as sound:
        end: int | None = None  # of what was encoded
        for block in sound:
            start, samples = block.start - skipped, block.samples
            start, samples = max(start, 0), samples[max(-start, 0) :]
            if not len(samples):
                continue
            end = start if end is None else end
            silence = (_SILENCE[: start - place] for place in range(end, start, len(_SILENCE)))
            for part in (*silence, samples):
                frame = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
                frame.sample_rate, frame.time_base = _RATE_HZ, Fraction(1, _RATE_HZ)
                frame.pts, end = end, end + len(part)
                yield from heard.encode(frame)
        if end is not None:
            yield from heard.encode(None)


def _time_s(packet: Packet[Any]) -> float:
    return float((packet.dts or 0) * packet.time_base)
