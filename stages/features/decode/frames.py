"""Step 1: a video file becomes frames with their times, as a player would show them.

libav (PyAV) does it all, in this order:

- :mod:`~facer.stages.features.decode.container`: only a regular file is opened, and only as
  a container that holds its own data, so a playlist in disguise reads no other file and no network;
  of its video streams the default one is taken, never a cover picture;
- ``VideoReader.decoded``: every frame in presentation order; what is damaged is counted;
- :mod:`~facer.stages.features.decode.clock`: the container's times, kept rising;
- :mod:`~facer.stages.features.decode.display`: fields, colours, square pixels, quarter turns;
- :mod:`~facer.stages.features.decode.picture`: most frames stay YUV until their RGB is asked for.

Memory does not grow with the clip's length. Frame counts in headers lie, so only decoding counts.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import av
import numpy as np

from facer.stages.features.decode import container
from facer.stages.features.decode.clock import Clock
from facer.stages.features.decode.container import (
    BARE,
    SEGMENTS,
    TIMELESS,
    check_size,
    codec_of,
    frame_rate,
    open_stream,
    own_duration,
    packets,
    start_of,
    undecodable,
)
from facer.stages.features.decode.display import Display, Turn, fit, foreign_matrix, turn_of
from facer.stages.features.decode.picture import Picture, Repeats, rgb, size_of
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import U8

_MISSING_SHARE = 0.1  # of the header's frames, from which on the end is called broken


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded image, upright, and when it is shown."""

    frame_index: int
    timestamp_s: float
    picture: Picture
    repeats: bool = False  # it has the pixels of the frame before, bit for bit

    @property
    def image(self) -> U8:
        """RGB uint8 (H, W, 3); converted anew each time where the picture is YUV."""
        return rgb(self.picture)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return size_of(self.picture)


class Video(Protocol):
    """An open video, as :class:`VideoReader`: frames in order, then what was odd about it."""

    problem: str

    def __iter__(self) -> Iterator[Frame]: ...


OpenVideo = Callable[[Path, int], AbstractContextManager[Video]]
"""Opens (path, stride); ``FacerError`` when it cannot."""


class _Tag(NamedTuple):
    """What is known of a frame before it is converted."""

    number: int
    time_s: float
    turn: Turn
    shape: tuple[int, int]  # height and width as they are stored


