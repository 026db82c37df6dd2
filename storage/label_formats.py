"""Readers of label files: the challenges' formats and plain csv."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from facer.storage.challenges import CHALLENGES, bare_id, canonical_split, positions
from facer.storage.csvtable import Table, parse_number, read_table
from facer.storage.errors import FacerError

LabelKind = Literal["plain", "eri", "muse", "emi", "mimic"]
KINDS: tuple[LabelKind, ...] = get_args(LabelKind)

_EMI_FILES = {"train_split.csv": "train", "valid_split.csv": "val", "test_split.csv": "test"}


@dataclass(frozen=True)
class Row:
    """One clip's labels and where they were found ("file:line")."""

    at: str
    clip_id: str
    values: tuple[float, ...]
    split: str = ""
    subject: str = ""


def recognise(source: Path) -> LabelKind:
    """Return the format that names of files and columns speak for."""
    if source.is_dir():
        if (source / "labels.csv").is_file():
            if not (source / "partition.csv").is_file():
                raise FacerError(
                    f"{source}: found labels.csv but no partition.csv, expected both (MuSe); for "
                    f"another kind give the file itself, {source / 'labels.csv'}"
                )
            return _partitioned_kind(read_table(source / "labels.csv")) or "muse"
        if any((source / name).is_file() for name in _EMI_FILES):
            return "emi"
        if (source / "data_info.csv").is_file():
            return "eri"
        raise FacerError(
            f"{source}: found no label files in this folder, expected labels.csv and "
            f"partition.csv (MuSe), train_split.csv (EMI) or data_info.csv (ERI); "
            f"or give one csv file"
        )
    table = read_table(source)
    if _has_names(table, "emi") and source.name in _EMI_FILES:
        return "emi"
    if table.index("split") is not None:
        return "eri" if table.index("file_id") is not None and _has_names(table, "eri") else "plain"
    if source.name == "labels.csv" or (source.parent / "partition.csv").is_file():
        return _partitioned_kind(table) or "plain"
    return "plain"


def _partitioned_kind(table: Table) -> LabelKind | None:
    kinds: tuple[LabelKind, ...] = ("mimic", "muse")
    return next(
        (
            kind
            for kind in kinds
            if _has_names(table, kind) and table.index(CHALLENGES[kind].id_column) is not None
        ),
        None,
    )


def _has_names(table: Table, kind: str) -> bool:
    names = CHALLENGES[kind].names
    return len(positions(table.header, names)) == len(names)


_Read = tuple[tuple[str, ...], list[Row]]


def _read_plain(source: Path) -> _Read:
    """Read ``clip_id`` (or the first column), ``split``, ``subject``; the rest are targets."""
    table = read_table(_file(source, "labels.csv"))
    id_column = table.index("clip_id") or 0
    split_column, subject_column = table.index("split"), table.index("subject")
    targets = [
        column
        for column, name in enumerate(table.header)
        if name and column not in (id_column, split_column, subject_column)
        if _is_numeric(table.column(column))
    ]
    if not targets:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected a column of numbers "
            f"beside {table.header[id_column]!r}"
        )
    subjects = None if subject_column is None else table.column(subject_column)
    rows = [
        Row(
            at=table.at(row),
            clip_id=_clip_id(table, row, id_column),
            values=tuple(table.number(row, column) for column in targets),
            split="" if split_column is None else _split(table, row, split_column),
            subject="" if subjects is None else subjects[row],
        )
        for row in range(len(table.rows))
    ]
    return tuple(table.header[column] for column in targets), rows


def _is_numeric(cells: Sequence[str]) -> bool:
    """Tell whether a column holds any number; one that mixes in text is refused when read."""
    return any(
        (value := parse_number(cell)) is not None and not math.isnan(value) for cell in cells
    )


def _read_eri(source: Path) -> _Read:
    table = read_table(_file(source, "data_info.csv"))
    split_column = _required(table, "Split")
    return CHALLENGES["eri"].names, _challenge_rows(
        table, "eri", lambda row: _split(table, row, split_column)
    )


