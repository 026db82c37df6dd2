"""A study's tables as they are handed over: DataFrames, or a folder of files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from facer.pipeline.summary.schema import TABLES
from facer.pipeline.summary.summarise import (
    Outcome,
    Study,
    summarise_study,
)
from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic
from facer.storage.files.refusals import refusing
from facer.storage.files.regular import open_regular, refuse_url
from facer.storage.study.table_formats import TABLE_FORMATS, TableFormat
from facer.storage.study.tables import Collected, open_table

if TYPE_CHECKING:
    import pandas

SETTINGS = "settings.json"
_SETTINGS_BYTES = 1 << 20


class Summary:
    """The tables of a study as pandas DataFrames, with their settings.

    ``clips``, ``summary``, ``episodes``, ``groups``, ``left_out``, ``wide``, ``columns`` and,
    with ``grid``, ``series``: as the files of ``facer summarise`` have them.
    """

    def __init__(self, tables: Mapping[str, Collected], outcome: Outcome) -> None:
        self._tables, self._outcome = tables, outcome
        self._frames: dict[str, pandas.DataFrame] = {}

    @property
    def settings(self) -> dict[str, Any]:
        """All settings, versions and digests."""
        return self._outcome.settings

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the tables must know."""
        return tuple(self._outcome.notes)

    def __getattr__(self, name: str) -> pandas.DataFrame:
        tables = self.__dict__.get("_tables", {})
        if name not in tables:
            raise AttributeError(f"no table {name!r}; there are {', '.join(tables)}")
        if name not in self._frames:
            self._frames[name] = tables[name].frame()
        return self._frames[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._tables})

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {table.length}" for name, table in self._tables.items())
        return f"<Summary of {sum(self._outcome.statuses.values())} clips; rows: {rows}>"


def summarise_to_folder(of: Study, folder: Path, form: TableFormat) -> Outcome:
    """Write a study's tables into a folder: a new one, or one that a summary wrote before.

    Files appear when all are whole, and replace those of the earlier summary; others stay.
    """
    refuse_url(folder)
    before = _tables_before(folder)
    with refusing("write", str(folder), (OSError, UnicodeEncodeError)):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=folder.parent) as aside:
            outcome = _write_tables(of, Path(aside), form)
            for name in before:
                (folder / name).unlink(missing_ok=True)
            folder.mkdir(exist_ok=True)
            for file in sorted(Path(aside).iterdir(), key=lambda file: file.name == SETTINGS):
                file.replace(folder / file.name)
    return outcome


def _write_tables(of: Study, folder: Path, form: TableFormat) -> Outcome:
    outcome = summarise_study(
        of, lambda name, columns: open_table(folder / f"{name}.{form}", columns, form)
    )
    outcome.settings["format"] = form
    text = json.dumps(outcome.settings, indent=1, ensure_ascii=False, default=str)
    write_atomic(folder / SETTINGS, text + "\n")
    return outcome


def _tables_before(folder: Path) -> list[str]:
    """Files of an earlier summary; FacerError when the folder holds something else."""
    settings = read_settings(folder)
    if settings is None:
        if folder.suffix.lower().removeprefix(".") in (*TABLE_FORMATS, "xlsx"):
            raise FacerError(
                f"{folder}: found the ending {folder.suffix}, expected a folder's name for several "
                "tables, such as stats/"
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FacerError(
                f"{folder}: found files there that no summary wrote, expected a new folder or one "
                "of facer summarise"
            )
        return []
    form = settings.get("format")  # the file may be a stranger's: only names of ours are files
    if form not in TABLE_FORMATS:
        return []
    return [f"{name}.{form}" for name in TABLES if name in settings["tables"]]


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Return the settings of a folder that ``facer summarise`` wrote; None when it is none."""
    if not (folder / SETTINGS).is_file():
        return None
    with open_regular(folder / SETTINGS, "settings", str(folder / SETTINGS)) as file:
        data = file.read(_SETTINGS_BYTES)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    made = isinstance(found, dict) and found.get("made_by") == "facer summarise"
    return found if made and isinstance(found.get("tables"), list) else None
