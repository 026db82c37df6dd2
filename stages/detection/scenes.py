"""Training images: faces pasted onto scenes, and video frames seen by a moving camera."""

from __future__ import annotations

import numpy as np

from facer.stages.detection.camera import (
    SceneConfig,
    centre_of,
    draw_camera,
    move_faces,
    similarity,
    size_of,
    warp,
)
from facer.stages.detection.pasting import backdrop, draw_body, paste_photo
from facer.stages.detection.photometry import distort
from facer.stages.detection.sources import Sources
from facer.stages.detection.teacher import Labelled
from facer.stages.features.detect import STARTER_SIZE_PX
from facer.storage.schema import F32, U8

CROWDS = (0.35, 0.15, 0.2, 0.15, 0.15)  # how often 1, 2 ... photographs are pasted
VISIBLE = 0.55  # share of a face's box that must be in the image for it to be taught


def compose(
    rng: np.random.Generator, sources: Sources, config: SceneConfig, height: int, width: int
) -> Labelled:
    """One training image of (height, width, 3) and its faces; the same for the same ``rng``."""
    draw = rng.random()
    if draw < config.p_frame and sources.frames:
        found = _seen_frame(rng, sources, config, height, width)
    elif draw < config.p_frame + config.p_scene or not sources.photos:
        found = _no_faces(backdrop(rng, sources.scenes, height, width))
    else:
        found = _pasted(rng, sources, config, height, width)
    image = distort(rng, found.image)
    inside = _visible_share(found.bbox_px, height, width)
    centre = (found.bbox_px[:, :2] + found.bbox_px[:, 2:]) / 2
    lost = (centre < 0).any(axis=1) | (centre >= (width, height)).any(axis=1)
    keep = inside > 0.05
    ignore = found.ignore | lost | (inside < VISIBLE)
    return Labelled(image, found.bbox_px[keep], found.kps_px[keep], ignore[keep])


def _no_faces(image: U8) -> Labelled:
    none = np.zeros(0, np.float32)
    return Labelled(image, none.reshape(0, 4), none.reshape(0, 5, 2), np.zeros(0, np.bool_))


def _visible_share(boxes: F32, height: int, width: int) -> F32:
    low = boxes[:, :2].clip(0, (width, height))
    high = boxes[:, 2:].clip(0, (width, height))
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    share: F32 = (high - low).prod(axis=1) / np.maximum(area, 1e-6)
    return share


def _seen_frame(
    rng: np.random.Generator, sources: Sources, config: SceneConfig, height: int, width: int
) -> Labelled:
    shot = sources.frames[rng.integers(len(sources.frames))]
    sure = np.flatnonzero(~shot.ignore)
    if len(sure) and rng.random() < 0.85:
        box = shot.bbox_px[rng.choice(sure)]
        source, size = centre_of(box), size_of(box)
    else:
        source = (rng.random(2) * shot.image.shape[1::-1]).astype(np.float32)
        size = 0.2 * min(shot.image.shape[:2])
    camera = draw_camera(rng, config, size, height, width)
    if rng.random() < 0.4:  # at the size at which whole frames are met
        fitting = STARTER_SIZE_PX / max(shot.image.shape[:2])
        camera = camera._replace(scale=fitting * rng.uniform(0.9, 1.2))
    matrix = similarity(camera, source)
    border = (0, 0, 0) if rng.random() < 0.5 else tuple(int(v) for v in rng.integers(0, 256, 3))
    image = warp(shot.image, matrix, height, width, border)
    boxes, points = move_faces(shot.bbox_px, shot.kps_px, matrix)
    return Labelled(image, boxes, points, shot.ignore)


def _pasted(
    rng: np.random.Generator, sources: Sources, config: SceneConfig, height: int, width: int
) -> Labelled:
    image = backdrop(rng, sources.scenes, height, width)
    boxes: list[F32] = []
    points: list[F32] = []
    crowd = int(rng.choice(len(CROWDS), p=CROWDS)) + 1
    for _ in range(crowd):
        photo = sources.photos[rng.integers(len(sources.photos))]
        camera = draw_camera(rng, config, size_of(photo.bbox_px[0]), height, width, crowd)
        source = centre_of(photo.bbox_px[0])
        matrix = similarity(camera, source)
        box, kps = move_faces(photo.bbox_px, photo.kps_px, matrix)
        if any(_overlap(box[0], other) for other in boxes):
            continue
        if not boxes and rng.random() < 0.5:  # later ones would cover earlier faces
            draw_body(rng, image, box[0])
        paste_photo(rng, image, photo, matrix, box[0])
        boxes.append(box[0])
        points.append(kps[0])
    none = np.zeros(len(boxes), np.bool_)
    return Labelled(image, np.array(boxes, np.float32), np.array(points, np.float32), none)


def _overlap(a: F32, b: F32) -> bool:
    """Whether the photographs around two boxes would cover each other's faces."""
    grow_a, grow_b = 0.35 * (a[2:] - a[:2]), 0.35 * (b[2:] - b[:2])
    low = np.maximum(a[:2] - grow_a, b[:2] - grow_b)
    high = np.minimum(a[2:] + grow_a, b[2:] + grow_b)
    return bool((low < high).all())
