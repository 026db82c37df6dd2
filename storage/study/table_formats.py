"""The formats in which tables are written."""

from __future__ import annotations

from typing import Literal, get_args

TableFormat = Literal["csv", "parquet", "feather", "sav"]
TABLE_FORMATS: tuple[TableFormat, ...] = get_args(TableFormat)
