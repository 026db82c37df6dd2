"""Who and which condition a clip is: design.csv, or the pattern of the clips' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facer.storage.errors import FacerError, OptionError
from facer.storage.files.cells import is_absent
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.labels.columns import clip_columns
from facer.storage.labels.doubts import refuse_merged_cells
from facer.storage.labels.matching import Match, match_ids
from facer.storage.labels.subjects import alike_note, same_person
from facer.storage.labels.values import exclude_column, is_excluded, says_exclude
from facer.storage.labels.words import key_of, names_people, words_of
from facer.storage.study.ids import refuse_ambiguous
from facer.storage.text.likeness import alike
from facer.storage.text.names import some

WHO = ("participant", "condition", "session")
"""Columns that say who is in a clip, and in which condition."""
KNOWN = ("clip_id", *WHO, "onset_s", "exclude", "reason")
_TEXTS = (*WHO, "reason")
_SYNONYMS = {
    "participant": ("participant", "participant_id", "subject", "subject_id", "sub", "ppt"),
    "condition": ("condition", "cond", "bedingung"),
    "session": ("session", "ses", "sitzung"),
    "onset_s": ("onset_s", "onset"),
    "reason": ("reason", "exclude_reason"),
}
_STARTS = frozenset(["onset", "start", "begin", "beginn"])
_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class DesignRow:
    """One clip of a study."""

    clip_id: str
    participant: str = ""
    condition: str = ""
    session: str = ""
    onset_s: float | None = None
    exclude: bool = False
    reason: str = ""
    carried: tuple[str, ...] = ()
    known: bool = True  # the store has such a clip


@dataclass(frozen=True)
class Design:
    """The clips of a study, in the order of their table."""

    rows: tuple[DesignRow, ...]
    carried: tuple[str, ...]  # names of the columns that are only carried
    source: str
    not_in_design: tuple[str, ...] = ()  # clips of the store
    notes: tuple[str, ...] = ()


def design_of(source: str | Path | None, clip_ids: Sequence[str]) -> Design:
    """Return the design of a store's clips: from a csv file, a pattern of names, or neither."""
    if source is None:
        return Design(tuple(DesignRow(clip) for clip in clip_ids), (), "every clip of the store")
    text = str(source)
    if "{" in text and not Path(text).exists():
        return from_pattern(text, clip_ids)
    return read_design(Path(text), clip_ids)


def from_pattern(pattern: str, clip_ids: Sequence[str]) -> Design:
    """Take participant, condition and any other fields out of the clips' names.

    ``{participant}_{condition}`` reads ``P01_happy``; a field holds none of the characters that
    stand between the fields, and ``{}`` is any text; ``{subject}`` and ``{cond}`` are understood as
    they are in a file. A pattern with a ``/`` is of the whole id,
    another of what is after the last ``/``. A clip of another name has empty fields.
    """
    where = f"pattern {pattern}"
    fields = [name for name in _FIELD.findall(pattern) if name]
    if not fields or len(set(fields)) < len(fields):
        raise OptionError(
            f"{where}: found {', '.join(fields) or 'no fields'}, expected each field "
            "once, such as {participant}_{condition}"
        )
    for name in fields:
        if not name.isidentifier() or name in ("clip_id", "onset_s"):
            raise OptionError(f"{where}: found field {name!r}, expected a plain word")
    known = _known_places(CsvTable(Path(pattern), tuple(fields), (), ()))
    meant = {fields[place]: name for name, place in known.items() if name in WHO}
    fields = [meant.get(name, name) for name in fields]
    expression = _compiled(_FIELD.sub(lambda one: f"{{{meant.get(one[1], one[1])}}}", pattern))
    carried = tuple(name for name in fields if name not in KNOWN)
    rows: list[DesignRow] = []
    odd: list[str] = []
    for clip in clip_ids:
        found = expression.fullmatch(clip if "/" in pattern else clip.rsplit("/", 1)[-1])
        cells = found.groupdict() if found else dict.fromkeys(fields, "")
        if not found:
            odd.append(clip)
        exclude = says_exclude(cells.get("exclude", ""), f"{clip}: exclude")
        texts: dict[str, Any] = {name: cells.get(name, "") for name in _TEXTS}
        rest = tuple(cells[name] for name in carried)
        rows.append(DesignRow(clip, **texts, exclude=exclude, carried=rest))
    if clip_ids and len(odd) == len(clip_ids):
        raise FacerError(f"{where}: no clip has such a name; found {clip_ids[0]!r}, for example")
    notes = (f"{len(odd)} of {len(rows)} clips are named otherwise than {pattern} and have no "
             f"fields: {some(odd)}",)  # fmt: skip
    notes = (*(notes if odd else ()), *_doubts(fields, carried), *_spellings(rows))
    return Design(tuple(rows), carried, f"names of clips as {pattern}", (), notes)


