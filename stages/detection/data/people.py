"""Photographs and clips of people at every pose, with faces labelled by several detectors.

A folder of photographs holds ``faces.csv`` (columns file, x1 ... right_mouth_y, status,
points_agree, yaw_class, yaw, roll, source), a folder of clips ``faces.csv`` (the same and frame)
and ``frames.csv`` (file, frame, faces). Faces that are not ``sure`` are neither faces to be found
nor background.

Everything is split by source, never by picture: ``train`` makes weights, ``tune`` chooses a
threshold among trained weights, ``val`` is scored once. Sources that show the same people are in
one split.
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from facer.stages.detection.config import Split
from facer.stages.detection.data.sources import read_rgb, video_frames
from facer.stages.detection.data.teacher import Labelled
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import F32, F64, U8, Bools

TUNE = frozenset({
    "human-seg-vikram", "pointing04", "prnet", "rmfd-turned", "u2net", "vladmandic-human",
    "bright-turn-smile.mp4", "shakes-head.mp4", "warm-light-moods.mp4",
})  # fmt: skip
"""Sources of photographs, and clips, whose faces choose the threshold."""

VAL = frozenset({
    "clothing-selfies-mmdet", "coco128", "codebasics-celebs", "deepface", "fmd-with-mask",
    "guozhongluo-headpose", "hpc203-headpose", "indian-celebs", "insightface", "lsp-extended",
    "mpiigaze-demo", "mtcnn-pytorch", "smartcrop", "xungeer29-headpose", "yoga-correction",
    "yolov7-face", "fast-head.mp4", "mask-off-on.mp4", "mock-interview.avi",
    "phone-near-profile.mp4", "phone-up-down.mp4", "room-camera.mp4", "walks-up-leaves.mp4",
})  # fmt: skip
"""Sources of photographs, and clips, that are scored once."""

POSE_WEIGHTS = {"frontal": 1.0, "three-quarter": 1.5, "profile": 3.0}
"""How often a photograph is drawn by the most turned of its sure faces."""

_POINTS = [
    f"{name}_{axis}"
    for name in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    for axis in "xy"
]
_COLUMNS = {"file", "x1", "y1", "x2", "y2", *_POINTS, "status", "points_agree", "yaw_class", "roll"}

Row = dict[str, str]


@dataclass(frozen=True)
class Picture:
    """A photograph or frame with its n faces and what is known of them; doubtful ones may have
    no points (NaN).
    """

    name: str
    source: str  # of a photograph; the file of a clip
    labelled: Labelled
    agreed: Bools  # (n,) two detectors put the points in the same places
    yaw_class: tuple[str, ...]
    roll: F32  # (n,) degrees in the picture


def split_of(source: str) -> Split:
    """Which split a source of photographs or a clip belongs to."""
    return "val" if source in VAL else "tune" if source in TUNE else "train"


def read_people(folder: Path, split: Split) -> Iterator[Picture]:
    """The photographs of the sources of ``split``, in the order of their names."""
    _check(split)
    rows = _rows(folder / "faces.csv", _COLUMNS | {"source"})
    by_file: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if split_of(row["source"]) == split:
            by_file[row["file"]].append(row)
    for name in sorted(by_file):
        some = by_file[name]
        yield _picture(name, some[0]["source"], read_rgb(_inside(folder, name)), some)


def read_people_clips(folder: Path, split: Split) -> Iterator[Picture]:
    """The labelled frames of the clips of ``split``; a frame may have no face."""
    _check(split)
    rows: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in _rows(folder / "faces.csv", _COLUMNS | {"frame"}):
        rows[row["file"], int(row["frame"])].append(row)
    wanted: dict[str, set[int]] = defaultdict(set)
    for row in _rows(folder / "frames.csv", {"file", "frame", "faces"}):
        if split_of(row["file"]) == split:
            wanted[row["file"]].add(int(row["frame"]))
    for name in sorted(wanted):
        for number, frame in enumerate(video_frames(_inside(folder, name))):
            if number in wanted[name]:
                yield _picture(f"{name} {number}", name, frame, rows[name, number])


def read_all_people(
    photographs: Path | None, clips: Path | None, split: Split
) -> Iterator[Picture]:
    """The photographs of one folder and the frames of another; None for no such folder."""
    if photographs is not None:
        yield from read_people(photographs, split)
    if clips is not None:
        yield from read_people_clips(clips, split)


def sampling_shares(pictures: Sequence[Picture]) -> F64:
    """How often each picture is drawn.

    A source of n pictures is drawn sqrt(n) times as often as one of a single picture, so that no
    large one decides what faces look like; pictures with a turned face are drawn more often
    (:data:`POSE_WEIGHTS`), for there are fewer of them.
    """
    counts = Counter(picture.source for picture in pictures)
    weights = np.array([_pose_weight(p) * counts[p.source] ** -0.5 for p in pictures], np.float64)
    return np.asarray(weights / max(weights.sum(), 1e-12), np.float64)


def _pose_weight(picture: Picture) -> float:
    sure = ~picture.labelled.ignore
    poses = [yaw for yaw, seen in zip(picture.yaw_class, sure, strict=True) if seen]
    return max((POSE_WEIGHTS.get(pose, 1.0) for pose in poses), default=1.0)


def _check(split: str) -> None:
    if split not in get_args(Split):
        raise FacerError(f"people split: found {split!r}, expected {', '.join(get_args(Split))}")


def _rows(path: Path, columns: set[str]) -> list[Row]:
    with io.TextIOWrapper(
        open_regular(path, "a table of labelled faces", str(path)), encoding="utf-8", newline=""
    ) as file:
        reader = csv.DictReader(file)
        missing = sorted(columns - set(reader.fieldnames or ()))
        if missing:
            raise FacerError(f"{path}: found no column {', '.join(missing)}")
        return list(reader)


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder itself: tables of others lead nowhere else."""
    if Path(name).name != name or name in {"", ".", ".."}:
        raise FacerError(f"{folder}: found file {name!r}, expected the name of a file in it")
    return folder / name


def _picture(name: str, source: str, image: U8, rows: list[Row]) -> Picture:
    def numbers(columns: list[str]) -> F32:
        values = [[float(row[column] or "nan") for column in columns] for row in rows]
        return np.array(values, np.float32).reshape(len(rows), len(columns))

    sure = np.array([row["status"] == "sure" for row in rows], np.bool_)
    points = numbers(_POINTS).reshape(-1, 5, 2)
    return Picture(
        name, source, Labelled(image, numbers(["x1", "y1", "x2", "y2"]), points, ~sure),
        np.array([row["points_agree"] == "1" for row in rows], np.bool_),
        tuple(row["yaw_class"] for row in rows), numbers(["roll"])[:, 0],
    )  # fmt: skip
