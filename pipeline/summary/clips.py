"""One clip's rows in every table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from facer.stages.summary.baseline import Baselines, baselines, corrected
from facer.stages.summary.config import Span, SummaryConfig
from facer.stages.summary.episodes import Episodes, counted, episodes
from facer.stages.summary.grid import bins, series
from facer.stages.summary.track import EPS, FrameTimes, Track, clock, tracks
from facer.stages.summary.units import Unit
from facer.stages.summary.windows import seen_of, statistics
from facer.storage.schema import F64, ClipFeatures, Record
from facer.storage.study.columns import Block
from facer.storage.study.design import DesignRow
from facer.storage.study.events import Event
from facer.storage.study.marks import Mark, unmarked

Rows = tuple[str, Block]
"""The name of a table, and rows of it."""

There = tuple[Record, ClipFeatures, FrameTimes]
_OF_EPISODES = ("start_s", "stop_s", "duration_s", "peak", "peak_s", "mean")
_MEASURED = ("mean", "sd", "median", "p95", "peak", "peak_s", "share")


class Features(NamedTuple):
    """The columns of a store and what they mean."""

    names: tuple[str, ...]
    units: tuple[Unit, ...]
    weak: tuple[int, ...]

    @property
    def thresholds(self) -> F64:
        """(F,) NaN where there is none."""
        return np.array([unit.threshold for unit in self.units])


@dataclass
class ClipSummary:
    """All that is known of a clip, and its rows."""

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
        self.status, self.reason = self._state()
        self.time: FrameTimes | None = None
        self.parts: list[Track] = []
        if self.clip is not None and self.clip.n_frames and self.record is not None:
            times = times_of(self.clip, self.record)
            if times is None:
                self.status, self.reason = "failed", "its frames have no times"
            else:
                self.time = clock(times, self.record.fps)
                kept = unmarked(self.marks, times, self.features.names)
                valid = self.clip.valid if kept.ndim == 1 else self.clip.valid[:, None]
                if self.status == "ok":
                    self.parts = list(tracks(self.time, self.clip.features, valid & kept))
        self.left_out: list[tuple[str, str, str, str]] = []

    def _state(self) -> tuple[str, str]:
        whole = [mark for mark in self.marks if mark.whole_clip]
        if self.record is None:
            return "not_in_store", self.row.reason
        if self.record.status == "failed":
            return "failed", self.record.reason
        if self.row.exclude:
            return "excluded", self.row.reason
        if whole:
            return "excluded", whole[0].why
        return self.record.status, self.record.reason

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

    def _window(
        self, event: Event, name: str, span: Span | None, rest: Baselines | None
    ) -> dict[str, Any]:
        count = len(self.features.names)
        out: dict[str, Any] = {key: np.full(count, np.nan) for key in (
            "window_s", "seen_s", "seen_share", "longest_gap_s", *_MEASURED, "episodes",
            "latency_s", "baseline", "baseline_s", "mean_bc", "peak_bc", "n_frames")}  # fmt: skip
        out["baseline_flag"] = [""] * count
        if span is not None:
            out["window_s"][:] = span[1] - span[0]
        if span is not None and self.parts:
            for track in self.parts:
                self._measure(track, span, out)
            for key in ("peak_s", "latency_s"):
                out[key] -= event.onset_s
            few = out["seen_share"] < self.config.min_valid - EPS
            for key in (*_MEASURED, "episodes", "latency_s"):
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
        for key in _MEASURED:
            out[key][at] = getattr(numbers, key)
        counts, firsts = counted(self.episodes_of(track), track, span, self.config.max_gap)
        out["episodes"][at] = np.where(np.isnan(thresholds), np.nan, counts)
        out["latency_s"][at] = firsts

    def _why_few(self, span: Span) -> str:
        if not self.marks or self.clip is None or self.time is None:
            return "few frames"
        raw = next(tracks(self.time, self.clip.features, self.clip.valid))
        return "marked" if seen_of(raw, *span).share >= self.config.min_valid else "few frames"

    def _compare(self, event: Event, name: str, rest: Baselines, out: dict[str, Any]) -> None:
        usable = rest.usable
        other = np.zeros(len(usable), bool)
        if self.person is not None:
            other = np.isnan(usable) & ~np.isnan(self.person)
            usable = np.where(other, self.person, usable)
        out["baseline"] = np.where(other, usable, rest.value)
        out["baseline_s"] = rest.seen_s
        out["baseline_flag"] = rest.flags(other)
        for key in ("mean", "peak"):
            against = corrected(out[key], usable, self.config.scale, self.features.units)
            out[f"{key}_bc"] = against
        self._leave_out(event, name, np.isnan(usable), "no baseline")

    def _leave_out(self, event: Event, window: str, which: Any, why: str) -> None:
        if which.all():
            self.left_out.append((event.name, window, "", why))
        else:
            self.left_out += [
                (event.name, window, self.features.names[i], why) for i in np.flatnonzero(which)
            ]

    def episodes_of(self, track: Track) -> Episodes:
        """The episodes of a track, found once."""
        known: dict[int, Episodes] = self.__dict__.setdefault("_episodes", {})
        if id(track) not in known:
            thresholds = self.features.thresholds[track.columns]
            known[id(track)] = episodes(track, thresholds, self.config.max_gap)
        return known[id(track)]

    def clip_row(self) -> Rows:
        """The clip's row of clips.csv."""
        nan = float("nan")
        found: dict[str, Any] = {
            "reason": self.reason, "duration_s": nan, "fps": nan, "n_frames": None, "n_valid": None,
            "valid_share": nan, "longest_gap_s": nan, "marked_s": nan, "faces_max": None,
            "track_switches": None, "face_height_px": nan, "det_score_mean": nan,
        }  # fmt: skip
        if self.record is not None:
            found |= {"fps": self.record.fps, "n_frames": self.record.n_frames,
                      "n_valid": self.record.n_valid,
                      "track_switches": self.record.track_switches}  # fmt: skip
        if self.time is not None and self.clip is not None:
            found |= self._quality(self.time, self.clip)
        return "clips", self._rows(1, {name: [value] for name, value in found.items()})

    def _quality(self, time: FrameTimes, clip: ClipFeatures) -> dict[str, Any]:
        length = time.stop_s - time.start_s
        marked = unmarked([m for m in self.marks if not m.feature], time.t_s, ())
        seen = np.flatnonzero(clip.valid & marked)
        track = Track(time, np.zeros(0, np.int64), seen, np.zeros((len(seen), 0)))
        heights = clip.bbox_px[clip.valid, 3] - clip.bbox_px[clip.valid, 1]
        return {
            "duration_s": length,
            "valid_share": float(time.weight_s[clip.valid].sum() / length) if length else 0.0,
            "longest_gap_s": track.unseen_s(time.start_s, time.stop_s),
            "marked_s": float(time.weight_s[~marked].sum()),
            "faces_max": int(clip.n_faces.max(initial=0)),
            "face_height_px": _finite(heights, np.median),
            "det_score_mean": _finite(clip.det_score[clip.valid], np.mean),
        }

    def summary_rows(self, event: Event, window: str, numbers: Mapping[str, Any]) -> Rows:
        """Rows of an event and window, one a feature."""
        beside = {"event": event.name, "trial_type": event.trial_type, "window": window}
        mine = {"feature": self.features.names, "weak": self.features.weak, **numbers}
        return "summary", self._rows(len(self.features.names), mine, beside)

    def episode_rows(self) -> Rows:
        """The clip's episodes, or a row that says that it has none."""
        found = [self.episodes_of(track) for track in self.parts]
        if not sum(map(len, found)):
            empty = {name: [float("nan")] for name in _OF_EPISODES}
            nothing = {"feature": [""], "n": [0], "cut_start": [None], "cut_stop": [None]}
            return "episodes", self._rows(1, {**empty, **nothing})
        joined = {
            name: np.concatenate([getattr(one, name) for one in found])
            for name in Episodes.__annotations__
        }
        column = joined.pop("column")
        order = np.argsort(column, kind="stable")
        column = column[order]
        joined = {name: values[order] for name, values in joined.items()}
        n = np.arange(len(column)) - np.searchsorted(column, column) + 1
        joined["duration_s"] = joined["stop_s"] - joined["start_s"]
        names = [self.features.names[place] for place in column]
        return "episodes", self._rows(len(column), {"feature": names, "n": n, **joined})

    def series_rows(self) -> Iterator[Rows]:
        """The clip's curves on the grid, for every event."""
        rate = self.config.grid
        if rate is None:
            return
        for event in self.events:
            span = self._span(event)
            if span is None or not self.parts:
                yield "series", self._no_series(event)
                continue
            starts = bins(*span, rate)
            shape = (len(starts), len(self.features.names))
            value, share = np.full(shape, np.nan), np.zeros(shape)
            filled = np.zeros(shape, bool)
            for track in self.parts:
                one = series(track, starts + event.onset_s, rate, self.config.max_gap)
                value[:, track.columns] = one.value
                share[:, track.columns] = one.seen_share[:, None]
                filled[:, track.columns] = one.filled[:, None]
            yield "series", self._series_block(event, starts, value, share, filled)

    def _series_block(
        self, event: Event, starts: F64, value: F64, share: F64, filled: Any
    ) -> Block:
        rest, against = self.baseline(event), np.full(value.shape, np.nan)
        if rest is not None:
            usable = rest.usable
            if self.person is not None:
                usable = np.where(np.isnan(usable), self.person, usable)
            against = corrected(value, usable, self.config.scale, self.features.units)
        names, beside = self.features.names, {"event": event.name}
        if self.config.series == "wide":
            wide: dict[str, Any] = {"t_s": starts}
            wide |= {name: value[:, i] for i, name in enumerate(names)}
            wide |= {f"{name}_bc": against[:, i] for i, name in enumerate(names)}
            wide |= {"seen_share": share.max(axis=1), "filled": filled.any(axis=1)}
            return self._rows(len(starts), wide, beside)
        long = {
            "t_s": np.tile(starts, len(names)),
            "feature": [name for name in names for _ in range(len(starts))],
            "value": value.T.ravel(), "value_bc": against.T.ravel(),
            "seen_share": share.T.ravel(), "filled": filled.T.ravel(),
        }  # fmt: skip
        return self._rows(value.size, long, beside)

    def _no_series(self, event: Event) -> Block:
        nan, names = [float("nan")], self.features.names
        empty: dict[str, Any] = dict.fromkeys(("t_s", "value", "value_bc", "seen_share"), nan)
        empty |= dict.fromkeys([*names, *(f"{name}_bc" for name in names)], nan)
        return self._rows(1, empty | {"feature": [""], "filled": [None]}, {"event": event.name})

    def _span(self, event: Event) -> Span | None:
        """What the series covers, from the event: all windows and the baseline."""
        spans = [
            (start - event.onset_s, stop - event.onset_s)
            for start, stop in filter(None, self.windows(event).values())
        ]
        if not spans:
            return None
        spans += [self.config.baseline] if self.config.baseline is not None else []
        return min(start for start, _ in spans), max(stop for _, stop in spans)

    @property
    def there(self) -> There | None:
        """The clip's record, arrays and clock; None unless it counts and has frames."""
        if self.record is None or self.clip is None or self.time is None:
            return None
        measured = self.status in ("ok", "no_face", "no_sound")
        return (self.record, self.clip, self.time) if measured else None

    def without_face(self) -> list[tuple[float, float]]:
        """Stretches of the clip in which no face was measured."""
        if self.clip is None or self.time is None:
            return []
        seen = np.flatnonzero(self.clip.valid)
        track = Track(self.time, np.zeros(0, np.int64), seen, np.zeros((len(seen), 0)))
        inside = np.clip(track.gaps_s, self.time.start_s, self.time.stop_s)
        return [(float(a), float(b)) for a, b in inside if b - a > EPS]

    def left_out_rows(self) -> Rows:
        """Why numbers of the clip are empty."""
        rows = self.left_out
        if self.status != "ok":
            rows = [("", "", "", ": ".join(filter(None, (self.status, self.reason))))]
        event, window, feature, why = zip(*rows, strict=True) if rows else ((),) * 4
        return "left_out", {
            "clip_id": [self.row.clip_id] * len(rows), "event": event, "window": window,
            "feature": feature, "why": why,
        }  # fmt: skip

    def _rows(self, n: int, mine: Mapping[str, Any], beside: Mapping[str, str] = {}) -> Block:
        same = {"clip_id": self.row.clip_id, "status": self.status, **self.who, **beside}
        return {**{name: [value] * n for name, value in same.items()}, **mine}


def times_of(clip: ClipFeatures, record: Record) -> F64 | None:
    """Times that ascend; None where the clip has none and no frame rate."""
    times = clip.timestamp_s
    if np.isnan(times).any():
        if not record.fps > 0:
            return None
        times = np.arange(len(times)) / record.fps
    return np.maximum.accumulate(times)


def _finite(values: Any, of: Any) -> float:
    values = values[np.isfinite(values)]
    return float(of(values.astype(np.float64))) if len(values) else float("nan")
