"""A store and a design become a lab's tables."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facer.pipeline.summary import rows
from facer.pipeline.summary.clips import (
    MEASURED,
    ClipSummary,
    Features,
    idle_note,
    late_note,
    state_of,
)
from facer.pipeline.summary.people import People, person_of
from facer.pipeline.summary.schema import DICTIONARY, Schema, schema
from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.track import EPS
from facer.stages.summary.windows import of_known
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.weights import file_sha256
from facer.storage.schema import F64
from facer.storage.streaming import stream
from facer.storage.study.columns import Block, Column
from facer.storage.study.design import WHO, Design, design_of
from facer.storage.study.events import START, Event, events_of, read_events
from facer.storage.study.marks import Mark, read_marks
from facer.storage.study.tables import Collected, TableWriter
from facer.storage.text.names import some

Sink = Callable[[str, Sequence[Column]], TableWriter]
"""Begins a table by its name and columns."""


@dataclass(frozen=True)
class Study:
    """What a summary is made of, all of it checked before the first clip is read."""

    store: FeatureStore
    design: Design
    events: Mapping[str, Sequence[Event]]
    marks: Mapping[str, Sequence[Mark]]
    config: SummaryConfig
    features: Features
    tables: Schema
    files: Mapping[str, str]  # sha256 of design, events and marks


class Extent(NamedTuple):
    """What a clip's curves cover, and where its frames begin and end: seconds from the event."""

    start_s: float
    stop_s: float
    first_s: float
    end_s: float


@dataclass
class Outcome:
    """What was found, and what a reader must know."""

    statuses: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)  # of clips and events
    empty_windows: int = 0
    idle_marks: list[str] = field(default_factory=list)  # that cover no frame
    late_events: list[str] = field(default_factory=list)  # after their clip
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    extents: dict[str, dict[str, Extent]] = field(default_factory=dict)
    """By clip and then event, of the clips that count."""


def study(
    store: FeatureStore, config: SummaryConfig, design: str | Path | None = None,
    events: str | Path | None = None, marks: str | Path | None = None,
) -> Study:  # fmt: skip
    """Read the tables of a study and check them against its store.

    ``design`` is a csv file or a pattern of the clips' names.
    """
    if not len(store):
        raise FacerError(f"{store.path}: found no clip, expected some; facer extract adds them")
    found = design_of(design, store.clip_ids)
    clips = tuple(row.clip_id for row in found.rows)
    if twice := [clip for clip, n in Counter(clips).items() if n > 1]:
        raise FacerError(f"{found.source}: found clip {twice[0]!r} twice, expected it once")
    features = Features.of(store, config.thresholds)
    by_clip = read_events(Path(events), clips) if events is not None else {}
    marked = read_marks(Path(marks), clips, features.names) if marks is not None else {}
    files = {
        name: file_sha256(Path(path))
        for name, path in (("design", design), ("events", events), ("marks", marks))
        if path is not None and Path(path).is_file()
    }
    return Study(
        store, found, events_of(found, by_clip), marked, config, features,
        schema(found, config, features.names), files,
    )  # fmt: skip


def summarise_study(of: Study, sink: Sink) -> Outcome:
    """Measure every clip of a study and hand the rows to the sink, clip by clip."""
    tables = {name: sink(name, columns) for name, columns in of.tables.items()}
    notes = [*notes_of(of), *_windows_notes(of)]
    outcome, people = Outcome(notes=notes), People(of.config, of.features.names)
    persons = _person_baselines(of) if of.config.baseline_fallback == "participant" else {}
    for clip in clips_of(of, persons):
        _write_clip(clip, tables, people, outcome)
    outcome.notes += [*idle_note(outcome.idle_marks), *late_note(outcome.late_events)]
    outside = [(clip, "", "", "", "not in the design") for clip in of.design.not_in_design]
    tables["left_out"].write(rows.left_out(outside))
    for block in people.groups():
        tables["groups"].write(block)
    tables["wide"] = sink("wide", people.wide_columns())
    for block in people.wide():
        tables["wide"].write(block)
    tables["columns"] = sink("columns", DICTIONARY)
    tables["columns"].write(_dictionary(of))
    for table in tables.values():
        table.close()
    outcome.settings = {**_settings(of, list(tables)), "clips": dict(outcome.statuses)}
    return outcome


def notes_of(of: Study) -> Iterator[str]:
    """What a reader must know of a study's tables, before any clip is read."""
    yield from of.design.notes
    counted = _counted(of)
    without = [clip for clip, events in counted.items() if START in events]
    if 0 < len(without) < len(counted):
        yield (
            f"{len(without)} of {len(counted)} clips have no onset and no event; their times "
            f"count from the clip's beginning: {some(without)}"
        )


def _counted(of: Study) -> Mapping[str, Sequence[Event]]:
    """Events of the clips that count, so far as is known before they are read."""
    found = {}
    for row in of.design.rows:
        record = of.store.record(row.clip_id) if row.known else None
        if state_of(row, record, of.marks.get(row.clip_id, ()))[0] in MEASURED:
            found[row.clip_id] = of.events[row.clip_id]
    return found


def _windows_notes(of: Study) -> Iterator[str]:
    """Say which windows are other ones than is thought, or stay empty."""
    rest, least = of.config.baseline, of.config.min_baseline
    if rest is not None and rest[1] - rest[0] < least - EPS:
        yield (
            f"baseline {rest[0]:g}:{rest[1]:g} is shorter than the {least:g} s that must be seen "
            "of it (min-baseline), so that nothing is compared with it"
        )
    yield from _whole_clips(of)
    if any(event.onset_s > 0 for events in of.events.values() for event in events):
        return
    for name, span in {**of.config.windows, "baseline": of.config.baseline}.items():
        if span is not None and span[1] <= 0:
            yield (
                f"{name} {span[0]:g}:{span[1]:g} ends before the clips begin and stays empty: "
                "no onset is known; give onset_s in the design, or a table of events"
            )


