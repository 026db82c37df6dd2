"""Tables written row block by row block: csv, parquet, feather or SPSS's sav."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facer.storage.errors import FacerError, named
from facer.storage.files.cells import safe_cell
from facer.storage.files.csv_table import csv_writer
from facer.storage.optional import optional
from facer.storage.study.columns import Block, Cells, Column
from facer.storage.study.table_formats import TableFormat
from facer.storage.text.names import numbered

_SAV_NAME = 64  # bytes that SPSS allows
_SAV_WORDS = frozenset(
    ["ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"]
)  # of SPSS's syntax
_ROW_GROUP = 100_000  # rows
_SAV_ROWS = 2_000_000
_NONE: Mapping[str, str] = {}


class TableWriter(Protocol):
    """A table that grows by blocks of rows."""

    def write(self, block: Block) -> None:
        """Add rows; every column is in the block, all of one length."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_table(
    path: Path, columns: Sequence[Column], form: TableFormat, metadata: Mapping[str, str] = _NONE
) -> TableWriter:
    """Begin a table at a new path; FacerError where the format needs what is not installed.

    ``metadata`` goes into the file's own, where the format has some (parquet and feather).
    """
    if form == "csv":
        return _Csv(path, columns)
    return _Sav(path, columns) if form == "sav" else _Arrow(path, columns, form, metadata)


def rows_of(block: Block) -> int:
    """Number of rows of a block."""
    return len(next(iter(block.values()), ()))


class _Csv:
    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.file = path.open("w", newline="", encoding="utf-8")
        self.rows = csv_writer(self.file)
        self.rows.writerow([safe_cell(column.name) for column in columns])

    def write(self, block: Block) -> None:
        cells = [_texts(block[column.name], column) for column in self.columns]
        self.rows.writerows(zip(*cells, strict=True))

    def close(self) -> None:
        self.file.close()


def _texts(values: Cells, column: Column) -> Iterable[str]:
    if column.kind == "text":
        cells = {value: safe_cell(value or "") for value in dict.fromkeys(values)}
        return map(cells.__getitem__, values)
    if column.dtype:
        return number_cells(values)
    if column.kind == "integer":
        return ["" if _absent(value) else str(int(value)) for value in values]
    numbers = np.asarray(values, np.float64).tolist()
    return ["" if value != value else f"{value:.9g}" for value in numbers]


def number_cells(values: Cells) -> list[str]:
    """Return the shortest texts that read back as the same numbers; nothing for NaN and None."""
    return ["" if value is None or value != value else str(value) for value in values]


def _absent(value: Any) -> bool:
    return value is None or value != value


def _package(module: str, extra: str, form: TableFormat) -> Any:
    """What a format needs that not everybody has."""
    return optional(module, extra, form, f", or {named('format')} csv")


class _Arrow:
    """Parquet or feather; both are written batch by batch."""

    def __init__(
        self, path: Path, columns: Sequence[Column], form: TableFormat, metadata: Mapping[str, str]
    ) -> None:
        self.columns = columns
        self.waiting: list[Any] = []
        self.arrow = _package("pyarrow", "parquet", form)
        fields = [(column.name, self._type(column, form)) for column in columns]
        self.schema = self.arrow.schema(fields, metadata or None)
        self.file: Any
        if form == "parquet":
            parquet = _package("pyarrow.parquet", "parquet", form)
            self.file = parquet.ParquetWriter(path, self.schema, compression="zstd")
        else:
            options = self.arrow.ipc.IpcWriteOptions(compression="lz4")
            self.file = self.arrow.ipc.new_file(str(path), self.schema, options=options)

    def _type(self, column: Column, form: TableFormat) -> Any:
        if column.kind == "text":
            one = self.arrow.string()
            coded = column.dtype == "dictionary" and form == "parquet"  # feather takes one alone
            return self.arrow.dictionary(self.arrow.int32(), one) if coded else one
        usual = "int64" if column.kind == "integer" else "float64"
        one = self.arrow.type_for_alias(column.dtype or usual)
        return self.arrow.list_(one, column.width) if column.width else one

    def write(self, block: Block) -> None:
        arrays = [
            self._array(block[column.name], column, field.type)
            for column, field in zip(self.columns, self.schema, strict=True)
        ]
        self.waiting.append(self.arrow.table(arrays, schema=self.schema))
        if sum(table.num_rows for table in self.waiting) >= _ROW_GROUP:
            self._flush()

    def _array(self, values: Any, column: Column, type_: Any) -> Any:
        if isinstance(values, np.ndarray) and column.width:
            flat = self.arrow.array(values.ravel())
            return self.arrow.FixedSizeListArray.from_arrays(flat, column.width)
        if column.dtype:
            plain = np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values
            return self.arrow.array(plain, type_)
        if column.kind == "integer":
            values = [None if _absent(value) else int(value) for value in values]
        elif column.kind == "number":
            values = np.asarray(values, np.float64)
        return self.arrow.array(values, type_, from_pandas=True)

    def _flush(self) -> None:
        if self.waiting:
            self.file.write_table(self.arrow.concat_tables(self.waiting).combine_chunks())
            self.waiting = []

    def close(self) -> None:
        self._flush()
        self.file.close()


