"""Aff-Wild2 (Kollias & Zafeiriou 2019) in the releases of the ABAW challenges.

Per task ``<task>/{Train_Set,Validation_Set}/<video>[_left|_right].txt``, line i after the
header being frame ``%05d.jpg`` of ``cropped_aligned/<video>[_left|_right]/``; and the
multi-task file ``image,valence,arousal,expression,aus...``. What a file holds is told by its
header, columns and classes are found by name, and the tasks' labels of one frame are joined.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facer.stages.affect.datasets.image_files import CropFiles
from facer.stages.affect.datasets.label_files import (
    LabelFile,
    Split,
    class_of,
    folders_below,
    inside,
    names_in,
    note,
    one_hot,
    read_label_file,
    split_in,
    unit_of,
    units_by_name,
)
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32, F64, I64, Bools

IMAGES = "cropped_aligned"
_CLASSES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
_UNITS = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU15", "AU23", "AU24", "AU25", "AU26")
_MULTI_TASK = ("image", "valence", "arousal", "expression")
_NO_VA, _NO_LABEL = -5.0, -1.0
_DEPTH = 4  # folders below the given one in which annotations are looked for


@dataclass(frozen=True)
class _Rows:
    """Labels of n images of one folder; NaN is "not labelled"."""

    names: npt.NDArray[np.bytes_]  # (n,) file names
    expression: F32  # (n, 7)
    va: F32  # (n, 2)
    au: F32  # (n, 17)

    @property
    def labelled(self) -> Bools:
        """(n,) rows with a label of any kind."""
        values = np.concatenate([self.expression, self.va, self.au], axis=1)
        return np.asarray(np.isfinite(values).any(axis=1))

    def take(self, rows: Bools) -> _Rows:
        """Some of the rows."""
        return _Rows(self.names[rows], self.expression[rows], self.va[rows], self.au[rows])


def read_affwild2(
    root: str | Path, split: Split, held_out: frozenset[str] = frozenset()
) -> AffectSet:
    """One split (``train`` or ``val``) of all annotations below a folder.

    The tasks split the videos differently, so train leaves out every video that is in the
    validation set of any task, both persons of it, and the videos of ``held_out`` (see
    :func:`validation_videos`). Frames without an image, normal where no face was found, are
    counted. Classes but the seven, -5 and -1 are "not labelled". ``FacerError`` with file and
    line for a bad line.
    """
    root = Path(root)
    by_folder: dict[str, list[_Rows]] = {}
    for path, its_split in _label_files(root):
        if its_split == split:
            for folder, rows in _read_file(path):
                by_folder.setdefault(folder, []).append(rows)
    notes: tuple[str, ...] = ()
    if split == "train":
        by_folder, notes = _without(by_folder, held_out | validation_videos(root))
    if not by_folder:
        raise NoSplitError(
            f"{root}: found no Aff-Wild2 annotation of the {split} split; expected files such "
            "as <task>/Train_Set/<video>.txt, or a file with image,valence,arousal,expression,..."
            + (f"; left out: {notes[0]}" if notes else "")
        )
    return _join(root, by_folder, notes)


def validation_videos(root: str | Path) -> frozenset[str]:
    """Videos, without the person's ``_left`` or ``_right``, in the val split of any task."""
    paths = [path for path, split in _label_files(Path(root)) if split == "val"]
    return frozenset(_video(folder) for path in paths for folder in _folders(path))


def _video(folder: str) -> str:
    return folder.removesuffix("_left").removesuffix("_right")


def _folders(path: Path) -> set[str]:
    """Folders of images that an annotation file is about."""
    if not _multi_task_split(path):
        return {path.stem}
    file = read_label_file(path)
    images = file.cells([name.lower() for name in file.header].index("image"))
    return {inside(cell, file.at(row)).rpartition("/")[0] for row, cell in enumerate(images)}


def _without(
    by_folder: dict[str, list[_Rows]], videos: frozenset[str]
) -> tuple[dict[str, list[_Rows]], tuple[str, ...]]:
    """Folders of other videos, and a note on those that were left out."""
    kept = {folder: rows for folder, rows in by_folder.items() if _video(folder) not in videos}
    what = "training videos are left out: they are in the validation set of another task"
    return kept, note("affwild2", what, sorted(by_folder.keys() - kept), len(by_folder))


