"""What a summary knows of one clip: whether it counts, and its numbers over windows of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from facer.stages.summary.baseline import Baselines, baselines, corrected
from facer.stages.summary.config import Span, SummaryConfig
from facer.stages.summary.episodes import Episodes, counted, episodes
from facer.stages.summary.track import EPS, FrameTimes, Track, clock, tracks
from facer.stages.summary.units import Unit, limits, units, with_thresholds
from facer.stages.summary.windows import Statistics, seen_of, statistics
from facer.storage import FeatureStore
from facer.storage.schema import F64, Bools, ClipFeatures, Record
from facer.storage.study.design import DesignRow
from facer.storage.study.events import Event
from facer.storage.study.marks import Mark, unmarked

MEASURED = ("ok", "no_face", "no_sound")
"""States of clips that count."""
There = tuple[Record, ClipFeatures, FrameTimes]
_NUMBERS = ("window_s", "seen_s", "seen_share", "longest_gap_s", *Statistics._fields, "episodes",
            "latency_s", "baseline", "baseline_s", "mean_bc", "peak_bc", "n_frames")  # fmt: skip


class Features(NamedTuple):
    """The columns of a store and what they mean."""

    names: tuple[str, ...]
    units: tuple[Unit, ...]
    weak: tuple[int, ...]

    @classmethod
    def of(cls, store: FeatureStore, thresholds: Mapping[str, float]) -> Features:
        """Those of a store, with a study's own thresholds; OptionError for an unknown feature."""
        names = store.feature_names
        meant = with_thresholds(names, units(names, store.provenance.settings), thresholds)
        return cls(names, meant, tuple(int(name in store.weak_features) for name in names))

    @property
    def thresholds(self) -> F64:
        """(F,) NaN where there is none."""
        return limits(self.units)


def state_of(row: DesignRow, record: Record | None, marks: Sequence[Mark]) -> tuple[str, str]:
    """Return what a clip is in a study, and why."""
    whole = [mark for mark in marks if mark.whole_clip]
    if record is None:
        return "not_in_store", row.reason
    if record.status == "failed":
        return "failed", record.reason
    if row.exclude:
        return "excluded", row.reason
    if whole:
        return "excluded", whole[0].why
    return record.status, record.reason


