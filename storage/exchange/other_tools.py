"""Feature files of other tools: MuSe folders, OpenFace 2 and py-feat csv.

Names: a column that means the same as one of facer's gets facer's name (``AU12_r`` of OpenFace
and ``AU12`` of py-feat are ``au12``, ``anger`` is ``anger``), so that ``--features au,expr``
finds it; every other column keeps the tool's name. Numbers stay on the tool's scale: an
OpenFace AU is an intensity from 0 to 5 where facer's is a probability. The provenance says
which tool it was, so that such features never mix with others in one store.

Columns are found by name in every file; their order may differ from file to file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.exchange.imported import (
    Imported,
    files_under,
    imported_clip,
    imported_provenance,
)
from facer.storage.files.csv_table import CsvTable, iterate_rows, read_table
from facer.storage.parts import Entry
from facer.storage.schema import EXPRESSIONS, F64, I64, VALENCE_AROUSAL, Bools, Record

_MUSE_META = ("timestamp", "segment_id", "file_id", "filename", "id")
_OPENFACE_FEATURE = re.compile(r"AU\d\d_[rc]|gaze_.+|pose_.+")
_PYFEAT_FEATURE = re.compile(
    "|".join([r"AU\d\d", *EXPRESSIONS, *VALENCE_AROUSAL, "Pitch|Roll|Yaw"])
)
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_PICTURE_NAMES = ("", "frame", "frames", "img", "image", "picture", "pic", "out", "output", "f")
_MAX_FRAMES = 10_000_000
_MS_STEP = 2.0  # timestamps that advance by as much are milliseconds, of 500 Hz at most

Names = Mapping[str, str]  # facer's name of a column: the file's


def read_muse(path: Path) -> Imported:
    """Read ``<id>.csv`` files: leading meta columns (timestamp, id), then the features.

    A frame is valid unless all its cells are empty. Times are taken for milliseconds when they
    advance by 5 or more.
    """
    files = files_under(path, ".csv")
    header = first_header(files)
    meta = 0
    while meta < len(header) and header[meta].lower() in _MUSE_META:
        meta += 1
    names = {name: name for name in header[meta:]}
    if not names:
        raise FacerError(f"{path}: found only columns {', '.join(header)}, expected features")
    clips = one_a_file(files, names, _muse_clip)
    return Imported(tuple(names), (), imported_provenance("muse", "as imported"), clips)


def _muse_clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    features = _features(table, names)
    column = table.index("timestamp")
    if column is None:
        timestamp_s = np.full(len(features), np.nan)
    else:
        timestamp_s = seconds(table.numbers([column])[:, 0])
    valid = np.asarray(~np.isnan(features).all(axis=1), np.bool_)
    return imported_clip(clip_id, features, timestamp_s, valid, {})


def seconds(times: F64) -> F64:
    """Return times in seconds: those that advance by 2 or more are milliseconds."""
    steps = np.diff(times)
    return times / 1000 if len(steps) and np.median(steps) >= _MS_STEP else times


def read_openface(path: Path) -> Imported:
    """Read OpenFace 2 csv files, one a clip: AU intensities and presences, gaze and pose.

    A frame is valid where ``success`` is 1. Of several ``face_id`` the one with most valid
    frames counts (then the surest), and with it those that are never in a frame together: a
    face that is lost gets another number when it is found again. What was joined and what was
    left out is in the clip's note. Frames that the file leaves out had no face.
    """
    files = files_under(path, ".csv")
    _refuse_pictures(path, first_header(files))
    names = {
        name[:4].lower() if re.fullmatch(r"AU\d\d_r", name) else name: name
        for name in first_header(files)
        if _OPENFACE_FEATURE.fullmatch(name)
    }
    if not names:
        raise FacerError(f"{path}: found no AU, gaze or pose column, expected OpenFace 2 csv files")
    clips = one_a_file(files, names, _openface_clip)
    provenance = imported_provenance(
        "openface-2", "face_id with most valid frames", au_scale="intensity 0 to 5"
    )
    return Imported(tuple(names), (), provenance, clips)


def _openface_clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    meta = table.numbers([table.where(name) for name in ("frame", "timestamp", "confidence")])
    success = table.numbers([table.where("success")])[:, 0] == 1
    frame = frame_numbers(table, meta[:, 0])
    frame -= min(1, int(frame.min()))  # OpenFace counts from 1
    faces = [0.0] * len(frame)
    if "face_id" in table.header:
        faces = table.numbers([table.where("face_id")])[:, 0].tolist()
    if len(set(zip(frame.tolist(), faces, strict=True))) < len(frame):
        raise FacerError(f"{table.path}: found a frame twice for one face, expected it once")
    kept, note = _one_sequence(faces, frame, success, meta[:, 2])
    frames = int(frame.max()) + 1
    counts = np.bincount(frame[success], minlength=frames)
    rows = frame[kept]

    def spread(values: F64) -> F64:
        out = np.full((frames, *values.shape[1:]), np.nan)
        out[rows] = values[kept]
        return out

    extras = {"det_score": spread(meta[:, 2]), "n_faces": counts}
    extras |= {name: spread(values) for name, values in _landmarks(table).items()}
    known, first = np.unique(frame, return_index=True)
    valid = np.zeros(frames, np.bool_)
    valid[rows] = success[kept]
    timestamp_s = np.interp(np.arange(frames), known, meta[first, 1])
    features = spread(_features(table, names))
    return imported_clip(clip_id, features, timestamp_s, valid, extras, note)


def _refuse_pictures(path: Path, header: Sequence[str]) -> None:
    if "face" in header and not {"frame", "timestamp", "success"} & set(header):
        raise FacerError(
            f"{path}: found a csv of OpenFace's FaceLandmarkImg, which treats every picture by "
            "itself (no frame and no timestamp), expected one of FeatureExtraction; run "
            "FeatureExtraction -f VIDEO, or -fdir FOLDER for the pictures of one video"
        )


def _one_sequence(
    faces: Sequence[object], frame: I64, success: Bools, confidence: F64
) -> tuple[Bools, str]:
    """Return the rows of one face, each frame once, and what was joined and left out.

    That face is the one measured most often, and every other (the more often first) that is
    never measured in a frame where a face taken before it is.
    """
    sizes = dict.fromkeys(faces, 0)
    for face, measured in zip(faces, success, strict=True):
        sizes[face] += bool(measured)
    ids = np.array([list(sizes).index(face) for face in faces])
    first = ids[int(np.argmax(_dominant(faces, success, confidence)))]
    taken = np.zeros(int(frame.max()) + 1, np.bool_)
    rank = np.full(len(sizes), len(sizes))
    joined = 0
    for face in sorted(range(len(sizes)), key=lambda i: (i != first, -[*sizes.values()][i], i)):
        its_frames = frame[(ids == face) & success]
        if (not len(its_frames) and face != first) or taken[its_frames].any():
            continue
        taken[its_frames] = True
        rank[face] = joined
        joined += 1
    rows = np.flatnonzero(rank[ids] < len(sizes))
    order = rows[np.lexsort((rank[ids[rows]], ~success[rows], frame[rows]))]
    _, once = np.unique(frame[order], return_index=True)
    kept = np.zeros(len(faces), np.bool_)
    kept[order[once]] = True
    lost = len(set(frame[success].tolist())) - int(success[kept].sum())
    notes = [f"{joined} face_ids never seen together are taken for one face"] * (joined > 1)
    notes += [f"in {lost} frames other faces alone were measured: left out"] * (lost > 0)
    return kept, "; ".join(notes)


def _dominant(faces: Sequence[object], success: Bools, confidence: F64) -> Bools:
    """Return the rows of the face that is measured most often, then most surely."""
    best: tuple[int, float, int] | None = None
    kept = np.zeros(len(faces), np.bool_)
    for order, face in enumerate(dict.fromkeys(faces)):
        rows = np.array([other == face for other in faces], np.bool_)
        measured = rows & success
        key = (int(measured.sum()), float(np.nansum(confidence[measured])), -order)
        if best is None or key > best:
            best, kept = key, rows
    return kept


def read_pyfeat(path: Path, fps: float | None = None) -> Imported:
    """Read py-feat csv files (v1 and v2): AUs, emotions, valence and arousal, head pose.

    The clip of a row is its ``input`` (by name, without folder and suffix; else the file's
    name); pictures of one folder that differ in a number are the frames of one clip, which is
    named by the folder. A frame is valid where it has a ``FaceScore``; of several faces in a
    frame that of the ``Identity`` seen most often counts, else the largest. py-feat stores no
    exact times: they are frame / ``fps`` where ``fps`` is given and NaN otherwise.
    """
    files = files_under(path, ".csv")
    names = {
        name.lower() if name.startswith("AU") else name: name
        for name in first_header(files)
        if _PYFEAT_FEATURE.fullmatch(name)
    }
    if not names:
        raise FacerError(f"{path}: found no AU or emotion column, expected py-feat csv files")
    provenance = imported_provenance("py-feat", "largest face, or Identity seen most often")
    return Imported(tuple(names), (), provenance, _pyfeat_clips(files, names, fps))


def _pyfeat_clips(files: Mapping[str, Path], names: Names, fps: float | None) -> Iterator[Entry]:
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
            yield _pyfeat_clip(clip_id, table, names, fps)


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


def _pyfeat_clip(clip_id: str, table: CsvTable, names: Names, fps: float | None) -> Entry:
    corners = ("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore")
    box = table.numbers([table.where(name) for name in corners])
    found = ~np.isnan(box[:, 4])
    frame = np.arange(len(box))
    note = ""
    if (pictures := _picture_numbers(table)) is not None:
        frame = pictures
        note = f"{int(frame.max()) + 1} numbered pictures are taken for the frames of one clip"
    elif "frame" in table.header:
        frame = frame_numbers(table, table.numbers([table.where("frame")])[:, 0])
    sure = np.where(found, np.nan_to_num(box[:, 2] * box[:, 3]), -1.0)
    if "Identity" in table.header:
        chosen = _dominant(table.column(table.where("Identity")), found, box[:, 4])
        sure = sure + np.where(chosen & found, np.nanmax(sure, initial=0.0) + 1, 0.0)
    order = np.lexsort((-sure, frame))  # by frame, the chosen face first
    frames, first = np.unique(frame[order], return_index=True)
    rows = order[first]
    extras: dict[str, npt.NDArray[Any]] = {
        name: values[rows] for name, values in _landmarks(table).items()
    }
    extras["bbox_px"] = np.concatenate([box[rows, :2], box[rows, :2] + box[rows, 2:4]], axis=1)
    extras["det_score"] = box[rows, 4]
    extras["n_faces"] = np.bincount(frame[found], minlength=int(frames[-1]) + 1)[frames]
    timestamp_s = frames / fps if fps else np.full(len(frames), np.nan)
    features = _features(table, names)[rows]
    return imported_clip(clip_id, features, timestamp_s, found[rows], extras, note)


def first_header(files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the column names of the first of some files."""
    return next(iterate_rows(next(iter(files.values()))))[1]