def _label_files(root: Path) -> list[tuple[Path, str]]:
    """(file, split) of every annotation file; the folder's name tells the split, or its own."""
    if not root.is_dir():
        raise FacerError(f"{root}: no such folder, expected the folder of Aff-Wild2")
    found = []
    for folder in folders_below(root, _DEPTH, skip="cropped"):
        for path in sorted([*folder.glob("*.txt"), *folder.glob("*.csv")]):
            inherited = split_in(folder.name) if folder != root else ""
            split = inherited or _multi_task_split(path)
            if split and not path.name.startswith("."):
                found.append((path, split))
    return found


def _multi_task_split(path: Path) -> str:
    """The split of a multi-task file, by its name; "" for other files, such as a read-me."""
    with open_regular(path, "a text file", str(path)) as file:
        first = file.readline(1000).decode("utf-8-sig", "replace").lower()
    header = {cell.strip() for cell in first.split(",")}
    return split_in(path.stem) if header >= set(_MULTI_TASK) else ""


def _read_file(path: Path) -> list[tuple[str, _Rows]]:
    """(folder of images, labels) of one annotation file."""
    file = read_label_file(path)
    file.refuse_repeated()
    header = [name.lower() for name in file.header]
    if set(header) >= set(_MULTI_TASK):
        return _read_multi_task(file, header)
    frames = range(1, len(file.lines) + 1)
    blank = _blank(np.array([b"%05d.jpg" % frame for frame in frames], np.bytes_))
    if set(header) == {"valence", "arousal"}:
        numbers = file.numbers([header.index("valence"), header.index("arousal")], 2)
        rows = _Rows(blank.names, blank.expression, _valence_arousal(file, numbers), blank.au)
    elif all(unit_of(name) is not None for name in header):
        numbers = file.numbers(range(len(header)), len(header))
        rows = _Rows(blank.names, blank.expression, blank.va, _units(file, header, numbers))
    elif set(header) & set(EXPRESSIONS):
        classes = [class_of(name, f"{path}:1") for name in file.header]
        numbers = file.numbers([0], 1)[:, 0]
        rows = _Rows(blank.names, _classes(file, classes, numbers), blank.va, blank.au)
    else:
        raise FacerError(
            f"{path}:1: found the header {','.join(file.header)[:80]!r}, expected valence,arousal "
            "or the names of expressions or action units"
        )
    return [(path.stem, rows)]


def _read_multi_task(file: LabelFile, header: list[str]) -> list[tuple[str, _Rows]]:
    if header[-1] == "aus":  # one name for the twelve columns
        header = [*header[:-1], *_UNITS]
    for name in header:
        if name not in _MULTI_TASK and unit_of(name) is None:
            raise FacerError(f"{file.path}:1: found column {name!r}, expected an action unit")
    columns = [c for c, name in enumerate(header) if name != "image"]
    names = [header[column] for column in columns]
    numbers = file.numbers(columns, len(header))
    units = [position for position, name in enumerate(names) if name not in _MULTI_TASK]
    valence, arousal, expression = (names.index(name) for name in _MULTI_TASK[1:])
    cells = file.cells(header.index("image"))
    images = [inside(cell, file.at(row)) for row, cell in enumerate(cells)]
    first: dict[str, int] = {}
    for row, image in enumerate(images):
        if first.setdefault(image, row) != row:
            raise FacerError(
                f"{file.at(row)}: found the image {image!r} again, expected it once (first in "
                f"{file.at(first[image])})"
            )
    folders = np.array([image.rpartition("/")[0] for image in images])
    rows = _Rows(
        np.array([image.rpartition("/")[2].encode() for image in images], np.bytes_),
        _classes(file, [class_of(name, "") for name in _CLASSES], numbers[:, expression]),
        _valence_arousal(file, numbers[:, [valence, arousal]]),
        _units(file, [names[unit] for unit in units], numbers[:, units]),
    )
    return [(str(folder), rows.take(folders == folder)) for folder in np.unique(folders)]


