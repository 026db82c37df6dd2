"""A decoded frame becomes what a player shows; libav's filters do the work in one pass.

- Interlaced frames are de-interlaced (``idet`` finds those that are only called interlaced,
  ``bwdif`` mends the others); as many frames come out as go in.
- Pixels become square: the width is scaled by the sample aspect ratio.
- YUV becomes RGB by the frame's own matrix and range. Where it names no matrix, that is BT.709
  for HD (a side of 1280 px or more, or both above 576) and BT.601 for the rest.
- PQ and HLG (HDR) become BT.709 with 203 cd/m2, the reference white of ITU-R BT.2408, as white.
- The display matrix turns by quarter turns, and mirrors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

import av
import cv2
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType

from facer.stages.features.decode.picture import Picture, rgb, rgb_view, stays_yuv
from facer.storage.schema import U8

# numbers of ITU-T H.273, which libav uses
_BT709, _UNKNOWN, _RESERVED, _BT2020, _BT2020_CONSTANT = 1, 2, 3, 9, 10
_MATRICES = frozenset({0, 1, 4, 5, 6, 7, 9})  # those that swscale knows
_HDR = frozenset({16, 18})  # transfer characteristics: PQ, HLG
_ORDINARY = {"out_primaries": "bt709", "out_transfer": "bt709"}
_LEAST_SIDE = 4  # px, below which bwdif does not work
_MAX_STRETCH = 16  # a sample aspect ratio beyond it is a lying header

Tag = TypeVar("Tag")


class Turn(NamedTuple):
    """A display matrix in quarter turns: columns for rows first, then mirroring."""

    transpose: bool = False
    flip_y: bool = False
    flip_x: bool = False

    def apply(self, image: U8) -> U8:
        """A view of an image (H, W, 3), turned."""
        image = image.swapaxes(0, 1) if self.transpose else image
        return image[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def _unnamed(kinds: Any, number: int) -> Any:
    """A kind of side data that PyAV has no name for, such as EXIF: no error because of it."""
    kind = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{number}", number
    return kind


SideDataType._missing_ = classmethod(_unnamed)  # type: ignore[assignment]


def turn_of(frame: av.VideoFrame) -> tuple[Turn, bool] | None:
    """How a frame is turned when it is shown, and whether by quarter turns alone.

    Another angle is rounded to the nearest quarter turn. None for a frame that does not say:
    it is shown as the one before, as not every picture of a bare stream repeats it.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    # a point (x, y) is shown at (a x + c y, b x + d y)
    a, b, c, d = np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]].astype(float)
    if not a * d - b * c:
        return Turn(), True  # flat: nothing could be shown
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    small = max(abs(a), abs(d)) if transpose else max(abs(b), abs(c))
    quarter = small < 0.01 * max(abs(a), abs(b))
    turn = Turn(True, b < 0, c < 0) if transpose else Turn(False, d < 0, a < 0)
    return turn, quarter


def _matrix_of(frame: av.VideoFrame) -> int:
    """The matrix by which a frame is converted; BT.2020 of constant luminance as the usual kind."""
    named = int(frame.colorspace)
    named = _BT2020 if named == _BT2020_CONSTANT else named
    return named if named in _MATRICES else _UNKNOWN


def foreign_matrix(frame: av.VideoFrame) -> int:
    """The number of a matrix that a frame names and libav cannot convert by; 0 for none."""
    named = int(frame.colorspace)
    known = named in (_UNKNOWN, _RESERVED) or _matrix_of(frame) != _UNKNOWN
    return 0 if known else named


class _Kind(NamedTuple):
    """What a graph is made for; frames of another kind need another one."""

    width: int
    height: int
    pixels: str
    aspect: Fraction
    matrix: int
    hdr: bool
    interlaced: bool

    @property
    def plain(self) -> bool:
        """Whether frames are shown as they are, but for colours that swscale converts alone."""
        return self.aspect == 1 and not self.hdr and not self.interlaced

    @property
    def keeps(self) -> bool:
        """Whether a graph is worth keeping for other clips, and holds no frame of this one."""
        return self.hdr and not self.interlaced


_kept: dict[tuple[_Kind, int], Graph] = {}
"""The last graph of HDR, with nothing inside: its table of colours takes seconds to make."""


