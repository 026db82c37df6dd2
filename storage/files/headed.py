"""Tables with lines of their own above the header, as programs of laboratories write them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from facer.storage.errors import FacerError
from facer.storage.files.csv_table import CsvTable, open_text
from facer.storage.files.dialects import find_dialect

_HEAD_LINES = 300  # among which the header must be
_SEPARATORS = "\t;,"

IsHeader = Callable[[Sequence[str]], bool]
"""Tells the header by its cells."""


class Header(NamedTuple):
    """The names of a table's columns, what stands above them, and how the rows are separated."""

    above: tuple[str, ...]
    names: tuple[str, ...]
    separator: str


def find_header(path: Path, is_header: IsHeader) -> Header | None:
    """Find the header of a table among the first lines of a file; None where none is.

    Cells are separated by tabs, semicolons or commas, whichever the header is. A name that is
    there again gets a number (``EventSource.1``). FacerError for a file that cannot be read.
    """
    above: list[str] = []
    with closing(_lines(path)) as lines:
        for number, line in lines:
            for separator in _SEPARATORS:
                cells = _cells(line, separator)
                if is_header(cells):
                    return Header(tuple(above), _numbered(cells), separator)
            above.append(line.rstrip("\r\n"))
            if number >= _HEAD_LINES:
                break
    return None


def rows_below(path: Path, header: Header) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line number, cells) of every row; FacerError for one of more cells than the header."""
    width = len(header.names)
    for number, line in _lines(path):
        if number <= len(header.above) + 1:
            continue
        cells = _cells(line, header.separator)
        if not any(cells):
            continue
        if any(cells[width:]):
            raise FacerError(
                f"{path}:{number}: found {len(cells)} cells, expected {width} as in the header"
            )
        yield number, (*cells[:width], *[""] * (width - len(cells)))


def table_below(path: Path, header: Header) -> CsvTable:
    """Return the rows of :func:`rows_below` as a table."""
    rows = list(rows_below(path, header))
    lines, cells = zip(*rows, strict=True) if rows else ((), ())
    return CsvTable(path, header.names, lines, cells)


def _lines(path: Path) -> Generator[tuple[int, str], None, None]:
    with open_text(path, find_dialect(path), None, "text") as lines:
        yield from enumerate(lines, 1)


def _cells(line: str, separator: str) -> tuple[str, ...]:
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return tuple(cell.strip() for cell in row)


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        again = sum(one == name or one.startswith(f"{name}.") for one in found)
        found.append(f"{name}.{again}" if name and name in found else name)
    return tuple(found)
