"""EmotioNet (Fabian Benitez-Quiroz et al. 2016): action units of photographs from the web."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.stages.affect.datasets.aligned import FACE, Aligner, Photographs, left_out
from facer.stages.affect.datasets.label_files import (
    LabelFile,
    Split,
    inside,
    note,
    read_label_file,
    split_in,
    unit_of,
    units_by_name,
)
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError
from facer.storage.errors import FacerError
from facer.storage.files.cells import parse_number
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32, Bools

_UNKNOWN = (999.0, -1.0)
_N_UNITS = 60  # AU1 to AU60 in the file without a header
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_VAL_SHARE = 10  # one image in so many is val, where no file names a split


@dataclass(frozen=True)
class _Rows:
    """Images by name and their units (n, 17), NaN for unknown."""

    names: list[str]
    au: F32

    def take(self, rows: Bools) -> _Rows:
        """Some of the rows."""
        return _Rows([self.names[row] for row in np.flatnonzero(rows)], self.au[rows])


def read_emotionet(root: str | Path, split: Split, aligner: Aligner) -> AffectSet:
    """One split (``train`` or ``val``) of the annotation files in a folder.

    Tab-separated with URLs, or csv with ``name,AU1,...``. The split is that in the file's
    name; in files without one, a tenth of the images, by the checksum of the name, is val. An
    image of val is not in train. Images lie anywhere below the folder. ``FacerError`` with file
    and line for a bad line.
    """
    root = Path(root)
    if not root.is_dir():
        raise FacerError(f"{root}: no such folder, expected the folder of EmotioNet")
    paths = [p for s in ("txt", "tsv", "csv") for p in sorted(root.glob(f"*.{s}"))]
    files = [(_read_file(path), path) for path in paths]
    rows = _joined([_of_split(rows, path, split) for rows, path in files])
    rows, notes = _one_row_each(rows)
    if split == "train":
        total = len(rows.names)
        val = {n for part, path in files for n in _of_split(part, path, "val").names}
        both = [name for name in rows.names if name in val]
        notes += note("emotionet", "training images are left out: they are in val", both, total)
        rows = rows.take(np.array([name not in val for name in rows.names], np.bool_))
    if not rows.names:
        raise NoSplitError(
            f"{root}: found no labelled row of the {split} split in {len(paths)} annotation "
            "files; expected .txt, .tsv or .csv files with URLs or names and AU columns"
            + "".join(f"; {one}" for one in notes)
        )
    return _to_set(root, rows, aligner, notes)


def _joined(parts: Sequence[_Rows]) -> _Rows:
    """The labelled rows of some files, one after another."""
    none = np.zeros((0, len(ACTION_UNITS)), np.float32)
    names = [name for part in parts for name in part.names]
    rows = _Rows(names, np.concatenate([none, *(part.au for part in parts)]))
    return rows.take(np.asarray(np.isfinite(rows.au).any(axis=1)))


def _one_row_each(rows: _Rows) -> tuple[_Rows, tuple[str, ...]]:
    """Each image once, with the units of all its rows; a note on those whose rows contradict.

    The name is the URL's last part, which photographs of several sites can have.
    """
    place = {name: i for i, name in enumerate(dict.fromkeys(rows.names))}
    at = [place[name] for name in rows.names]
    low, high = (np.full((len(place), len(ACTION_UNITS)), np.nan, np.float32) for _ in range(2))
    np.fmin.at(low, at, rows.au)
    np.fmax.at(high, at, rows.au)
    one = _Rows(list(place), low)
    agreed = np.asarray(~(low < high).any(axis=1))
    what = "images are left out: their rows contradict one another"
    return one.take(agreed), note("emotionet", what, one.take(~agreed).names, len(place))


def _to_set(root: Path, rows: _Rows, aligner: Aligner, notes: tuple[str, ...]) -> AffectSet:
    here, twice = _images_by_name(root)
    total = len(rows.names)
    missing = [name for name in rows.names if name not in here and name not in twice]
    unclear = [name for name in rows.names if name in twice]
    notes += note("emotionet", "labelled images are missing", missing, total)
    notes += note("emotionet", "names stand for several files", unclear, total)
    rows = rows.take(np.array([name in here for name in rows.names], dtype=np.bool_))
    names = tuple(here[name] for name in rows.names)
    crops, outcome = aligner.align(Photographs(root, names))
    notes += left_out("emotionet", names, outcome)
    keep = np.flatnonzero(outcome == FACE)
    if len(keep) == 0:
        raise FacerError(f"{root}: none of {total} images can be used; {'; '.join(notes)}")
    n = len(keep)
    return AffectSet(
        name="emotionet", images=crops, indices=keep,
        expression=np.full((n, len(EXPRESSIONS)), np.nan, np.float32),
        va=np.full((n, 2), np.nan, np.float32), au=rows.au[keep],
        au_trust=np.ones(len(ACTION_UNITS), np.float32), notes=notes,
    )  # fmt: skip


def _read_file(path: Path) -> _Rows:
    file = read_label_file(path)
    if file.delimiter == "\t" and all(parse_number(c) is not None for c in file.header[2:]):
        units = [f"AU{number}" for number in range(1, _N_UNITS + 1)]
        file = LabelFile(
            path, "\t", ("url", "original", *units),
            ["\t".join(file.header), *file.lines], first_line=1,
        )  # fmt: skip
    file.refuse_repeated()
    columns = [c for c, name in enumerate(file.header) if unit_of(name) in ACTION_UNITS]
    lower = [name.lower() for name in file.header]
    named = lower.index("name") if "name" in lower else None
    name_column = 0 if file.delimiter == "\t" else named
    if not columns or name_column is None:
        raise FacerError(
            f"{path}:1: found the header {' '.join(file.header)[:80]!r}, expected "
            "name,AU1,AU2,... or, separated by tabs, two URLs and AU1 to AU60"
        )
    values = file.numbers(columns, len(file.header))
    file.check(values, np.isin(values, (0, 1, *_UNKNOWN)), "0, 1, or -1 or 999 for unknown")
    cells = file.cells(name_column)
    if file.delimiter == "\t":
        cells = [url.rsplit("/", 1)[-1] for url in cells]
    names = [inside(cell, file.at(row)) for row, cell in enumerate(cells)]
    au = units_by_name([file.header[column] for column in columns], values, _UNKNOWN)
    return _Rows([name.rsplit("/", 1)[-1] for name in names], au)


def _of_split(rows: _Rows, path: Path, wanted: Split) -> _Rows:
    if split := split_in(path.stem):
        return rows if split == wanted else rows.take(np.zeros(len(rows.names), bool))
    is_val = np.array([zlib.crc32(n.encode()) % _VAL_SHARE == 0 for n in rows.names], bool)
    return rows.take(is_val if wanted == "val" else ~is_val)


def _images_by_name(root: Path) -> tuple[dict[str, str], set[str]]:
    """Path below ``root`` of every image by its name, and the names that several images have."""
    here: dict[str, str] = {}
    twice: set[str] = set()
    for folder, _, files in os.walk(root):
        below = Path(folder).relative_to(root)
        for name in files:
            if name.lower().endswith(_IMAGE_SUFFIXES):
                if name in here:
                    twice.add(name)
                here[name] = (below / name).as_posix()
    return {name: path for name, path in here.items() if name not in twice}, twice
