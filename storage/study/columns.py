"""Columns of a study's tables, each with what it holds: the dictionary beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy.typing as npt

Kind = Literal["text", "integer", "number"]


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: Kind
    unit: str
    definition: str


Cells = Sequence[Any] | npt.NDArray[Any]
Block = Mapping[str, Cells]
"""Rows of a table by column; a missing number is None or NaN, a missing text ''."""


def text(name: str, definition: str) -> Column:
    """A column of texts."""
    return Column(name, "text", "", definition)


def number(name: str, unit: str, definition: str) -> Column:
    """A column of numbers."""
    return Column(name, "number", unit, definition)


def integer(name: str, definition: str, unit: str = "count") -> Column:
    """A column of whole numbers."""
    return Column(name, "integer", unit, definition)
