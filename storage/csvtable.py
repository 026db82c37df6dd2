"""Csv files read strictly: every complaint names the file, the line and the column."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facer.storage.challenges import plain_name
from facer.storage.errors import FacerError

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ABSENT = ("", "na", "-nan(ind)")  # the last is what OpenFace writes on Windows


@dataclass(frozen=True)
class Table:
    """A csv file with a header: cells as text, without spaces around them."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]  # line number of each row
    rows: tuple[tuple[str, ...], ...]

    def at(self, row: int) -> str:
        """Return "file:line" of a row."""
        return f"{self.path}:{self.lines[row]}"

    def index(self, *names: str) -> int | None:
        """Return the column with one of ``names``, upper or lower case; None when absent."""
        wanted = {plain_name(name) for name in names}
        return next((i for i, name in enumerate(self.header) if plain_name(name) in wanted), None)

    def where(self, name: str) -> int:
        """Return the column with exactly this name; FacerError when absent."""
        if name not in self.header:
            raise FacerError(
                f"{self.path}: found {len(self.header)} columns, expected one named {name!r}"
            )
        return self.header.index(name)

    def column(self, index: int) -> list[str]:
        """Return the cells of one column."""
        return [cells[index] for cells in self.rows]

    def number(self, row: int, column: int) -> float:
        """Return one cell as a number, NaN when it is empty; FacerError when it is text."""
        text = self.rows[row][column]
        value = parse_number(text)
        if value is None:
            raise FacerError(
                f"{self.at(row)}: column {self.header[column]!r}: found {text!r}, expected a "
                f"number or nothing"
            )
        return value

    def numbers(self, columns: Sequence[int]) -> npt.NDArray[np.float64]:
        """Return several columns as numbers (rows, columns), as :meth:`number` does."""
        cells = [[row[column] for column in columns] for row in self.rows]
        try:
            values = np.array(cells, np.float64).reshape(len(cells), len(columns))
        except ValueError:
            values = None
        if values is None or np.isinf(values).any():  # find the cell, or read the empty ones
            rows = range(len(self.rows))
            values = np.array([[self.number(row, column) for column in columns] for row in rows])
        return values


def parse_number(text: str) -> float | None:
    """Return a finite number, NaN for an absent one, or None for anything else."""
    if text.lower() in _ABSENT:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isinf(value) or "_" in text else value


def safe_cell(text: str) -> str:
    """Return a cell of text that no spreadsheet runs as a formula; numbers stay as they are.

    An apostrophe is put before it, as spreadsheets do; :func:`plain_cell` takes it away.
    """
    return f"'{text}" if _FORMULA.match(text) and parse_number(text) is None else text


def plain_cell(text: str) -> str:
    """Return what :func:`safe_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_table(path: Path) -> Table:
    """Read a comma-separated utf-8 file whose first line is a header.

    Raises FacerError when it cannot be read, is empty, repeats a column name, or has a row
    with more or fewer cells than the header.
    """
    lines: list[int] = []
    rows: list[tuple[str, ...]] = []
    for line, cells in iterate_rows(path):
        lines.append(line)
        rows.append(cells)
    header, rows = rows[0], rows[1:]
    return Table(path, header, tuple(lines[1:]), tuple(rows))


def iterate_rows(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, cells) of the header and then of each row, as :func:`read_table`."""
    width: int | None = None
    for line, raw in _raw_rows(path):
        cells = tuple(plain_cell(cell.strip()) for cell in raw)
        if width is None:
            _check_header(path, line, cells)
            width = len(cells)
        elif len(cells) != width:
            raise FacerError(
                f"{path}:{line}: found {len(cells)} cells, expected {width} as in the header"
            )
        yield line, cells
    if width is None:
        raise FacerError(f"{path}: found an empty file, expected a header line")


def _raw_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for cells in reader:
                line = reader.line_num
                if any(cells):
                    yield line, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise FacerError(f"{path}:{line + 1}: cannot be read as utf-8 csv: {error}") from error
    except OSError as error:
        raise FacerError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_header(path: Path, line: int, header: Sequence[str]) -> None:
    if len(header) < 2:
        raise FacerError(
            f"{path}:{line}: found the single column {header[0]!r}, expected several columns "
            f"separated by commas"
        )
    seen: set[str] = set()
    for name in header:
        if name and name in seen:
            raise FacerError(f"{path}:{line}: found column {name!r} twice, expected it once")
        seen.add(name)
