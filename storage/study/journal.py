"""A csv table that grows and shrinks by a row at a time, while people may edit it elsewhere."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic
from facer.storage.files.csv_table import csv_text, plain_name, read_table
from facer.storage.files.refusals import refusing

Row = Mapping[str, str]
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)  # of a file system


class RowGoneError(FacerError):
    """A row that somebody else took away."""


class Journal:
    """Rows of a csv file, which is read before each change and then written whole or not at all.

    Columns that others added stay, the separator that a spreadsheet gave the file too (decimal
    commas need it), and rows that other processes write at the same time: each change holds a
    lock on an empty file beside it. The file is made with the first row.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self._columns = tuple(columns)

    def add(self, row: Row) -> None:
        """Append a row; FacerError where the file is none of ours or cannot be written."""
        with self._alone():
            header, rows, separator = self._read()
            header = [*header, *(name for name in self._columns if name not in header)]
            self._write(header, [*rows, row], separator)

    def remove(self, row: Row) -> None:
        """Take away the latest row with the same cells; RowGoneError where there is none."""
        with self._alone():
            header, rows, separator = self._read()
            same = [place for place, other in enumerate(rows) if self._key(other) == self._key(row)]
            if not same:
                raise RowGoneError(f"{self.path}: found that row no longer, expected it there")
            del rows[same[-1]]
            self._write(header, rows, separator)

    def rows(self) -> list[dict[str, str]]:
        """Return all rows, by column."""
        return self._read()[1]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep every other thread and process from a change meanwhile."""
        file = self.path.resolve()  # a link stays one
        path = file.with_name(f".{file.name}.lock")
        with refusing("write", str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                lock = os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o666)
            except PermissionError:
                if not path.exists():
                    raise
                lock = os.open(path, flags | os.O_RDONLY)  # another user of the folder made it
        try:
            with refusing("lock", str(path)):
                _lock(lock)
            yield
        finally:
            os.close(lock)

    def _key(self, row: Row) -> tuple[str, ...]:
        return tuple(row.get(name, "") for name in self._columns)

    def _read(self) -> tuple[list[str], list[dict[str, str]], str]:
        """Return the header, the rows and the separator."""
        if not self.path.exists():
            return list(self._columns), [], ","
        table = read_table(self.path)
        names = {plain_name(name): name for name in self._columns}
        header = [names.get(plain_name(name), name) for name in table.header]
        twice = [name for name in self._columns if header.count(name) > 1]
        if twice:
            raise FacerError(f"{self.path}: found column {twice[0]!r} twice, expected it once")
        rows = [dict(zip(header, cells, strict=True)) for cells in table.rows]
        return header, rows, table.dialect.separator

    def _write(self, header: Sequence[str], rows: Sequence[Row], separator: str) -> None:
        cells = [[row.get(name, "") for name in header] for row in rows]
        text = csv_text([header, *cells], separator)
        if "\0" in text or text.encode(errors="ignore").decode() != text:
            raise FacerError(
                f"{self.path}: found a name that is no text of Unicode; rename that clip"
            )
        write_atomic(self.path.resolve(), text)


def _lock(file: int) -> None:
    """Wait for the lock of an open file, which its closing gives back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
