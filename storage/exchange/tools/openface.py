"""Features of OpenFace 2: a csv a clip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.exchange.tools import imported
from facer.storage.exchange.tools.imported import Imported, Names
from facer.storage.files.csv_table import CsvTable
from facer.storage.layout.parts import Entry
from facer.storage.schema import F64, I64, Bools

_FEATURE = re.compile(r"AU\d\d_[rc]|gaze_.+|pose_.+", re.IGNORECASE)
_UNIT = re.compile(r"AU(\d\d)_([rc])", re.IGNORECASE)


def read_openface(path: Path) -> Imported:
    """Read OpenFace 2 csv files, one a clip: AU intensities and presences, gaze and pose.

    A frame is valid where ``success`` is 1 and any number is there. Of several ``face_id`` the one
    with most valid frames counts (then the surest), and with it those that are never in a frame
    together: a face that is lost gets another number when it is found again. What was joined and
    what was left out is in the clip's note. Frames that the file leaves out had no face.
    """
    files = imported.files_under(path, ".csv")
    header = imported.first_header(files)
    _refuse_pictures(path, header)
    names = imported.distinct(next(iter(files.values())), _names(header))
    if not names:
        raise FacerError(
            f"{next(iter(files.values()))}: found no AU, gaze or pose column, "
            "expected OpenFace 2 csv files"
        )
    clips = imported.one_a_file(files, names, _names, _clip)
    provenance = imported.provenance(
        "openface-2", "face_id with most valid frames", au_scale="intensity 0 to 5"
    )
    return Imported(tuple(names), (), provenance, clips)


def _names(header: Sequence[str]) -> list[tuple[str, str]]:
    return [(_name(name), name) for name in header if _FEATURE.fullmatch(name)]


def _name(name: str) -> str:
    """Return ``au12`` for an intensity, ``AU12_c`` for a presence, another name as it is."""
    unit = _UNIT.fullmatch(name)
    if unit is None:
        return name
    return f"au{unit[1]}" if unit[2].lower() == "r" else f"AU{unit[1]}_c"


def _clip(clip_id: str, table: CsvTable, names: Names) -> Entry:
    meta = table.numbers([table.where(name) for name in ("frame", "timestamp", "confidence")])
    success = _success(table)
    frame = imported.frame_numbers(table, meta[:, 0])
    frame -= min(1, int(frame.min()))  # OpenFace counts from 1
    frame = imported.from_time_0(frame, meta[:, 1])
    faces = [0.0] * len(frame)
    if "face_id" in table.header:
        faces = table.numbers([table.where("face_id")])[:, 0].tolist()
    imported.refuse_twice(table, [*zip(frame.tolist(), faces, strict=True)], " for one face")
    measured = imported.features_of(table, names)
    success &= imported.measured(measured)
    kept, note = _one_sequence(faces, frame, success, meta[:, 2])
    frames = int(frame.max()) + 1
    counts = np.bincount(frame[success], minlength=frames)
    rows = frame[kept]

    def spread(values: F64) -> F64:
        out = np.full((frames, *values.shape[1:]), np.nan)
        out[rows] = values[kept]
        return out

    extras = {"det_score": spread(meta[:, 2]), "n_faces": counts}
    extras |= {name: spread(values) for name, values in imported.landmarks(table).items()}
    known, first = np.unique(frame, return_index=True)
    valid = np.zeros(frames, np.bool_)
    valid[rows] = success[kept]
    timestamp_s = imported.at_frames(frames, known, meta[first, 1])
    features = spread(measured)
    odd = imported.beyond_scale(features[valid], names)
    note = "; ".join(filter(None, [note, odd]))
    return imported.clip(clip_id, features, timestamp_s, valid, extras, note)


def _success(table: CsvTable) -> Bools:
    """Return the column of that name (rows,); FacerError for other numbers than 0 and 1."""
    values = table.numbers([table.where("success")])[:, 0]
    for row in np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))[:1]:
        raise FacerError(
            f"{table.at(row)}: column 'success': found {values[row]:g}, expected 0 or 1"
        )
    return np.asarray(values == 1, np.bool_)


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
    first = ids[int(np.argmax(imported.dominant(faces, success, confidence)))]
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
