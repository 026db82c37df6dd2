"""Csv files read strictly: every complaint names the file, the line and the column."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from facer.storage.errors import FacerError, one_line
from facer.storage.files.cells import is_absent, parse_number, plain_cell, safe_cell
from facer.storage.files.dialects import Dialect, find_dialect, undecodable
from facer.storage.files.regular import open_regular
from facer.storage.schema import F64

_LINE_LETTERS = 1 << 24
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
_HUNDREDS = re.compile(r"[-+]?[1-9]\d{2,}")


@dataclass(frozen=True)
class CsvTable:
    """A csv file with a header: cells as text, without spaces around them."""

    path: Path
    header: tuple[str, ...]
    lines: tuple[int, ...]  # line number of each row
    rows: tuple[tuple[str, ...], ...]
    dialect: Dialect = field(default_factory=Dialect)

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

    def required(self, *names: str | tuple[str, ...]) -> list[int]:
        """Return the columns of these names, or of one of several each; FacerError for none."""
        found = [self.index(*([name] if isinstance(name, str) else name)) for name in names]
        there = [place for place in found if place is not None]
        if len(there) < len(names):
            *first, last = (name if isinstance(name, str) else name[0] for name in names)
            raise FacerError(
                f"{self.path}: found columns {', '.join(self.header[:8])}, expected "
                f"{', '.join(first)} and {last}"
            )
        return there

    def column(self, index: int) -> list[str]:
        """Return the cells of one column."""
        return [cells[index] for cells in self.rows]

    def number(self, row: int, column: int, remedy: str = "") -> float:
        """Return one cell as a number, NaN when it is empty; FacerError, with ``remedy``, for text.

        A first row without any number is taken for a second header.
        """
        text = self.rows[row][column]
        value = parse_number(text)
        if value is None:
            words = all(is_absent(c) or parse_number(c) is None for c in self.rows[0])
            if row == 0 and words and self.column(column).count(text) == 1:
                remedy += "; a second header line, as survey tools write, is to be taken out"
            raise FacerError(
                f"{self.at(row)}: column {self.header[column]!r}: found {text!r}, expected a "
                f"number or nothing{remedy}"
            )
        return value

    def numbers(self, columns: Sequence[int]) -> F64:
        """Return several columns as numbers (rows, columns), as :meth:`number` does."""
        cells = [[row[column] for column in columns] for row in self.rows]
        try:
            values = np.array(cells, np.float64).reshape(len(cells), len(columns))
        except ValueError:
            values = None
        underscore = any("_" in cell for row in cells for cell in row)  # numpy reads 1_0 as 10
        if values is None or np.isinf(values).any() or underscore:
            # find the cell, or read the empty ones
            for column in columns:
                self.refuse_thousands(column)
            rows = range(len(self.rows))
            values = np.array([[self.number(row, column) for column in columns] for row in rows])
        return values

    def refuse_thousands(self, column: int) -> None:
        """Raise FacerError for "1,300" where nothing tells a thousand from a decimal comma: in a
        file that commas separate, and beside whole numbers from 100 on alone.
        """
        rows = [row for row, cell in enumerate(self.column(column)) if "," in cell]
        with_comma = [self.rows[row][column] for row in rows]
        others = [cell for cell in self.column(column) if "," not in cell and not is_absent(cell)]
        doubtful = self.dialect.separator == "," or (
            bool(others) and all(_HUNDREDS.fullmatch(cell) for cell in others)
        )
        if doubtful and rows and all(_THOUSANDS.fullmatch(cell) for cell in with_comma):
            raise FacerError(
                f"{self.at(rows[0])}: column {self.header[column]!r}: found {with_comma[0]!r}, "
                f"which may be {with_comma[0].replace(',', '')} or "
                f"{with_comma[0].replace(',', '.')}; write the numbers without a separator of "
                "thousands and with a decimal point"
            )

    def require_seconds(self, column: int) -> None:
        """Raise FacerError for a clock (``0:01.5``), a percentage and what may be a thousand."""
        self.refuse_thousands(column)
        for row, cell in enumerate(self.column(column)):
            if ":" in cell or "%" in cell:
                raise FacerError(
                    f"{self.at(row)}: column {self.header[column]!r}: found {cell!r}, expected "
                    "seconds, such as 62.5 for 1:02.5"
                )


def plain_name(name: str) -> str:
    """Return a column name as it is compared: ``Empathic-Pain`` is ``empathic pain``."""
    name = unicodedata.normalize("NFC", name)
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def csv_text(rows: Iterable[Iterable[object]], separator: str = ",") -> str:
    """Return rows as the text of a csv file, whose cells no spreadsheet runs as formulas."""
    text = io.StringIO()
    safe = ([safe_cell(c) if isinstance(c, str) else c for c in cells] for cells in rows)
    csv_writer(text, separator).writerows(safe)
    return text.getvalue()


def csv_writer(file: IO[str], separator: str = ",") -> Any:
    """Return a ``csv.writer`` whose lines end in a line feed, and that quotes a carriage return."""
    lines = _LineFeeds(file)
    return csv.writer(lines, delimiter=separator, lineterminator="\r\n")  # quotes what is in that


class _LineFeeds:
    def __init__(self, file: IO[str]) -> None:
        self._write = file.write

    def write(self, line: str) -> None:
        """Write a line of ``csv.writer``."""
        self._write(line.removesuffix("\r\n") + "\n")


def read_table(path: Path, least: int = 2) -> CsvTable:
    """Read a csv file whose first line is a header, and say what it was in ``dialect``.

    Cells are separated by commas, semicolons or tabs, the text is UTF-8 or marked UTF-16.

    Raises FacerError when it cannot be read, is empty, has fewer than ``least`` columns, repeats
    a column name, or has a row with more or fewer cells than the header.
    """
    dialect = find_dialect(path)
    lines: list[int] = []
    rows: list[tuple[str, ...]] = []
    for line, cells in iterate_rows(path, dialect, least):
        lines.append(line)
        rows.append(cells)
    header, rows = rows[0], rows[1:]
    _refuse_title(path, lines, header, rows)
    return CsvTable(path, header, tuple(lines[1:]), tuple(rows), dialect)


def _refuse_title(
    path: Path, lines: Sequence[int], header: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Refuse a first line with names missing, as of merged cells, above one of words alone."""
    if not all(header) and rows and all(c and parse_number(c) is None for c in rows[0]):
        raise FacerError(
            f"{path}:{lines[0]}: found a title, or names over several columns, above what look "
            f"like the names in line {lines[1]}, expected one line of names; take the first one out"
        )


