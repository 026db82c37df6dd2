"""Training crops of the points model: faces seen through guesses that are more or less wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facer.stages.affect.datasets.image_files import decode_crop
from facer.stages.affect.datasets.packs import open_pack, read_jpegs, read_texts
from facer.stages.detection.data.face_table import refuse_exchanged
from facer.stages.detection.data.guesses import Guessed
from facer.stages.detection.data.people import Picture
from facer.stages.detection.data.photometry import coloured, distort
from facer.stages.detection.data.sources import check_points
from facer.stages.detection.data.teacher import Labelled
from facer.stages.features.align import CROP_PX
from facer.stages.features.faces import MIRRORED, face_unit
from facer.stages.features.refine import (
    EYES_PX,
    POINTS_PX,
    POINTS_TEMPLATE_PX,
    crop_transforms,
    read_crop,
)
from facer.storage.exchange.hdf5_guard import read_dataset
from facer.storage.schema import F32, F64, U8

FAR, NEAR = 0.7, 0.35  # of the distance between the eyes: no face from here, a face up to here

TRIM_PX = 16
TRIES = 6
NO_BOXES: F32 = np.zeros((0, 4), np.float32)


@dataclass(frozen=True)
class Crops:
    """Aligned crops of packs with their five points."""

    jpegs: list[Any]
    points_px: F32  # (n, 5, 2)
    names: tuple[str, ...] = ()  # (n,) for messages

    def crop(self, row: int) -> U8:
        """RGB uint8 (112, 112, 3)."""
        return decode_crop(self.jpegs[row], self.names[row])


def read_crops(paths: Sequence[Path], split: str) -> Crops:
    """The rows of ``split`` whose points were found, of all packs.

    ``FacerError`` for points that are not in their crop, and for left and right exchanged.
    """
    jpegs: list[Any] = []
    names: list[str] = []
    points: list[F32] = [np.zeros((0, 5, 2), np.float32)]
    for path in paths:
        columns = {"jpeg": (), "points": (5, 2), "split": ()}
        with open_pack(path, columns) as file:
            five = read_dataset(path, file["points"]).astype(np.float32)
            of_split = read_texts(path, file["split"]) == split
            rows = np.flatnonzero(of_split & np.isfinite(five).all(axis=(1, 2)))
            jpegs.extend(read_jpegs(path, file["jpeg"], rows))
        names.extend(f"{path}: image {row}" for row in rows)
        for row in rows:
            check_points(five[row], CROP_PX, CROP_PX, f"{path}: points of image {row}")
        refuse_exchanged(f"{path}: points", five[rows])
        points.append(five[rows])
    return Crops(jpegs, np.concatenate(points), tuple(names))


@dataclass(frozen=True)
class PointsSources:
    """What the points model learns from."""

    photos: tuple[Labelled, ...]  # photographs and video frames with faces
    crops: Crops
    scenes: tuple[Guessed, ...]
    people: tuple[Guessed, ...] = ()  # photographs and frames of people at every pose
    shares: F64 | None = None  # (people,) how often each is drawn; None: alike

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {
            "photographs and frames": len(self.photos),
            "crops": len(self.crops.jpegs),
            "scenes": len(self.scenes),
            "people": len(self.people),
        }


@dataclass(frozen=True)
class Sample:
    """One crop and what the network shall answer."""

    image: U8  # (64, 64, 3)
    offsets: F32  # (5, 2) in distances between the eyes; NaN where there is nothing to teach
    face: float  # 1, 0, or NaN for a doubtful guess


def draw_sample(rng: np.random.Generator, sources: PointsSources) -> Sample:
    """A random sample; the same for the same ``rng``."""
    draw = rng.random()
    if draw < 0.12 and sources.scenes:
        return _of_guesses(rng, sources.scenes[rng.integers(len(sources.scenes))])
    if draw < 0.65 and sources.people:
        return _of_guesses(
            rng, sources.people[int(rng.choice(len(sources.people), p=sources.shares))]
        )
    if (draw < 0.78 and sources.photos) or not sources.crops.jpegs:
        return _of_shot(rng, sources.photos[rng.integers(len(sources.photos))])
    row = int(rng.integers(len(sources.crops.jpegs)))
    image = sources.crops.crop(row)
    grey = bool((image[..., 0] == image[..., 2]).all())
    trimmed, points = _trim(rng, image[..., 0] if grey else image, sources.crops.points_px[row])
    return _face(rng, coloured(rng, trimmed, 0.6), points)


def agreed_points(picture: Picture) -> Labelled:
    """A picture without the points (NaN) of faces where detectors put them elsewhere."""
    points = np.where(picture.agreed[:, None, None], picture.labelled.keypoints_px, np.nan)
    return replace(picture.labelled, keypoints_px=points.astype(np.float32))


def _of_guesses(rng: np.random.Generator, seen: Guessed) -> Sample:
    """A picture through one of a detector's guesses, or through one that was made up."""
    right, wrong = len(seen.right_px), len(seen.wrong_px)
    if right + wrong == 0 or rng.random() < 0.4:
        return _of_shot(rng, seen.shot)
    image = coloured(rng, seen.shot.image, 0.6)
    if wrong and (right == 0 or rng.random() < 0.4):
        return _no_face(rng, image, _shaken(rng, seen.wrong_px[rng.integers(wrong)]))
    row = int(rng.integers(right))
    guess = _shaken(rng, seen.right_px[row])
    sample = _face(rng, image, seen.shot.keypoints_px[seen.face[row]], guess)
    return replace(sample, face=1.0)  # however far its points are off: turned faces' often are