@dataclass
class ClipSummary:
    """All that is known of a clip, and its numbers."""

    row: DesignRow
    record: Record | None
    clip: ClipFeatures | None
    events: Sequence[Event]
    marks: Sequence[Mark]
    features: Features
    config: SummaryConfig
    who: Mapping[str, str]  # design columns
    person: F64 | None = None  # (F,) baselines of the participant, to fall back on

    def __post_init__(self) -> None:
        self.status, self.reason = state_of(self.row, self.record, self.marks)
        self.time: FrameTimes | None = None
        self.parts: list[Track] = []
        self.left_out: list[tuple[str, str, str, str]] = []
        self._episodes: dict[int, Episodes] = {}
        if self.clip is not None and self.clip.n_frames and self.record is not None:
            self._place_in_time(self.clip, self.record)

    def _place_in_time(self, clip: ClipFeatures, record: Record) -> None:
        self.time = clock_of(clip, record)
        if self.time is None:
            self.status, self.reason = "failed", "its frames have no times"
            return
        kept = unmarked(self.marks, self.time.t_s, self.features.names)
        valid = clip.valid if kept.ndim == 1 else clip.valid[:, None]
        if self.status in MEASURED:
            self.parts = list(tracks(self.time, clip.features, valid & kept))

    @property
    def there(self) -> There | None:
        """The clip's record, arrays at the clock's times, clock; None unless it counts.

        Marked cells are NaN, and a frame that is marked for all features is not valid.
        """
        measured = self.status in MEASURED
        if not measured or self.record is None or self.clip is None or self.time is None:
            return None
        kept = unmarked(self.marks, self.time.t_s, self.features.names)
        cells = kept[:, None] if kept.ndim == 1 else kept
        counted = replace(
            self.clip, timestamp_s=self.time.t_s, valid=self.clip.valid & cells.any(axis=1),
            features=np.where(cells, self.clip.features, np.float32(np.nan)),
        )  # fmt: skip
        return self.record, counted, self.time

    def idle_marks(self) -> list[str]:
        """Marks that cover no frame of the clip, each in words."""
        time = self.time
        return [] if time is None else [
            f"{self.row.clip_id!r} from {mark.start_s:g} to {mark.stop_s:g} s, a clip that ends at "
            f"{time.stop_s:.2f} s"
            for mark in self.marks
            if unmarked([mark._replace(feature="")], time.t_s, ()).all()
        ]  # fmt: skip

    def late_events(self) -> list[str]:
        """Events that lie, with all windows, after a clip that counts, each in words."""
        time = self.time if self.status in MEASURED else None
        first = min([0.0, *(start for start, _ in self.config.windows.values())])
        return [] if time is None else [
            f"{event.name!r} of {self.row.clip_id!r} at {event.onset_s:g} s, a clip that ends at "
            f"{time.stop_s:.2f} s"
            for event in self.events
            if event.onset_s + first >= time.stop_s > 0
        ]  # fmt: skip

    def measured(self) -> Iterator[tuple[Event, str, dict[str, Any]]]:
        """Yield the summary of each event and window: (F,) a statistic."""
        for event in self.events:
            rest = self.baseline(event)
            for name, span in self.windows(event).items():
                yield event, name, self._window(event, name, span, rest)

    def windows(self, event: Event) -> Mapping[str, Span | None]:
        """Spans in the clip's time; None where the clip is not there to tell."""
        if self.config.windows:
            return {
                name: (event.onset_s + start, event.onset_s + stop)
                for name, (start, stop) in self.config.windows.items()
            }
        if event.duration_s is not None:
            return {"event": (event.onset_s, event.onset_s + event.duration_s)}
        whole = None if self.time is None else (self.time.start_s, self.time.stop_s)
        return {"clip": whole}

    def baseline(self, event: Event) -> Baselines | None:
        """What the event's windows are compared with; None where no baseline was asked for."""
        span = self.config.baseline
        if span is None or not self.parts:
            return None
        at = (event.onset_s + span[0], event.onset_s + span[1])
        return baselines(self.parts, at, self.features.units, self.config.min_baseline)

    def usable_baselines(self) -> list[F64]:
        """Baselines of the clip's events that may be subtracted, (F,) each."""
        found = [self.baseline(event) for event in self.events]
        return [one.usable for one in found if one is not None]

    def subtracted(self, rest: Baselines) -> tuple[F64, Bools]:
        """What is subtracted for a baseline, (F,), and where it is the participant's."""
        usable = rest.usable
        if self.person is None:
            return usable, np.zeros(len(usable), bool)
        other = np.isnan(usable) & ~np.isnan(self.person)
        return np.where(other, self.person, usable), other

    def corrected(self, values: F64, usable: F64) -> F64:
        """Values (..., F) against what is subtracted (F,)."""
        return corrected(values, usable, self.config.scale, self.features.units)

    def _window(
        self, event: Event, name: str, span: Span | None, rest: Baselines | None
    ) -> dict[str, Any]:
        count = len(self.features.names)
        out: dict[str, Any] = {key: np.full(count, np.nan) for key in _NUMBERS}
        out["baseline_flag"] = [""] * count
        if span is not None:
            out["window_s"][:] = span[1] - span[0]
        if span is not None and self.parts:
            for track in self.parts:
                self._measure(track, span, out)
            for key in ("peak_s", "latency_s"):
                out[key] -= event.onset_s
            few = out["seen_share"] < self.config.min_valid - EPS
            for key in (*Statistics._fields, "episodes", "latency_s"):
                out[key][few] = np.nan
            self._leave_out(event, name, few, self._why_few(span))
        if rest is not None:
            self._compare(event, name, rest, out)
        return out

    def _measure(self, track: Track, span: Span, out: dict[str, Any]) -> None:
        at, thresholds = track.columns, self.features.thresholds[track.columns]
        seen, numbers = seen_of(track, *span), statistics(track, *span, thresholds)
        out["seen_s"][at], out["seen_share"][at] = seen.seen_s, seen.share
        out["n_frames"][at], out["longest_gap_s"][at] = seen.n_frames, seen.longest_gap_s
        for key, values in numbers._asdict().items():
            out[key][at] = values
        counts, firsts = counted(self.episodes_of(track), track, span, self.config.max_gap)
        out["episodes"][at] = np.where(np.isnan(thresholds), np.nan, counts)
        out["latency_s"][at] = firsts

    def _why_few(self, span: Span) -> str:
        if not self.marks or self.clip is None or self.time is None:
            return "few frames"
        raw = next(tracks(self.time, self.clip.features, self.clip.valid))
        return "marked" if seen_of(raw, *span).share >= self.config.min_valid else "few frames"

    def _compare(self, event: Event, name: str, rest: Baselines, out: dict[str, Any]) -> None:
        usable, other = self.subtracted(rest)
        out["baseline"] = np.where(other, usable, rest.value)
        out["baseline_s"] = rest.seen_s
        out["baseline_flag"] = rest.flags(other)
        for key in ("mean", "peak"):
            out[f"{key}_bc"] = self.corrected(out[key], usable)
        self._leave_out(event, name, np.isnan(usable), "no baseline")

    def _leave_out(self, event: Event, window: str, which: Bools, why: str) -> None:
        names = [""] if which.all() else [self.features.names[i] for i in np.flatnonzero(which)]
        self.left_out += [(event.name, window, name, why) for name in names]

    def episodes_of(self, track: Track) -> Episodes:
        """The episodes of a track, found once."""
        if id(track) not in self._episodes:
            thresholds = self.features.thresholds[track.columns]
            self._episodes[id(track)] = episodes(track, thresholds, self.config.max_gap)
        return self._episodes[id(track)]

    def without_face(self) -> list[tuple[float, float]]:
        """Stretches of the clip in which no face was measured."""
        if self.clip is None or self.time is None:
            return []
        gaps = bare_track(self.time, self.clip.valid).gaps_s
        inside = np.clip(gaps, self.time.start_s, self.time.stop_s)
        return [(float(a), float(b)) for a, b in inside if b - a > EPS]


