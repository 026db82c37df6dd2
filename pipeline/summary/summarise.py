"""A store and a design become a lab's tables."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import ClipSummary, Features
from facer.pipeline.summary.schema import Schema, schema
from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.groups import group_means
from facer.stages.summary.units import units, with_thresholds
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import F64
from facer.storage.streaming import stream
from facer.storage.study.columns import Block, Column, number, text
from facer.storage.study.design import Design, DesignRow, design_of
from facer.storage.study.events import Event, events_of, read_events
from facer.storage.study.marks import Mark, read_marks
from facer.storage.study.tables import TableWriter

Sink = Callable[[str, Sequence[Column]], TableWriter]
"""Begins a table by its name and columns."""
_PEOPLE = 500  # rows of the wide table that are written at a time


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


@dataclass
class Outcome:
    """What was found, and what a reader must know."""

    statuses: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)  # of clips and events
    empty_windows: int = 0
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


def study(
    store: FeatureStore,
    config: SummaryConfig,
    design: str | Path | None = None,
    events: str | Path | None = None,
    marks: str | Path | None = None,
) -> Study:
    """Read the tables of a study and check them against its store.

    ``design`` is a csv file or a pattern of the clips' names.
    """
    if not len(store):
        raise FacerError(f"{store.path}: found no clip, expected some; facer extract adds them")
    found = design_of(design, store.clip_ids)
    clips = tuple(row.clip_id for row in found.rows)
    if twice := [clip for clip, n in Counter(clips).items() if n > 1]:
        raise FacerError(f"{found.source}: found clip {twice[0]!r} twice, expected it once")
    names = store.feature_names
    meant = with_thresholds(names, units(names, store.provenance.settings), config.thresholds)
    weak = tuple(int(name in store.weak_features) for name in names)
    by_clip = read_events(Path(events), clips) if events is not None else {}
    marked = read_marks(Path(marks), clips, names) if marks is not None else {}
    files = {
        name: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for name, path in (("design", design), ("events", events), ("marks", marks))
        if path is not None and Path(path).is_file()
    }
    return Study(
        store, found, events_of(found, by_clip), marked, config, Features(names, meant, weak),
        schema(found, config, names), files,
    )  # fmt: skip


def summarise_study(
    of: Study, sink: Sink, progress: Callable[[int, int], None] | None = None
) -> Outcome:
    """Measure every clip of a study and hand the rows to the sink, clip by clip."""
    tables = {name: sink(name, columns) for name, columns in of.tables.items()}
    outcome, people = Outcome(notes=list(of.design.notes)), _People(of.config)
    persons = _person_baselines(of) if of.config.baseline_fallback == "participant" else {}
    for done, clip in enumerate(clips_of(of, persons), 1):
        _write_clip(clip, tables, people, outcome)
        if progress is not None:
            progress(done, len(of.design.rows))
    outside = of.design.not_in_design
    tables["left_out"].write({
        "clip_id": outside,
        **{name: [""] * len(outside) for name in ("event", "window", "feature")},
        "why": ["not in the design"] * len(outside),
    })  # fmt: skip
    for block in people.groups(of.features.names):
        tables["groups"].write(block)
    wide = people.wide_columns(of.features.names)
    tables["wide"] = sink("wide", wide)
    for block in people.wide(wide):
        tables["wide"].write(block)
    tables["columns"] = sink("columns", _DICTIONARY)
    tables["columns"].write(_dictionary(of))
    for table in tables.values():
        table.close()
    outcome.settings = _settings(of, list(tables))
    return outcome


def clips_of(of: Study, persons: Mapping[str, F64] | None = None) -> Iterator[ClipSummary]:
    """Yield every clip of the design; ``persons``: baselines to fall back on."""
    persons = persons or {}
    there = [row.clip_id for row in of.design.rows if row.known]
    arrays = stream(of.store, there)
    for row in of.design.rows:
        record, clip = next(arrays) if row.known else (None, None)
        who = {"participant": row.participant, "condition": row.condition, "session": row.session}
        who |= dict(zip(of.design.carried, row.carried, strict=True))
        yield ClipSummary(
            row, record, clip, of.events[row.clip_id], of.marks.get(row.clip_id, ()), of.features,
            of.config, who, persons.get(_person(row)),
        )  # fmt: skip


def _person(row: DesignRow) -> str:
    """A clip without a participant is a person of its own."""
    return row.participant or row.clip_id


def _person_baselines(of: Study) -> Mapping[str, F64]:
    """The median of every participant's usable baselines, (F,)."""
    found: dict[str, list[F64]] = defaultdict(list)
    for clip in clips_of(of):
        found[_person(clip.row)] += clip.usable_baselines()
    return {
        person: np.array(
            [np.median(c) if len(c := column[~np.isnan(column)]) else np.nan for column in rows.T]
        )
        for person, several in found.items()
        if len(rows := np.array(several))
    }


def _write_clip(
    clip: ClipSummary, tables: Mapping[str, TableWriter], people: _People, outcome: Outcome
) -> None:
    outcome.statuses[clip.status] += 1
    flagged = set()
    for event, window, numbers in clip.measured():
        name, block = clip.summary_rows(event, window, numbers)
        tables[name].write(block)
        people.add(clip.row, window, numbers)
        outcome.empty_windows += bool(clip.parts) and bool(np.isnan(numbers["mean"]).all())
        flagged |= {(event.name, w) for flag in numbers["baseline_flag"] for w in flag.split()}
    outcome.flags.update(word for _, word in flagged)
    for name, block in (clip.clip_row(), clip.episode_rows(), clip.left_out_rows()):
        tables[name].write(block)
    for name, block in clip.series_rows():
        tables[name].write(block)


