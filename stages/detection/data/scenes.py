"""Training images: faces pasted onto scenes, and video frames seen by a moving camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from facer.stages.detection.config import SceneConfig
from facer.stages.detection.data.camera import (
    Camera,
    centre_of,
    draw_camera,
    move_faces,
    similarity,
    size_of,
    warp,
)
from facer.stages.detection.data.pasting import (
    backdrop,
    cover,
    draw_body,
    paste_photo,
    wear_glasses,
    wear_mask,
)
from facer.stages.detection.data.photometry import distort
from facer.stages.detection.data.sources import Sources
from facer.stages.detection.data.teacher import Labelled, without_faces
from facer.storage.schema import F32, U8

CROWDS = (0.35, 0.15, 0.2, 0.15, 0.15)  # how often 1, 2 ... photographs are pasted
VISIBLE = 0.45  # share of a face's box that must be in the image for it to be taught
SEEN_POINTS = 3  # of the five
SMALLEST_PX = 10.0  # size of a face from which on it is taught


def compose(
    rng: np.random.Generator, sources: Sources, config: SceneConfig, height: int, width: int
) -> Labelled:
    """One training image of (height, width, 3) and its faces; the same for the same ``rng``."""
    return _Composer(rng, sources, config).compose(height, width)


class _Composer:
    """Draws training images of some sources."""

    def __init__(self, rng: np.random.Generator, sources: Sources, config: SceneConfig) -> None:
        self._rng, self._sources, self._config = rng, sources, config

    def compose(self, height: int, width: int) -> Labelled:
        """See the function."""
        rng, sources, config = self._rng, self._sources, self._config
        draw = rng.random()
        if sources.people and draw < config.p_people:
            found = self._people(height, width)
        elif sources.frames and draw < config.p_people + config.p_frame:
            found = self._seen(sources.frames[rng.integers(len(sources.frames))], height, width)
        elif draw > 1 - config.p_scene or not sources.photos:
            found = without_faces(backdrop(rng, sources.scenes, height, width))
        else:
            found = self._pasted(height, width)
        return replace(_in_view(found), image=distort(rng, found.image))

    def _people(self, height: int, width: int) -> Labelled:
        """A photograph of people, or four of them: small faces teach as much as large ones."""
        if min(height, width) < 160 or self._rng.random() > self._config.p_four:
            return self._seen(self._person(), height, width)
        rows, columns = height // 2, width // 2
        image = np.zeros((height, width, 3), np.uint8)
        parts = []
        for top, left in ((0, 0), (0, columns), (rows, 0), (rows, columns)):
            part = _in_view(self._seen(self._person(), rows, columns))
            image[top : top + rows, left : left + columns] = part.image
            parts.append((part, np.array([left, top], np.float32)))
        return Labelled(
            image,
            np.concatenate([part.bbox_px + np.tile(at, 2) for part, at in parts]),
            np.concatenate([part.keypoints_px + at for part, at in parts]),
            np.concatenate([part.ignore for part, _ in parts]),
        )

    def _person(self) -> Labelled:
        people, shares = self._sources.people, self._sources.shares
        return people[int(self._rng.choice(len(people), p=shares))]

    def _seen(self, shot: Labelled, height: int, width: int) -> Labelled:
        """A photograph or frame, seen whole or with one of its faces at some size."""
        rng = self._rng
        sure = np.flatnonzero(~shot.ignore)
        if len(sure) and rng.random() < 0.9:
            box = shot.bbox_px[rng.choice(sure)]
            source, size = centre_of(box), size_of(box)
        else:
            source = (rng.random(2) * shot.image.shape[1::-1]).astype(np.float32)
            size = 0.2 * min(shot.image.shape[:2])
        camera = draw_camera(rng, self._config, size, height, width)
        if rng.random() < self._config.p_whole:
            camera, source = _whole(rng, camera, shot.image, height, width)
        matrix = similarity(camera, source)
        image = self._surrounded(shot.image, matrix, height, width)
        boxes, points = move_faces(shot.bbox_px, shot.keypoints_px, matrix)
        for row in sure:
            _hide(rng, image, boxes[row], points[row])
        return Labelled(image, boxes, points, shot.ignore)

    def _surrounded(self, image: U8, matrix: F32, height: int, width: int) -> U8:
        """``image`` under ``matrix`` with black, one colour, its own edge or a scene around it."""
        draw = self._rng.random()
        if draw < 0.5:
            return warp(image, matrix, height, width, (0, 0, 0))
        if draw < 0.65:
            colour = tuple(int(v) for v in self._rng.integers(0, 256, 3))
            return warp(image, matrix, height, width, colour)
        if draw < 0.75:
            return warp(image, matrix, height, width)
        whole = np.full(image.shape[:2], 255, np.uint8)
        inside = cv2.warpAffine(whole, matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
        around = backdrop(self._rng, self._sources.scenes, height, width)
        return np.where(inside[..., None], warp(image, matrix, height, width), around)

    def _pasted(self, height: int, width: int) -> Labelled:
        """Photographs on a backdrop, beside each other."""
        rng, photos = self._rng, self._sources.photos
        image = backdrop(rng, self._sources.scenes, height, width)
        boxes: list[F32] = []
        points: list[F32] = []
        crowd = int(rng.choice(len(CROWDS), p=CROWDS)) + 1
        for _ in range(crowd):
            photo = photos[rng.integers(len(photos))]
            size = size_of(photo.bbox_px[0])
            camera = draw_camera(rng, self._config, size, height, width, crowd)
            matrix = similarity(camera, centre_of(photo.bbox_px[0]))
            box, kps = move_faces(photo.bbox_px, photo.keypoints_px, matrix)
            if any(_overlap(box[0], other) for other in boxes):
                continue
            if not boxes and rng.random() < 0.5:  # later ones would cover earlier faces
                draw_body(rng, image, box[0])
            paste_photo(rng, image, photo, matrix, box[0])
            boxes.append(box[0])
            points.append(kps[0])
        none = np.zeros(len(boxes), np.bool_)
        return Labelled(image, np.array(boxes, np.float32), np.array(points, np.float32), none)


def _in_view(found: Labelled) -> Labelled:
    """Without the faces outside the image; those that are hardly in it, or tiny, are ignored."""
    height, width = found.image.shape[:2]
    size = np.array([width, height])
    inside = _visible_share(found.bbox_px, height, width)
    centre = (found.bbox_px[:, :2] + found.bbox_px[:, 2:]) / 2
    lost = (centre < 0).any(axis=1) | (centre >= size).any(axis=1)
    seen = ((found.keypoints_px >= 0) & (found.keypoints_px < size)).all(axis=2).sum(axis=1)
    tiny = (found.bbox_px[:, 2:] - found.bbox_px[:, :2]).prod(axis=1) < SMALLEST_PX**2
    ignore = found.ignore | lost | tiny | (inside < VISIBLE) | (seen < SEEN_POINTS)
    keep = inside > 0.05
    return Labelled(found.image, found.bbox_px[keep], found.keypoints_px[keep], ignore[keep])


def _visible_share(boxes: F32, height: int, width: int) -> F32:
    low = boxes[:, :2].clip(0, (width, height))
    high = boxes[:, 2:].clip(0, (width, height))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    share: F32 = (high - low).prod(axis=1) / np.maximum(area, 1e-6)
    return share


def _hide(rng: np.random.Generator, image: U8, box: F32, points: F32) -> None:
    """Most faces stay as they are; some get a hand, a mask or sunglasses."""
    draw = rng.random()
    if draw < 0.08:
        cover(rng, image, box)
    elif draw < 0.18:
        wear_mask(rng, image, points)
    elif draw < 0.24:
        wear_glasses(rng, image, points)


def _whole(
    rng: np.random.Generator, camera: Camera, image: U8, height: int, width: int
) -> tuple[Camera, F32]:
    """A camera that shows a whole image, as stage one does, and the point that it looks at."""
    size = np.array(image.shape[1::-1], np.float32)
    scale = float((np.array([width, height]) / size).min() * rng.uniform(0.7, 1.1))
    place = (np.array([width, height]) * rng.uniform(0.45, 0.55, 2)).astype(np.float32)
    return camera._replace(scale=scale, place_px=place), np.asarray(size / 2, np.float32)


def _overlap(a: F32, b: F32) -> bool:
    """Whether the photographs around two boxes would cover each other's faces."""
    grow_a, grow_b = 0.35 * (a[2:] - a[:2]), 0.35 * (b[2:] - b[:2])
    low = np.maximum(a[:2] - grow_a, b[:2] - grow_b)
    high = np.minimum(a[2:] + grow_a, b[2:] + grow_b)
    return bool((low < high).all())
