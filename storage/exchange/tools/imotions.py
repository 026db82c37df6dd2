"""Features of iMotions' exports.

They have lines of their own above the table, and repeated values where no face was measured.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.facereader import WORDS, log_files
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable
from facer.storage.files.headed import Header, find_header, rows_below
from facer.storage.layout.parts import Entry
from facer.storage.schema import F64, Record

Row = tuple[int, tuple[str, ...]]  # number of its line, and cells

_AFFDEX = {
    "inner brow raise": "au01", "brow raise": "au02", "brow furrow": "au04", "eye widen": "au05",
    "cheek raise": "au06", "lid tighten": "au07", "nose wrinkle": "au09",
    "upper lip raise": "au10", "smile": "au12", "dimpler": "au14", "lip corner depressor": "au15",
    "chin raise": "au17", "lip pucker": "au18", "lip stretch": "au20", "lip press": "au24",
    "mouth open": "au25", "jaw drop": "au26", "lip suck": "au28", "eye closure": "au43",
}  # fmt: skip
_AFFDEX_OTHERS = {"smirk", "attention", "engagement", "pitch", "yaw", "roll"}
_PERCENT = {*_AFFDEX.values(), *WORDS.values(), "smirk", "attention", "engagement"}
_FACE_SOURCE = re.compile(r"aff|facet|emotient|face|rea\b", re.IGNORECASE)
_FRAME_COUNTERS = ("samplenumber", "frameindex", "frameno", "frame number")
_RESPONDENTS = ("respondent", "respondentname", "respondent name", "name", "participant")


def read_imotions(path: Path) -> Imported:
    """Read exports of iMotions (6 to 10) and its external data: a clip a respondent.

    ``Timestamp`` is in milliseconds. Only rows in which the face was measured anew are frames:
    those whose ``EventSource`` names a face module, where it names any, and whose sample number,
    or else whose values, are not those of the row before, which iMotions repeats. AFFDEX's
    numbers, of 0 to 100, become shares.
    """
    logs = [
        (_clip_id(clip_id), file, header)
        for clip_id, file in log_files(path)
        if (header := find_header(file, _is_export)) is not None
    ]
    if not logs:
        raise FacerError(
            f"{path}: found no export of iMotions, expected one with Timestamp and columns of a "
            "face, such as Anger, Smile or AU12 Evidence"
        )
    first = logs[0][2].names
    names = imported.distinct(logs[0][1], _names(first))
    scale = {} if _named(first, ("eventsource",)) is None else {"scale": "percent / 100"}
    clips = (
        imported.noted(entry, names, _names(log[2].names))
        for log in logs
        for entry in _clips(*log, names)
    )
    made = imported.provenance("imotions", "one face a frame", **scale)
    return Imported(tuple(names), (), made, clips)


def _is_export(cells: Sequence[str]) -> bool:
    return _named(cells, ("timestamp",)) is not None and bool(_names(cells))


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    """Features, facer's name and the file's; of external data every column but the time."""
    if _named(header, ("eventsource",)) is None:
        own = header[:1] == ("timestamp",)
        return [(name, name) for name in header[1:] if name] if own else []
    known = {**_AFFDEX, **WORDS, **{name: name for name in _AFFDEX_OTHERS}}
    evidence = [(name, name) for name in header if name.lower().endswith(" evidence")]
    return [(known[name.lower()], name) for name in header if name.lower() in known] + evidence


def _clip_id(clip_id: str) -> str:
    """Of external data: ``Ex_Data/PARTICIPANT/SOURCE/STIMULUS`` is PARTICIPANT/STIMULUS."""
    parts = PurePosixPath(clip_id).parts
    if "Ex_Data" in parts:
        parts = parts[parts.index("Ex_Data") + 1 :]
        parts = (*parts[:-2], parts[-1]) if len(parts) > 2 else parts
    return "/".join(parts)


def _clips(clip_id: str, file: Path, header: Header, names: Names) -> Iterator[Entry]:
    """Of every respondent of a file, in order; rows without a new measurement are left out."""
    if lacking := [name for name in names.values() if name not in header.names]:
        raise FacerError(
            f"{file}: found no column {lacking[0]!r}, expected those of the first file"
        )
    native = _named(header.names, ("eventsource",)) is not None
    who = _named(header.names, _RESPONDENTS) if native else None
    people: dict[str, list[Row]] = defaultdict(list)
    rows = rows_below(file, header)
    for line, row in _new_rows(header.names, rows, names) if native else rows:
        people["" if who is None else row[who]].append((line, row))
    if not people:
        yield Record(clip_id, "failed", 0, reason="its file has no row of a face"), None
    for person, of_person in people.items():
        lines, cells = zip(*of_person, strict=True)
        one = clip_id if len(people) == 1 else f"{clip_id}/{person or 'unknown'}"
        yield _clip(one, CsvTable(file, header.names, lines, cells), names, native)


def _new_rows(header: Sequence[str], rows: Iterator[Row], names: Names) -> Iterator[Row]:
    source, counter = _named(header, ("eventsource",)), _named(header, _FRAME_COUNTERS)
    who = _named(header, _RESPONDENTS)
    places = [header.index(name) for name in names.values()]
    faces = _named(header, ("number of faces", "nooffaces"))
    before: dict[str, object] = {}
    for line, row in rows:
        words = "" if source is None else row[source]
        if re.search("[a-z]", words, re.IGNORECASE) and not _FACE_SOURCE.search(words):
            continue  # another sensor's
        values = tuple(row[place] for place in places)
        count = "" if counter is None else row[counter]
        if not (any(values) or count or (faces is not None and row[faces])):
            continue
        person = "" if who is None else row[who]
        if before.get(person) != (now := count or values):
            before[person] = now
            yield line, row


def _clip(clip_id: str, table: CsvTable, names: Names, native: bool) -> Entry:
    header = table.header
    features = table.numbers([header.index(name) for name in names.values()])
    time = _named(header, ("timestamp",))
    timestamp_s = table.numbers([time or 0])[:, 0] / 1000
    valid = imported.measured(features)
    notes = []
    if native:
        features = _shares(features, names)
        percent = features[:, [place for place, name in enumerate(names) if name in _PERCENT]]
        if 0 < np.abs(np.nan_to_num(percent)).max(initial=0) <= 0.01:
            notes = ["no percentage is beyond 1: if they were shares already, these are too small"]
        if (faces := _named(header, ("number of faces", "nooffaces"))) is not None:
            valid &= table.numbers([faces])[:, 0] != 0
    stimulus = _named(header, ("stimulusname", "sourcestimuliname")) if native else None
    stimuli = set(table.column(stimulus)) - {""} if stimulus is not None else set()
    notes += [f"{len(stimuli)} stimuli in one recording"] * (len(stimuli) > 1)
    return imported.clip(clip_id, features, timestamp_s, valid, {}, "; ".join(notes))


def _shares(values: F64, names: Names) -> F64:
    found: F64 = values / np.array([100.0 if name in _PERCENT else 1.0 for name in names])
    return found


def _named(header: Sequence[str], names: Sequence[str]) -> int | None:
    """The first column with one of some names, in lower case; the names in order."""
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)
