"""When each piece of a sound is heard: the container's own times, without their jitter.

Most files say of every packet when it is heard, rounded to the container's clock and often a few
milliseconds off what the samples before it say. A step that the packets after it confirm is real:
a hole, samples that come twice, or a clock that starts again. Any other is not.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from facer.storage.schema import F32

_CONFIRMED_BY = 8  # pieces after a step
_OVERLAP_S = 1  # a longer step back is a clock that starts again
_GAP_S = 10  # so is a longer step ahead, where clocks may change (as for pictures)


@dataclass(frozen=True)
class Piece:
    """Samples of one channel and when the container says that they are heard, if it does."""

    samples: F32  # (n,)
    rate_hz: int
    time_s: float | None

    @property
    def duration_s(self) -> float:
        """By its samples."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class Placed:
    """Samples of one channel, and when the first of them is heard."""

    samples: F32  # (n,)
    rate_hz: int
    start_s: float
    follows: bool  # right after the piece before


class Pictures:
    """Where the pictures' clock starts again, by the times of their packets as the file has them.

    ``step_s`` is a frame's duration. As :class:`~facer.stages.features.decode.clock.Clock` does,
    it goes on a frame after the last one. ``joins`` as for :class:`Timeline`: elsewhere only a
    step back of more than a second is a start, as libav makes up the order of some files' packets.
    """

    def __init__(self, step_s: float, joins: bool) -> None:
        self.n_starts = 0
        self.shift_s = 0.0  # what makes their times rise, since the clock started last
        self._step_s, self._joins = step_s, joins
        self._dts_s: float | None = None  # of the packet before
        self._delay_s = 0.0  # from a packet's place in the file to its place on the screen

    def add(self, dts_s: float, pts_s: float) -> None:
        """Take the times of the next packet: for the decoder, which rises, and for the screen."""
        last_s, self._dts_s = self._dts_s, dts_s
        ahead_s = 0.0 if last_s is None else dts_s - last_s
        back = ahead_s < (0 if self._joins else -_OVERLAP_S)
        if last_s is not None and (back or (self._joins and ahead_s > _GAP_S)):
            # the last packet's own time for the screen is at times the next clock's
            self.shift_s += last_s + self._delay_s + self._step_s - pts_s
            self.n_starts += 1
            last_s = None
        if last_s is None:
            self._delay_s = pts_s - dts_s


class Timeline:
    """Places pieces one after another; ``tick_s`` is the step of the container's clock.

    ``joins`` says that the container is one of segments, as for
    :class:`~facer.stages.features.decode.clock.Clock`. Where the clock starts again, sound stays
    with the ``pictures`` if theirs does too, and else goes on.
    """

    def __init__(self, tick_s: float, joins: bool, pictures: Pictures) -> None:
        self._tick_s, self._joins, self._pictures = tick_s, joins, pictures
        self._n_starts = 0  # of the pictures' clock that were followed
        self._shift_s = 0.0  # what makes the container's times rise
        self._on_s: float | None = None  # the end of what was placed
        self._odd: Counter[str] = Counter()

    def place(self, pieces: Iterable[Piece | None]) -> Iterator[Placed | None]:
        """Place pieces in their order; what is placed twice is for the caller to drop.

        None stands for no piece yet, and is passed on.
        """
        ahead: deque[Piece] = deque()
        for piece in pieces:
            if piece is None:
                yield None
                continue
            ahead.append(piece)
            if len(ahead) > _CONFIRMED_BY:
                yield self._next(ahead)
        while ahead:
            yield self._next(ahead)

    def _next(self, ahead: deque[Piece]) -> Placed:
        piece = ahead.popleft()
        start, follows = self._start(piece, ahead)
        self._on_s = start + piece.duration_s
        return Placed(piece.samples, piece.rate_hz, start, follows)

    def _start(self, piece: Piece, ahead: Iterable[Piece]) -> tuple[float, bool]:
        if self._on_s is None:
            self._odd["untimed"] += piece.time_s is None
            self._follow_pictures()
            return (piece.time_s or 0.0) + self._shift_s, False
        step = self._step(piece, self._on_s)
        if abs(step) <= self._tolerance(piece) or not self._confirmed(step, piece, ahead):
            return self._on_s, True
        if self._follow_pictures():
            self._odd["restart"] += 1
            step = self._step(piece, self._on_s)
            return self._on_s + step, step == 0
        if step < -_OVERLAP_S or (self._joins and step > _GAP_S):
            self._odd["restart"] += 1
            self._shift_s -= step
            return self._on_s, True
        self._odd["hole" if step > 0 else "overlap"] += 1
        return self._on_s + step, False

    def _follow_pictures(self) -> bool:
        """Shift as the pictures do, where their clock has started again."""
        if self._pictures.n_starts == self._n_starts:
            return False
        self._n_starts, self._shift_s = self._pictures.n_starts, self._pictures.shift_s
        return True

    def _step(self, piece: Piece, on_s: float) -> float:
        """How far a piece is from where the samples before it say; 0 without a time."""
        return 0.0 if piece.time_s is None else piece.time_s + self._shift_s - on_s

    def _tolerance(self, piece: Piece) -> float:
        """What rounding explains."""
        return 2 * self._tick_s + 1 / piece.rate_hz

    def _confirmed(self, step: float, piece: Piece, ahead: Iterable[Piece]) -> bool:
        """Whether the pieces after one take the same step, within half of it."""
        assert self._on_s is not None
        on_s, within = self._on_s + piece.duration_s, max(self._tolerance(piece), abs(step) / 2)
        for later in ahead:
            if later.time_s is not None and abs(self._step(later, on_s) - step) > within:
                self._odd["slip"] += 1
                return False
            on_s += later.duration_s
        return True

    def notes(self) -> list[str]:
        """What was odd, and how often."""
        texts = {
            "untimed": "its sound has no times: it starts with the pictures",
            "hole": "{} holes in its sound",
            "overlap": "{} pieces of its sound overlap: what comes twice is left out",
            "restart": "the clock of its sound starts again ({} times): it goes on",
        }
        return [text.format(self._odd[what]) for what, text in texts.items() if self._odd[what]]
