"""What training images are made of: photographs of faces, scenes without faces, video frames.

Faces of frames and boxes of photographs come from a teacher. Everything is held in memory as
RGB uint8.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facer.stages.affect.datasets.image_files import decode_image, read_image_file
from facer.stages.affect.datasets.packs import open_pack, read_jpegs, read_texts
from facer.stages.detection.data.camera import size_of
from facer.stages.detection.data.face_table import refuse_exchanged
from facer.stages.detection.data.teacher import AGREEMENT, Labelled, Teacher, nearest_points
from facer.stages.features.decode.frames import VideoReader
from facer.storage.errors import FacerError, one_line
from facer.storage.exchange.hdf5_guard import read_dataset
from facer.storage.files.videos import VIDEO_SUFFIXES
from facer.storage.schema import F32, F64, U8

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
FRAME_PX = 640  # longest side of a video frame
PHOTO_BORDER = 0.5  # of the longer side, added around a photograph before the teacher looks
PHOTO_BOX = (0.92, 1.1, 1.22)  # see box_of_points
SMALLEST_PX = 4.0  # size of a photograph's face; smaller ones are shares of the picture


@dataclass(frozen=True)
class Sources:
    """Everything that one training or validation set is made of."""

    photos: tuple[Labelled, ...]  # one face each
    scenes: tuple[U8, ...]
    frames: tuple[Labelled, ...]
    people: tuple[Labelled, ...] = ()  # photographs and frames, any number of faces
    shares: F64 | None = None  # (len(people),) how often each is drawn

    def counts(self) -> dict[str, int]:
        """How many of each, for config files and model cards."""
        return {name: len(getattr(self, name)) for name in ("photos", "scenes", "frames", "people")}


def box_of_points(points_px: F32) -> F32:
    """A RetinaFace-like box (4,) from five points (5, 2), for photographs the teacher misses.

    The size is the larger of the eye distance and 1.1 times the way from eyes to mouth; the
    half widths and heights in that unit are medians of the teacher's boxes.
    """
    eyes, mouth = points_px[:2].mean(axis=0), points_px[3:].mean(axis=0)
    half_width, stretch, half_height = PHOTO_BOX
    unit = max(
        float(np.linalg.norm(points_px[1] - points_px[0])),
        stretch * float(np.linalg.norm(mouth - eyes)),
    )
    centre = points_px.mean(axis=0) - np.array([0.0, 0.16 * unit])
    half = unit * np.array([half_width, half_height])
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def read_photos(path: Path, split: str, teacher: Teacher) -> tuple[Labelled, ...]:
    """Photographs of ``split`` of an HDF5 file with columns jpeg, points_px and split.

    ``FacerError`` for points that are not in their photograph, and for left and right exchanged.
    """
    with open_pack(path, {"jpeg": (), "points_px": (5, 2), "split": ()}, "a face pack") as file:
        rows = np.flatnonzero(read_texts(path, file["split"]) == split)
        points = read_dataset(path, file["points_px"]).astype(np.float32)[rows]
        refuse_exchanged(f"{path}: points_px", points)
        jpegs = read_jpegs(path, file["jpeg"], rows)
    return tuple(
        _photo(_decoded(jpeg, five, f"{path}: image {row}"), five, teacher)
        for row, jpeg, five in zip(rows, jpegs, points, strict=True)
    )


def _decoded(jpeg: U8, points_px: F32, where: str) -> U8:
    """A photograph, RGB; its five points lie in it, or at most half of its longer side beside."""
    image = decode_image(jpeg)
    if image is None:
        raise FacerError(f"{where}: found no readable image, expected JPEG")
    check_points(points_px, image.shape[1], image.shape[0], where)
    return image


def check_points(points_px: F32, width: int, height: int, where: str) -> None:
    """``FacerError`` for five points (5, 2) that are no face's of an image of this size."""
    reach = PHOTO_BORDER * max(height, width)
    inside = (points_px >= -reach) & (points_px <= np.array([width, height]) + reach)
    if not inside.all() or size_of(box_of_points(points_px)) < SMALLEST_PX:
        shown = [[float(f"{value:.4g}") for value in point] for point in points_px]
        raise FacerError(
            f"{where}: found the points {shown}, expected five points of a face of "
            f"{SMALLEST_PX:g} px and more, in pixels of the image of {width}x{height}"
        )


def _photo(image: U8, points_px: F32, teacher: Teacher) -> Labelled:
    border = int(max(image.shape) * PHOTO_BORDER)
    wide = np.pad(image, ((border, border), (border, border), (0, 0)), constant_values=96)
    found = teacher.label(wide)
    bbox, points = box_of_points(points_px), points_px
    nearest, distance = nearest_points(found.keypoints_px - border, points_px)
    if distance < AGREEMENT:
        bbox = found.bbox_px[nearest] - border
        points = (points_px + found.keypoints_px[nearest] - border) / 2
    grey = bool((image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all())
    kept = np.ascontiguousarray(image[..., 0] if grey else image)
    return Labelled(kept, bbox[None], points[None].astype(np.float32), np.zeros(1, np.bool_))


def read_scenes(folder: Path, held_out: int, validation: bool) -> tuple[U8, ...]:
    """Images of ``folder`` in the order of their names; every k-th, ``held_out`` of them, is
    kept from training."""
    paths = files_of(folder, PICTURE_SUFFIXES)
    if len(paths) <= held_out:
        raise FacerError(
            f"{folder}: found {len(paths)} images ({', '.join(PICTURE_SUFFIXES)}), expected more "
            f"than {held_out}, which are kept from training"
        )
    chosen = set(paths[:: len(paths) // held_out][:held_out]) if held_out else set()
    return tuple(read_rgb(p) for p in paths if (p in chosen) == validation)


def read_rgb(path: Path) -> U8:
    """A picture, RGB uint8 (H, W, 3); ``FacerError`` for what is none or no regular file."""
    image = decode_image(read_image_file(path))
    if image is None:
        raise FacerError(f"{path}: found no readable image, expected JPEG or PNG")
    return image


def read_frames(paths: Sequence[Path], teacher: Teacher, every: int) -> Iterator[Labelled]:
    """Every ``every``-th frame of each video, at most ``FRAME_PX`` long, with its faces."""
    for path in paths:
        for number, frame in enumerate(video_frames(path)):
            if number % every == 0:
                yield teacher.label(shrink(frame, FRAME_PX))


def list_videos(folder: Path) -> list[Path]:
    """Videos of a folder in the order of their names; ``FacerError`` when there are none."""
    videos = files_of(folder, VIDEO_SUFFIXES)
    if not videos:
        raise FacerError(f"{folder}: found no video, expected files such as clip.mp4")
    return videos


def files_of(folder: Path, suffixes: Container[str]) -> list[Path]:
    """Files of a folder with such a suffix, in the order of their names."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    except OSError as error:
        raise FacerError(f"{folder}: found no folder to read ({one_line(error)})") from error


def video_frames(path: Path) -> Iterator[U8]:
    """Decoded frames of a video, RGB, upright."""
    with VideoReader(path) as reader:
        for frame in reader:
            yield frame.image


def shrink(image: U8, longest_px: int) -> U8:
    """``image`` with its longest side at most ``longest_px``."""
    scale = longest_px / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