def idle_note(marks: Sequence[str]) -> list[str]:
    """Say that marks leave nothing out, as those of frame numbers or milliseconds do."""
    if not marks:
        return []
    return [f"found {len(marks)} mark(s) that cover no frame, such as {marks[0]}, expected seconds "
            "of the clip; they change nothing"]  # fmt: skip


def late_note(events: Sequence[str]) -> list[str]:
    """Say that onsets lie after their clips, as those of frame numbers or milliseconds do."""
    if not events:
        return []
    return [f"found {len(events)} onset(s) after the end of their clip, such as {events[0]}, "
            "expected seconds of the clip"]  # fmt: skip


def bare_track(time: FrameTimes, seen: Bools) -> Track:
    """A track of the seen frames (T,) without any columns: when something was seen."""
    rows = np.flatnonzero(seen)
    return Track(time, np.zeros(0, np.int64), rows, np.zeros((len(rows), 0)))


def times_of(clip: ClipFeatures, record: Record) -> F64 | None:
    """Times that ascend; None where the clip has none and no frame rate."""
    times = clip.timestamp_s
    if np.isnan(times).any():
        if not record.fps > 0:
            return None
        times = np.arange(len(times)) / record.fps
    return np.maximum.accumulate(times)


def clock_of(clip: ClipFeatures, record: Record) -> FrameTimes | None:
    """The clip's clock; None where it has no times and no frame rate."""
    times = times_of(clip, record)
    return None if times is None else clock(times, record.fps)
