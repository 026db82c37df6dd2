"""Features in and out of a store: other tools' files, and files for other tools."""

from __future__ import annotations

import csv
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from facer.storage.challenges import bare_id
from facer.storage.csvtable import safe_cell
from facer.storage.errors import FacerError, OptionError
from facer.storage.hdf5 import read_hdf5, write_hdf5
from facer.storage.import_csv import read_muse, read_openface, read_pyfeat
from facer.storage.import_libreface import read_libreface
from facer.storage.imported import Imported
from facer.storage.objects import LocalObjects
from facer.storage.parquet import write_parquet
from facer.storage.store import FeatureStore

ImportKind = Literal["muse", "openface", "pyfeat", "hdf5", "libreface"]
ExportFormat = Literal["muse", "hdf5", "parquet"]
IMPORT_KINDS: tuple[ImportKind, ...] = get_args(ImportKind)
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


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
    if fps is not None and not fps > 0:
        raise OptionError(f"--fps: found {fps}, expected a positive number")
    if kind == "pyfeat":
        return read_pyfeat(path, fps)
    readers = {
        "muse": read_muse,
        "openface": read_openface,
        "libreface": read_libreface,
        "hdf5": read_hdf5,
    }
    if kind not in readers:
        raise OptionError(f"import kind: found {kind!r}, expected one of {', '.join(IMPORT_KINDS)}")
    return readers[kind](path)


def export_store(
    store: FeatureStore,
    path: str | os.PathLike[str],
    format: ExportFormat,
    clip_ids: Sequence[str] | None = None,
) -> int:
    """Write a store's clips (default: all) to a new place and return how many were written.

    ``muse``: a folder with one csv a clip: ``File_ID``, ``timestamp`` in milliseconds, the
    features; empty cells where no face was measured. ``hdf5``: one file, lossless.
    ``parquet``: one table, a row a frame; needs pyarrow. Failed clips are written to HDF5 only.
    Raises FacerError when ``path`` exists already.
    """
    path = Path(path)
    if path.exists():
        raise FacerError(f"{path}: found something there, expected a new path to export to")
    ids = store.clip_ids if clip_ids is None else tuple(clip_ids)
    if format != "hdf5":
        ids = tuple(clip_id for clip_id in ids if store.record(clip_id).status != "failed")
    writers: dict[str, Callable[[FeatureStore, Path, Sequence[str]], None]] = {
        "muse": _write_muse,
        "hdf5": write_hdf5,
        "parquet": write_parquet,
    }
    if format not in writers:
        raise OptionError(
            f"export format: found {format!r}, expected one of {', '.join(EXPORT_FORMATS)}"
        )
    with _aside(path) as temporary:
        writers[format](store, temporary, ids)
    return len(ids)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Give a path to write to that becomes ``path`` when all went well."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.rename(path)
    except OSError as error:
        raise FacerError(f"{path}: cannot write: {error.strerror or error}") from error
    finally:
        if temporary.is_dir():
            LocalObjects(temporary).delete("")
        else:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _write_muse(store: FeatureStore, path: Path, clip_ids: Sequence[str]) -> None:
    names = [bare_id(clip_id).rsplit("/", 1)[-1] for clip_id in clip_ids]
    _check_file_names(path, clip_ids, names)
    path.mkdir()
    for clip_id, name in zip(clip_ids, names, strict=True):
        clip = store.read(clip_id)
        with (path / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["File_ID", "timestamp", *map(safe_cell, store.feature_names)])
            for timestamp_s, row in zip(clip.timestamp_s, clip.features, strict=True):
                writer.writerow([safe_cell(name), *map(_cell, (timestamp_s * 1000, *row))])


def _cell(value: np.floating[Any]) -> str:
    """Return the shortest text that reads back as the same number; nothing for NaN."""
    return "" if np.isnan(value) else str(value)


def _check_file_names(path: Path, clip_ids: Sequence[str], names: Sequence[str]) -> None:
    """Refuse ids that would leave the folder or meet in one file."""
    seen: dict[str, str] = {}
    for clip_id, name in zip(clip_ids, names, strict=True):
        if name in ("", ".", "..") or "\0" in name:
            raise FacerError(f"{path}: clip {clip_id!r}: found an id that cannot name a csv file")
        if name in seen:
            raise FacerError(
                f"{path}: found clips {seen[name]!r} and {clip_id!r}, expected different names "
                f"after the last '/'; export fewer clips or use hdf5"
            )
        seen[name] = clip_id
