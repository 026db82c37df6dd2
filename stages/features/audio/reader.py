"""The sound of a file, as one channel at one rate, each sample at its place in time.

Sample ``k`` is heard at ``k / rate_hz`` seconds after the time that
:class:`~facer.stages.features.decode.frames.VideoReader` calls 0, so that sound and pictures of a
file share one clock; where there are no pictures, 0 is the sound's own start. In this order:

- the default sound stream is decoded; channels are averaged, whatever their layout;
- :mod:`~facer.stages.features.audio.timeline`: when each piece is heard;
- :mod:`~facer.stages.features.audio.resampling`: libav's resampler, anew after each hole; its
  samples are placed to the nearest one of the rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition

from facer.stages.features.audio.resampling import Sound, resampled
from facer.stages.features.audio.timeline import Pictures, Piece, Timeline
from facer.stages.features.decode.clock import Clock
from facer.stages.features.decode.container import (
    SEGMENTS,
    choose_stream,
    codec_of,
    foreign_codec,
    frame_rate,
    open_container,
    own_duration,
    packets,
    start_of,
    undecodable,
)
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import F32

MAX_HOLES_S = 3600
"""Without sound, in all, before its last sample; it bounds what times that lie cost."""
NO_STREAM = "no sound: the file has no sound stream"
MAX_S = 12 * 3600
"""Of a sound; what comes later is left out."""
_RATES_HZ = (1000, 1_000_000)  # that are taken for real
_LOUDEST = 100.0  # of samples that are floats; 1 is full scale
_BARE = frozenset({"aac", "ac3", "amr", "dts", "eac3", "loas", "mp3"})
"""Files of packets alone: their samples are counted, as the demuxer only guesses their times."""
_CANCELLED = 0.01  # of a channel's spread, below which the mean of the channels lost it
_QUIET_PACKETS = 500  # between two signs of life
_MISSING_S, _MISSING_SHARE = 1.0, 0.1  # from which on the end is called broken


class AudioReader:
    """Iterate over the sound of one file; use as a context manager.

    Blocks of about a second follow in order of time, where something is missing with a hole
    between them. A file without sound gives none, and ``problem`` says why. ``FacerError`` for a
    file that is none of video or sound, and when nothing of its sound can be decoded.
    """

    def __init__(self, path: Path, rate_hz: int) -> None:
        self.problem = ""
        self.n_decoded = 0  # samples, at the file's own rate
        self.path, self._rate_hz = path, rate_hz
        self._ended = self._error = ""
        self._n_damaged = self._n_refused = self._n_odd = 0
        self._spread_of_mean = self._spread_of_one = 0.0  # the widest of a piece, full scale 2
        self._reached_s = 0.0  # the latest time of any stream that is read
        self._end = self._holes = 0  # of what was given, and samples that are missing in it
        self._container = open_container(path, sound=True)
        try:
            self._stream, self._n_streams = choose_sound(self._container)
            if self._stream is not None:
                self._prepare(self._stream)
        except BaseException:
            self._container.close()
            raise

    def _prepare(self, stream: AudioStream) -> None:
        if not codec_of(stream):
            codec = foreign_codec(self.path, sound=True)
            reason = "libav has no decoder for it"
            raise FacerError(undecodable(self.path, codec, reason, sound=True))
        stream.codec_context.thread_count = 1
        pictures, _ = choose_stream(self._container)
        zero = start_of(self._container, stream if pictures is None else pictures)
        self._base, self._zero_s = float(stream.time_base or Fraction(1, 1000)), float(zero)
        joins, fps = self._format in SEGMENTS, 0.0 if pictures is None else frame_rate(pictures)
        self._shown, self._pictures = pictures, Pictures(Clock(fps).step_s, joins)
        self._timeline = Timeline(self._base, joins, self._pictures)
        if own_duration(self._container, stream):  # else the others show where the file ends
            for other in self._container.streams:
                if other is not stream and not (joins and other is pictures):
                    other.discard = Discard.all

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Sound]:
        return (block for block in self.steps() if block is not None)

    def steps(self) -> Iterator[Sound | None]:
        """Decode block by block; None now and then while there is nothing to give."""
        if self._stream is None:
            self.problem = NO_STREAM
            return
        placed = self._timeline.place(self._timed(self._stream))
        for item in resampled(placed, self._rate_hz):
            block = None if item is None else self._within(item)
            if block is None or len(block.samples):
                yield block
            elif self._ended.startswith("ended"):
                break
        if self._n_refused and not self.n_decoded:
            codec = codec_of(self._stream)
            raise FacerError(undecodable(self.path, codec, self._error, sound=True))
        self.problem = "; ".join(self._notes(self._stream))

    @property
    def _format(self) -> str:
        return self._container.format.name

    def _timed(self, stream: AudioStream) -> Iterator[Piece | None]:
        """Decoded pieces as one channel; None where many packets gave nothing."""
        quiet = 0
        for frame in self.decoded(stream):
            quiet += 1
            if frame is not None and (piece := self._piece(frame)) is not None:
                quiet = 0
                yield piece
            elif quiet % _QUIET_PACKETS == 0:
                yield None

    def decoded(self, stream: AudioStream) -> Iterator[av.AudioFrame | None]:
        """Frames of each packet, None for one without; what cannot be decoded is counted."""
        try:
            for packet in packets(self._container):
                if packet.pts is not None:
                    base = float(packet.time_base)
                    end = (packet.pts + (packet.duration or 0)) * base
                    self._reached_s = max(self._reached_s, end - self._zero_s)
                    if packet.stream is self._shown and packet.dts is not None:
                        self._pictures.add(packet.dts * base, packet.pts * base)
                frames: list[av.AudioFrame | None] = []
                if packet.stream is stream:
                    frames += self._decode(stream, packet)
                yield from frames or [None]
        except MemoryError:
            raise
        except av.FFmpegError as error:
            self._ended = f"reading ended early ({one_line(error)})"
            yield from self._decode(stream, None)

    def _decode(self, stream: AudioStream, packet: Any) -> list[av.AudioFrame]:
        try:
            return stream.decode(packet)
        except MemoryError:
            raise
        except av.EOFError:  # the decoder was emptied already
            return []
        except (av.FFmpegError, ValueError) as error:  # PyAV has no name for some sample formats
            self._n_refused += 1
            self._error = getattr(error, "strerror", None) or type(error).__name__
            return []

    def _piece(self, frame: av.AudioFrame) -> Piece | None:
        rate, pts = frame.sample_rate, frame.pts
        if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
            self._n_refused += 1
            self._error = f"a rate of {rate} Hz"
            return None
        if not frame.samples:
            return None
        self.n_decoded += frame.samples
        self._n_damaged += frame.is_corrupt
        samples, odd, spread = _one_channel(frame)
        self._n_odd += odd
        self._spread_of_one = max(self._spread_of_one, spread)
        self._spread_of_mean = max(self._spread_of_mean, float(np.ptp(samples)))
        counted = self._format in _BARE and self.n_decoded > frame.samples
        base = float(frame.time_base or self._base)
        return Piece(samples, rate, None if pts is None or counted else pts * base - self._zero_s)

    def _within(self, block: Sound) -> Sound:
        """A block without what lies before 0 or was given already; none where reading ends."""
        skip = max(0, self._end - block.start)
        found = Sound(block.start + skip, block.samples[skip:])
        if not len(found.samples):
            return found
        self._holes += found.start - self._end
        holes_s, end_s = self._holes / self._rate_hz, self._end / self._rate_hz
        if holes_s > MAX_HOLES_S and not self._end:
            raise FacerError(
                f"{self.path.name}: its sound starts {holes_s:.0f} s after its pictures, expected "
                f"{MAX_HOLES_S} s at most"
            )
        if holes_s > MAX_HOLES_S or found.stop > MAX_S * self._rate_hz:
            why = f"more than {MAX_S / 3600:g} h, or {MAX_HOLES_S} s without sound, are not read"
            self._ended = f"ended after {end_s:.2f} s: {why}"
            return Sound(self._end, block.samples[:0])
        self._end = found.stop
        return found

    def _notes(self, stream: AudioStream) -> list[str]:
        """What was odd about the sound."""
        n = self._n_streams
        notes = [f"{n} sound streams: the default one, number {stream.index}, is read"]
        notes = (notes if n > 1 else []) + self._timeline.notes()
        if not self.n_decoded:
            notes.append("no sound: its sound stream holds no samples")
        elif not self._spread_of_one and not self._spread_of_mean:
            notes.append("all of its sound is digital silence")
        elif self._spread_of_mean < _CANCELLED * self._spread_of_one:
            notes.append("its channels cancel each other out in their mean, which is read")
        if self._n_damaged:
            notes.append(f"{self._n_damaged} pieces of its sound are damaged")
        if self._n_refused:
            notes.append(f"{self._n_refused} packets of its sound could not be decoded")
        if self._n_odd:
            notes.append(f"{self._n_odd} samples are no number or far too loud: limited")
        return [*notes, *filter(None, [self._ended, self._missing_tail(stream)])]

    def _missing_tail(self, stream: AudioStream) -> str:
        """Compare with the header: the stream's duration, or the whole file's."""
        if not self.n_decoded or self._format in _BARE | SEGMENTS:
            return ""
        end_s = self._end / self._rate_hz
        if duration := own_duration(self._container, stream):
            start_s = (stream.start_time or 0) * self._base - self._zero_s
            promised_s, reached_s = duration * self._base + start_s, end_s
        else:
            whole = self._container.duration or 0
            start = max(0, self._container.start_time or 0)
            promised_s = (whole - start) / av.time_base
            reached_s = max(end_s, self._reached_s)
        if promised_s - reached_s <= max(_MISSING_S, _MISSING_SHARE * promised_s):
            return ""
        return f"its sound ended after {end_s:.2f} of the {promised_s:.2f} s in the header"


def choose_sound(container: InputContainer) -> tuple[AudioStream | None, int]:
    """The sound stream that a player plays, and how many there are; None for no sound."""
    streams = container.streams.audio
    chosen = [stream for stream in streams if stream.disposition & Disposition.default]
    return next(iter(chosen or streams), None), len(streams)


def _one_channel(frame: av.AudioFrame) -> tuple[F32, int, float]:
    """The mean of a frame's channels (n,), full scale 1, how many samples had to be limited, and
    how far the lowest and highest sample of a single channel are apart.
    """
    values: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    mono = values.mean(0, dtype=np.float64)
    highest, lowest = values.max(1).astype(np.float64), values.min(1).astype(np.float64)
    n_odd = 0
    if values.dtype.kind in "iu":
        full = 2.0 ** (8 * values.dtype.itemsize - 1)
        mono = mono / full - (values.dtype.kind == "u")
        highest, lowest = highest / full, lowest / full
    elif not np.abs(mono).max() <= _LOUDEST:
        n_odd = int((~(np.abs(mono) <= _LOUDEST)).sum())
        mono, highest, lowest = (
            np.clip(np.nan_to_num(one, nan=0.0), -_LOUDEST, _LOUDEST)
            for one in (mono, highest, lowest)
        )
    return mono.astype(np.float32), n_odd, float((highest - lowest).max())
