"""Features of MuSe: a csv a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable
from facer.storage.labels.words import is_nameless
from facer.storage.layout.parts import Entry
from facer.storage.schema import F64

_TIMES = (
    "timestamp", "timestamp_s", "timestamp_ms", "time", "time_s", "time_ms", "frametime",
    "start", "start_s", "start_ms",
)  # fmt: skip
_META = (
    *_TIMES, "end", "end_s", "end_ms", "segment_id", "file_id", "filename", "id", "name", "frame",
    "frame_index",
)  # fmt: skip


def read_muse(path: Path) -> Imported:
    """Read ``<id>.csv`` files: leading meta columns (time, id, frame, an index), then features.

    A frame is valid unless all its cells are empty; the time of a segment is its start. Times of a
    column without ``_s`` or ``_ms`` in its name are taken for milliseconds when they advance by 2
    or more. Rows stay in the file's order; a clip whose times go back says so in its note.
    """
    files = imported.files_under(path, ".csv")
    header = imported.first_header(files)
    meta = 0
    while meta < len(header) and (header[meta].lower() in _META or is_nameless(header[meta])):
        meta += 1
    if not meta:
        imported.refuse_row_as_header(files, header)
    names = {name: name for name in header[meta:]}
    if not names:
        raise FacerError(f"{path}: found only columns {', '.join(header)}, expected features")
    clips = imported.one_a_file(files, names, _clip)
    return Imported(tuple(names), (), imported.provenance("muse", "as imported"), clips)


def _seconds(name: str, times: F64) -> F64:
    """Times in seconds: in the unit that the column's name ends in, else as they advance."""
    if name.endswith("_ms"):
        return times / 1000
    return times if name.endswith("_s") else imported.seconds(times)


def _clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    features = imported.features_of(table, names)
    column = table.index(*_TIMES)
    if column is None:
        timestamp_s = np.full(len(features), np.nan)
    else:
        timestamp_s = _seconds(table.header[column].lower(), table.numbers([column])[:, 0])
    return imported.clip(clip_id, features, timestamp_s, imported.measured(features), {})