class Display(Generic[Tag]):
    """Frames in, pictures out, each with the tag that it came with, in the same order.

    De-interlacing looks one frame ahead, so images may come later than their frames. No image
    is wider than ``max_pixels`` allow.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._kind: _Kind | None = None
        self._graph: Graph | None = None
        self._stay_yuv = False  # plain frames of this kind
        self._waiting: dict[int, Tag] = {}
        self._n_pushed = 0

    @property
    def looks_ahead(self) -> bool:
        """Whether an image needs its neighbours too."""
        return self._kind is not None and self._kind.interlaced

    def push(
        self, frame: av.VideoFrame, aspect: Fraction, tag: Tag
    ) -> Iterator[tuple[Tag, Picture | None]]:
        """Take a frame and how wide its pixels are, as a share of their height.

        Gives (tag, picture) of all that can be shown by now; None for one that libav cannot
        convert. What needs no filter and is YUV of 8 bits stays so.
        """
        kind = self._kind_of(frame, aspect)
        frame.colorspace = kind.matrix
        if kind != self._kind:
            yield from self.flush()
        elif self._stay_yuv:
            yield tag, frame
            return
        if not kind.hdr:  # nothing to convert, and a number that nobody knows is an error
            frame.color_trc = frame.color_primaries = _UNKNOWN
        elif frame.color_primaries == _UNKNOWN:
            frame.color_primaries = _BT2020
        if kind.plain:
            yield tag, self._plain(frame, kind)
            return
        frame.pts, frame.time_base = self._n_pushed, Fraction(1)
        self._waiting[self._n_pushed] = tag
        self._n_pushed += 1
        try:
            if self._graph is None:
                graph = _kept.pop((kind, self._max_pixels), None)
                self._graph, self._kind = graph or self._make(kind), kind
            self._graph.vpush(frame)
            yield from self._ready()
        except MemoryError:
            raise
        except av.FFmpegError:
            yield from self._give_up()

    def _plain(self, frame: av.VideoFrame, kind: _Kind) -> Picture | None:
        """A frame that needs no filter. One of a kind tells whether the others can be converted."""
        self._kind, self._stay_yuv = kind, False
        try:
            image = rgb(frame)
        except MemoryError:
            raise
        except av.FFmpegError:
            return None
        self._stay_yuv = stays_yuv(frame)
        return frame if self._stay_yuv else image

    def flush(self) -> Iterator[tuple[Tag, Picture | None]]:
        """What is still inside, at the end."""
        if self._kind is not None and self._kind.keeps and not self._waiting and self._graph:
            _kept.clear()
            _kept[self._kind, self._max_pixels] = self._graph
        elif self._graph is not None:
            with suppress(av.FFmpegError):
                self._graph.vpush(None)
                yield from self._ready()
        yield from self._give_up()

    def _give_up(self) -> Iterator[tuple[Tag, None]]:
        """What went in and did not come out."""
        self._graph = self._kind = None
        self._stay_yuv = False
        while self._waiting:
            yield self._waiting.pop(min(self._waiting)), None

    def _ready(self) -> Iterator[tuple[Tag, U8]]:
        assert self._graph is not None
        while True:
            try:
                shown = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert shown.pts is not None
            assert shown.time_base is not None
            # the number it was pushed with: no image is taken for another frame's
            tag = self._waiting.pop(round(shown.pts * shown.time_base))
            image = rgb_view(shown)
            own = self._kind is not None and self._kind.pixels == "rgb24"  # of the decoder
            yield tag, image.copy() if own else np.ascontiguousarray(image)

    def _kind_of(self, frame: av.VideoFrame, aspect: Fraction) -> _Kind:
        width, height = frame.width, frame.height
        hdr = frame.color_trc in _HDR
        matrix = _matrix_of(frame)
        if matrix == _UNKNOWN and hdr:
            matrix = _BT2020
        elif matrix == _UNKNOWN and (max(width, height) >= 1280 or min(width, height) > 576):
            matrix = _BT709
        interlaced = min(width, height) >= _LEAST_SIDE and (
            frame.interlaced_frame or self.looks_ahead  # once interlaced, idet decides
        )
        return _Kind(width, height, frame.format.name, aspect, matrix, hdr, interlaced)

    def _make(self, kind: _Kind) -> Graph:
        graph = Graph()
        graph.threads = 1
        size = f"{kind.width}x{kind.height}"
        nodes = [graph.add("buffer", video_size=size, pix_fmt=kind.pixels, time_base="1/1")]
        if kind.interlaced:
            nodes += [graph.add("idet"), graph.add("bwdif", mode="send_frame", deint="interlaced")]
        believed = 1 / _MAX_STRETCH <= kind.aspect <= _MAX_STRETCH
        width = round(kind.width * kind.aspect) if believed else kind.width
        width = max(1, min(width, self._max_pixels // kind.height))
        colours = _ORDINARY if kind.hdr else {}
        nodes.append(graph.add("scale", w=str(width), h="ih", flags="bicubic", **colours))
        nodes += [graph.add("format", pix_fmts="rgb24"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


def fit(image: U8, height: int, width: int) -> U8:
    """An image of another size scaled into (height, width), black where its shape differs."""
    scale = min(height / image.shape[0], width / image.shape[1])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    result = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    small = cv2.resize(np.ascontiguousarray(image), inner, interpolation=cv2.INTER_AREA)
    result[top : top + inner[1], left : left + inner[0]] = small
    return result
