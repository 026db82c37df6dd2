"""Features of FaceReader's detailed logs and of iMotions' exports.

Both have lines of their own above the table, and words or repeated values where no face was
measured. Names: a column that means the same as one of facer's gets facer's name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.imported import (
    Imported,
    files_under,
    imported_clip,
    imported_provenance,
)
from facer.storage.files.csv_table import CsvTable
from facer.storage.files.headed import Header, find_header, rows_below
from facer.storage.parts import Entry
from facer.storage.schema import F64, VALENCE_AROUSAL, Record

Names = Mapping[str, str]  # facer's name of a column: the file's
Row = tuple[int, tuple[str, ...]]  # number of its line, and cells

_SUFFIXES = (".txt", ".csv", ".tsv")
_WORDS = {
    "neutral": "neutral", "happy": "happiness", "sad": "sadness", "angry": "anger",
    "surprised": "surprise", "scared": "fear", "disgusted": "disgust", "contempt": "contempt",
    "joy": "happiness", **{name: name for name in ("anger", "sadness", "surprise", "fear",
    "disgust", *VALENCE_AROUSAL)},
}  # fmt: skip
_UNIT = re.compile(r"action unit (\d+)(?: - (left|right))?(?: - .*)?", re.IGNORECASE)
_ORIENTATION = re.compile(r"[xyz] - head orientation", re.IGNORECASE)
_FAILED = re.compile(r"(find|fit)[ _]?failed|unknown|not analy[sz]ed", re.IGNORECASE)
_LETTER = re.compile(r"(not ?active|[A-E])(?:\s*\(.*\))?", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")

_AFFDEX = {
    "inner brow raise": "au01", "brow raise": "au02", "brow furrow": "au04", "eye widen": "au05",
    "cheek raise": "au06", "lid tighten": "au07", "nose wrinkle": "au09",
    "upper lip raise": "au10", "smile": "au12", "dimpler": "au14", "lip corner depressor": "au15",
    "chin raise": "au17", "lip pucker": "au18", "lip stretch": "au20", "lip press": "au24",
    "mouth open": "au25", "jaw drop": "au26", "lip suck": "au28", "eye closure": "au43",
}  # fmt: skip
_AFFDEX_OTHERS = {"smirk", "attention", "engagement", "pitch", "yaw", "roll"}
_PERCENT = {*_AFFDEX.values(), *_WORDS.values(), "smirk", "attention", "engagement"}
_FACE_SOURCE = re.compile(r"aff|facet|emotient|face|rea\b", re.IGNORECASE)
_FRAME_COUNTERS = ("samplenumber", "frameindex", "frameno", "frame number")
_RESPONDENTS = ("respondent", "respondentname", "respondent name", "name", "participant")


def read_facereader(path: Path) -> Imported:
    """Read detailed logs of FaceReader (5 to 9), one a clip; ``_detailed`` is not in its id.

    A frame with a failure word (``FIND_FAILED``, ``FIT_FAILED``) is not valid. Units on the letter
    scale are 0 for ``NotActive`` and 1 to 5 for A to E; numbers stay numbers. Other logs of a
    folder, such as state logs, are passed over.
    """
    logs = {
        clip_id.removesuffix("_detailed"): (file, header)
        for clip_id, file in _files(path)
        if (header := find_header(file, _is_facereader)) is not None
    }
    if not logs:
        raise FacerError(
            f"{path}: found no detailed log of FaceReader, expected one with Video Time and "
            "expressions"
        )
    first, header = next(iter(logs.values()))
    names = _facereader_names(header.names)
    letters = _has_letters(_table(first, header), names)
    scale = {"au_scale": "intensity 0 to 5"} if letters else {}
    clips = (
        _facereader_clip(clip_id, _table(*log), names, letters) for clip_id, log in logs.items()
    )
    made = imported_provenance("facereader", "one face a frame", **scale)
    return Imported(tuple(names), (), made, clips)


def _is_facereader(cells: Sequence[str]) -> bool:
    return cells[:1] == ("Video Time",) and bool(_facereader_names(cells))


def _facereader_names(header: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in header:
        unit = _UNIT.fullmatch(name)
        if unit is not None:
            side = f"_{unit[2].lower()}" if unit[2] else ""
            found[f"au{int(unit[1]):02d}{side}"] = name
        elif name.lower() in _WORDS:
            found[_WORDS[name.lower()]] = name
        elif _ORIENTATION.fullmatch(name):
            found[name] = name
    return found


def _has_letters(table: CsvTable, names: Names) -> bool:
    units = [table.where(name) for new, name in names.items() if new.startswith("au")]
    return any(_LETTER.fullmatch(row[place]) for row in table.rows for place in units)


def _facereader_clip(clip_id: str, table: CsvTable, names: Names, letters: bool) -> Entry:
    if not table.rows:
        return Record(clip_id, "failed", 0, reason="its file has no rows"), None
    places = {new: table.where(name) for new, name in names.items()}
    features = np.full((len(table.rows), len(names)), np.nan)
    for i, row in enumerate(table.rows):
        for j, (name, place) in enumerate(places.items()):
            if not _FAILED.fullmatch(row[place]):
                letter = letters and name.startswith("au")
                features[i, j] = _facereader_cell(table, i, place, letter)
    valid = np.asarray(~np.isnan(features).all(axis=1), np.bool_)
    timestamp_s = np.array([_seconds(table, i) for i in range(len(table.rows))])
    note = "letters of the units are kept as 0 (not active) to 5 (E)" if letters else ""
    return imported_clip(clip_id, features, timestamp_s, valid, {}, note)


def _facereader_cell(table: CsvTable, row: int, place: int, letters: bool) -> float:
    text = table.rows[row][place]
    letter = _LETTER.fullmatch(text)
    if letter is None:
        return table.number(row, place)
    if not letters:
        raise FacerError(
            f"{table.at(row)}: column {table.header[place]!r}: found the letter {text!r}, expected "
            "numbers as in the first file; import both kinds into stores of their own"
        )
    return float("ABCDE".find(letter[1].upper()) + 1) if len(letter[1]) == 1 else 0.0


def _seconds(table: CsvTable, row: int) -> float:
    """The video time of a row, as a clock or in seconds."""
    text = table.rows[row][0]
    found = _CLOCK.fullmatch(text)
    if found is not None:
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    return table.number(row, 0)


def read_imotions(path: Path) -> Imported:
    """Read exports of iMotions (6 to 10) and its external data: a clip a respondent.

    ``Timestamp`` is in milliseconds. Only rows in which the face was measured anew are frames:
    those whose ``EventSource`` names a face module, where it names any, and whose sample number,
    or else whose values, are not those of the row before, which iMotions repeats. AFFDEX's
    numbers, of 0 to 100, become shares.
    """
    logs = [
        (_imotions_id(clip_id), file, header)
        for clip_id, file in _files(path)
        if (header := find_header(file, _is_imotions)) is not None
    ]
    if not logs:
        raise FacerError(
            f"{path}: found no export of iMotions, expected one with Timestamp and columns of a "
            "face, such as Anger, Smile or AU12 Evidence"
        )
    first = logs[0][2].names
    names = _imotions_names(first)
    scale = {} if _named(first, ("eventsource",)) is None else {"scale": "percent / 100"}
    clips = (entry for log in logs for entry in _imotions_clips(*log, names))
    made = imported_provenance("imotions", "one face a frame", **scale)
    return Imported(tuple(names), (), made, clips)


def _is_imotions(cells: Sequence[str]) -> bool:
    return _named(cells, ("timestamp",)) is not None and bool(_imotions_names(cells))


def _imotions_names(header: Sequence[str]) -> dict[str, str]:
    """Features by facer's names; of external data every column but the time."""
    if _named(header, ("eventsource",)) is None:
        own = header[:1] == ("timestamp",)
        return {name: name for name in header[1:] if name} if own else {}
    known = {**_AFFDEX, **_WORDS, **{name: name for name in _AFFDEX_OTHERS}}
    evidence = {name: name for name in header if name.lower().endswith(" evidence")}
    return {known[name.lower()]: name for name in header if name.lower() in known} | evidence


