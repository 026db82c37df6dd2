"""Prediction files: one row of predicted intensities a clip, as a challenge wants it or plain."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError, named
from facer.storage.files.atomic import write_atomic
from facer.storage.files.cells import safe_cell
from facer.storage.files.csv_table import CsvTable, csv_writer, read_table
from facer.storage.files.regular import open_regular, refuse_no_path
from facer.storage.labels.challenges import CHALLENGES, bare_id, last_name, positions
from facer.storage.labels.columns import id_column as find_id_column
from facer.storage.labels.options import KINDS, PREDICTION_COLUMNS, LabelKind, LabelOptions
from facer.storage.labels.values import as_float32, notation
from facer.storage.labels.words import key_of
from facer.storage.schema import F32
from facer.storage.text.likeness import check_choice

_CLIP_ID, _STATUS = PREDICTION_COLUMNS
_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Predictions:
    """Predicted intensities of C clips, E emotions each.

    - ``clip_ids`` (C,)
    - ``names`` (E,)
    - ``values`` (C, E)
    """

    clip_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: F32


def write_predictions(
    path: str | os.PathLike[str],
    format: LabelKind,
    clip_ids: Sequence[str],
    names: Sequence[str],
    values: F32,
    brackets: bool = True,
    status: Sequence[str] = (),
) -> None:
    """Write predictions (C, E) of C clips as csv; ``-`` is stdout.

    A file that is there is replaced if it is one of predictions; FacerError for any other.

    ``status`` says of each clip what it was predicted from, such as ``ok`` or ``no_face``; it is
    the last column, ``status``, of the plain format. A challenge's has no place for it.

    A challenge's format names the clip by the last component of its id and puts the targets in
    the official order; ``brackets`` says whether MuSe's and ERI's ids are written ``[10000]``.
    Numbers are written so that they read back as the same float32. Raises FacerError when the
    names are not the format's, a value is not finite or two clips would get one id.
    """
    refuse_no_path("path", path)
    path = Path(path)
    check_choice("prediction format", format, KINDS)
    if values.shape != (len(clip_ids), len(names)):
        raise FacerError(
            f"{path}: found predictions of shape {values.shape}, "
            f"expected {(len(clip_ids), len(names))}: clips by names"
        )
    header, ids, order = _layout(path, format, clip_ids, names, brackets)
    _check(path, ids, values)
    text = io.StringIO()
    writer = csv_writer(text)
    notes = [[text] for text in status] if format == "plain" and status else [[]] * len(ids)
    writer.writerow(map(safe_cell, [*header, *([_STATUS] if notes and notes[0] else [])]))
    refuse_other_file(path, text.getvalue().splitlines()[0])
    for clip_id, row, note in zip(ids, values.astype(np.float32)[:, order], notes, strict=True):
        writer.writerow([safe_cell(clip_id), *map(str, row), *note])
    if str(path) == "-":
        sys.stdout.write(text.getvalue())
    else:
        write_atomic(path, text.getvalue())


def refuse_other_file(path: Path, header: str = "") -> None:
    """FacerError for a path where something other than predictions is, such as labels.

    What may be replaced is an empty file, a plain one with clip_id first and status last, and one
    with this very first line.
    """
    if str(path) == "-" or not path.exists():
        return
    with open_regular(path, "a csv of predictions", str(path)) as file:
        found = file.readline(_LINE_BYTES).decode(errors="replace").strip()
    ours = found.startswith(f"{_CLIP_ID},") and found.endswith(f",{_STATUS}")
    if found not in ("", header) and not ours:
        raise FacerError(
            f"{path}: found another file there (first line {found[:60]!r}), expected predictions "
            "or no file; give another name"
        )


def read_predictions(
    path: str | os.PathLike[str], names: Sequence[str] = (), id_column: str | None = None
) -> Predictions:
    """Read a file of :func:`write_predictions` or alike: the first column is the id.

    A column ``status`` is passed over. With ``names``, any program's file: these columns are
    found by name, the id column by its name or as ``id_column``, other columns are left alone,
    and a cell may be empty (NaN).

    Raises FacerError with file and line when a cell is no number, a column has numbers of two
    ways (``55%`` and ``0.55``) or an id is there twice, and when a column is missing.
    """
    refuse_no_path("path", path)
    table = read_table(Path(path))
    columns = [i for i in range(1, len(table.header)) if table.header[i] != _STATUS]
    clip = 0
    if names:
        columns = _columns(table, names)
        clip = find_id_column(table, LabelOptions(id_column=id_column), set(columns))
    ids = table.column(clip)
    first: dict[str, int] = {}
    for row, clip_id in enumerate(ids):
        if (before := first.setdefault(bare_id(clip_id), row)) != row:
            raise FacerError(
                f"{table.at(row)}: found id {clip_id!r} again, expected it once "
                f"(first in {table.at(before)})"
            )
    if not ids:
        raise FacerError(f"{path}: found no rows under the header, expected one a clip")
    notation(table, columns)
    values = [[table.number(row, column) for column in columns] for row in range(len(ids))]
    array = np.array(values, np.float64).reshape(len(ids), len(columns))
    found = tuple(names) or tuple(table.header[i] for i in columns)
    at = [table.at(row) for row in range(len(ids))]
    return Predictions(tuple(ids), found, as_float32(found, array, at))


def _columns(table: CsvTable, names: Sequence[str]) -> list[int]:
    """The column of each intensity: that of its name, else the only one that is called alike and
    is no other's; FacerError with both sides' names.
    """
    exact = {name: column for column, name in enumerate(table.header)}
    alike = Counter(map(key_of, (*table.header, *set(names))))
    by_key = {key_of(name): column for name, column in exact.items() if key_of(name)}
    found = {
        name: exact[name] if name in exact else by_key[key_of(name)]
        for name in names
        if name in exact or (key_of(name) in by_key and alike[key_of(name)] == 2)
    }
    missing = [name for name in names if name not in found]
    if missing:
        raise FacerError(
            f"{table.path}: found no column {', '.join(missing)}, or several that are called so, "
            "expected one for each intensity of the labels; its columns: "
            f"{', '.join(table.header)}; {named('targets')} names the intensities to score"
        )
    return [found[name] for name in names]


def _layout(
    path: Path, format: LabelKind, clip_ids: Sequence[str], names: Sequence[str], brackets: bool
) -> tuple[list[str], list[str], list[int]]:
    """Return the header, the ids as written and which column of the values goes where."""
    if format == "plain":
        return [_CLIP_ID, *names], list(clip_ids), list(range(len(names)))
    challenge = CHALLENGES[format]
    where = positions(names, challenge.names)
    if len(where) != len(challenge.names) or len(names) != len(challenge.names):
        raise FacerError(
            f"{path}: found intensities {', '.join(names)}, expected {', '.join(challenge.names)} "
            f"({challenge.title}); use the plain format for others"
        )
    ids = list(map(last_name, clip_ids))
    if challenge.bracketed and brackets:
        ids = [f"[{clip_id}]" for clip_id in ids]
    return [challenge.id_column, *challenge.names], ids, [where[name] for name in challenge.names]


def _check(path: Path, ids: Sequence[str], values: F32) -> None:
    seen: set[str] = set()
    for clip_id, row in zip(ids, values, strict=True):
        if clip_id in seen:
            raise FacerError(f"{path}: found two clips that would be {clip_id!r}, expected one")
        seen.add(clip_id)
        if not np.isfinite(row).all():
            raise FacerError(
                f"{path}: clip {clip_id!r}: found a prediction that is not finite, "
                f"expected numbers; fill missing clips before writing"
            )