def _shaken(rng: np.random.Generator, points_px: F32) -> F32:
    """A detector's guess on another frame of the same."""
    noise = rng.normal(0, 0.03 * face_unit(points_px), (6, 2))
    return np.asarray(points_px + noise[:5] + noise[5], np.float32)


def _of_shot(rng: np.random.Generator, shot: Labelled) -> Sample:
    """One of the faces of a photograph or frame, or a place where there is none."""
    sure = np.flatnonzero(~shot.ignore & np.isfinite(shot.keypoints_px).all(axis=(1, 2)))
    image = coloured(rng, shot.image, 0.6)
    if len(sure) == 0 or rng.random() < 0.1:
        return _nothing(rng, image, shot.bbox_px)
    return _face(rng, image, shot.keypoints_px[rng.choice(sure)])


def _trim(rng: np.random.Generator, image: U8, points_px: F32) -> tuple[U8, F32]:
    """Cut random margins off an aligned crop: its edges would give the right place away."""
    left, top, right, bottom = rng.integers(0, TRIM_PX, 4)
    kept = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
    return np.ascontiguousarray(kept), points_px - (left, top)


def _face(rng: np.random.Generator, image: U8, points_px: F32, guess: F32 | None = None) -> Sample:
    """A face through a guess, by default a wrong one, perhaps far off; perhaps mirrored."""
    if guess is None:
        guess = wrong_guess(rng, points_px, far=rng.random() < 0.12)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        points_px, guess = _mirrored(points_px, image), _mirrored(guess, image)
    matrix = crop_transforms(guess[None].astype(np.float32))[0]
    right = points_px @ matrix[:, :2].T + matrix[:, 2]
    offsets = (right - POINTS_TEMPLATE_PX) / EYES_PX
    error = float(np.linalg.norm(offsets, axis=1).mean())
    face = 1.0 if error < NEAR else 0.0 if error > FAR else np.nan  # nan too without points
    crop = _degrade(rng, _read(rng, image, matrix))
    taught = offsets if error < FAR else np.full_like(offsets, np.nan)
    return Sample(crop, taught.astype(np.float32), face)


def _mirrored(points_px: F32, image: U8) -> F32:
    return np.asarray(points_px[MIRRORED] * (-1, 1) + (image.shape[1] - 1, 0), np.float32)


def wrong_guess(rng: np.random.Generator, points_px: F32, far: bool = False) -> F32:
    """Five points (5, 2) as a detector or a moving head may have misplaced them."""
    centre = points_px.mean(axis=0)
    unit = face_unit(points_px)
    wide = rng.random() < 0.25
    angle = np.deg2rad(rng.normal(0, 12 if wide else 5))
    scale = np.exp(rng.normal(0, 0.2 if wide else 0.08))
    reach = rng.uniform(0.6, 3.0) if far else abs(rng.normal(0, 0.25 if wide else 0.1))
    direction = rng.uniform(0, 2 * np.pi)
    shift = reach * unit * np.array([np.cos(direction), np.sin(direction)])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    noise = rng.normal(0, 0.06 * unit, points_px.shape)
    moved = (points_px - centre) @ turn.T + centre + shift + noise
    return np.asarray(moved, np.float32)


def _nothing(rng: np.random.Generator, image: U8, faces: F32 = NO_BOXES) -> Sample:
    """A guess where there is no face, away from the boxes (n, 4) of ``faces``; where none is
    found beside them the answer is left open.
    """
    height, width = image.shape[:2]
    for _ in range(TRIES):
        size = float(np.exp(rng.uniform(np.log(20), np.log(max(height, width)))))
        corner = rng.uniform(-0.3, 1.0, 2) * (width, height)
        guess = (POINTS_TEMPLATE_PX / POINTS_PX * size + corner).astype(np.float32)
        guess = wrong_guess(rng, guess)
        low, high = guess.min(axis=0), guess.max(axis=0)
        free = not ((low < faces[:, 2:]) & (high > faces[:, :2])).all(axis=1).any()
        if free:
            break
    return _no_face(rng, image, guess, 0.0 if free else np.nan)


def _no_face(rng: np.random.Generator, image: U8, guess: F32, face: float = 0.0) -> Sample:
    crop = _degrade(rng, _read(rng, image, crop_transforms(guess[None])[0]))
    return Sample(crop, np.full((5, 2), np.nan, np.float32), face)


def _read(rng: np.random.Generator, image: U8, matrix: F64) -> U8:
    """The crop as stage one reads it, or with the picture's edge repeated outside."""
    if rng.random() < 0.5:
        return read_crop(image, matrix)
    reach = max(image.shape[:2]) // 3
    wide = cv2.copyMakeBorder(image, *(reach,) * 4, cv2.BORDER_REPLICATE)
    moved = matrix.copy()
    moved[:, 2] -= matrix[:, :2] @ (reach, reach)
    return read_crop(np.asarray(wide, np.uint8), moved)


def _degrade(rng: np.random.Generator, crop: U8) -> U8:
    crop = distort(rng, crop)
    if rng.random() < 0.35:  # a small face
        side = int(rng.integers(14, 48))
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        crop = np.asarray(cv2.resize(small, (POINTS_PX,) * 2), np.uint8)
    if rng.random() < 0.15:  # a hand, a cup, glasses
        top, left = rng.integers(0, POINTS_PX - 24, 2)
        height, width = rng.integers(6, 24, 2)
        crop[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return crop
