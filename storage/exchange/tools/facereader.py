"""Features of FaceReader's detailed logs.

They have lines of their own above the table, and words where no face was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.cells import is_absent
from facer.storage.files.csv_table import CsvTable
from facer.storage.files.headed import Header, find_header, table_below
from facer.storage.layout.parts import Entry
from facer.storage.schema import VALENCE_AROUSAL, Record

_SUFFIXES = (".txt", ".csv", ".tsv")
WORDS = {
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


def read_facereader(path: Path) -> Imported:
    """Read detailed logs of FaceReader (5 to 9), one a clip; ``_detailed`` is not in its id.

    A frame with a failure word (``FIND_FAILED``, ``FIT_FAILED``) is not valid. Units on the letter
    scale are 0 for ``NotActive`` and 1 to 5 for A to E; numbers stay numbers. Other logs of a
    folder, such as state logs, are passed over.
    """
    logs: dict[str, tuple[Path, Header]] = {}
    for log_id, file in log_files(path):
        clip_id, header = log_id.removesuffix("_detailed"), find_header(file, _is_detailed)
        if header is not None and clip_id in logs:
            other = logs[clip_id][0].name
            raise FacerError(f"{file}: found {other} beside it, expected one of them")
        if header is not None:
            logs[clip_id] = file, header
    if not logs:
        raise FacerError(
            f"{path}: found no detailed log of FaceReader, expected one with Video Time and "
            "expressions"
        )
    first, header = next(iter(logs.values()))
    names = imported.distinct(first, _names(header.names))
    letters = _have_letters((table_below(*log) for log in logs.values()), names)
    scale = {"au_scale": "intensity 0 to 5"} if letters else {}
    clips = (
        imported.noted(
            _clip(clip_id, table_below(*log), names, letters), names, _names(log[1].names)
        )
        for clip_id, log in logs.items()
    )
    made = imported.provenance("facereader", "one face a frame", **scale)
    return Imported(tuple(names), (), made, clips)


def _is_detailed(cells: Sequence[str]) -> bool:
    return cells[:1] == ("Video Time",) and bool(_names(cells))


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in header:
        unit = _UNIT.fullmatch(name)
        if unit is not None:
            side = f"_{unit[2].lower()}" if unit[2] else ""
            found.append((f"au{int(unit[1]):02d}{side}", name))
        elif name.lower() in WORDS:
            found.append((WORDS[name.lower()], name))
        elif _ORIENTATION.fullmatch(name):
            found.append((name, name))
    return found


def _have_letters(tables: Iterable[CsvTable], names: Names) -> bool:
    """Whether the first unit that is measured in any of the logs is a letter."""
    for table in tables:
        units = [table.where(name) for new, name in names.items() if new.startswith("au")]
        for text in (row[place] for row in table.rows for place in units):
            if not _FAILED.fullmatch(text) and not is_absent(text):
                return _LETTER.fullmatch(text) is not None
    return False


def _clip(clip_id: str, table: CsvTable, names: Names, letters: bool) -> Entry:
    if not table.rows:
        return Record(clip_id, "failed", 0, reason="its file has no rows"), None
    places = {new: table.where(name) for new, name in names.items()}
    features = np.full((len(table.rows), len(names)), np.nan)
    for i, row in enumerate(table.rows):
        for j, (name, place) in enumerate(places.items()):
            if not _FAILED.fullmatch(row[place]):
                letter = letters and name.startswith("au")
                features[i, j] = _cell(table, i, place, letter)
    valid = imported.measured(features)
    timestamp_s = np.array([_seconds(table, i) for i in range(len(table.rows))])
    if not any(_CLOCK.fullmatch(cell) for cell in table.column(0)):
        timestamp_s = imported.seconds(timestamp_s)
    note = "letters of the units are kept as 0 (not active) to 5 (E)" if letters else ""
    return imported.clip(clip_id, features, timestamp_s, valid, {}, note)


def _cell(table: CsvTable, row: int, place: int, letters: bool) -> float:
    text = table.rows[row][place]
    letter = _LETTER.fullmatch(text)
    number = np.nan if letter else table.number(row, place)
    if (letters and not np.isnan(number)) or (letter and not letters):
        kinds = ("the letter", "numbers") if letter else ("the number", "letters")
        raise FacerError(
            f"{table.at(row)}: column {table.header[place]!r}: found {kinds[0]} {text!r}, expected "
            f"{kinds[1]} as in the first file; import both kinds into stores of their own"
        )
    if letter is None:
        return number
    return float("ABCDE".find(letter[1].upper()) + 1) if len(letter[1]) == 1 else 0.0


def _seconds(table: CsvTable, row: int) -> float:
    """The video time of a row, as a clock or in seconds."""
    text = table.rows[row][0]
    found = _CLOCK.fullmatch(text)
    if found is not None:
        hours, minutes, seconds = found.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))
    return table.number(row, 0)


def log_files(path: Path) -> list[tuple[str, Path]]:
    """Return the logs at or below a path, by the id of their clips."""
    if path.is_file():
        return list(imported.files_under(path, "").items())
    shown = (file for file in path.rglob("*") if not file.name.startswith("."))
    endings = {file.suffix.lower() for file in shown}
    found: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        files = imported.files_under(path, suffix) if suffix in endings else {}
        for clip_id, file in files.items():
            found[clip_id if clip_id not in found else f"{clip_id}{suffix}"] = file
    return sorted(found.items())
