"""Which column of a label table is the clip's id, the split, the subject, and which are targets.

Columns are taken by name. A column that describes the study (an age, a fold, an onset, a flag)
is not a target, and neither is one without a name; what was left out is said with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from facer.storage.errors import FacerError, named
from facer.storage.files.cells import is_absent, parse_number
from facer.storage.files.csv_table import CsvTable
from facer.storage.files.videos import CLIP_SUFFIXES
from facer.storage.labels.challenges import canonical_split
from facer.storage.labels.doubts import (
    refuse_merged_cells,
    refuse_missing_header,
    refuse_row_as_header,
    refuse_split_flags,
    refuse_statistics_row,
)
from facer.storage.labels.options import LabelOptions
from facer.storage.labels.values import exclude_column, looks_like_no_label
from facer.storage.labels.words import (
    REASONS_OF_IDS,
    design_reason,
    is_nameless,
    key_of,
    names_people,
)

_ID_NAMES = (  # letters and digits alone, the surest first
    "clipid", "clip", "fileid", "filename", "file", "video", "videoid", "videoname",
    "videofile", "videofilename", "videopath", "clipname", "clipfile", "clippath", "filepath",
    "fullpath", "recording", "recordingid", "mediafile", "media", "vid", "id", "name", "path",
)  # fmt: skip
_WEAK_ID_NAMES = ("media", "vid", "id", "name")  # also of people, rows and emotions
_SPLIT_NAMES = (
    "split", "partition", "set", "subset", "phase", "usage", "dataset", "portion", "traintest",
    "trainvaltest", "fold", "group", "conjunto", "particion", "particao", "divisao", "partizione",
    "insieme", "podzial", "zbior", "bolum", "kume", "分割", "データセット", "セット",
    "划分", "劃分", "数据集", "資料集", "集合", "분할", "데이터셋", "세트",
)  # fmt: skip
_SURE_SPLIT_NAMES = ("split", "partition")  # other words in them are mistakes
_SURE_SUBJECT_NAMES = ("subject", "subjectid", "participant", "participantid")


@dataclass(frozen=True)
class Columns:
    """Columns of a table by what they are for."""

    id: int
    split: int | None
    subject: int | None
    exclude: int | None
    targets: tuple[int, ...]
    left_out: tuple[tuple[str, str], ...]  # (name, why), for those that are none of these


def choose_columns(table: CsvTable, options: LabelOptions) -> Columns:
    """Return what each column is for; ``options`` decide where they are given.

    Raises FacerError, with the columns and the option, when several could be the id, a split
    has other words than train, val and test, or no target is left.
    """
    refuse_missing_header(table)
    split = split_column(table, options)
    subject = subject_column(table, options)
    if subject is not None:
        refuse_merged_cells(table, subject, "subject_column")
    exclude = exclude_column(table, options.targets)
    taken = {column for column in (split, subject, exclude) if column is not None}
    clip = id_column(table, options, taken)
    if subject == clip:
        subject = None
    taken.add(clip)
    refuse_row_as_header(table, clip, split)
    refuse_statistics_row(table, clip)
    if split is None and not options.split_column:
        refuse_split_flags(table)
    if options.targets:
        targets = columns_by_hand(table, options.targets)
        if clip in targets:
            raise FacerError(
                f"{table.path}: column {table.header[clip]!r} is the clips' id, expected other "
                f"names in {named('targets')} ({named('id_column')} names another id)"
            )
    else:
        cells = {c: table.column(c) for c in range(len(table.header)) if c not in taken}
        absent = options.words_absent
        targets = [c for c in cells if _why_no_target(table.header[c], cells[c], absent) is None]
    read = taken | set(targets)
    left_out = left_out_of(table, read, "not in --targets", options.words_absent)
    if not targets:
        raise FacerError(
            f"{table.path}: found columns {', '.join(table.header)}, expected a column of numbers "
            f"beside {table.header[clip]!r}{_listed(left_out)}; {named('targets')} A,B takes "
            "them by hand"
        )
    return Columns(clip, split, subject, exclude, tuple(targets), left_out)


def left_out_of(
    table: CsvTable, read: set[int], otherwise: str, absent: Collection[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Return the columns that are not ``read``, each with the reason, ``otherwise`` where none.

    ``absent`` are words, in lower case, of cells without a value.
    """
    found = [
        (name or f"column {column + 1}", _why_no_target(name, table.column(column), absent))
        for column, name in enumerate(table.header)
        if column not in read
    ]
    return tuple((name, otherwise if why is None else why) for name, why in found if why != "")