def one_a_file(
    files: Mapping[str, Path], names: Names, read_clip: Callable[[str, CsvTable, Names], Entry]
) -> Iterator[Entry]:
    """Yield a clip a file; one without rows is a failed clip."""
    for clip_id, file in files.items():
        table = read_table(file)
        if table.rows:
            yield read_clip(clip_id, table, names)
        else:
            yield Record(clip_id, "failed", 0, reason="its file has no rows"), None


def _features(table: CsvTable, names: Names) -> F64:
    return table.numbers([table.where(name) for name in names.values()])


def frame_numbers(table: CsvTable, values: F64) -> I64:
    """Return numbers of frames; FacerError for one that is none."""
    bad = ~((values >= 0) & (values < _MAX_FRAMES) & (values % 1 == 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise FacerError(
            f"{table.at(row)}: column 'frame': found {values[row]}, expected a whole number from 0 "
            f"to {_MAX_FRAMES}"
        )
    return values.astype(np.int64)


def _landmarks(table: CsvTable) -> dict[str, F64]:
    """Return five keypoints and their landmarks' box from 68 points ``x_0``, ``y_0`` ..."""
    axes = [[f"{axis}_{point}" for point in range(68)] for axis in "xy"]
    if not all(name in table.header for names in axes for name in names):
        return {}
    x, y = (table.numbers([table.where(name) for name in names]) for names in axes)
    points = np.stack([x, y], axis=2)
    groups = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
    keypoints = np.stack([points[:, group].mean(axis=1) for group in groups], axis=1)
    box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return {"keypoints_px": keypoints, "bbox_px": box}
