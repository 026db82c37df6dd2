"""Columns of a study's tables, each with what it holds: the dictionary beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

Kind = Literal["text", "integer", "number"]


class Column(NamedTuple):
    """A column of a table.

    Without a ``dtype``, numbers are written as float64 (nine digits in csv), whole numbers as
    int64, and NaN is a missing value. With one, numpy's, they are written as they are: in csv the
    shortest text that reads back the same. Texts of dtype ``dictionary`` are so in Parquet.
    """

    name: str
    kind: Kind
    unit: str
    definition: str
    dtype: str = ""
    width: int = 0  # numbers of a cell, where it is a list


Cells = Sequence[Any] | npt.NDArray[Any]
Block = Mapping[str, Cells]
"""Rows of a table by column; a missing number is None or NaN, a missing text '' or None."""


def text(name: str, definition: str, dtype: str = "") -> Column:
    """A column of texts."""
    return Column(name, "text", "", definition, dtype)


def number(name: str, unit: str, definition: str, dtype: str = "") -> Column:
    """A column of numbers."""
    return Column(name, "number", unit, definition, dtype)


def integer(name: str, definition: str, unit: str = "count", dtype: str = "") -> Column:
    """A column of whole numbers."""
    return Column(name, "integer", unit, definition, dtype)
