"""Features in and out of a store: other tools' files, and files for other tools."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from facer.storage.errors import FacerError, OptionError, named
from facer.storage.exchange.formats import FRAME_TABLES, STORE_FORMATS, ExportFormat, format_of
from facer.storage.exchange.frames import FrameTable, write_frames
from facer.storage.exchange.hdf5 import read_hdf5, write_hdf5
from facer.storage.exchange.tools.facereader import read_facereader
from facer.storage.exchange.tools.imotions import read_imotions
from facer.storage.exchange.tools.imported import Imported
from facer.storage.exchange.tools.libreface import read_libreface
from facer.storage.exchange.tools.muse import read_muse
from facer.storage.exchange.tools.openface import read_openface
from facer.storage.exchange.tools.pyfeat import read_pyfeat
from facer.storage.files.atomic import written_whole
from facer.storage.files.cells import safe_cell
from facer.storage.files.csv_table import csv_writer
from facer.storage.files.refusals import refuse_existing
from facer.storage.labels.challenges import last_name
from facer.storage.store import FeatureStore
from facer.storage.study.design import Design
from facer.storage.study.tables import number_cells
from facer.storage.text.likeness import check_choice

ImportKind = Literal["muse", "openface", "pyfeat", "hdf5", "libreface", "facereader", "imotions"]
IMPORT_KINDS: tuple[ImportKind, ...] = get_args(ImportKind)


def import_features(
    kind: ImportKind, path: str | os.PathLike[str], *, fps: float | None = None
) -> Imported:
    """Open another tool's features: a file, or a folder of files (HDF5: a file).

    ``fps`` gives py-feat's frames their times. The clips of the result are read one by one as
    its iterator advances; FacerError names the file and line that does not fit.
    """
    path = Path(path)
    if not path.exists():
        raise FacerError(f"{path}: found no such file or folder, expected features of {kind}")
    try:
        fits = fps is None or 0 < fps < math.inf
    except TypeError:  # a text
        fits = False
    if not fits:
        raise OptionError(f"{named('fps')}: found {fps}, expected a positive number")
    if kind == "pyfeat":
        return read_pyfeat(path, fps)
    readers = {
        "muse": read_muse,
        "openface": read_openface,
        "libreface": read_libreface,
        "hdf5": read_hdf5,
        "facereader": read_facereader,
        "imotions": read_imotions,
    }
    check_choice("import kind", kind, IMPORT_KINDS)
    return readers[kind](path)


def export_store(
    store: FeatureStore,
    path: str | os.PathLike[str],
    format: ExportFormat | None = None,
    clip_ids: Sequence[str] | None = None,
    design: Design | None = None,
    long: bool = False,
) -> int:
    """Write a store's clips (default: all) to a new place and return how many were written.

    ``format`` is chosen by the path's ending where it is None. ``hdf5`` (.h5): one file,
    lossless. ``parquet``, ``feather`` and ``csv``: one table, a row a frame (``long``: a frame
    and feature) with its clip's id, status and columns of the ``design``; a clip without frames,
    such as a failed one, has one row with these alone. ``muse``: a folder with one csv a clip:
    ``File_ID``, ``timestamp`` in milliseconds, the features; empty cells where no face was
    measured; the header alone for a failed clip. Raises FacerError when ``path`` exists already
    or its ending is another format's, and without pyarrow for ``parquet`` and ``feather``.
    """
    path = Path(path)
    if format is not None:
        check_choice("export format", format, STORE_FORMATS)
    format = format_of(path, format)
    refuse_existing(path)
    ids = store.clip_ids if clip_ids is None else tuple(clip_ids)
    with written_whole(path) as temporary:
        if format in FRAME_TABLES:
            table = FrameTable.of(store, ids, design, long)
            write_frames(table, temporary, format)
            return len(table.rows)
        (_write_muse if format == "muse" else write_hdf5)(store, temporary, ids)
    return len(ids)


def _write_muse(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    names = list(map(last_name, clip_ids))
    _check_file_names(store.path, clip_ids, names)
    path.mkdir()
    for clip_id, name in zip(clip_ids, names, strict=True):
        with (path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv_writer(file)
            writer.writerow(["File_ID", "timestamp", *map(safe_cell, store.feature_names)])
            if not store.record(clip_id).n_frames:
                continue
            clip = store.read(clip_id)
            columns = map(number_cells, (clip.timestamp_s * 1000, *clip.features.T))
            writer.writerows((safe_cell(name), *row) for row in zip(*columns, strict=True))


def _check_file_names(where: str, clip_ids: Sequence[str], names: Sequence[str]) -> None:
    """Refuse ids that would leave the folder or meet in one file."""
    seen: dict[str, str] = {}
    for clip_id, name in zip(clip_ids, names, strict=True):
        if name in ("", ".", "..") or "\0" in name:
            raise FacerError(f"{where}: clip {clip_id!r}: found an id that cannot name a csv file")
        if name in seen:
            raise FacerError(
                f"{where}: found clips {seen[name]!r} and {clip_id!r}, expected different names "
                f"after the last '/'; export fewer clips or use hdf5"
            )
        seen[name] = clip_id