def _imotions_id(clip_id: str) -> str:
    """Of external data: ``Ex_Data/PARTICIPANT/SOURCE/STIMULUS`` is PARTICIPANT/STIMULUS."""
    parts = PurePosixPath(clip_id).parts
    if "Ex_Data" in parts:
        parts = parts[parts.index("Ex_Data") + 1 :]
        parts = (*parts[:-2], parts[-1]) if len(parts) > 2 else parts
    return "/".join(parts)


def _imotions_clips(clip_id: str, file: Path, header: Header, names: Names) -> Iterator[Entry]:
    """Of every respondent of a file, in order; rows without a new measurement are left out."""
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
        yield _imotions_clip(one, CsvTable(file, header.names, lines, cells), names, native)


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


def _imotions_clip(clip_id: str, table: CsvTable, names: Names, native: bool) -> Entry:
    header = table.header
    features = table.numbers([header.index(name) for name in names.values()])
    time = _named(header, ("timestamp",))
    timestamp_s = table.numbers([time or 0])[:, 0] / 1000
    valid = np.asarray(~np.isnan(features).all(axis=1), np.bool_)
    if native:
        features = _shares(features, names)
        if (faces := _named(header, ("number of faces", "nooffaces"))) is not None:
            valid &= table.numbers([faces])[:, 0] != 0
    stimulus = _named(header, ("stimulusname", "sourcestimuliname")) if native else None
    stimuli = set(table.column(stimulus)) - {""} if stimulus is not None else set()
    note = f"{len(stimuli)} stimuli in one recording" if len(stimuli) > 1 else ""
    return imported_clip(clip_id, features, timestamp_s, valid, {}, note)


def _shares(values: F64, names: Names) -> F64:
    found: F64 = values / np.array([100.0 if name in _PERCENT else 1.0 for name in names])
    return found


def _named(header: Sequence[str], names: Sequence[str]) -> int | None:
    """The first column with one of some names, in lower case; the names in order."""
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)


def _files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return list(files_under(path, "").items())
    found: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        if any(path.rglob(f"*{suffix}")):
            for clip_id, file in files_under(path, suffix).items():
                found[clip_id if clip_id not in found else f"{clip_id}{suffix}"] = file
    return sorted(found.items())


def _table(file: Path, header: Header) -> CsvTable:
    rows = list(rows_below(file, header))
    lines, cells = zip(*rows, strict=True) if rows else ((), ())
    return CsvTable(file, header.names, lines, cells)
