"""Photographs and clips of people at every pose, with faces labelled by several detectors.

A folder of photographs holds ``faces.csv`` (columns file, x1 ... right_mouth_y, status,
points_agree, yaw_class, yaw, roll, source), a folder of clips ``faces.csv`` (the same and frame)
and ``frames.csv`` (file, frame, faces). Faces that are not ``sure`` are neither faces to be found
nor background.

Everything is split by source, never by picture: ``train`` makes weights, ``tune`` chooses a
threshold among trained weights, ``val`` is scored once. ``first`` and ``second`` are two halves of
``tune`` and ``val`` together: what is trained ``without-first`` is measured on ``first``. Sources
that show the same people are in one split, and in one half.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facer.stages.detection.config import Split
from facer.stages.detection.data.face_table import POSES, FaceRows, read_faces, read_frames
from facer.stages.detection.data.sources import read_rgb, video_frames
from facer.stages.detection.data.teacher import Labelled
from facer.storage.errors import FacerError
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

FIRST = frozenset({
    "clothing-selfies-mmdet", "coco128", "deepface", "guozhongluo-headpose", "indian-celebs",
    "lsp-extended", "mtcnn-pytorch", "pointing04", "prnet", "rmfd-turned", "u2net", "yolov7-face",
    "bright-turn-smile.mp4", "fast-head.mp4", "mock-interview.avi", "phone-near-profile.mp4",
    "walks-up-leaves.mp4",
})  # fmt: skip
"""One half of both."""

POSE_WEIGHTS = dict(zip(POSES, (1.0, 1.5, 3.0), strict=True))
"""How often a photograph is drawn by the most turned of its sure faces."""


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
    """Which of train, tune and val a source of photographs or a clip belongs to."""
    return "val" if source in VAL else "tune" if source in TUNE else "train"


def is_in(source: str, split: Split) -> bool:
    """Whether a source of photographs or a clip belongs to a split, or to several together."""
    usual = split_of(source)
    half = "" if usual == "train" else "first" if source in FIRST else "second"
    if split.startswith("without-"):
        return split != f"without-{half}"
    return split in ("all", usual, half)


def overlap(one: Split, other: Split) -> bool:
    """Whether two splits share a source."""
    return any(is_in(source, one) and is_in(source, other) for source in {"", *TUNE, *VAL})


def read_people(folder: Path, split: Split) -> Iterator[Picture]:
    """The photographs of the sources of ``split``, in the order of their names."""
    faces = read_faces(folder / "faces.csv", of_clips=False)
    by_file: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(faces.file):
        if is_in(faces.source[row], split):
            by_file[name].append(row)
    for name in sorted(by_file):
        path = _inside(folder, name)
        yield _picture(name, path, read_rgb(path), faces.take(by_file[name]))


def read_people_clips(folder: Path, split: Split) -> Iterator[Picture]:
    """The labelled frames of the clips of ``split``; a frame may have no face."""
    faces = read_faces(folder / "faces.csv", of_clips=True)
    rows: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, place in enumerate(zip(faces.file, faces.frame.tolist(), strict=True)):
        rows[place].append(row)
    frames = read_frames(folder / "frames.csv")
    _check_counts(folder, rows, frames)
    for name in sorted(clip for clip in frames if is_in(clip, split)):
        path, missing = _inside(folder, name), set(frames[name])
        for number, frame in enumerate(video_frames(path)):
            if number in missing:
                missing.remove(number)
                yield _picture(f"{name} {number}", path, frame, faces.take(rows[name, number]))
        if missing:
            raise FacerError(
                f"{folder / 'frames.csv'}: found frame {min(missing)} of {name}, which has "
                "fewer; is it another video?"
            )


def _check_counts(
    folder: Path, rows: dict[tuple[str, int], list[int]], frames: dict[str, dict[int, int]]
) -> None:
    """Refuse two tables that are not of the same frames."""
    said = {(name, frame): n for name, its in frames.items() for frame, n in its.items()}
    for place in {**rows, **said}:
        found, expected = len(rows.get(place, ())), said.get(place)
        if found != expected:
            raise FacerError(
                f"{folder}: found {found} faces in frame {place[1]} of {place[0]} in faces.csv, "
                f"and {'no such frame' if expected is None else expected} in frames.csv; they "
                "are to be of the same frames"
            )


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


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder itself: tables of others lead nowhere else."""
    if Path(name).name != name or name in {"", ".", ".."}:
        raise FacerError(f"{folder}: found file {name!r}, expected the name of a file in it")
    return folder / name


def _picture(name: str, path: Path, image: U8, faces: FaceRows) -> Picture:
    """``FacerError`` for a sure face that is outside the picture."""
    box, size = faces.bbox_px, image.shape[1::-1]
    outside = faces.sure & ((box[:, 2:] <= 0) | (box[:, :2] >= size)).any(axis=1)
    if outside.any():
        corners = ",".join(f"{value:g}" for value in box[outside][0])
        raise FacerError(f"{path}: found the face {corners} in faces.csv, expected it in the "
                         f"picture of {size[0]}x{size[1]}; is it another picture?")  # fmt: skip
    return Picture(
        name, faces.source[0] if faces.source else path.name,
        Labelled(image, box, faces.keypoints_px, ~faces.sure),
        faces.agreed, faces.yaw_class, faces.roll,
    )  # fmt: skip