def _whole_clips(of: Study) -> Iterator[str]:
    """Say which events have the whole clip for their window, where that is not so of all."""
    events = [
        (clip, event) for clip, mine in _counted(of).items() for event in mine if event != START
    ]
    whole = [f"{event.name} of {clip}" for clip, event in events if event.duration_s is None]
    if not of.config.windows and whole and ("events" in of.files or len(whole) < len(events)):
        yield (
            f"{len(whole)} of {len(events)} events have no duration; where no window is given, "
            f"theirs is the whole clip: {some(whole)}"
        )


def summarise_in_memory(of: Study) -> tuple[dict[str, Collected], Outcome]:
    """Measure every clip of a study; the tables by name."""
    tables: dict[str, Collected] = {}

    def collect(name: str, columns: Sequence[Column]) -> Collected:
        return tables.setdefault(name, Collected(columns))

    outcome = summarise_study(of, collect)
    return tables, outcome


def clips_of(of: Study, persons: Mapping[str, F64] | None = None) -> Iterator[ClipSummary]:
    """Yield every clip of the design; ``persons``: baselines to fall back on."""
    persons = persons or {}
    there = [row.clip_id for row in of.design.rows if row.known]
    arrays = stream(of.store, there)
    for row in of.design.rows:
        record, clip = next(arrays) if row.known else (None, None)
        who = {name: getattr(row, name) for name in WHO}
        who |= dict(zip(of.design.carried, row.carried, strict=True))
        yield ClipSummary(
            row, record, clip, of.events[row.clip_id], of.marks.get(row.clip_id, ()), of.features,
            of.config, who, persons.get(person_of(row)),
        )  # fmt: skip


def _person_baselines(of: Study) -> Mapping[str, F64]:
    """The median of every participant's usable baselines, (F,)."""
    found: dict[str, list[F64]] = defaultdict(list)
    for clip in clips_of(of):
        found[person_of(clip.row)] += clip.usable_baselines()
    return {
        person: np.array([of_known(np.median, column) for column in np.transpose(rows)])
        for person, rows in found.items()
        if rows
    }


def _write_clip(
    clip: ClipSummary, tables: Mapping[str, TableWriter], people: People, outcome: Outcome
) -> None:
    outcome.statuses[clip.status] += 1
    outcome.idle_marks += clip.idle_marks()
    outcome.late_events += clip.late_events()
    flagged = set()
    for event, window, numbers in clip.measured():
        tables["summary"].write(rows.summary_rows(clip, event, window, numbers))
        people.add(clip.row, window, numbers)
        outcome.empty_windows += bool(clip.parts) and bool(np.isnan(numbers["mean"]).all())
        flagged |= {(event.name, w) for flag in numbers["baseline_flag"] for w in flag.split()}
    outcome.flags.update(word for _, word in flagged)
    if clip.parts and (time := clip.time) is not None:
        outcome.extents[clip.row.clip_id] = {
            event.name: Extent(*span, time.start_s - event.onset_s, time.stop_s - event.onset_s)
            for event in clip.events
            if (span := rows.span_of(clip, event)) is not None
        }
    tables["clips"].write(rows.clip_row(clip))
    tables["episodes"].write(rows.episode_rows(clip))
    tables["left_out"].write(rows.left_out_rows(clip))
    for block in rows.series_rows(clip):
        tables["series"].write(block)


def _dictionary(of: Study) -> Block:
    nan = float("nan")
    found = [
        ("feature", name, *unit[:4], str(weak), unit.definition)
        for name, unit, weak in zip(*of.features, strict=True)
    ]
    found += [
        (table, column.name, column.unit, nan, nan, nan, "", column.definition)
        for table, columns in of.tables.items()
        for column in columns
    ]
    return {c.name: [row[i] for row in found] for i, c in enumerate(DICTIONARY)}


def _settings(of: Study, tables: Sequence[str]) -> dict[str, Any]:
    from facer import __version__

    return {
        "made_by": "facer summarise", "facer_version": __version__, "tables": list(tables),
        "settings": dataclasses.asdict(of.config),
        "design": of.design.source, "sha256": dict(of.files),
        "counted_from": dict(Counter(_counted_from(of))),
        "unit": "participant" if any(row.participant for row in of.design.rows) else "clip",
        "thresholds": {
            name: unit.threshold
            for name, unit in zip(of.features.names, of.features.units, strict=True)
            if unit.threshold == unit.threshold
        },
        "store": {
            "features": list(of.features.names), "weak": list(of.store.weak_features),
            "provenance": dataclasses.asdict(of.store.provenance),
            "contents_sha256": contents_sha256(of.store),
        },
    }  # fmt: skip


def _counted_from(of: Study) -> Iterator[str]:
    """What the times of each clip that counts are from: ``start`` of the clip, ``onset`` of the
    design, ``event``.
    """
    counted = _counted(of)
    for row in of.design.rows:
        if (events := counted.get(row.clip_id)) is not None:
            given = row.onset_s is not None and events == [Event("onset", row.onset_s)]
            yield "start" if events == [START] else "onset" if given else "event"


def contents_sha256(store: FeatureStore) -> str:
    """Digest of what a store has, of which videos and how made; not of how it lies."""
    of = store.provenance
    made = (of.detector_sha256, of.rec_sha256, of.face_policy, of.frame_policy, of.settings)
    told = [(r.clip_id, r.status, r.n_frames, r.n_valid, r.source_sha256) for r in store.records]
    text = json.dumps([made, store.feature_names, sorted(told)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
