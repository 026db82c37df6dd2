"""What a label table may be that only looks like a row a clip: each is refused with what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from facer.storage.errors import FacerError, named
from facer.storage.files.cells import is_absent, parse_number
from facer.storage.files.csv_table import CsvTable, looks_like_a_row
from facer.storage.files.videos import CLIP_SUFFIXES
from facer.storage.labels.challenges import canonical_split
from facer.storage.labels.words import design_reason, key_of, names_people

_WORDS_OF_STATISTICS = (  # no max, which is a name too
    "mean average avg total totals sum grandtotal sd std sem variance median count mittelwert "
    "summe gesamt moyenne media promedio suma soma somma totale srednia ortalama toplam "
    "平均 平均値 平均值 均值 合計 合计 평균 합계"
)
_STATISTICS = frozenset(_WORDS_OF_STATISTICS.split())
_FLAGS = frozenset({"0", "1", "0.0", "1.0", "true", "false", "yes", "no", "x", ""})


def refuse_missing_header(table: CsvTable) -> None:
    """Refuse a file without rows, and one whose first line has numbers with a decimal point."""
    if not table.rows:
        raise FacerError(
            f"{table.path}: found a header and no rows under it, expected a row a clip"
        )
    if looks_like_a_row(table.header):
        raise FacerError(_no_header(table))


def refuse_row_as_header(table: CsvTable, clip: int, split: int | None) -> None:
    """Refuse a first line whose id or split is one like those below it."""
    name, shapes = table.header[clip], [_shape(cell) for cell in table.column(clip)]
    file = PurePosixPath(name.strip("[]")).suffix.lower() in CLIP_SUFFIXES
    alike = any(map(str.isdigit, name)) and shapes.count(_shape(name)) * 2 > len(shapes)
    word = split is not None and canonical_split(table.header[split])
    if file or alike or word:
        raise FacerError(_no_header(table))


def _shape(text: str) -> str:
    """Return a text with a sign for each run of digits."""
    return re.sub(r"\d+", "0", text)


def _no_header(table: CsvTable) -> str:
    return (
        f"{table.path}: found {', '.join(table.header[:5])} in the first line, expected the "
        "names of the columns; put a line such as clip_id,joy above the rows"
    )


def refuse_split_flags(table: CsvTable) -> None:
    """Refuse splits as columns of 0 and 1, such as ``is_train``, where no column names them."""
    names = {column: key_of(name) for column, name in enumerate(table.header)}
    bare = {column: key.removeprefix("is").removeprefix("in") for column, key in names.items()}
    found = [
        table.header[column]
        for column, key in bare.items()
        if key != "valid" and canonical_split(key)
        if any(cells := table.column(column)) and {cell.lower() for cell in cells} <= _FLAGS
    ]
    if found:
        raise FacerError(
            f"{table.path}: found splits as flags in {', '.join(map(repr, found))}, expected a "
            "column split that holds train, val and test; or pass them over by "
            f"{named('split_column')} none"
        )


def refuse_two_vals(table: CsvTable, column: int) -> None:
    """Refuse ``eval`` beside ``dev``: the one is val, and the other then mostly test."""
    cells = dict.fromkeys(c for c in table.column(column) if canonical_split(c) == "val")
    evals = [cell for cell in cells if "eval" in cell.lower()]
    others = [cell for cell in cells if cell not in evals]
    if evals and others:
        raise FacerError(
            f"{table.path}: column {table.header[column]!r}: found {evals[0]!r} beside "
            f"{others[0]!r}, of which one may be test; write train, val and test"
        )


def refuse_merged_cells(table: CsvTable, column: int, setting: str = "") -> None:
    """Refuse names of people that stand once each, with empty cells below: merged ones of a
    spreadsheet. Each empty row would be a person of its own, in any split.
    """
    cells = table.column(column)
    named_rows = [row for row, cell in enumerate(cells) if not is_absent(cell)]
    names = {cells[row] for row in named_rows}
    if named_rows[:1] == [0] and 1 < len(names) == len(named_rows) <= len(cells) / 2:
        way_out = f", or pass it over by {named(setting)} none" if setting else ""
        raise FacerError(
            f"{table.path}: column {table.header[column]!r}: found {len(names)} names once each "
            f"and {len(cells) - len(names)} empty cells, as of merged cells, expected who is seen "
            f"in every row; fill the names down{way_out}"
        )


def refuse_statistics_row(table: CsvTable, clip: int) -> None:
    """Refuse a first or last row that is no clip but the mean, or the sum, of the others."""
    for row in (0, -1) if len(table.rows) > 2 else ():
        found = table.rows[row][clip]
        if key_of(found) in _STATISTICS:
            raise FacerError(
                f"{table.at(row)}: column {table.header[clip]!r}: found {found!r}, expected a "
                "clip's id; take rows of statistics out of the table"
            )


def many_rows(table: CsvTable, clip: int, targets: Sequence[int]) -> str:
    """Return what to do about several rows of a clip: segments, raters, or a row a target."""
    name = table.header[clip]
    average = (
        "cut the videos into one file a row, or average the rows, such as by pandas: "
        f"df.groupby({name!r}).mean(numeric_only=True)"
    )
    times = [
        name
        for name in table.header
        if design_reason(name) == "a date or time" or key_of(name).startswith("frame")
    ]
    segments = f" (the file has {', '.join(times)}: are these segments?)" if times else ""
    for column, other in enumerate(table.header):
        cells = table.column(column)
        together = set(zip(table.column(clip), cells, strict=True))
        if column in (clip, *targets) or other in times:
            continue
        if len(together) < len(cells) or len(set(cells)) * 2 > len(cells):
            continue  # it does not tell the rows of a clip apart, or is another for nearly each
        reason = design_reason(other)
        words = not any(parse_number(cell) is not None for cell in cells)
        if reason is None and words and not names_people(other):
            value = table.header[targets[0]]
            average = (
                f"where {other!r} says what was rated, make it columns, such as by pandas: "
                f"df.pivot(index={name!r}, columns={other!r}, values={value!r})"
            )
        elif reason != "who rated":
            average = (
                f"where {other!r} and {name!r} together name a clip's file, write both in one "
                f"column; else {average}"
            )
        break
    return f"; labels are one row a clip{segments}: {average}"