class _People:
    """Sums over the clips and events of each participant, condition and window."""

    def __init__(self, config: SummaryConfig) -> None:
        self.grouped = ("mean", *(("mean_bc",) if config.baseline is not None else ()))
        self.wanted = config.wide
        self.statistics = tuple(dict.fromkeys((*self.grouped, *self.wanted)))
        self.resamples, self.seed = config.resamples, config.seed
        self.sums: dict[tuple[str, str, str], tuple[F64, F64]] = {}

    def add(self, row: DesignRow, window: str, numbers: Mapping[str, Any]) -> None:
        """Take in a clip's window."""
        values = np.array([numbers[name] for name in self.statistics], np.float64)
        there = np.isfinite(values)
        key = (_person(row), row.condition, window)
        if key not in self.sums:
            self.sums[key] = (np.zeros(values.shape), np.zeros(values.shape))
        total, count = self.sums[key]
        total += np.where(there, values, 0)
        count += there

    def _means(self, key: tuple[str, str, str], statistic: str) -> F64:
        total, count = (part[self.statistics.index(statistic)] for part in self.sums[key])
        found: F64 = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return found

    def groups(self, features: Sequence[str]) -> Iterator[Block]:
        """Rows of groups.csv for every condition, window and statistic."""
        for condition, window in sorted({key[1:] for key in self.sums}):
            keys = sorted(key for key in self.sums if key[1:] == (condition, window))
            for name in self.grouped:
                values = np.array([self._means(key, name) for key in keys])
                found = group_means(values, self.resamples, self.seed)
                place, n = self.statistics.index(name), len(features)
                yield {
                    "condition": [condition] * n, "window": [window] * n, "feature": features,
                    "statistic": [name] * n, "participants": found.participants,
                    "clips": sum(self.sums[key][1][place] for key in keys),
                    "mean": found.mean, "sd": found.sd, "lo": found.low, "hi": found.high,
                }  # fmt: skip

    def wide_columns(self, features: Sequence[str]) -> list[Column]:
        """Columns of the wide table: condition_window_feature_statistic."""
        self.places = [
            (condition, window, place, statistic)
            for condition, window in sorted({key[1:] for key in self.sums})
            for place in range(len(features))
            for statistic in self.wanted
        ]
        return [text("participant", "one row each; a clip without one stands for itself")] + [
            number("_".join(filter(None, (condition, window, features[place], statistic))),
                   "of the statistic", f"{statistic} of {features[place]} in window {window}, mean "
                   f"over the participant's clips of condition {condition or '(none)'}")
            for condition, window, place, statistic in self.places
        ]  # fmt: skip

    def wide(self, columns: Sequence[Column]) -> Iterator[Block]:
        """Rows of the wide table, some participants at a time."""
        people = sorted({key[0] for key in self.sums})
        if len({column.name for column in columns}) < len(columns):
            raise FacerError("wide: found columns of one name, expected conditions and windows "
                             "that differ when joined by _; rename one")  # fmt: skip
        for start in range(0, len(people), _PEOPLE):
            some = people[start : start + _PEOPLE]
            block: dict[str, Any] = {"participant": some}
            cells = [self._cells(person) for person in some]
            for place, column in enumerate(columns[1:]):
                block[column.name] = [row[place] for row in cells]
            yield block

    def _cells(self, person: str) -> list[float]:
        means = {
            (condition, window, statistic): self._means((person, condition, window), statistic)
            for condition, window in {(c, w) for c, w, _, _ in self.places}
            if (person, condition, window) in self.sums
            for statistic in self.wanted
        }
        return [
            float(means[c, w, s][place]) if (c, w, s) in means else float("nan")
            for c, w, place, s in self.places
        ]


_DICTIONARY = (
    text("table", "the file; 'feature' for what the features themselves mean"),
    text("column", "its name"), text("unit", "of its numbers"),
    number("low", "of the unit", "least value that the unit has"),
    number("high", "of the unit", "greatest value"),
    number("threshold", "of the unit", "above it a feature counts as shown"),
    text("weak", "1: learnt from weak labels"), text("definition", "what the number is"),
)  # fmt: skip


def _dictionary(of: Study) -> Block:
    nan = float("nan")
    rows = [
        ("feature", name, *unit[:4], str(weak), unit.definition)
        for name, unit, weak in zip(*of.features, strict=True)
    ]
    rows += [
        (table, column.name, column.unit, nan, nan, nan, "", column.definition)
        for table, columns in of.tables.items()
        for column in columns
    ]
    return {c.name: [row[i] for row in rows] for i, c in enumerate(_DICTIONARY)}


def _settings(of: Study, tables: Sequence[str]) -> dict[str, Any]:
    from facer import __version__

    return {
        "made_by": "facer summarise", "facer_version": __version__, "tables": list(tables),
        "settings": dataclasses.asdict(of.config),
        "design": of.design.source, "sha256": dict(of.files),
        "thresholds": {
            name: unit.threshold
            for name, unit in zip(of.features.names, of.features.units, strict=True)
            if unit.threshold == unit.threshold
        },
        "store": {
            "features": list(of.features.names), "weak": list(of.store.weak_features),
            "provenance": dataclasses.asdict(of.store.provenance),
        },
    }  # fmt: skip
