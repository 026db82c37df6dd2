"""Cells of a label table: how numbers are written, which cannot be labels, splits, exclusions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facer.storage.errors import FacerError, named
from facer.storage.files.cells import has_decimal_comma, is_absent, parse_number
from facer.storage.files.csv_table import CsvTable
from facer.storage.labels.challenges import canonical_split
from facer.storage.labels.options import NOTHING_ABSENT, LabelOptions
from facer.storage.labels.words import folded, key_of
from facer.storage.schema import F32, F64

_EXCLUDE_WORDS = (
    "exclude excluded ausschluss ausgeschlossen exclu exclue excluido excluida excluir "
    "escluso esclusa escludi wykluczony wykluczone wyklucz haric "
    "除外 除外フラグ 排除 是否排除 剔除 是否剔除 제외 제외여부"
)
_EXCLUDE_NAMES = frozenset(_EXCLUDE_WORDS.split())
_TRUE_WORDS = (
    "1 1.0 true t yes ja y x bad si sim tak oui evet はい 是 예 "
    "wahr vrai verdadero verdadeiro vero prawda dogru"  # as Excel writes TRUE
)
_FALSE_WORDS = (
    "0 0.0 false f no nein n keep nao nie non hayir いいえ 否 아니오 falsch faux falso falsz yanlis"
)
_TRUE = _EXCLUDE_NAMES | frozenset(_TRUE_WORDS.split())
_FALSE = frozenset(_FALSE_WORDS.split())
_CODES = frozenset({-1, -2, -3, -5, -7, -8, -9, -66, -77, -88, -97, -98, -99, -888, -999, -9999})
_HIGH_CODES = frozenset({8, 9, 66, 77, 88, 97, 98, 99, 777, 888, 998, 999, 9999, 99999})
_GAP = 0.3  # of the other values' range, that a code keeps from them
_FAR = 10.0  # times the largest other value: no scale has labels so far apart
_FEW = 0.1  # share of the values, up to which they are not "nearly all"
_REPEATED = 1 / 3  # the same of one value that comes again and again
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")  # 20240131
_EXCEL_DAYS = (36_526, 54_788)  # 2000 to 2049
_RUNNING_ROWS = 8  # from which on 1, 2, 3 ... is no chance
_DOTTED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
_FEWEST = 5  # other values, from which on their range tells something


def read_value(table: CsvTable, row: int, column: int, options: LabelOptions) -> float:
    """Return one cell as a number; NaN where it is absent, also by ``options``."""
    if table.rows[row][column].strip().lower() in options.words_absent:
        return float("nan")
    word = table.rows[row][column]
    remedy = f"; where {word!r} means 'not rated', name it in {named('missing_values')}"
    value = table.number(row, column, remedy)
    return float("nan") if value in options.numbers_absent else value


def as_float32(names: Sequence[str], values: F64, at: Sequence[str]) -> F32:
    """Return values (R, E) as they are kept; FacerError for one that is too large for that.

    ``at`` says where each row is, "file:line".
    """
    with np.errstate(over="ignore"):
        kept = values.astype(np.float32)
    for row, column in np.argwhere(np.isinf(kept))[:1]:
        raise FacerError(
            f"{at[row]}: column {names[column]!r}: found {values[row, column]:g}, expected numbers "
            f"up to {np.finfo(np.float32).max:.2g}; bring the column to another unit"
        )
    return kept


def exclude_column(table: CsvTable, but: Sequence[str] = ()) -> int | None:
    """Return the column, none of ``but``, that says which rows to leave out; None without one."""
    names = enumerate(table.header)
    return next((i for i, n in names if key_of(n) in _EXCLUDE_NAMES and n not in but), None)


def is_excluded(table: CsvTable, row: int, column: int) -> bool:
    """Tell whether a row is to be left out; FacerError for a word that says neither."""
    where = f"{table.at(row)}: column {table.header[column]!r}"
    return says_exclude(table.rows[row][column], where)


def says_exclude(cell: str, where: str) -> bool:
    """Tell whether a word says to leave out; FacerError, with ``where``, when it says neither."""
    text = folded(cell.strip())
    if is_absent(text) or text in _FALSE:
        return False
    if text not in _TRUE:
        raise FacerError(
            f"{where}: found {cell!r}, expected 1, true or yes for a clip to leave out, else 0, "
            "false, no or nothing"
        )
    return True


def split_of(table: CsvTable, row: int, column: int) -> str:
    """Return the split of a row; FacerError for a word that is none."""
    text = table.rows[row][column]
    split = "" if is_absent(text) else canonical_split(text)
    if split is None:
        raise FacerError(
            f"{table.at(row)}: column {table.header[column]!r}: found {text!r}, expected train, "
            f"val (or devel, valid) or test; {named('split_column')} names another "
            "column"
        )
    return split


def notation(table: CsvTable, columns: Sequence[int]) -> list[str]:
    """Return how the numbers of some columns are written where it is not the usual way.

    Raises FacerError where one column has numbers of two ways, of which one must be wrong.
    """
    found: dict[str, None] = {}
    for column in columns:
        cells = _numbers(table, column)
        commas = [has_decimal_comma(cell) for _, cell in cells]
        points = [not comma and "." in cell for comma, (_, cell) in zip(commas, cells, strict=True)]
        shares = [cell.endswith("%") for _, cell in cells]
        if any(commas) and any(points):
            raise FacerError(_mixed(table, column, cells, commas, "a decimal point as elsewhere"))
        if any(commas):
            table.refuse_thousands(column)
        if any(shares) and not all(shares):
            raise FacerError(_mixed(table, column, cells, shares, "no percent sign as elsewhere"))
        found |= dict.fromkeys(["decimal comma"] * any(commas) + ["55% read as 0.55"] * any(shares))
    if "decimal comma" in found:
        _refuse_dotted(table, columns)
    return list(found)


def _numbers(table: CsvTable, column: int) -> list[tuple[int, str]]:
    """Return (row, cell) of a column's numbers; words such as ``k.A.`` may mean "not rated"."""
    cells = enumerate(table.column(column))
    return [(r, c) for r, c in cells if not is_absent(c) and parse_number(c) is not None]


