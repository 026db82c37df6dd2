"""Features of MuSe: a csv a clip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable
from facer.storage.labels.words import is_nameless, names_people
from facer.storage.layout.parts import Entry

_TIMES = ("timestamp", "time", "frametime", "start")
_META = (
    *_TIMES, *imported.CLIP_COLUMNS, "end", "segment_id", "id", "name", "frame", "frame_index",
)  # fmt: skip
_ROWS_MS = 10.0  # steps of fewer milliseconds are rare, and as many seconds are not
_UNIT = re.compile(r"(?:[_ ]|[_ ]?[(\[])(?:(ms|msec|milliseconds)|s|sec|secs|seconds)[)\]]?")


def read_muse(path: Path) -> Imported:
    """Read ``<id>.csv`` files: leading meta columns (time, id, frame, an index), then features.

    A frame is valid unless all its cells are empty; the time of a segment is its start. Times of a
    column without a unit in its name (``time_s``, ``Time (ms)``) are taken for milliseconds when
    they advance by 2 or more. Rows stay in the file's order; a clip whose times go back says so in
    its note.
    """
    files = imported.files_under(path, ".csv")
    header = imported.first_header(files)
    names = dict(_names(header))
    if len(names) == len(header):
        imported.refuse_row_as_header(files, header)
    if not names:
        raise FacerError(f"{path}: found only columns {', '.join(header)}, expected features")
    clips = imported.one_a_file(files, names, _names, _clip)
    return Imported(tuple(names), (), imported.provenance("muse", "as imported"), clips)


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in dropwhile(_is_meta, header)]


def _is_meta(name: str) -> bool:
    return _bare(name)[0] in _META or is_nameless(name) or names_people(name)


def _bare(name: str) -> tuple[str, float | None]:
    """Return the name of a column of times without its unit, and how many make a second; as it is,
    in lower case, and None for a name without.
    """
    name = name.lower()
    for bare in (*_TIMES, "end"):
        unit = _UNIT.fullmatch(name.removeprefix(bare)) if name.startswith(bare) else None
        if unit is not None:
            return bare, 1000.0 if unit[1] else 1.0
    return name, None


def _clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    features = imported.features_of(table, names)
    bare = [_bare(name) for name in table.header]
    note = ""
    column = next((place for place, (name, _) in enumerate(bare) if name in _TIMES), None)
    if column is None:
        timestamp_s = np.full(len(features), np.nan)
    else:
        times, in_a_second = table.numbers([column])[:, 0], bare[column][1]
        timestamp_s = times / in_a_second if in_a_second else imported.seconds(times)
        if not in_a_second and imported.MS_STEP <= imported.step_of(times) < _ROWS_MS:
            note = "its times are taken for milliseconds: name them time_s if they are seconds"
    return imported.clip(clip_id, features, timestamp_s, imported.measured(features), {}, note)
