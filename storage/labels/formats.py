"""Readers of label files: the challenges' formats and plain csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from facer.storage.errors import FacerError
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.labels.challenges import CHALLENGES, bare_id, positions
from facer.storage.labels.columns import (
    Columns,
    by_hand,
    choose_columns,
    columns_by_hand,
    id_column,
    left_out_of,
    split_column,
    subject_column,
)
from facer.storage.labels.doubts import many_rows, refuse_row_as_header, refuse_two_vals
from facer.storage.labels.options import LabelKind, LabelOptions
from facer.storage.labels.recognise import EMI_FILES
from facer.storage.labels.values import is_excluded, notation, read_value, split_of
from facer.storage.labels.words import names_people

SplitOf = Callable[[int], str]  # the split of a row


@dataclass(frozen=True)
class Row:
    """One clip's labels and where they were found ("file:line")."""

    at: str
    clip_id: str
    values: tuple[float, ...]
    split: str = ""
    subject: str = ""


@dataclass(frozen=True)
class LabelTable:
    """What was read from a file or folder, and how."""

    names: tuple[str, ...]  # of the targets
    rows: tuple[Row, ...]
    files: tuple[Path, ...]  # that were read
    dialect: str  # what they were taken for
    columns: Mapping[str, str]  # id, split, subject: the column's name
    left_out: tuple[tuple[str, str], ...] = ()  # columns that were not read, and why
    excluded: int = 0  # rows that the file itself leaves out
    notes: tuple[str, ...] = ()


def _read_plain(source: Path, options: LabelOptions) -> LabelTable:
    """Read one table whose columns have any names."""
    table = read_table(_file(source, "labels.csv"))
    columns = choose_columns(table, options)
    kept = [
        row
        for row in range(len(table.rows))
        if columns.exclude is None or not is_excluded(table, row, columns.exclude)
    ]
    rows = _rows(table, columns, kept, _splits_of(table, columns.split), options)
    if table.rows and not rows:
        raise FacerError(f"{table.path}: found exclude set in every row, expected clips to keep")
    ids = {bare_id(row.clip_id) for row in rows}
    again = len(ids) < len(rows)
    check_unique(rows, many_rows(table, columns.id, columns.targets) if again else "")
    beside = table.path.parent / "partition.csv"
    ignored = f"{beside} is not read beside a plain table; put the splits in a column of the table"
    roles = {"id": columns.id, "split": columns.split, "subject": columns.subject}
    return LabelTable(
        names=options.targets or tuple(table.header[column] for column in columns.targets),
        rows=rows,
        files=(table.path,),
        dialect=_dialect(table, columns.targets),
        columns={role: table.header[c] for role, c in roles.items() if c is not None},
        left_out=columns.left_out,
        excluded=len(table.rows) - len(kept),
        notes=(ignored,) if columns.split is None and beside.is_file() else (),
    )


def _rows(
    table: CsvTable, columns: Columns, kept: Iterable[int], split_of: SplitOf, options: LabelOptions
) -> tuple[Row, ...]:
    return tuple(
        Row(
            at=table.at(row),
            clip_id=_clip_id(table, row, columns.id),
            values=tuple(read_value(table, row, column, options) for column in columns.targets),
            split=split_of(row),
            subject="" if columns.subject is None else table.rows[row][columns.subject],
        )
        for row in kept
    )


def _splits_of(table: CsvTable, column: int | None) -> SplitOf:
    """Return what says of a row which split it is of: a column's cells, if there is one."""
    if column is not None:
        refuse_two_vals(table, column)
    return lambda row: "" if column is None else split_of(table, row, column)


def _dialect(table: CsvTable, targets: Sequence[int]) -> str:
    return ", ".join([str(table.dialect), *notation(table, targets)])


def _read_eri(source: Path, options: LabelOptions) -> LabelTable:
    table = read_table(_file(source, "data_info.csv"))
    named = options.split_column is not None
    column = split_column(table, options) if named else _required(table, "Split")
    return _challenge_table(table, "eri", options, _splits_of(table, column), column)


def _read_emi(source: Path, options: LabelOptions) -> LabelTable:
    """Read one split file, or those in a folder; the split is the file's name.

    The test split's may name the clips alone, which then have NaN values.
    """
    files = [source / name for name in EMI_FILES] if source.is_dir() else [source]
    if not source.is_dir() and source.name not in EMI_FILES:
        raise FacerError(f"{source}: found this file name, expected one of {', '.join(EMI_FILES)}")
    read = [_read_emi_file(file, options) for file in files if file.is_file()]
    rows = tuple(row for table in read for row in table.rows)
    check_unique(rows)
    return replace(read[0], rows=rows, files=tuple(file for table in read for file in table.files))


def _read_emi_file(file: Path, options: LabelOptions) -> LabelTable:
    split = EMI_FILES[file.name]
    table = read_table(file, 1 if split == "test" else 2)
    names = options.targets or CHALLENGES["emi"].names
    if split != "test" or positions(table.header, names):
        return _challenge_table(table, "emi", options, _always(split))
    column, absent = _id_column(table, "emi", options), (math.nan,) * len(names)
    rows = [
        Row(table.at(row), _clip_id(table, row, column), absent, split)
        for row in range(len(table.rows))
    ]
    return LabelTable(tuple(names), tuple(rows), (file,), str(table.dialect), {})


