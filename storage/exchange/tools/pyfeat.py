"""Features of py-feat: csv files of videos, or of pictures that are a clip's frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable, iterate_rows
from facer.storage.layout.parts import Entry
from facer.storage.schema import EXPRESSIONS, I64, VALENCE_AROUSAL

_FEATURE = re.compile("|".join([r"AU\d\d", *EXPRESSIONS, *VALENCE_AROUSAL, "Pitch|Roll|Yaw"]))
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_PICTURE_NAMES = ("", "frame", "frames", "img", "image", "picture", "pic", "out", "output", "f")


def read_pyfeat(path: Path, fps: float | None = None) -> Imported:
    """Read py-feat csv files (v1 and v2): AUs, emotions, valence and arousal, head pose.

    The clip of a row is its ``input`` (by name, without folder and suffix; else the file's
    name); pictures of one folder that differ in a number are the frames of one clip, which is
    named by the folder. A frame is valid where it has a ``FaceScore``; of several faces in a
    frame that of the ``Identity`` seen most often counts, else the largest. py-feat stores no
    exact times: they are frame / ``fps`` where ``fps`` is given and NaN otherwise.
    """
    files = imported.files_under(path, ".csv")
    names = dict(_names(imported.first_header(files)))
    if not names:
        raise FacerError(
            f"{next(iter(files.values()))}: found no AU or emotion column, "
            "expected py-feat csv files"
        )
    provenance = imported.provenance("py-feat", "largest face, or Identity seen most often")
    return Imported(tuple(names), (), provenance, _clips(files, names, fps))


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    return [
        (name.lower() if name.startswith("AU") else name, name)
        for name in header
        if _FEATURE.fullmatch(name)
    ]


def _clips(files: Mapping[str, Path], names: Names, fps: float | None) -> Iterator[Entry]:
    seen: dict[str, Path] = {}
    for relative, file in files.items():
        for source, table in _tables_by_input(file):
            stem = _clip_name(source, table)
            folder, _, name = relative.rpartition("/")
            clip_id = "/".join(filter(None, (folder, stem or name)))
            if clip_id in seen:
                raise FacerError(
                    f"{table.at(0)}: found clip {clip_id!r} again (first in {seen[clip_id]}), "
                    f"expected the rows of an input together and inputs of different names"
                )
            seen[clip_id] = file
            yield imported.noted(_clip(clip_id, table, names, fps), names, _names(table.header))


def _tables_by_input(file: Path) -> Iterator[tuple[str, CsvTable]]:
    """Yield each input and its rows; one input at a time is in memory."""
    rows = iterate_rows(file)
    _, header = next(rows)
    column = header.index("input") if "input" in header else None

    def by_input(row: tuple[int, tuple[str, ...]]) -> str:
        return "" if column is None else _without_number(row[1][column])

    for source, group in groupby(rows, by_input):
        lines, cells = zip(*group, strict=True)
        yield source, CsvTable(file, header, lines, cells)


def _without_number(source: str) -> str:
    """Return an input; a numbered picture without its number, as all of its clip are."""
    path = PureWindowsPath(source)  # knows both kinds of slash
    if path.suffix.lower() not in _PICTURE_SUFFIXES:
        return source
    return str(path.with_name(re.sub(r"\d+$", "*", path.stem) + path.suffix))


def _clip_name(source: str, table: CsvTable) -> str:
    """Return the clip's name: the input's, or the folder's of pictures that differ in a number."""
    path = PureWindowsPath(source)
    if not path.stem.endswith("*"):
        return path.stem
    inputs = set(table.column(table.where("input")))
    if len(inputs) == 1:
        return PureWindowsPath(inputs.pop()).stem
    name = path.stem[:-1].rstrip(" _-.")
    return path.parent.name if name.lower() in _PICTURE_NAMES else name


def _picture_numbers(table: CsvTable) -> I64 | None:
    """Return which frame each row is of, by the numbers of its pictures; None for a video."""
    inputs = table.column(table.where("input")) if "input" in table.header else []
    if len(set(inputs)) < 2:
        return None
    numbers = [int(re.findall(r"\d+", PureWindowsPath(source).stem)[-1]) for source in inputs]
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _clip(clip_id: str, table: CsvTable, names: Names, fps: float | None) -> Entry:
    corners = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
    box = table.numbers([table.where(name) for name in corners])
    found = ~np.isnan(box[:, 4])
    frame = np.arange(len(box))
    note = ""
    if (pictures := _picture_numbers(table)) is not None:
        frame = pictures
        note = f"{int(frame.max()) + 1} numbered pictures are taken for the frames of one clip"
    elif "frame" in table.header:
        frame = imported.frame_numbers(table, table.numbers([table.where("frame")])[:, 0])
        if back := int((np.diff(frame) < 0).sum()):
            note = (
                f"frame numbers go back {back}x: rows of one number are taken for faces of a frame"
            )
    sure = np.where(found, np.nan_to_num(box[:, 2] * box[:, 3]), -1.0)
    if "Identity" in table.header:
        chosen = imported.dominant(table.column(table.where("Identity")), found, box[:, 4])
        sure = sure + np.where(chosen & found, np.nanmax(sure, initial=0.0) + 1, 0.0)
    order = np.lexsort((-sure, frame))  # by frame, the chosen face first
    frames, first = np.unique(frame[order], return_index=True)
    rows = order[first]
    extras: dict[str, npt.NDArray[Any]] = {
        name: values[rows] for name, values in imported.landmarks(table).items()
    }
    extras["bbox_px"] = np.concatenate([box[rows, :2], box[rows, :2] + box[rows, 2:4]], axis=1)
    extras["det_score"] = box[rows, 4]
    extras["n_faces"] = np.bincount(frame[found], minlength=int(frames[-1]) + 1)[frames]
    timestamp_s = frames / fps if fps else np.full(len(frames), np.nan)
    features = imported.features_of(table, names)[rows]
    return imported.clip(clip_id, features, timestamp_s, found[rows], extras, note)
