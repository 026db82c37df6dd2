"""One feature of a clip over time, with the numbers that ``facer summarise`` gives of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import ClipSummary, Features
from facer.pipeline.views.report.folder import number, packed
from facer.stages.summary.config import SummaryConfig, as_windows, parse_span
from facer.stages.summary.units import with_thresholds
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.study.design import DesignRow
from facer.storage.study.events import Event
from facer.storage.study.marks import Mark

_NUMBERS = ("seen_s", "seen_share", "share", "mean", "peak", "episodes", "latency_s", "baseline",
            "mean_bc")  # fmt: skip


@dataclass(frozen=True)
class Ask:
    """Which feature is drawn, with which windows, baseline and threshold."""

    feature: str
    config: SummaryConfig

    @classmethod
    def of(cls, query: Mapping[str, str], config: SummaryConfig) -> Ask:
        """Read ``feature``, ``threshold``, ``windows`` and ``baseline`` of a request.

        What is not given is as ``config`` has it; FacerError for what is none.
        """
        feature = query.get("feature", "")
        if "windows" in query:
            texts = [text.strip() for text in query["windows"].split(",")]
            config = replace(config, windows=as_windows([text for text in texts if text]))
        if "baseline" in query:
            text = query["baseline"].strip()
            config = replace(config, baseline=parse_span(text, "baseline") if text else None)
        if "threshold" in query:
            try:
                threshold = float(query["threshold"])
            except ValueError:
                raise FacerError(
                    f"threshold: found {query['threshold']!r}, expected a number"
                ) from None
            config = replace(config, thresholds={**config.thresholds, feature: threshold})
        return cls(feature, config)


@dataclass(frozen=True)
class Measured:
    """A clip of one of the stores, to be measured."""

    store: FeatureStore
    features: Features
    clip_id: str
    row: DesignRow
    events: Sequence[Event]
    marks: Sequence[Mark]

    def lane(self, ask: Ask) -> dict[str, Any]:
        """What the page draws of a feature; FacerError where the store has no such column."""
        names = self.features.names
        if ask.feature not in names:
            raise FacerError(f"{self.store.path}: found no feature {ask.feature!r}")
        units = with_thresholds(names, self.features.units, ask.config.thresholds)
        features = self.features._replace(units=units)
        record = self.store.record(self.clip_id)
        clip = None if record.status == "failed" else self.store.read(self.clip_id)
        summary = ClipSummary(
            self.row, record, clip, self.events, self.marks, features, ask.config, {}
        )
        return lane(summary, names.index(ask.feature))


def lane(summary: ClipSummary, column: int) -> dict[str, Any]:
    """A column of a clip as JSON: its curve, which frames count, windows, baselines, marks."""
    unit, feature = summary.features.units[column], summary.features.names[column]
    found: dict[str, Any] = {
        "clip": summary.row.clip_id, "condition": summary.row.condition,
        "session": summary.row.session, "status": summary.status, "reason": summary.reason,
        "feature": feature, "weak": bool(summary.features.weak[column]), "unit": unit.unit,
        "low": number(unit.low), "high": number(unit.high),
        "threshold": number(unit.threshold, 6),
        "marks": [
            [mark.start_s, mark.stop_s, mark.why]
            for mark in summary.marks if mark.feature in ("", feature)
        ],
        "onsets": [[event.name, event.onset_s] for event in summary.events],
        "windows": [], "baselines": [], "gaps": [],
    }  # fmt: skip
    if summary.clip is None or summary.time is None:
        return found
    counted = np.zeros(summary.clip.n_frames, bool)
    for track in summary.parts:
        if column in track.columns:
            counted[track.rows] = True
    found |= {
        "time": packed(summary.time.t_s), "stop": summary.time.stop_s,
        "values": packed(summary.clip.features[:, column]), "counted": packed(counted),
        "gaps": summary.without_face(),
    }  # fmt: skip
    spans = {
        (event.name, name): span
        for event in summary.events
        for name, span in summary.windows(event).items()
    }
    for event, name, numbers in summary.measured():
        found["windows"].append(_window(event.name, name, spans[event.name, name], numbers, column))
    span = summary.config.baseline
    for event in summary.events:
        rest = summary.baseline(event)
        if rest is not None and span is not None:
            found["baselines"].append({
                "event": event.name, "start": event.onset_s + span[0],
                "stop": event.onset_s + span[1], "value": number(rest.value[column]),
                "seen_s": number(rest.seen_s[column]),
                "flag": rest.flags(np.zeros(len(rest.value), bool))[column],
            })  # fmt: skip
    return found


def _window(
    event: str, name: str, span: Any, numbers: Mapping[str, Any], column: int
) -> dict[str, Any]:
    start, stop = span if span is not None else (None, None)
    return {
        "event": event, "name": name, "start": start, "stop": stop,
        **{key: number(numbers[key][column], 6) for key in _NUMBERS},
        "flag": numbers["baseline_flag"][column],
    }  # fmt: skip
