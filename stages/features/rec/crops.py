"""What a network looks at: a square crop of a face, by its five points or by its box.

Every kind is one affine transform per face, computed for all faces at once; the crops of several
kinds come from the same decoded frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from facer.stages.features.align import ARCFACE_TEMPLATE_PX, CROP_PX, similarity_transforms
from facer.stages.features.decode.picture import Picture, rgb, shown, size_of
from facer.storage.errors import FacerError
from facer.storage.schema import F32, F64, U8

Kind = Literal["five-point", "box"]
Outside = Literal["black", "edge", "reflect", "clip"]

MAX_CROP_PX = 1024
_MAX_POSES = 16
_MAX_SHRINK = 8  # pixels across that antialiasing averages


def _arcface() -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in ARCFACE_TEMPLATE_PX)


@dataclass(frozen=True)
class CropSpec:
    """A square crop of ``size_px``; RGB uint8, bilinear.

    ``five-point``: the similarity that brings the five points onto a template, given for a crop
    of ``template_size_px``; of ``pose_templates_px``, such as one of each profile, and it, the one
    that the points fit best. ``box``: the detector's box, its sides times ``margin`` about its
    centre, both as long as the longer one where ``square``, resized to the crop. With
    ``resize_px`` a face is resized so that its shorter side (or the template's crop) has that
    many pixels, its shape kept, and ``size_px`` are cut out of the middle.

    ``outside``: what lies beyond the frame is black, the frame's last row or column (edge), the
    frame mirrored (reflect), or the box ends where the frame does (clip). ``antialias``: a face
    larger than the crop is averaged, as Pillow and torchvision do, instead of sampled, as OpenCV
    does.
    """

    size_px: int = CROP_PX
    kind: Kind = "five-point"
    template_px: tuple[tuple[float, float], ...] = _arcface()
    pose_templates_px: tuple[tuple[tuple[float, float], ...], ...] = ()
    template_size_px: int = CROP_PX
    margin: float = 1.0
    square: bool = False
    resize_px: int | None = None
    outside: Outside = "black"
    antialias: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be cut out."""
        for name, size in (("size_px", self.size_px), ("template_size_px", self.template_size_px)):
            if not 8 <= size <= MAX_CROP_PX:
                raise FacerError(f"{name}: found {size}, expected 8 to {MAX_CROP_PX}")
        if self.resize_px is not None and not self.size_px <= self.resize_px <= 4 * self.size_px:
            raise FacerError(
                f"resize_px: found {self.resize_px}, expected {self.size_px} (size_px) to four "
                "times as many"
            )
        if not 0.1 <= self.margin <= 10:
            raise FacerError(f"margin: found {self.margin}, expected 0.1 to 10")
        if len(self.pose_templates_px) > _MAX_POSES:
            n = len(self.pose_templates_px)
            raise FacerError(f"pose_templates_px: found {n}, expected {_MAX_POSES} at most")
        for name, points in (
            ("template_px", self.template_px),
            *(("pose_templates_px", points) for points in self.pose_templates_px),
        ):
            far = 4 * self.template_size_px
            if len(points) != 5 or any(len(p) != 2 or not max(map(abs, p)) <= far for p in points):
                raise FacerError(f"{name}: found {str(points)[:80]}, expected five x, y near it")
            if min(max(axis) - min(axis) for axis in zip(*points, strict=True)) < 1:
                raise FacerError(f"{name}: found {str(points)[:80]}, expected points apart")
        if self.kind == "five-point" and (self.margin != 1 or self.square or self.clips):
            raise FacerError("margin, square and outside = 'clip' belong to kind = 'box'")

    @property
    def clips(self) -> bool:
        """Whether a box ends where the frame does."""
        return self.outside == "clip"


ARCFACE = CropSpec()
"""facer's own: 112 px on the ArcFace template."""


def transforms(faces: tuple[F32, F32], frame_sizes: F64, spec: CropSpec) -> F64:
    """From the pixels of a frame to those of the crops: (n, 2, 3).

    ``faces``: boxes (n, 4) as x1 y1 x2 y2, and points (n, 5, 2); ``frame_sizes`` (n, 2): height and
    width of each one's frame.
    """
    boxes, points = faces
    if spec.kind == "five-point":
        return _onto_templates(points, spec)
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    centre, sides = (low + high) / 2, (high - low) * spec.margin
    if spec.square:
        sides = np.repeat(sides.max(1, keepdims=True), 2, axis=1)
    if spec.clips:
        width_height = frame_sizes[:, ::-1]
        low = np.clip(centre - sides / 2, 0, width_height)
        high = np.clip(centre + sides / 2, 0, width_height)
        centre, sides = (low + high) / 2, high - low
    sides = np.maximum(sides, 1.0)
    if spec.resize_px is None:
        scale = spec.size_px / sides
    else:
        scale = np.repeat(spec.resize_px / sides.min(1, keepdims=True), 2, axis=1)
    offset = (0.5 - centre) * scale + (spec.size_px - 1) / 2
    matrices = np.zeros((len(boxes), 2, 3))
    matrices[:, 0, 0], matrices[:, 1, 1] = scale[:, 0], scale[:, 1]
    matrices[:, :, 2] = offset
    return matrices


def _onto_templates(points: F32, spec: CropSpec) -> F64:
    """Similarity transforms (n, 2, 3) of points (n, 5, 2), each onto the template it fits best:
    by the distances that are left, added up over the points.
    """
    side = spec.resize_px or spec.size_px
    templates = np.array([spec.template_px, *spec.pose_templates_px])
    templates = templates * (side / spec.template_size_px) - (side - spec.size_px) / 2
    fits = [similarity_transforms(points, template) for template in templates]
    if len(fits) == 1:
        return fits[0]
    left = [
        np.linalg.norm(points @ m[:, :, :2].transpose(0, 2, 1) + m[:, None, :, 2] - t, axis=2)
        for m, t in zip(fits, templates, strict=True)
    ]
    nearest = np.sum(left, axis=2).argmin(axis=0)
    best: F64 = np.stack(fits)[nearest, np.arange(len(points))]
    return best


def cut(picture: Picture, faces: tuple[F32, F32], spec: CropSpec) -> U8:
    """Crops of all faces of one frame: RGB uint8 (n, size_px, size_px, 3).

    ``faces``: boxes (n, 4) and points (n, 5, 2), in the frame's pixels.
    """
    return cut_all([picture], [faces], spec)


def cut_all(pictures: Sequence[Picture], faces: Sequence[tuple[F32, F32]], spec: CropSpec) -> U8:
    """:func:`cut` of several frames, one after another; at least one."""
    counts = [len(boxes) for boxes, _ in faces]
    sizes = np.repeat(np.array([size_of(picture) for picture in pictures], float), counts, axis=0)
    boxes, points = (np.concatenate(values) for values in zip(*faces, strict=True))
    matrices = transforms((boxes, points), sizes, spec)
    crops = np.empty((len(matrices), spec.size_px, spec.size_px, 3), np.uint8)
    of_face = (p for p, count in zip(pictures, counts, strict=True) for _ in range(count))
    for crop, matrix, picture in zip(crops, matrices, of_face, strict=True):
        _cut(picture, matrix, spec, crop)
    return crops


def _cut(picture: Picture, matrix: F64, spec: CropSpec, crop: U8) -> None:
    if spec.outside == "reflect":  # what is mirrored may be anywhere
        picture = rgb(picture)
    shrink = _shrink(matrix) if spec.antialias else 1
    with _larger(crop, shrink) as target:
        larger = shrink * matrix
        larger[:, 2] += (shrink - 1) / 2
        side = len(target)
        border = _BORDERS[spec.outside]
        with shown(picture, larger, side) as image:
            cv2.warpAffine(image, larger, (side, side), dst=target, borderMode=border)


_BORDERS: Mapping[Outside, int] = MappingProxyType(
    {
        "black": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE,
        "clip": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT,
    }
)  # fmt: skip


def _shrink(matrix: F64) -> int:
    """How many pixels of a frame, across, make one of the crop."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    return int(np.clip(np.ceil(1 / max(scale, 1e-6)), 1, _MAX_SHRINK))


@contextmanager
def _larger(crop: U8, times: int) -> Iterator[U8]:
    """An image so many times as large, whose means fill the crop at the end; the crop for 1."""
    if times == 1:
        yield crop
        return
    image = np.empty((times * crop.shape[0], times * crop.shape[1], 3), np.uint8)
    yield image
    cv2.resize(image, crop.shape[:2], dst=crop, interpolation=cv2.INTER_AREA)


def check_crops(crops: U8) -> None:
    """Refuse anything but RGB uint8 (B, 112, 112, 3), naming what was found."""
    if not isinstance(crops, np.ndarray):
        raise FacerError(
            f"REC: found crops of type {type(crops).__name__}, expected a numpy array, uint8 "
            "(B, 112, 112, 3)"
        )
    if crops.ndim != 4 or crops.shape[1:] != (CROP_PX, CROP_PX, 3) or crops.dtype != np.uint8:
        raise FacerError(
            f"REC: found crops {crops.dtype} {crops.shape}, expected uint8 (B, 112, 112, 3)"
        )