def iterate_rows(
    path: Path, dialect: Dialect | None = None, least: int = 2
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, cells) of the header and then of each row, as :func:`read_table`."""
    dialect = dialect or find_dialect(path)
    header: tuple[str, ...] | None = None
    for line, raw in _raw_rows(path, dialect):
        cells = tuple(plain_cell(cell.strip()) for cell in raw)
        if header is None:
            header = cells = tuple(" ".join(cell.split()) for cell in cells)  # names of one line
            _check_header(path, line, header, least)
        elif len(cells) != len(header) + dialect.row_names:
            raise FacerError(_other_width(path, line, cells, header))
        elif dialect.row_names:
            cells = cells[1:]
        yield line, cells
    if header is None:
        raise FacerError(f"{path}: found an empty file, expected a header line")


def _other_width(path: Path, line: int, cells: Sequence[str], header: Sequence[str]) -> str:
    if header[0].startswith("#"):
        return _comment(path, line, header)
    message = f"{path}:{line}: found {len(cells)} cells, expected {len(header)} as in the header"
    if len(cells) == len(header) + 1:
        message += (
            "; a cell that has the separator in it needs quotes, and R's row names need "
            "write.table(row.names = FALSE)"
        )
    return message


def _raw_rows(path: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with open_text(path, dialect) as lines:
            if dialect.sep_line:
                next(lines)
            reader = csv.reader(
                lines, strict=True, skipinitialspace=True, delimiter=dialect.separator
            )
            for cells in reader:
                line = reader.line_num + dialect.sep_line
                if any(cell.strip() for cell in cells):
                    yield line, cells
    except csv.Error as error:
        raise FacerError(
            f"{path}:{line + 1}: cannot be read as utf-8 csv: {error} (taken for {dialect})"
        ) from error


@contextmanager
def open_text(
    path: Path, dialect: Dialect, newline: str | None = "", what: str = "csv text"
) -> Iterator[Iterator[str]]:
    """Give the lines of a file, none of which takes all memory; FacerError when it is no text."""
    try:
        with io.TextIOWrapper(
            open_regular(path, what, str(path)), encoding=dialect.codec, newline=newline
        ) as file:
            yield _bounded_lines(path, file)
    except UnicodeDecodeError as error:
        raise FacerError(undecodable(path, dialect)) from error
    except OSError as error:
        raise FacerError(f"{path}: cannot be read: {one_line(error)}") from error


def _bounded_lines(path: Path, file: IO[str]) -> Iterator[str]:
    while line := file.readline(_LINE_LETTERS):
        if len(line) == _LINE_LETTERS:
            raise FacerError(
                f"{path}: found a line of {_LINE_LETTERS} characters or more, expected csv text"
            )
        yield line


def _comment(path: Path, line: int, header: Sequence[str]) -> str:
    return (
        f"{path}:{line}: found a comment ({header[0]!r}) in the first line, expected the names of "
        "the columns; take the lines that begin with # out"
    )


def looks_like_a_row(header: Sequence[str]) -> bool:
    """Tell a first line that is no header: one of its names is a number with a decimal point."""
    return any("." in name and parse_number(name) is not None for name in header)


def _check_header(path: Path, line: int, header: Sequence[str], least: int) -> None:
    if header[0].startswith("#") and len(header) < 2:
        raise FacerError(_comment(path, line, header))
    if len(header) < least:
        raise FacerError(
            f"{path}:{line}: found the single column {header[0]!r}, expected several columns "
            f"separated by commas, semicolons or tabs; a title above the names is to be taken out, "
            f"and R's row names need a name of their own (write.table(row.names = FALSE))"
        )
    seen: set[str] = set()
    for name in header:
        if name and name in seen:
            bare = "; is this a row already? Names of columns stand in the first line"
            number = bare if parse_number(name) is not None else ""
            raise FacerError(
                f"{path}:{line}: found column {name!r} twice, expected it once{number}"
            )
        seen.add(name)