def _refuse_dotted(table: CsvTable, columns: Sequence[int]) -> None:
    """Refuse a column of "1.200" alone beside others with decimal commas: it may be a thousand."""
    for column in columns:
        dotted = [(row, cell) for row, cell in _numbers(table, column) if "." in cell]
        if dotted and all(_DOTTED.fullmatch(cell) for _, cell in dotted):
            row, cell = dotted[0]
            raise FacerError(
                f"{table.at(row)}: column {table.header[column]!r}: found {cell!r} beside columns "
                f"with decimal commas, which may be {cell.replace('.', '')}; write the numbers "
                "without a separator of thousands"
            )


def _mixed(
    table: CsvTable,
    column: int,
    cells: Sequence[tuple[int, str]],
    odd: Sequence[bool],
    expected: str,
) -> str:
    row, cell = cells[list(odd).index(True)]
    return (
        f"{table.at(row)}: column {table.header[column]!r}: found {cell!r}, expected {expected} in "
        "this column; write all its numbers in one way"
    )


def looks_like_no_label(values: Sequence[float]) -> str | None:
    """Return why numbers are no labels but ids, dates or times; None where they may be."""
    if len(values) < _RUNNING_ROWS:
        return None
    if all(1e9 <= value < 2e9 for value in values) or all(1e12 <= v < 2e12 for v in values):
        return "looks like a time, counted from 1970"
    if any(value % 1 for value in values):
        return None
    if all(b - a == 1 for a, b in itertools.pairwise(values)):
        return "a running number"
    if all(1900 <= value <= 2100 for value in values):
        return "looks like a year"
    if all(_EXCEL_DAYS[0] <= value <= _EXCEL_DAYS[1] for value in values):
        return "looks like a date, counted in days as Excel does"
    if all(_DATE.fullmatch(f"{value:.0f}") for value in values):
        return "looks like a date"
    if len(set(values)) == len(values) and min(values) >= 10_000:
        return "looks like an id"
    return None


@dataclass(frozen=True)
class Outlier:
    """A value that cannot be a label like the others of its target."""

    name: str  # of the target
    value: float
    rows: tuple[int, ...]
    low: float  # of the others
    high: float