class _Sav:
    """SPSS: all rows are kept until the end, because its writer takes a whole table."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.path, self.columns = path, columns
        self.writer, _ = (_package(name, "tables", "sav") for name in ("pyreadstat", "pandas"))
        self.rows = Collected(columns)

    def write(self, block: Block) -> None:
        self.rows.write(block)
        if self.rows.length > _SAV_ROWS:
            raise FacerError(
                f"{self.path.name}: found more than {_SAV_ROWS} rows, expected fewer for SPSS; "
                f"{named('format')} csv or parquet"
            )

    def close(self) -> None:
        names = sav_names([column.name for column in self.columns])
        frame = self.rows.frame().set_axis(names, axis=1)
        labels = [f"{column.definition} [{column.unit}]"[:256] for column in self.columns]
        try:
            self.writer.write_sav(frame, str(self.path), column_labels=labels)
        except self.writer.ReadstatError as error:  # it does not say which of the system's it was
            raise OSError(f"{error} ({self.path.name}); see that there is space left") from error


def sav_names(names: Sequence[str]) -> list[str]:
    """Return names that SPSS takes: a letter first, no signs, at most 64 bytes, no two alike
    but for their case.

    >>> sav_names(["au12", "2nd", "With"])
    ['au12', 'v_2nd', 'v_With']
    """
    found = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name).rstrip("_")
        taken = plain.upper() in _SAV_WORDS or not plain[:1].isalpha()
        found.append((f"v_{plain}" if taken else plain)[:_SAV_NAME].rstrip("_"))
    return numbered(found, limit=_SAV_NAME)


class Collected:
    """A table in memory."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.blocks: list[Block] = []
        self.length = 0

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Collected:
        """Return the table of some rows, each with a cell a column."""
        table = cls(columns)
        table.write({c.name: [row[i] for row in rows] for i, c in enumerate(columns)})
        return table

    def to_csv(self, path: Path) -> None:
        """Write the table to a new file."""
        written = open_table(path, self.columns, "csv")
        for block in self.blocks:
            written.write(block)
        written.close()

    def write(self, block: Block) -> None:
        """Add rows."""
        self.blocks.append(block)
        self.length += rows_of(block)

    def close(self) -> None:
        """Nothing is left to do."""

    def frame(self) -> Any:
        """Return a pandas.DataFrame; FacerError without pandas."""
        pandas = optional("pandas")
        made = {}
        for column in self.columns:
            values = [value for block in self.blocks for value in block[column.name]]
            if column.kind == "number":
                made[column.name] = np.array(values, np.float64)
            elif column.kind == "integer":
                whole = np.array([math.nan if _absent(v) else v for v in values], np.float64)
                some = np.isnan(whole).any()
                made[column.name] = whole if some else whole.astype(np.int64)
            else:
                made[column.name] = pandas.array(values, dtype="str")
        return pandas.DataFrame(made)
