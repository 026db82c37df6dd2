"""Features of MuSe: a csv a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable
from facer.storage.layout.parts import Entry

_META = ("timestamp", "segment_id", "file_id", "filename", "id")


def read_muse(path: Path) -> Imported:
    """Read ``<id>.csv`` files: leading meta columns (timestamp, id), then the features.

    A frame is valid unless all its cells are empty. Times are taken for milliseconds when they
    advance by 2 or more. Rows stay in the file's order; a clip whose times go back says so in its
    note.
    """
    files = imported.files_under(path, ".csv")
    header = imported.first_header(files)
    meta = 0
    while meta < len(header) and header[meta].lower() in _META:
        meta += 1
    names = {name: name for name in header[meta:]}
    if not names:
        raise FacerError(f"{path}: found only columns {', '.join(header)}, expected features")
    clips = imported.one_a_file(files, names, _clip)
    return Imported(tuple(names), (), imported.provenance("muse", "as imported"), clips)


def _clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    features = imported.features_of(table, names)
    column = table.index("timestamp")
    if column is None:
        timestamp_s = np.full(len(features), np.nan)
    else:
        timestamp_s = imported.seconds(table.numbers([column])[:, 0])
    back = int((np.diff(timestamp_s) < 0).sum())
    note = f"its rows are not in the order of time: times go back {back}x" if back else ""
    return imported.clip(clip_id, features, timestamp_s, imported.measured(features), {}, note)