def _listed(left_out: Sequence[tuple[str, str]]) -> str:
    reasons = "; ".join(f"{name}: {why}" for name, why in left_out)
    return f" (left out: {reasons})" if reasons else ""


def columns_by_hand(table: CsvTable, names: Sequence[str]) -> list[int]:
    """Return the columns of the targets that were named; FacerError for one that is named twice."""
    found = [by_hand(table, name, "targets") for name in names]
    if twice := [name for name, c in zip(names, found, strict=True) if found.count(c) > 1]:
        raise FacerError(
            f"{named('targets')}: found {' and '.join(map(repr, twice))}, which mean one column of "
            f"{table.path}, expected each once"
        )
    return found


def by_hand(table: CsvTable, name: str, setting: str) -> int:
    """Return the column that a setting names; FacerError with all names when there is none."""
    if name in table.header:
        return table.header.index(name)
    wanted = key_of(name)
    found = [i for i, other in enumerate(table.header) if key_of(other) == wanted and wanted]
    if len(found) != 1:
        raise FacerError(
            f"{named(setting)}: found {name!r}, expected one of the columns of {table.path}: "
            f"{', '.join(filter(None, table.header))}"
        )
    return found[0]


def _by_hand_or_none(table: CsvTable, name: str, setting: str) -> int | None:
    """Return the column that a setting names; None for ``none``."""
    return None if name == "none" and name not in table.header else by_hand(table, name, setting)


def id_column(table: CsvTable, options: LabelOptions, taken: set[int]) -> int:
    """Return the column of the clips' ids: by its name, else the only one that could be."""
    if options.id_column:
        return by_hand(table, options.id_column, "id_column")
    could = clip_columns(table, taken)
    if len(could) == 1:
        return could[0]
    found = f"columns {', '.join(name or '(no name)' for name in table.header)}"
    if could:
        names = ", ".join(repr(table.header[column]) for column in could)
        raise FacerError(
            f"{table.path}: found {found}, of which {names} could be the clips' ids; name it by "
            f"{named('id_column')}, or call it clip_id in the file"
        )
    raise FacerError(
        f"{table.path}: found {found}, expected one with the clips' ids, such as clip_id or "
        "filename; a column without a name is never taken for it: name it in the file, or name "
        f"another by {named('id_column')}"
    )


def clip_columns(table: CsvTable, taken: set[int]) -> list[int]:
    """Return the columns, none of ``taken``, that could be the clips' ids: the one with a name
    for them, else those that hold files' names, else other names.
    """
    keys = [key_of(name) for name in table.header]
    known = [keys.index(name) for name in _ID_NAMES if name in keys]
    known = [column for column in known if column not in taken]
    sure = [c for c in known if keys[c] not in _WEAK_ID_NAMES or _are_unique(table.column(c))]
    free = [c for c in range(len(keys)) if c not in taken]
    files = [c for c in free if _are_files(table.column(c)) and _are_unique(table.column(c))]
    could = [c for c in sure if c in files][:1] or sure[:1]
    if could and keys[could[0]] in _WEAK_ID_NAMES and len(files) == 1:
        could = files
    for fits in (_are_files, _are_names, _are_numbers, _are_text):
        could = could or [
            column
            for column, name in enumerate(table.header)
            if column not in taken and not is_nameless(name) and fits(table.column(column))
            if design_reason(name) in REASONS_OF_IDS
        ]
    return could or known[:1]


def _are_unique(cells: Sequence[str]) -> bool:
    return len(set(cells)) == len(cells)


def _are_files(cells: Sequence[str]) -> bool:
    suffixes = [PurePosixPath(cell.strip("[]")).suffix.lower() for cell in cells if cell]
    return bool(suffixes) and sum(s in CLIP_SUFFIXES for s in suffixes) * 2 > len(suffixes)


