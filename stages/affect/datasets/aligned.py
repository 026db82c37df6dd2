"""Photographs become aligned crops, once: detect, choose the face, align, keep.

A crop lies in the cache under a key made of everything that decides it: detector and its
settings, the photograph's path, size and time of change, and the annotated face. So a changed
photograph or another detector never meets an old crop, and an interrupted pass goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from facer.stages.affect.config import AlignConfig
from facer.stages.affect.datasets.image_files import decode_crop, decode_image, read_image_file
from facer.stages.affect.datasets.label_files import note
from facer.stages.common.cache import user_cache
from facer.stages.common.cores import cpu_count
from facer.stages.features import detect
from facer.stages.features.align import CROP_PX, align
from facer.stages.features.faces import Detector, Faces, iou
from facer.stages.features.track import box_sizes
from facer.storage.errors import FacerError
from facer.storage.files.atomic import written_aside
from facer.storage.schema import F32, U8, OnCount

_CACHE_VERSION = 2
_JPEG_QUALITY = 95
_MIN_IOU = 0.2  # of a detected face with the annotated one
_BORDER = 0.25  # added for a second look at photographs that a face fills
_BATCH = 8  # photographs in memory at once, per thread

FACE, NO_FACE, UNREADABLE, MISSING = range(4)
_LEFT_OUT = {
    MISSING: "labelled images are missing",
    UNREADABLE: "labelled images cannot be decoded",
    NO_FACE: "labelled images show no face that could be aligned",
}


@dataclass(frozen=True)
class Photographs:
    """N labelled images, and what the database knows about the face that is meant."""

    root: Path
    names: tuple[str, ...]  # below root
    boxes_px: F32 | None = None  # (N, 4) x1 y1 x2 y2, NaN where unknown
    points_px: F32 | None = None  # (N, 5, 2), NaN where unknown


@dataclass(frozen=True)
class CachedCrops:
    """Crops in the cache, by key."""

    folder: Path
    keys: npt.NDArray[np.bytes_] = field(repr=False)  # (N,) hexadecimal
    names: tuple[str, ...] = field(repr=False)  # of the photographs

    def crop(self, index: int) -> U8:
        """RGB uint8 (112, 112, 3); ``FacerError`` when it was taken out of the cache."""
        path = _file(self.folder, self.keys[index].decode())
        try:
            data = read_image_file(path)
        except FacerError as error:
            raise FacerError(f"{error}; the same command again restores it") from error
        return decode_crop(data, str(path))

    def name(self, index: int) -> str:
        """File of the photograph, as the database has it."""
        return self.names[index]


class Aligner:
    """Aligns photographs with one detector; the detector is loaded when first needed."""

    def __init__(
        self,
        config: AlignConfig,
        detector: Detector | None = None,
        report: OnCount | None = None,
    ) -> None:
        self.config = config
        self._given = detector
        self._report = report

    @cached_property
    def detector(self) -> Detector:
        """The detector of the configuration."""
        return self._given or detect.load(self.config.detector)

    def align(self, photographs: Photographs) -> tuple[CachedCrops, npt.NDArray[np.int8]]:
        """Crops of N photographs and what became of each, (N,) of ``FACE`` ... ``MISSING``.

        The face is the detected one that overlaps the annotated box best, or the largest one
        without such a box; where the detector finds none, the annotated points are used. An
        image of 112x112 is taken for an aligned crop and kept as it is.
        """
        total = len(photographs.names)
        starts = range(0, total, _BATCH)
        batches = [range(start, min(start + _BATCH, total)) for start in starts]
        keys = [b""] * total
        outcome = np.full(total, MISSING, np.int8)
        _ = self.detector  # loaded before threads ask for it
        with ThreadPoolExecutor(cpu_count()) as pool:
            results = pool.map(lambda rows: self._align_batch(photographs, rows), batches)
            done = 0
            for rows, found in zip(batches, results, strict=True):
                for row, (key, what) in zip(rows, found, strict=True):
                    keys[row], outcome[row] = key.encode(), what
                done += len(rows)
                if self._report is not None:
                    self._report(done, total)
        crops = CachedCrops(self._folder, np.array(keys, np.bytes_), photographs.names)
        return crops, outcome

    @property
    def digest(self) -> str:
        """Digests of the models that aligned photographs; "" when none had to be loaded."""
        if self._given is None and "detector" not in vars(self):
            return ""
        return " ".join((self.detector.sha256, detect.refiner_sha256(self.detector)))

    @cached_property
    def _folder(self) -> Path:
        """The cache of this detector; its name is for people, the keys are what counts."""
        cache = self.config.cache or user_cache() / "crops"
        return cache / f"{self.detector.name}-{self.detector.sha256[:12]}"

    def _align_batch(self, photographs: Photographs, rows: Iterable[int]) -> list[tuple[str, int]]:
        """(key, outcome) of some photographs; those not in the cache are detected together."""
        found: dict[int, tuple[str, int]] = {}
        todo: list[tuple[int, str, bytes, U8]] = []
        for row in rows:
            path = photographs.root / photographs.names[row]
            key = self._key(photographs, row, path)
            known = self._cached(key) if key else MISSING
            if known is None:
                data = read_image_file(path)
                image = decode_image(data)
                known = UNREADABLE
                if image is not None:
                    todo.append((row, key, data, image))
            found[row] = (key, known)
        images = {row: image for row, _, _, image in todo if not _is_crop(image)}
        points = self._points(photographs, images)
        for row, key, data, image in todo:
            crop = data if _is_crop(image) else _cut(image, points.get(row))
            self._keep(key, crop)
            found[row] = (key, FACE if crop else NO_FACE)
        return list(found.values())

    def _points(self, photographs: Photographs, images: dict[int, U8]) -> dict[int, F32]:
        """Five points (5, 2) of the meant face, by row; rows without any are not in it.

        A face that fills its photograph is often found only with a border around it.
        """
        found: dict[int, F32] = {}
        for share in (0.0, _BORDER):
            rows = [row for row in images if row not in found]
            borders = [round(share * max(images[row].shape)) for row in rows]
            bordered = [_bordered(images[row], n) for row, n in zip(rows, borders, strict=True)]
            for row, border, faces in zip(
                rows, borders, self.detector.detect(bordered), strict=True
            ):
                moved = Faces(faces.bbox_px - border, faces.keypoints_px - border, faces.score)
                boxes = photographs.boxes_px
                points = _choose(moved, None if boxes is None else boxes[row])
                if points is not None:
                    found[row] = points
        for row in images:
            if row not in found and photographs.points_px is not None:
                found[row] = photographs.points_px[row]
        return found

    def _key(self, photographs: Photographs, row: int, path: Path) -> str:
        """The cache key of one photograph; "" when there is no such file."""
        try:
            state = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return ""
        parts = {
            "version": _CACHE_VERSION,
            "detector": self.detector.sha256,
            "points_model": detect.refiner_sha256(self.detector),
            "size_px": self.config.detector.size_px,
            "threshold": self.config.detector.threshold,
            "path": str(path.absolute()),
            "bytes": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "box": _listed(photographs.boxes_px, row),
            "points": _listed(photographs.points_px, row),
        }
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    def _cached(self, key: str) -> int | None:
        """``FACE`` or ``NO_FACE`` as the cache has it; None when it has nothing."""
        try:
            return FACE if _file(self._folder, key).stat().st_size else NO_FACE
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _keep(self, key: str, crop: bytes) -> None:
        """Write a crop whole or not at all; an empty file stands for "no face"."""
        path = _file(self._folder, key)
        try:
            with written_aside(path) as aside:
                aside.write_bytes(crop)
        except OSError as error:
            raise FacerError(
                f"{path}: cannot be written ({error.strerror}); expected a folder for the cache "
                "of aligned crops that has room"
            ) from error


def left_out(source: str, names: tuple[str, ...], outcome: npt.NDArray[np.int8]) -> tuple[str, ...]:
    """Notes on the photographs that gave no crop, a line for each reason."""
    notes: tuple[str, ...] = ()
    for what, text in _LEFT_OUT.items():
        rows = np.flatnonzero(outcome == what)
        notes += note(source, text, [names[row] for row in rows], len(names))
    return notes


def _file(folder: Path, key: str) -> Path:
    return folder / key[:2] / f"{key[2:]}.jpg"


def _listed(values: F32 | None, row: int) -> list[float] | None:
    return None if values is None else [float(v) for v in values[row].ravel()]


def _is_crop(image: U8) -> bool:
    return image.shape[:2] == (CROP_PX, CROP_PX)


def _bordered(image: U8, width: int) -> U8:
    bordered = cv2.copyMakeBorder(image, width, width, width, width, cv2.BORDER_CONSTANT)
    return np.asarray(bordered, np.uint8)


def _cut(image: U8, points: F32 | None) -> bytes:
    """The JPEG of the meant face's crop; b"" when there is no such face."""
    if points is None or not np.isfinite(points).all():
        return b""
    crop = align(image, points[None])[0]
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return cv2.imencode(".jpg", np.ascontiguousarray(crop[..., ::-1]), quality)[1].tobytes()


def _choose(faces: Faces, box_px: F32 | None) -> F32 | None:
    """Points (5, 2) of the face that is meant, None when none was found."""
    if len(faces.score) == 0:
        return None
    if box_px is None or not np.isfinite(box_px).all():
        best: F32 = faces.keypoints_px[int(box_sizes(faces.bbox_px).argmax())]
        return best
    overlap = iou(box_px, faces.bbox_px)
    if overlap.max() < _MIN_IOU:
        return None
    meant: F32 = faces.keypoints_px[int(overlap.argmax())]
    return meant
