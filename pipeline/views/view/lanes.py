"""One feature of a clip over time, with the numbers that ``facer summarise`` gives of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import ClipSummary, Features
from facer.pipeline.views.report.folder import number, packed
from facer.pipeline.views.view.session import ViewSession
from facer.stages.summary.config import SummaryConfig, as_windows, parse_span
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.study.design import DesignRow
from facer.storage.study.events import Event
from facer.storage.study.marks import Mark

Lane = dict[str, Any]
_OF_A_PERSON = 24  # clips drawn at most
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


def clip_lanes(of: ViewSession, name: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A feature of a clip, and of the same clip in the other store."""
    clip_id, asked = of.clip(name), Ask.of(query, of.summary)
    return {"ours": _ours(of, clip_id, asked), "theirs": _theirs(of, clip_id, asked)}


def person_lanes(of: ViewSession, name: str, query: Mapping[str, str]) -> dict[str, Any]:
    """The same feature of all clips of the clip's participant, in the design's order."""
    here = of.clip(name)
    row = of.rows.get(here)
    if row is None or not row.participant:
        return {"participant": "", "lanes": [], "more": 0}
    asked = Ask.of(query, of.summary)
    clips = [r.clip_id for r in of.rows.values() if r.participant == row.participant]
    lanes = [
        {**_ours(of, clip, asked), "url": of.page(clip), "here": clip == here}
        for clip in clips[:_OF_A_PERSON]
    ]
    return {"participant": row.participant, "lanes": lanes, "more": len(clips[_OF_A_PERSON:])}


def _ours(of: ViewSession, clip_id: str, asked: Ask) -> Lane:
    row = of.rows.get(clip_id, DesignRow(clip_id))
    return _measured(of.store, row, of.events_of(clip_id), of.marks_of(clip_id), asked)


def _theirs(of: ViewSession, clip_id: str, asked: Ask) -> Lane | None:
    """The lane of the other store; None where it has no such clip or column."""
    if of.other is None or clip_id not in of.other_clip:
        return None
    names = of.other.feature_names
    if asked.feature not in names:
        return None
    row = replace(of.rows.get(clip_id, DesignRow(clip_id)), clip_id=of.other_clip[clip_id])
    marks = [mark for mark in of.marks_of(clip_id) if mark.feature in ("", *names)]
    return _measured(of.other, row, of.events_of(clip_id), marks, asked)


def _measured(
    store: FeatureStore, row: DesignRow, events: Sequence[Event], marks: Sequence[Mark], asked: Ask
) -> Lane:
    """A feature of a store's clip; FacerError where the store has no such column."""
    if asked.feature not in store.feature_names:
        raise FacerError(f"{store.path}: found no feature {asked.feature!r}")
    features = Features.of(store, asked.config.thresholds)
    record = store.record(row.clip_id)
    clip = None if record.status == "failed" else store.read(row.clip_id)
    summary = ClipSummary(row, record, clip, events, marks, features, asked.config, {})
    return lane(summary, store.feature_names.index(asked.feature))


def lane(summary: ClipSummary, column: int) -> Lane:
    """A column of a clip as JSON: its curve, which frames count, windows, baselines, marks."""
    unit, feature = summary.features.units[column], summary.features.names[column]
    return {
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
        "windows": [], "baselines": [], "gaps": [], **_curve(summary, column),
    }  # fmt: skip


def _curve(summary: ClipSummary, column: int) -> Lane:
    """What is drawn of a clip that is there."""
    if summary.clip is None or summary.time is None:
        return {}
    counted = np.zeros(summary.clip.n_frames, bool)
    for track in summary.parts:
        if column in track.columns:
            counted[track.rows] = True
    return {
        "time": packed(summary.time.t_s), "stop": summary.time.stop_s,
        "values": packed(summary.clip.features[:, column]), "counted": packed(counted),
        "gaps": summary.without_face(), "windows": _windows(summary, column),
        "baselines": _baselines(summary, column),
    }  # fmt: skip


def _windows(summary: ClipSummary, column: int) -> list[Lane]:
    found = []
    for event, name, numbers in summary.measured():
        start, stop = summary.windows(event)[name] or (None, None)
        found.append({
            "event": event.name, "name": name, "start": start, "stop": stop,
            **{key: number(numbers[key][column], 6) for key in _NUMBERS},
            "flag": numbers["baseline_flag"][column],
        })  # fmt: skip
    return found


def _baselines(summary: ClipSummary, column: int) -> list[Lane]:
    found = []
    for event in summary.events:
        rest = summary.baseline(event)
        if rest is not None and (span := summary.config.baseline) is not None:
            found.append({
                "event": event.name, "start": event.onset_s + span[0],
                "stop": event.onset_s + span[1], "value": number(rest.value[column]),
                "seen_s": number(rest.seen_s[column]),
                "flag": rest.flags(np.zeros(len(rest.value), bool))[column],
            })  # fmt: skip
    return found