def _are_names(cells: Sequence[str]) -> bool:
    """Tell texts of which each is there once."""
    return _are_text(cells) and _are_unique(cells)


def _are_text(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if not is_absent(cell)]
    return len(there) == len(cells) > 0 and _numeric_share(there) < 0.5


def _are_numbers(cells: Sequence[str]) -> bool:
    """Tell whole numbers of which each is there once."""
    return bool(cells) and _are_unique(cells) and all(cell.isdecimal() for cell in cells)


def split_column(table: CsvTable, options: LabelOptions) -> int | None:
    """Return the column of the splits: by its name, else the only one that holds their names."""
    if options.split_column:
        return _by_hand_or_none(table, options.split_column, "split_column")
    keys = [key_of(name) for name in table.header]
    usual = [keys.index(name) for name in _SPLIT_NAMES if name in keys]
    rest = [c for c in range(len(keys)) if c not in usual and not is_nameless(table.header[c])]
    for columns in (usual, rest):
        found = [column for column in columns if _are_splits(table, column, columns is usual)]
        words = {tuple(map(canonical_split, table.column(column))) for column in found}
        if len(words) > 1:
            names = ", ".join(repr(table.header[column]) for column in found)
            raise FacerError(
                f"{table.path}: columns {names} hold different splits, expected one of them; "
                f"choose it by {named('split_column')}"
            )
        if found:
            return found[0]
    return None


def _are_splits(table: CsvTable, column: int, usual: bool) -> bool:
    """Tell whether a column holds splits; one named so that has some other words is refused."""
    cells = [cell for cell in table.column(column) if not is_absent(cell)]
    known = [canonical_split(cell) for cell in cells]
    if key_of(table.header[column]) in _SURE_SPLIT_NAMES:
        return True  # its cells are checked one by one
    if usual:
        return "train" in known or (bool(known) and all(known))
    return "train" in known and len(set(known)) > 1 and all(known)


def subject_column(table: CsvTable, options: LabelOptions) -> int | None:
    """Return the column that says who is seen in a clip."""
    if options.subject_column:
        return _by_hand_or_none(table, options.subject_column, "subject_column")
    keys = [key_of(name) for name in table.header]
    found = [column for column, name in enumerate(table.header) if names_people(name)]
    sure = [column for column in found if keys[column] in _SURE_SUBJECT_NAMES]
    for columns in (sure, found):
        if len({_grouping(table.column(column)) for column in columns}) > 1:
            names = ", ".join(repr(table.header[column]) for column in columns)
            raise FacerError(
                f"{table.path}: columns {names} could each say who is seen, expected one of them; "
                f"choose it by {named('subject_column')}"
            )
        if columns:
            return columns[0]
    return None


def _grouping(cells: Sequence[str]) -> tuple[int, ...]:
    """Return which rows have equal cells, whatever these are."""
    first: dict[str, int] = {}
    return tuple(first.setdefault(cell, row) for row, cell in enumerate(cells))


def _why_no_target(name: str, cells: Sequence[str], absent: Collection[str] = ()) -> str | None:
    """Return why a column is no target, "" where there is nothing to say, or None: it is one."""
    cells = ["" if cell.lower() in absent else cell for cell in cells] if absent else cells
    numbers = [value for cell in cells if (value := parse_number(cell)) is not None]
    values = [value for value in numbers if not math.isnan(value)]
    if is_nameless(name):
        return "an index without a name of its own" if any(cells) else ""
    if why := design_reason(name):
        return why
    if names_people(name) or key_of(name) in _ID_NAMES:
        return "an id"
    if not values:
        return "text" if any(not is_absent(cell) for cell in cells) else "empty"
    if _numeric_share(cells) < 0.5:
        return "text"
    return looks_like_no_label(values)


def _numeric_share(cells: Sequence[str]) -> float:
    there = [cell for cell in cells if not is_absent(cell)]
    numeric = sum(parse_number(cell) is not None for cell in there)
    return numeric / len(there) if there else 0.0