class VideoReader:
    """Iterate over the frames of one video; use as a context manager.

    ``FacerError`` when the file cannot be opened as video. After iteration ``problem`` says
    what was odd ("" for nothing) and ``n_decoded`` how many frames there were.
    """

    def __init__(self, path: Path, stride: int = 1) -> None:
        self.problem = ""
        self.n_decoded = 0
        self.path, self._stride = path, stride
        self._n_damaged = self._n_refused = self._n_blank = 0
        self._skewed = False
        self._matrix = 0  # one that libav cannot convert by
        self._turn = Turn()
        self._rotation: int | None = None  # of the frame before
        self._ended = self._error = ""
        self._reached_s = 0.0  # the latest time of any stream
        self._size: tuple[int, int] | None = None  # height and width of the first frame
        self._repeats = Repeats()
        self._container, self._stream, self._n_streams = open_stream(path)
        self._zero = start_of(self._container, self._stream)
        self._aspect = self._stream.sample_aspect_ratio or Fraction(1)
        # AVI holds times of decoding alone, which are others where frames are reordered
        self._only_dts = self._format == "avi"
        self._reorders = self._only_dts and self._stream.codec_context.has_b_frames
        self._sent: list[int] = []  # heap of the packets' times that no frame has yet
        self._delay = 0  # how many of them there are when a frame comes

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame in self.steps() if frame is not None)

    def steps(self) -> Iterator[Frame | None]:
        """Decode frame by frame: None for one that the stride skips."""
        clock = Clock(frame_rate(self._stream), self._format in SEGMENTS)
        display = Display[_Tag](container.MAX_PIXELS)
        time_s = 0.0
        timed = ((frame, self._time_of(frame)) for frame in self.decoded())
        for (frame, own_s), (_, next_s) in pairwise(chain(timed, [(None, None)])):
            assert frame is not None
            if frame.key_frame and self._format in BARE:  # it may change on the way
                self._aspect = self._stream.codec_context.sample_aspect_ratio or self._aspect
            check_size(self.path, frame.width, frame.height)
            time_s = clock.time(own_s, next_s)
            tag = self._tag(frame, time_s)
            self.n_decoded += 1
            skipped = tag.number % self._stride != 0
            if not skipped or display.looks_ahead or frame.interlaced_frame:  # its neighbours
                yield from self._frames(display.push(frame, self._aspect, tag))
            if skipped:
                yield None
        yield from self._frames(display.flush())
        if self._n_refused and not self.n_decoded:
            raise FacerError(undecodable(self.path, codec_of(self._stream), self._error))
        self.problem = "; ".join([*self._notes(time_s), *clock.notes(self.n_decoded)])

    @property
    def _format(self) -> str:
        return self._container.format.name

    def decoded(self) -> Iterator[av.VideoFrame]:
        """Frames in presentation order; packets that cannot be decoded are counted."""
        try:
            for packet in packets(self._container):
                if packet.pts is not None:
                    end_s = self._seconds(packet.pts + (packet.duration or 0), packet.time_base)
                    self._reached_s = max(self._reached_s, end_s)
                if packet.stream is self._stream:
                    if packet.has_sidedata("encryption_info"):
                        raise FacerError(
                            f"{self.path.name}: its pictures are encrypted, expected a video "
                            "without copy protection"
                        )
                    yield from self._decode(packet)
        except MemoryError:
            raise
        except av.FFmpegError as error:
            self._ended = f"reading ended early ({one_line(error)})"
            yield from self._decode(None)

    def _decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        if self._reorders and packet is not None and packet.dts is not None:
            heapq.heappush(self._sent, packet.dts)
        try:
            return self._stream.decode(packet)
        except MemoryError:
            raise
        except av.EOFError:  # the decoder was emptied already
            return []
        except av.FFmpegError as error:
            self._n_refused += 1
            self._error = error.strerror or type(error).__name__
            return []

    def _time_of(self, frame: av.VideoFrame) -> float | None:
        """A frame's time in the container, from its zero; None where it has none."""
        base = self._stream.time_base
        if base is None or self._format in TIMELESS:
            return None
        pts = frame.dts if frame.pts is None or self._only_dts else frame.pts
        if self._reorders:  # the n-th frame shown has the n-th of the packets' times
            while self._n_refused and len(self._sent) > self._delay:
                heapq.heappop(self._sent)  # of a frame that was lost
            self._delay = max(self._delay, len(self._sent))
            pts = heapq.heappop(self._sent) if self._sent else None
        return None if pts is None else self._seconds(pts, base)

    def _seconds(self, pts: int, base: Fraction) -> float:
        """A time since the zero; ``float(pts * base - zero)`` to the last bit, but faster."""
        zero = self._zero
        above = pts * base.numerator * zero.denominator - zero.numerator * base.denominator
        return above / (base.denominator * zero.denominator)

    def _tag(self, frame: av.VideoFrame, time_s: float) -> _Tag:
        self._n_damaged += frame.is_corrupt
        self._matrix = self._matrix or foreign_matrix(frame)
        if frame.key_frame or frame.rotation != self._rotation:  # side data is slow to read
            told = turn_of(frame)
            self._turn, quarter = told or (self._turn, True)
            self._skewed |= not quarter
            self._rotation = frame.rotation
        return _Tag(self.n_decoded, time_s, self._turn, (frame.height, frame.width))

    def _frames(self, shown: Iterable[tuple[_Tag, Picture | None]]) -> Iterator[Frame]:
        for tag, picture in shown:
            if tag.number % self._stride:
                continue  # it was needed for its neighbours alone
            if picture is None:
                self._n_blank += 1
                picture = np.zeros((*tag.shape, 3), np.uint8)
            picture = self._shaped(picture, tag.turn)
            yield Frame(tag.number, tag.time_s, picture, self._repeats(picture))

    def _shaped(self, picture: Picture, turn: Turn) -> Picture:
        """Upright, and of the first frame's size."""
        if any(turn):
            picture = np.ascontiguousarray(turn.apply(rgb(picture)))
        if self._size is None:
            self._size = size_of(picture)
        return picture if size_of(picture) == self._size else fit(rgb(picture), *self._size)

    def _notes(self, last_s: float) -> list[str]:
        """What was odd about the file."""
        n, number = self._n_streams, self._stream.index
        notes = [f"{n} video streams: the default one, number {number}, is read"] if n > 1 else []
        if self._skewed:
            notes.append("its display matrix turns by no quarter turn: the nearest one is taken")
        if self._matrix:
            found = f"its colours are by matrix {self._matrix} of ITU-T H.273"
            notes.append(f"{found}, which libav cannot convert: they are taken as unnamed ones")
        if self._n_damaged:
            notes.append(f"{self._n_damaged} frames are damaged")
        if self._n_refused:
            notes.append(f"{self._n_refused} packets could not be decoded")
        if self._n_blank:
            notes.append(f"{self._n_blank} frames could not be converted: left black")
        missing = self._missing_tail(last_s)
        return [*notes, *filter(None, [self._ended, missing])]

    def _missing_tail(self, last_s: float) -> str:
        """Compare with the header, by frames and by time: alone, either is often wrong."""
        stream, fps = self._stream, frame_rate(self._stream)
        if self._format in BARE:
            return ""  # no header says how long they are
        base = stream.time_base or Fraction(0)
        duration = own_duration(self._container, stream)
        if duration and base:
            duration_s, reached_s = float(duration * base), last_s
        else:  # the whole file's: sound may go on longer than the pictures
            whole = self._container.duration or 0
            start = max(0, self._container.start_time or 0)
            duration_s, reached_s = (whole - start) / av.time_base, max(last_s, self._reached_s)
        if self._format == "avi":  # its duration is cut to what the size allows
            duration_s = max(duration_s, float(stream.frames * base))
        promised = stream.frames or round(duration_s * fps)
        missing, share = promised - self.n_decoded, _MISSING_SHARE * promised
        if missing <= max(5, share) or duration_s - reached_s <= share / fps:
            return ""
        return f"decoding ended after {self.n_decoded} of the {promised} frames in the header"
