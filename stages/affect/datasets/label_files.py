"""Label files of the frame databases, read strictly: every complaint names file and line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.files.cells import parse_number
from facer.storage.files.regular import read_regular
from facer.storage.labels.challenges import canonical_split
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32, F64, I64, Bools

Split = Literal["train", "val"]

_LIMIT_BYTES = 1 << 30  # of a database's annotations, which are read as a whole
_UNIT = re.compile(r"au[ _]?0*(\d+)", re.IGNORECASE)
_CLASS_NAMES = {
    **{name: name for name in EXPRESSIONS},
    "angry": "anger",
    "disgusted": "disgust",
    "afraid": "fear",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
    **dict.fromkeys(("other", "contempt", "none", "uncertain", "non-face"), ""),
}


@dataclass(frozen=True)
class LabelFile:
    """A text file of labels: a header and then one row a line, as text."""

    path: Path
    delimiter: str
    header: tuple[str, ...]
    lines: list[str]  # the rows
    first_line: int = 2  # line number of the first row

    def at(self, row: int | np.integer) -> str:
        """Return "file:line" of a row."""
        return f"{self.path}:{int(row) + self.first_line}"

    def numbers(self, columns: Sequence[int], width: int) -> F64:
        """The given columns of all rows, (rows, columns); every row has ``width`` cells.

        ``FacerError`` with file and line for another number of cells and for any cell that is
        no finite number.
        """
        counts = np.fromiter((line.count(self.delimiter) for line in self.lines), np.int64)
        if (wrong := np.flatnonzero(counts != width - 1)).size:
            raise FacerError(
                f"{self.at(wrong[0])}: found {counts[wrong[0]] + 1} cells, expected {width}"
            )
        if not self.lines:
            return np.zeros((0, len(columns)))
        try:
            values = np.loadtxt(
                self.lines, delimiter=self.delimiter, usecols=columns, ndmin=2, comments=None
            )
        except ValueError:
            values = np.zeros((0, len(columns)))
        if len(values) != len(self.lines) or not np.isfinite(values).all():
            return self._numbers_one_by_one(columns)
        return values

    def _numbers_one_by_one(self, columns: Sequence[int]) -> F64:
        rows = []
        for row, line in enumerate(self.lines):
            cells = line.split(self.delimiter)
            rows.append([self._number(row, cells[column]) for column in columns])
        return np.array(rows)

    def _number(self, row: int, cell: str) -> float:
        value = parse_number(cell.strip())
        if value is None or np.isnan(value):
            raise FacerError(f"{self.at(row)}: found {cell.strip()!r}, expected a number")
        return value

    def refuse_repeated(self) -> None:
        """``FacerError`` for a name, or an action unit, that two columns of the header have."""
        names = [unit_of(name) or name.lower() for name in self.header if name]
        for name, key in zip(filter(None, self.header), names, strict=True):
            if names.count(key) > 1:
                raise FacerError(f"{self.path}:1: found column {name!r} twice, expected it once")

    def cells(self, column: int) -> list[str]:
        """One cell of each row, without spaces and quotes around it."""
        return [line.split(self.delimiter)[column].strip(" '\"") for line in self.lines]

    def check(self, values: F64, good: Bools, expected: str) -> None:
        """``FacerError`` naming the first row (of ``values``, n rows) that is not good."""
        bad = np.argwhere(~good)
        if len(bad):
            row = bad[0, 0]
            found = values[tuple(bad[0])]
            raise FacerError(f"{self.at(row)}: found {found:g}, expected {expected}")


def read_label_file(path: Path) -> LabelFile:
    """Read a utf-8 text file; its first line is the header.

    Cells are divided by tabs when the first line has one, else by commas. Lines without text at
    the end are dropped; elsewhere they count, since in some files the line is the frame.
    """
    try:
        text = read_regular(path, "a text file", _LIMIT_BYTES).decode("utf-8-sig")
        lines = [line.removesuffix("\r") for line in text.split("\n")]
    except UnicodeDecodeError as error:
        raise FacerError(f"{path}: cannot be read as a text file ({error})") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise FacerError(f"{path}: found an empty file, expected a header line")
    delimiter = "\t" if "\t" in lines[0] else ","
    header = tuple(cell.strip() for cell in lines[0].split(delimiter))
    return LabelFile(path, delimiter, header, lines[1:])


def unit_of(name: str) -> int | None:
    """The number in an action unit's name: ``AU1``, ``AU01``, ``AU 1``; None for other names.

    >>> unit_of("AU 07"), unit_of("valence")
    (7, None)
    """
    match = _UNIT.fullmatch(name.strip())
    return int(match[1]) if match else None


def class_of(name: str, where: str) -> str:
    """The expression behind a database's class name, "" for classes that facer leaves out."""
    found = _CLASS_NAMES.get(name.strip().lower())
    if found is None:
        raise FacerError(
            f"{where}: found class {name!r}, expected one of {', '.join(EXPRESSIONS)} or other"
        )
    return found


