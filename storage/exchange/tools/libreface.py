"""Features of LibreFace: its csv of a video, one a clip.

Columns (LibreFace 0.2): ``frame_idx``, ``frame_time_in_ms``, ``pitch``, ``yaw``, ``roll``, the
landmarks, ``au_1`` ... (0 or 1), ``au_1_intensity`` ... (0 to 5), ``facial_expression`` (a
word), ``gaze_yaw``, ``gaze_pitch``. Frames without a face are not in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.cells import is_absent
from facer.storage.files.csv_table import CsvTable
from facer.storage.layout.parts import Entry
from facer.storage.schema import EXPRESSIONS, F64

_INTENSITY = re.compile(r"au_?(\d+)_intensity", re.IGNORECASE)
_OTHERS = re.compile(r"au_?\d+|pitch|yaw|roll|gaze_yaw|gaze_pitch", re.IGNORECASE)
_EXPRESSION = "facial_expression"
_WORDS = (*EXPRESSIONS, "contempt")


def read_libreface(path: Path) -> Imported:
    """Read LibreFace's csv files of videos.

    ``au_12_intensity`` (0 to 5) is ``au12``; the word of ``facial_expression`` becomes eight
    columns, 1 for the one that it names and else 0. Frames that the file leaves out had no
    face. Times are taken for milliseconds when they advance by 2 or more: some versions write
    seconds under that name.
    """
    files = imported.files_under(path, ".csv")
    header = imported.first_header(files)
    names = dict(_names(header))
    if not any(_INTENSITY.fullmatch(name) for name in names.values()):
        raise FacerError(
            f"{next(iter(files.values()))}: found no column such as "
            "au_12_intensity, expected LibreFace's csv files"
        )
    words = _WORDS if _EXPRESSION in header else ()

    def read_clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
        return _clip(clip_id, table, names, bool(words))

    provenance = imported.provenance(
        "libreface", "one face a frame", au_scale="intensity 0 to 5", expression_scale="0 or 1"
    )
    clips = imported.one_a_file(files, names, _names, read_clip)
    return Imported((*names, *words), (), provenance, clips)


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (f"au{int(found[1]):02d}" if (found := _INTENSITY.fullmatch(name)) else name, name)
        for name in header
        if _INTENSITY.fullmatch(name) or _OTHERS.fullmatch(name)
    ]


def _clip(clip_id: str, table: CsvTable, names: Names, expressions: bool) -> Entry:
    measured = imported.features_of(table, names)
    if expressions:
        measured = np.hstack([measured, _expressions(table, table.where(_EXPRESSION))])
    frame = np.arange(len(measured), dtype=np.int64)
    if "frame_idx" in table.header:
        frame = imported.frame_numbers(table, table.numbers([table.where("frame_idx")])[:, 0])
    imported.refuse_twice(table, frame.tolist())
    known = None
    if "frame_time_in_ms" in table.header:
        known = imported.seconds(table.numbers([table.where("frame_time_in_ms")])[:, 0])
        frame = imported.from_time_0(frame, known)
    frames = int(frame.max()) + 1
    features = np.full((frames, measured.shape[1]), np.nan)
    features[frame] = measured
    valid = np.zeros(frames, np.bool_)
    valid[frame] = True
    timestamp_s = np.full(frames, np.nan)
    if known is not None:
        order = np.argsort(frame)
        timestamp_s = imported.at_frames(frames, frame[order], known[order])
    note = imported.beyond_scale(measured, names)
    return imported.clip(clip_id, features, timestamp_s, valid, {}, note)


def _expressions(table: CsvTable, column: int) -> F64:
    """Return a column an expression, (T, 8): 1 for the one named in the frame."""
    values = np.full((len(table.rows), len(_WORDS)), np.nan)
    for row, word in enumerate(table.column(column)):
        if is_absent(word):
            continue
        if word.lower() not in _WORDS:
            raise FacerError(
                f"{table.at(row)}: column {_EXPRESSION!r}: found {word!r}, expected one of "
                f"{', '.join(_WORDS)}"
            )
        values[row] = [name == word.lower() for name in _WORDS]
    return values