def _read_emi(source: Path) -> _Read:
    """Read one split file, or those in a folder; the split is the file's name."""
    files = [source / name for name in _EMI_FILES] if source.is_dir() else [source]
    if not source.is_dir() and source.name not in _EMI_FILES:
        raise FacerError(f"{source}: found this file name, expected one of {', '.join(_EMI_FILES)}")
    rows: list[Row] = []
    for file in files:
        if file.is_file():
            split = _EMI_FILES[file.name]
            rows += _challenge_rows(read_table(file), "emi", _always(split))
    return CHALLENGES["emi"].names, rows


def _always(split: str) -> Callable[[int], str]:
    return lambda _: split


def _read_partitioned(source: Path, kind: str) -> _Read:
    """Read ``labels.csv`` and the ``partition.csv`` beside it.

    A clip of the partition without a row of labels (the test split's) has NaN values.
    """
    table = read_table(_file(source, "labels.csv"))
    names = CHALLENGES[kind].names
    partition = _read_partition(table.path.parent / "partition.csv", len(names))
    id_column = _id_column(table, kind)

    def split_of(row: int) -> str:
        clip_id = _clip_id(table, row, id_column)
        if bare_id(clip_id) not in partition:
            raise FacerError(
                f"{table.at(row)}: found {clip_id!r}, expected an id that partition.csv has"
            )
        return partition[bare_id(clip_id)].split

    rows = _challenge_rows(table, kind, split_of)
    labelled = {bare_id(row.clip_id) for row in rows}
    return names, rows + [row for key, row in partition.items() if key not in labelled]


def _read_partition(path: Path, n_targets: int) -> dict[str, Row]:
    """Return a row without labels for each clip: first column the id, last column the split."""
    table = read_table(path)
    absent = (math.nan,) * n_targets
    rows = [
        Row(table.at(row), _clip_id(table, row, 0), absent, _split(table, row, -1))
        for row in range(len(table.rows))
    ]
    check_unique(rows)
    return {bare_id(row.clip_id): row for row in rows}


READERS: Mapping[LabelKind, Callable[[Path], _Read]] = {
    "plain": _read_plain,
    "eri": _read_eri,
    "muse": partial(_read_partitioned, kind="muse"),
    "mimic": partial(_read_partitioned, kind="mimic"),
    "emi": _read_emi,
}


def _challenge_rows(table: Table, kind: str, split_of: Callable[[int], str]) -> list[Row]:
    """Return rows with the challenge's targets, found by name, in its official order."""
    names = CHALLENGES[kind].names
    columns = positions(table.header, names)
    missing = [name for name in names if name not in columns]
    if missing:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected also "
            f"{', '.join(missing)} ({CHALLENGES[kind].title}); other targets go in a plain csv"
        )
    id_column = _id_column(table, kind)
    return [
        Row(
            at=table.at(row),
            clip_id=_clip_id(table, row, id_column),
            values=tuple(table.number(row, columns[name]) for name in names),
            split=split_of(row),
        )
        for row in range(len(table.rows))
    ]


def _file(source: Path, name: str) -> Path:
    return source / name if source.is_dir() else source


def _id_column(table: Table, kind: str) -> int:
    return _required(table, CHALLENGES[kind].id_column)


def _required(table: Table, name: str) -> int:
    index = table.index(name)
    if index is None:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected a column {name!r}"
        )
    return index


def _clip_id(table: Table, row: int, column: int) -> str:
    clip_id = table.rows[row][column]
    if not bare_id(clip_id):
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found nothing, expected a clip's id"
        )
    return clip_id


def _split(table: Table, row: int, column: int) -> str:
    text = table.rows[row][column]
    split = canonical_split(text)
    if split is None:
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found {text!r}, expected train, "
            f"val (or devel, valid) or test"
        )
    return split


def check_unique(rows: Sequence[Row]) -> None:
    """Refuse an id that is there twice, with brackets or without."""
    first: dict[str, str] = {}
    for row in rows:
        key = bare_id(row.clip_id)
        if key in first:
            raise FacerError(
                f"{row.at}: found id {row.clip_id!r} again, expected it once "
                f"(first in {first[key]})"
            )
        first[key] = row.at