def _valence_arousal(file: LabelFile, values: F64) -> F32:
    """(n, 2), both NaN where either is -5."""
    absent = (values == _NO_VA).any(axis=1)
    good = absent[:, None] | (np.abs(values) <= 1)
    file.check(values, good, "valence and arousal in [-1, 1] or -5")
    return np.where(absent[:, None], np.nan, values).astype(np.float32)


def _classes(file: LabelFile, classes: Sequence[str], values: F64) -> F32:
    good = np.isin(values, np.arange(-1, len(classes)))
    file.check(values, good, f"a class from 0 to {len(classes) - 1}, or -1")
    return one_hot(classes, values.astype(np.int64))


def _units(file: LabelFile, names: Sequence[str], values: F64) -> F32:
    file.check(values, np.isin(values, (0, 1, _NO_LABEL)), "0, 1 or -1 for an action unit")
    return units_by_name(names, values, [_NO_LABEL])


def _blank(names: npt.NDArray[np.bytes_]) -> _Rows:
    n = len(names)
    widths = (len(EXPRESSIONS), 2, len(ACTION_UNITS))
    return _Rows(names, *(np.full((n, width), np.nan, np.float32) for width in widths))


def _merge(parts: Sequence[_Rows]) -> tuple[_Rows, bool]:
    """One row an image, each label from the first part that has it, and whether any two differ."""
    if len(parts) == 1:
        return parts[0], False
    differ = False
    merged = _blank(np.unique(np.concatenate([part.names for part in parts])))
    for part in reversed(parts):
        at = np.searchsorted(merged.names, part.names)
        for name in ("expression", "va", "au"):
            into, values = getattr(merged, name), getattr(part, name)
            both = np.isfinite(values) & np.isfinite(into[at])
            differ |= bool((both & (values != into[at])).any())
            into[at] = np.where(np.isfinite(values), values, into[at])
    return merged, differ


def _join(root: Path, by_folder: dict[str, list[_Rows]], notes: tuple[str, ...]) -> AffectSet:
    """All folders' rows that have a label and an image."""
    images = _image_root(root)
    kept: list[_Rows] = []
    missing: list[str] = []
    differing: list[str] = []
    from_zero: list[str] = []
    n_labelled = 0
    folders = tuple(sorted(by_folder))
    for folder in folders:
        rows, differ = _merge(by_folder[folder])
        differing += [folder] * differ
        files = [os.fsencode(name) for name in names_in(images / folder)]
        from_zero += [folder] * (b"00000.jpg" in files and b"00000.jpg" not in rows.names)
        rows = rows.take(rows.labelled)
        there = np.isin(rows.names, np.array(files, np.bytes_))
        n_labelled += len(there)
        missing += [f"{folder}/{name.decode()}" for name in rows.names[~there]]
        kept.append(rows.take(there))
    folder_of: I64 = np.repeat(np.arange(len(folders)), [len(rows.names) for rows in kept])
    if len(folder_of) == 0:
        raise FacerError(
            f"{images}: found none of the {n_labelled} labelled images; expected "
            "<video>/00001.jpg and so on, as in the database's cropped_aligned archives"
        )
    names = np.concatenate([rows.names for rows in kept])
    other = "videos have other labels in one file than in another; the first by path counts"
    notes += note("affwild2", other, differing, len(folders))
    zero = "folders hold 00000.jpg; line 1 is frame 00001.jpg, so labels may be a frame off"
    notes += note("affwild2", zero, from_zero, len(folders))
    source = CropFiles(images, folders, folder_of.astype(np.int32), names)
    source.crop(0)  # refuses images of another size before any work is done
    return AffectSet(
        name="affwild2", images=source, indices=np.arange(len(names)),
        expression=np.concatenate([rows.expression for rows in kept]),
        va=np.concatenate([rows.va for rows in kept]),
        au=np.concatenate([rows.au for rows in kept]),
        au_trust=np.ones(len(ACTION_UNITS), np.float32),
        notes=notes + note("affwild2", "labelled frames have no image", missing, n_labelled),
    )  # fmt: skip


def _image_root(root: Path) -> Path:
    for folder in folders_below(root, 2, skip="cropped"):
        if (folder / IMAGES).is_dir():
            return folder / IMAGES
    raise FacerError(f"{root}: found no folder {IMAGES}, expected it to hold the images")