def _compiled(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    between = "".join(dict.fromkeys("".join(pieces[2:-1:2]) + ("/" if "/" in pattern else "")))
    text = f"[^{re.escape(between)}]+" if between else ".+"
    made = [
        re.escape(piece) if place % 2 == 0 else f"(?P<{piece}>{text})" if piece else f"(?:{text})"
        for place, piece in enumerate(pieces)
    ]
    return re.compile("".join(made), re.DOTALL)


def read_design(path: Path, clip_ids: Sequence[str]) -> Design:
    """Read design.csv; FacerError for a row without a clip_id, a clip twice, or a wrong cell.

    Ids are joined as those of labels are: without a video's ending, with or without folders. A
    row whose clip the store lacks is kept and says so.
    """
    table = read_table(path)
    places = _places(table)
    ids = table.column(places["clip_id"])
    if "" in ids:
        row = ids.index("")
        raise FacerError(f"{table.at(row)}: found no clip_id, expected one in every row")
    match = _matched(path, ids, clip_ids)
    if "participant" in places:
        refuse_merged_cells(table, places["participant"])
    if "onset_s" in places:
        table.require_seconds(places["onset_s"])
    elif other := [name for name in table.header if key_of(name).startswith("onset")]:
        raise FacerError(
            f"{path}: found a column {other[0]!r} and no onset_s, expected onset_s in seconds"
        )
    own = set(places.values())
    others = {c: name for c, name in enumerate(table.header) if c not in own and name}
    carried = [f"design_{name}" if name in RESERVED else name for name in others.values()]
    clip_of = dict(match.pairs)
    rows = [
        replace(
            _row(table, row, places), clip_id=clip_of.get(row, clip), known=row in clip_of,
            carried=tuple(table.rows[row][column] for column in others),
        )
        for row, clip in enumerate(ids)
    ]  # fmt: skip
    doubts = _doubts([*places], others.values())
    notes = (*_notes(path, match), *_odd_names(table, places), *doubts, *_spellings(rows))
    return Design(tuple(rows), tuple(carried), str(path), match.store_only, notes)


def _matched(path: Path, ids: Sequence[str], clip_ids: Sequence[str]) -> Match:
    match = match_ids(ids, clip_ids)
    refuse_ambiguous(path, match)
    if clip_ids and not match.pairs:
        raise FacerError(
            f"{path}: none of its {len(ids)} clips is in the store; found {ids[0]!r}, expected "
            f"ids such as {clip_ids[0]!r}"
        )
    return match


def _row(table: CsvTable, row: int, places: Mapping[str, int]) -> DesignRow:
    """Return what the known columns say of a clip."""
    cells = {name: table.rows[row][place] for name, place in places.items()}
    texts: dict[str, Any] = {name: cells[name] for name in _TEXTS if name in cells}
    texts["reason"] = "" if is_absent(texts.get("reason", "")) else texts["reason"]
    onset = table.number(row, places["onset_s"]) if "onset_s" in places else float("nan")
    exclude = "exclude" in places and is_excluded(table, row, places["exclude"])
    return DesignRow("", **texts, onset_s=None if onset != onset else onset, exclude=exclude)


def _notes(path: Path, match: Match) -> tuple[str, ...]:
    notes = []
    if match.labels_only:
        like = [f" ({one!r} and {other!r} look alike)" for one, other, _ in match.alike[:1]]
        notes.append(f"{len(match.labels_only)} clips of {path} are not in the store, such as "
                     f"{match.labels_only[0]}{''.join(like)}")  # fmt: skip
    if match.store_only:
        notes.append(f"{len(match.store_only)} clips of the store are not in {path} and stand "
                     f"outside the study, such as {match.store_only[0]}")  # fmt: skip
    return tuple(notes)


def _doubts(used: Sequence[str], carried: Iterable[str]) -> Iterator[str]:
    """Say what may be mistyped, and what follows where nobody is named."""
    missing = [name for name in KNOWN if name not in used]
    for name in carried:
        if meant := alike(name, missing, 1):
            yield f"{name!r} is carried along as a column of its own; was {meant[0]!r} meant?"
        elif "onset_s" in missing and _STARTS & set(words_of(name)):
            yield f"{name!r} is carried along as a column of its own; was 'onset_s' meant?"
    if "participant" in missing:
        yield "the design names no participant: every clip counts as a person of its own"


def _odd_names(table: CsvTable, places: Mapping[str, int]) -> Iterator[str]:
    """Say which names are often written for none: ``NA`` may be somebody, ``none`` a condition."""
    for name in WHO:
        cells = table.column(places[name]) if name in places else []
        if odd := list(dict.fromkeys(cell for cell in cells if cell and is_absent(cell))):
            yield (f"{table.path}: {name}: found {', '.join(odd)}, taken as names; leave cells "
                   f"empty where there is no {name}")  # fmt: skip


def _spellings(rows: Sequence[DesignRow]) -> Iterator[str]:
    """Say which names may be one that is written in several ways, since each counts for itself."""
    yield from alike_note("participants", [row.participant for row in rows if row.participant])
    for name in ("condition", "session"):
        spelt: dict[str, str] = {}
        for row in rows:
            cell = getattr(row, name)
            first = spelt.setdefault(same_person(cell), cell)
            if first != cell:
                yield f"{name}s {first!r} and {cell!r} are taken for two; write it in one way"
                break


def _known_places(table: CsvTable) -> dict[str, int]:
    """Return which column has each known name, or one that means the same; not the clips'."""
    found = {name: table.index(*names) for name, names in _SYNONYMS.items()}
    found["exclude"] = exclude_column(table)
    if found["participant"] is None:
        people = [place for place, name in enumerate(table.header) if names_people(name)]
        found["participant"] = people[0] if len(people) == 1 else None
    return {name: place for name, place in found.items() if place is not None}


def _places(table: CsvTable) -> dict[str, int]:
    found = _known_places(table)
    clips = clip_columns(table, set(found.values()))
    if len(clips) != 1:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header[:8])}, expected one named clip_id"
        )
    return {"clip_id": clips[0], **found}


_OWN_NAMES = (
    "clip_id event trial_type window feature weak status reason window_s seen_s seen_share "
    "n_frames longest_gap_s mean sd median p95 peak peak_s share episodes latency_s baseline "
    "baseline_s baseline_flag mean_bc peak_bc duration_s fps n_valid valid_share marked_s "
    "faces_max track_switches face_height_px det_score_mean participant condition session "
    "onset_s exclude t_s value value_bc filled n start_s stop_s cut_start cut_stop"
)
RESERVED = frozenset(_OWN_NAMES.split())
"""Names of the tables' own columns: one of the design that has such a name is carried as
``design_...``."""