def refuse_outliers(
    names: Sequence[str], values: F64, at: Sequence[str], options: LabelOptions
) -> None:
    """Raise FacerError for values (R, E) far outside the range of nearly all others.

    -1, -5, 9, 99 or 999 among intensities usually mean that nobody rated. ``at`` says where
    each row is, "file:line".
    """
    if NOTHING_ABSENT in options.words_absent:
        return
    found = [o for i, name in enumerate(names) for o in find_outliers(name, values[:, i])]
    if not found:
        return
    cells = "; ".join(
        f"column {o.name!r}: found {o.value:g} in {len(o.rows)} "
        f"{'row' if len(o.rows) == 1 else 'rows'} (first at line "
        f"{at[o.rows[0]].rpartition(':')[2]}), the others lie between {o.low:g} and {o.high:g}"
        for o in found
    )
    words = ",".join(dict.fromkeys(f"{o.value:g}" for o in found))
    raise FacerError(
        f"{at[found[0].rows[0]]}: {cells}; expected intensities on one scale: where such a number "
        f"means 'not rated', add {named('missing_values')} {words}; where it is a true label, add "
        f"{named('missing_values')} {NOTHING_ABSENT}"
    )


def find_outliers(name: str, values: F64) -> list[Outlier]:
    """Return the values of one target (R,) that are codes or slips, not labels."""
    known = values[np.isfinite(values)]
    found = []
    rest = known[~np.isin(known, [*_CODES, *_HIGH_CODES, *_lone_negatives(known)])]
    candidates = sorted(set(known.tolist()) - set(rest.tolist()), key=abs)
    for value in candidates:  # from the inside: what belongs to the others makes them wider
        if len(rest) and _is_code(value, rest, known):
            found.append(value)
        else:
            rest = np.append(rest, known[known == value])
    found += _far_ones(known[~np.isin(known, found)])
    rest = known[~np.isin(known, found)]
    return [
        Outlier(name, v, tuple(np.flatnonzero(values == v).tolist()), rest.min(), rest.max())
        for v in found
    ]


def _lone_negatives(known: F64) -> list[float]:
    """One or two negative whole numbers far below the others: hardly half of a scale."""
    below, times = np.unique(known[known < 0], return_counts=True)
    rest = known[known >= 0]
    if len(below) not in (1, 2) or (below % 1).any() or len(rest) < _FEWEST:
        return []
    if times.max() == 1 and (len(below) == 2 or len(rest) < 2 * _FEWEST):  # may be chance
        return []
    return below.tolist() if rest.min() - below[-1] >= _GAP * np.ptp(rest) else []


def _is_code(value: float, rest: F64, known: F64) -> bool:
    low, high = float(rest.min()), float(rest.max())
    if low <= value <= high:
        return False
    whole = not (rest % 1).any()
    if value < 0 <= low:
        return not (whole and _is_centred(high, known))
    if value == -1 and low < 0:
        return False  # the end of a scale from -1 to 1
    gap = low - value if value < low else value - high
    if gap < _GAP * (high - low) or (whole and gap <= 1):
        return False
    return abs(value) < 10 or abs(value) >= 3 * max(abs(low), abs(high))


def _is_centred(high: float, known: F64) -> bool:
    """Tell a scale such as -1, 0, 1 or -3 ... 3, whose negative values are not rare."""
    below = known[known < 0]
    steps = np.arange(-1, below.min() - 1, -1)
    return bool(
        np.isin(steps, below).mean() > 0.5  # of few, some may be missing by chance
        and high <= len(steps)
        and len(below) >= _FEW * len(known)
    )


def _far_ones(known: F64) -> list[float]:
    """Return a few values, or one that is repeated, many times as large as all the others."""
    sizes = np.sort(np.abs(known))
    few = int(np.ceil(len(sizes) * (1 - _FEW)))
    for others in range(max(_FEWEST, int(np.ceil(len(sizes) * (1 - _REPEATED)))), len(sizes)):
        if sizes[others] > 1 and 0 < sizes[others - 1] * _FAR <= sizes[others]:
            far = sorted(set(known[np.abs(known) >= sizes[others]].tolist()))
            if others >= few or (len(far) == 1 and len(sizes) - others > 1):
                return far
    return []
