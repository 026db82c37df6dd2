"""When something happened in a clip: events.csv, with BIDS's names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from facer.storage.errors import FacerError
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.labels.words import key_of, words_of
from facer.storage.study.design import Design
from facer.storage.study.ids import matched
from facer.storage.text.names import numbered


class Event(NamedTuple):
    """A time in a clip; windows count from its onset."""

    name: str
    onset_s: float = 0.0
    duration_s: float | None = None
    trial_type: str = ""


_ENDS = frozenset(["offset", "end", "stop", "duration", "dur", "ende", "dauer"])
_KINDS = frozenset(["condition", "behavior", "behaviour", "annotation", "label"])
START = Event("start")
"""The event of a clip without any: the beginning of its time."""


def read_events(path: Path, clip_ids: Sequence[str]) -> Mapping[str, Sequence[Event]]:
    """Read events.csv: clip_id, onset_s, and where there are duration_s, trial_type, event.

    An event without a name has its trial type; one that is in a clip again is numbered, by a
    number that makes no other event's name (``smile-2``). FacerError for a row without an onset,
    or for an id of no clip or of several.
    """
    table = read_table(path)
    clip, onset = table.required(("clip_id", "clip"), ("onset_s", "onset"))
    duration = table.index("duration_s", "duration")
    if duration is None and (end := _with_word(table, _ENDS)):
        raise FacerError(
            f"{path}: found a column {end!r} and no duration_s, expected duration_s, the seconds "
            "from the onset to the end"
        )
    kind, name = table.index("trial_type"), table.index("event")
    if kind is None and name is None and (other := _with_word(table, _KINDS)):
        raise FacerError(
            f"{path}: found a column {other!r} and neither trial_type nor event, expected "
            "trial_type for what happened, or event for a name of each; rename the column"
        )
    ids = table.column(clip)
    clip_of = matched(path, ids, clip_ids)
    for column in (onset, duration):
        if column is not None:
            table.require_seconds(column)
    found: dict[str, list[Event]] = defaultdict(list)
    rows: dict[tuple[str, ...], int] = {}
    for row, cells in enumerate(table.rows):
        if (first := rows.setdefault(cells, row)) != row:
            raise FacerError(
                f"{table.at(row)}: found the same row again (first at line {table.lines[first]}), "
                "expected each event once; it would count twice"
            )
        at = table.number(row, onset)
        length = float("nan") if duration is None else table.number(row, duration)
        if at != at or length < 0:
            raise FacerError(
                f"{table.at(row)}: found onset {cells[onset]!r} and a duration of {length:g}, "
                "expected an onset in seconds and a duration of 0 or more"
            )
        trial = cells[kind] if kind is not None else ""
        label = (cells[name] if name is not None else "") or trial or "event"
        event = Event(label, at, length if length > 0 else None, trial)
        found[clip_of[ids[row]]].append(event)
    return {clip_id: _named_apart(events) for clip_id, events in found.items()}


def _with_word(table: CsvTable, words: Set[str]) -> str | None:
    """Return the first column whose name has one of some words, other than the clip's."""
    names = [name for name in table.header if not key_of(name).startswith(("clip", "file"))]
    return next((name for name in names if words & set(words_of(name))), None)


def _named_apart(events: Sequence[Event]) -> Sequence[Event]:
    names = numbered([event.name for event in events], "-", str)
    return [event._replace(name=name) for event, name in zip(events, names, strict=True)]


Events = Mapping[str, Sequence[Event]]
"""By clip."""


def events_of(design: Design, events: Events) -> Events:
    """Return the events of every clip: those of the table, else the design's onset, else 0."""
    return {
        row.clip_id: events.get(row.clip_id)
        or ([START] if row.onset_s is None else [Event("onset", row.onset_s)])
        for row in design.rows
    }