def _always(split: str) -> SplitOf:
    return lambda _: split


def _read_partitioned(source: Path, options: LabelOptions, kind: str) -> LabelTable:
    """Read ``labels.csv`` and the ``partition.csv`` beside it.

    A clip of the partition without a row of labels (the test split's) has NaN values.
    """
    table = read_table(_file(source, "labels.csv"))
    names = options.targets or CHALLENGES[kind].names
    path = table.path.parent / "partition.csv"
    partition = _read_partition(path, len(names), options)
    column = _id_column(table, kind, options)

    def split_of(row: int) -> str:
        clip_id = _clip_id(table, row, column)
        if bare_id(clip_id) not in partition:
            raise FacerError(
                f"{table.at(row)}: found {clip_id!r}, expected an id that partition.csv has"
            )
        return partition[bare_id(clip_id)].split

    read = _challenge_table(table, kind, options, split_of)
    labelled = {bare_id(row.clip_id) for row in read.rows}
    others = tuple(row for key, row in partition.items() if key not in labelled)
    return replace(read, rows=read.rows + others, files=(table.path, path))


def _read_partition(path: Path, n_targets: int, options: LabelOptions) -> dict[str, Row]:
    """Return a row without labels for each clip: an id by name or the first column, the split."""
    table = read_table(path)
    split, clip = _partition_columns(table, options)
    refuse_row_as_header(table, clip, split)
    split_of = _splits_of(table, split)
    absent = (math.nan,) * n_targets
    rows = [
        Row(table.at(row), _clip_id(table, row, clip), absent, split_of(row))
        for row in range(len(table.rows))
    ]
    check_unique(rows)
    return {bare_id(row.clip_id): row for row in rows}


def _partition_columns(table: CsvTable, options: LabelOptions) -> tuple[int, int]:
    """Return the columns of the splits and of the ids: by name, else the last and the first."""
    split = table.index("partition", "split")
    if options.split_column:
        split = by_hand(table, options.split_column, "split_column")
    elif split is None:
        split = len(table.header) - 1
    ids = [challenge.id_column for challenge in CHALLENGES.values()]
    clip = table.index(*filter(None, [options.id_column]), *ids)
    if clip is None:
        others = [c for c, name in enumerate(table.header) if name and c != split] or [0]
        clip = next((c for c in others if not names_people(table.header[c])), others[0])
    return split, clip


READERS: Mapping[LabelKind, Callable[[Path, LabelOptions], LabelTable]] = {
    "plain": _read_plain,
    "eri": _read_eri,
    "muse": partial(_read_partitioned, kind="muse"),
    "mimic": partial(_read_partitioned, kind="mimic"),
    "emi": _read_emi,
}


def _challenge_table(
    table: CsvTable,
    kind: str,
    options: LabelOptions,
    split_of: SplitOf,
    split: int | None = None,
) -> LabelTable:
    """Return rows with the challenge's targets, found by name, in its official order.

    ``split`` is the column that ``split_of`` reads, where it reads one of this table.
    """
    names = options.targets or CHALLENGES[kind].names
    where = positions(table.header, names)
    if options.targets:
        where = dict(zip(names, columns_by_hand(table, names), strict=True))
    missing = [name for name in names if name not in where]
    if missing:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected also "
            f"{', '.join(missing)} ({CHALLENGES[kind].title}); other targets go in a plain csv"
        )
    subject = subject_column(table, options)
    targets = tuple(where[name] for name in names)
    columns = Columns(_id_column(table, kind, options), None, subject, None, targets, ())
    rows = _rows(table, columns, range(len(table.rows)), split_of, options)
    check_unique(rows)
    roles = {"id": columns.id, "split": split, "subject": subject}
    found = {role: column for role, column in roles.items() if column is not None}
    return LabelTable(
        names=tuple(names),
        rows=rows,
        files=(table.path,),
        dialect=_dialect(table, targets),
        columns={role: table.header[column] for role, column in found.items()},
        left_out=left_out_of(
            table, {*targets, *found.values()}, f"no target of {CHALLENGES[kind].title}"
        ),
    )


def _file(source: Path, name: str) -> Path:
    return source / name if source.is_dir() else source


def _id_column(table: CsvTable, kind: str, options: LabelOptions) -> int:
    if options.id_column:
        return id_column(table, options, set())
    return _required(table, CHALLENGES[kind].id_column)


def _required(table: CsvTable, name: str) -> int:
    index = table.index(name)
    if index is None:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected a column {name!r}"
        )
    return index


def _clip_id(table: CsvTable, row: int, column: int) -> str:
    clip_id = table.rows[row][column]
    if not bare_id(clip_id):
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found nothing, expected a clip's id"
        )
    return clip_id


def check_unique(rows: Sequence[Row], remedy: str = "") -> None:
    """Refuse an id that is there twice, with brackets or without."""
    first: dict[str, str] = {}
    for row in rows:
        key = bare_id(row.clip_id)
        if key in first:
            raise FacerError(
                f"{row.at}: found id {row.clip_id!r} again, expected it once "
                f"(first in {first[key]}){remedy}"
            )
        first[key] = row.at
