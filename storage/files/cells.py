"""Cells of csv files: numbers as people write them, and texts that no spreadsheet runs."""

from __future__ import annotations

import math
import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ABSENT = frozenset(
    {"", "na", "n/a", "#n/a", "#na", "#nv", "#n/d", "<na>", "nan", "null", "(null)", "#null!"}
    | {"#value!", "#div/0!", "#num!", "#ref!", "none", "nil", "missing", "\\n"}
    | {".", "-", "--", "\N{EN DASH}", "\N{EM DASH}", "?"}
)
_ABSENT_NUMBER = re.compile(
    r"[-+]?(nan(\((ind|snan|q?nan)\))?|1[.,]#(ind|[qs]nan)0*)"
)  # C runtimes
_PLAIN_SIGNS = str.maketrans("\N{MINUS SIGN}\uff0d\uff0e\uff05", "--.%")  # full-width as in Japan
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?")


def is_absent(text: str) -> bool:
    """Tell whether a cell says that there is no value: empty, ``NA``, ``-1.#IND``, ``.`` ..."""
    text = text.strip().lower()
    return text in _ABSENT or ("n" in text and _ABSENT_NUMBER.fullmatch(text) is not None)


def has_decimal_comma(text: str) -> bool:
    """Tell whether a cell is a number such as ``0,5``."""
    if "," not in text:
        return False
    return _DECIMAL_COMMA.fullmatch(text.strip().lower().rstrip("% \xa0")) is not None


def parse_number(text: str) -> float | None:
    """Return a finite number, NaN for an absent one, or None for anything else.

    ``0,5`` is a half, as is ``50%``; a cell with both a comma and a point is no number.
    """
    try:
        value = float(text)
    except ValueError:
        return _written_otherwise(text)
    return None if math.isinf(value) or "_" in text else value


def _written_otherwise(text: str) -> float | None:
    if is_absent(text):
        return math.nan
    text = text.strip().translate(_PLAIN_SIGNS)
    share = text.endswith("%")
    if share:
        text = text[:-1].rstrip()
    if has_decimal_comma(text):
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value) or "_" in text:
        return None
    return value / 100 if share else value


def safe_cell(text: str) -> str:
    """Return a cell of text that no spreadsheet runs as a formula; numbers stay as they are.

    An apostrophe is put before it, as spreadsheets do; :func:`plain_cell` takes it away.
    """
    harmless = text[:1] not in ("\t", "\r") and parse_number(text) is not None
    return f"'{text}" if _FORMULA.match(text) and not harmless else text


def plain_cell(text: str) -> str:
    """Return what :func:`safe_cell` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