def one_hot(classes: Sequence[str], numbers: I64) -> F32:
    """Rows (n, 7) of the classes that ``numbers`` (n,) index; NaN for "" and for -1."""
    table = np.full((len(classes) + 1, len(EXPRESSIONS)), np.nan, np.float32)
    for row, name in enumerate(classes):
        if name:
            table[row] = np.eye(len(EXPRESSIONS), dtype=np.float32)[EXPRESSIONS.index(name)]
    return table[numbers]  # -1 takes the last row, which is unlabelled


def units_by_name(names: Sequence[str], values: F64, unknown: Sequence[float]) -> F32:
    """Columns of named units put into facer's order, (n, 17); NaN for ``unknown`` and absent."""
    result = np.full((len(values), len(ACTION_UNITS)), np.nan, np.float32)
    numbers = [unit_of(name) for name in names]
    for column, unit in enumerate(ACTION_UNITS):
        if unit in numbers:
            found = values[:, numbers.index(unit)]
            result[:, column] = np.where(np.isin(found, unknown), np.nan, found)
    return result


def inside(text: str, where: str) -> str:
    """A path from an annotation file, ``/`` between its parts, that stays in the data folder.

    ``FacerError`` for an absolute path, a drive, ``..`` and an empty name.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    escapes = path.is_absolute() or PureWindowsPath(text).drive or ".." in path.parts
    if escapes or not path.name or "\0" in text:
        raise FacerError(
            f"{where}: found the path {text!r}, expected one below the data folder, without '..'"
        )
    return path.as_posix()


def split_in(name: str) -> str:
    """The split that a file or folder name speaks of (train, val or test), "" for none.

    >>> split_in("Validation_Set"), split_in("training_set_annotations"), split_in("images")
    ('val', 'train', '')
    """
    words = re.split(r"[^a-z]+", name.lower())
    found = [split for word in words if word and (split := canonical_split(word))]
    return found[0] if found else ""


def note(source: str, what: str, names: Sequence[str], total: int) -> tuple[str, ...]:
    """One line that counts and names what was left out; nothing when ``names`` is empty."""
    if not names:
        return ()
    return (f"{source}: {len(names)} of {total} {what}: {', '.join(names)}",)


def folders_below(root: Path, depth: int, skip: str) -> list[Path]:
    """``root`` and the folders below it, sorted, without those whose names start with ``skip``."""
    found = [root]
    if depth > 0:
        for child in sorted(entry.name for entry in _entries(root) if entry.is_dir()):
            if not child.startswith(skip):
                found += folders_below(root / child, depth - 1, skip)
    return found


def names_in(folder: Path) -> list[str]:
    """Names of the files and folders in a folder, listed once; none when it does not exist."""
    return [entry.name for entry in _entries(folder)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise FacerError(f"{folder}: cannot be read ({error.strerror})") from error
