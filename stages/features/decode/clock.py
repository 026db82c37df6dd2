"""The time of every frame: the container's own, kept rising where the container's does not."""

from __future__ import annotations

from collections import Counter

_LEAST_STEP_S = 1e-3
_ROUNDING_S = 1e-6  # of times in whole ms, as floats
_USUAL_FPS = 25.0
_PAUSE_S = 3600.0  # a longer one is told: few videos have any
_GAP_S = 10.0  # a longer step ahead is another clock, where clocks may change (ffmpeg's value)


class Clock:
    """Turns the times that a video gives into times that rise.

    - A missing time goes on at the frame rate; so does a repeated one, but it stays before the
      next frame.
    - A time before its predecessor's is a slip when the next frame is ahead again, and one of
      more than 10 s ahead when the next frame is back: it is set as a missing one is. Otherwise
      the clock has started again (joined segments, a counter that wraps), and everything that
      follows is moved to go on at the frame rate.
    - Frames less than 1 ms apart, and those that set times have run ahead of, are set 1 ms apart.
    - ``joins`` says that the container is one of segments (MPEG-TS and program streams). There
      a step of more than 10 s ahead starts the clock again too.
    """

    def __init__(self, fps: float, joins: bool = False) -> None:
        self.step_s = 1 / fps if 1e-4 <= fps <= 1000 else 1 / _USUAL_FPS
        self._joins = joins
        self._shift_s = 0.0  # what makes the container's times rise
        self._seen_s: float | None = None  # the container's last good time
        self._given_s: float | None = None  # what was made of it
        self._odd: Counter[str] = Counter()

    def time(self, time_s: float | None, next_s: float | None) -> float:
        """Time of a frame, from its own time in the container and its successor's (None: no)."""
        first = self._given_s is None
        given = self._first(time_s, next_s) if first else self._after(time_s, next_s)
        self._given_s = given
        return given

    def _first(self, time_s: float | None, next_s: float | None) -> float:
        if time_s is None:
            self._odd["missing"] += 1
        elif next_s is not None and 0 <= next_s < time_s - _GAP_S:  # nothing is shown before 0
            self._odd["forward"] += 1
            time_s = next_s - self.step_s
        self._seen_s = time_s
        return 0.0 if time_s is None else time_s

    def _after(self, time_s: float | None, next_s: float | None) -> float:
        assert self._given_s is not None
        on = self._given_s + self.step_s  # at the frame rate
        if time_s is None:
            self._odd["missing"] += 1
            return on
        seen, self._seen_s = self._seen_s, time_s
        if seen is None:  # frames without a time were before it: what follows makes room for them
            self._shift_s = max(0.0, on - time_s)
            return time_s + self._shift_s
        if time_s == seen:
            self._odd["repeated"] += 1
            return self._before(on, next_s)
        if next_s is not None and self._slips(seen, time_s, next_s):
            self._seen_s = seen
            self._odd["backward" if time_s < seen else "forward"] += 1
            return self._before(on, next_s)
        if time_s < seen or (self._joins and time_s > seen + _GAP_S):
            self._odd["restart"] += 1
            self._shift_s = on - time_s
        elif time_s > seen + _PAUSE_S:
            self._odd["pause"] += 1
        least = self._given_s + _LEAST_STEP_S
        if time_s + self._shift_s < least - _ROUNDING_S:
            self._odd["close"] += 1
        return max(time_s + self._shift_s, least)

    @staticmethod
    def _slips(seen: float, time_s: float, next_s: float) -> bool:
        """Whether a time alone is off: the next one goes on after the last one."""
        if time_s < seen:
            return next_s > seen
        return time_s > seen + _GAP_S >= next_s > seen

    def _before(self, on: float, next_s: float | None) -> float:
        """``on``, or half way to the next frame where that comes sooner."""
        assert self._given_s is not None
        left = 0.0 if next_s is None else next_s + self._shift_s - self._given_s
        return self._given_s + left / 2 if 0 < left < 2 * self.step_s else on

    def notes(self, n_frames: int) -> list[str]:
        """What was odd, and how often."""
        odd, fps = self._odd, f"{1 / self.step_s:.6g} frames/s"
        notes = []
        if odd["missing"] == n_frames > 0:
            notes.append(f"no frame has a time: set by the frame rate, {fps}")
        elif odd["missing"]:
            notes.append(f"{odd['missing']} frames have no time: set by the frame rate, {fps}")
        notes += [
            f"{odd[what]} frames have a {what} time: set between their neighbours"
            for what in ("repeated", "backward", "forward")
            if odd[what]
        ]
        if odd["close"]:
            least = f"{1e3 * _LEAST_STEP_S:g} ms"
            found = f"{odd['close']} frames come less than {least} after the last"
            notes.append(f"{found}: set {least} apart")
        if odd["pause"]:
            notes.append(f"{odd['pause']} pauses of more than an hour between its frames: kept")
        if odd["restart"]:
            notes.append(f"its clock starts again ({odd['restart']} times): goes on at {fps}")
        return notes
