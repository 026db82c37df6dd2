"""The teacher: a RetinaFace model that says where the faces of an image are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.common.onnx import open_session
from facer.stages.features.faces import MIRRORED, point_distance_px
from facer.storage.errors import FacerError, one_line
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, U8, Bools

INPUT_PX = 640
DOUBT = 0.3  # scores from here to the threshold: neither a face nor background
AGREEMENT = 0.2  # of the distance between the eyes: two sets of points mean the same face


@dataclass(frozen=True)
class Labelled:
    """An image and its n faces."""

    image: U8  # (H, W, 3) RGB, or (H, W) for a grey photograph
    bbox_px: F32  # (n, 4) x1 y1 x2 y2
    keypoints_px: F32  # (n, 5, 2)
    ignore: Bools  # (n,) too doubtful to teach


def without_faces(image: U8) -> Labelled:
    """A picture that has none."""
    none = np.zeros(0, np.float32)
    return Labelled(image, none.reshape(0, 4), none.reshape(0, 5, 2), np.zeros(0, np.bool_))


class Teacher:
    """Any RetinaFace model in insightface's layout, on one thread.

    ``memory`` is a file of earlier answers of ``label``; ``remember`` writes it. The answers
    depend on the image and the model, both of which are part of the key.
    """

    def __init__(self, path: Path, threshold: float = 0.5, memory: Path | None = None) -> None:
        if not path.is_file():
            raise FacerError(f"{path}: found no file, expected the teacher's ONNX model")
        self.threshold = threshold
        self._salt = bytes.fromhex(weights_sha256(path))  # first: it looks where the tensors lie
        self.model = _open(path, min(DOUBT, threshold))
        self._memory = memory
        self._answers: dict[str, F32] = {}
        if memory is not None and memory.exists():
            self._answers.update(remembered(memory))

    def detect(self, image: U8) -> Labelled:
        """Faces of an RGB image, looked for in a square of 640; doubtful ones are ignored."""
        return self._labelled(image, self._run(image))

    def label(self, image: U8) -> Labelled:
        """As ``detect``, with points that are the mean over the image and its mirror."""
        key = hashlib.sha256(self._salt + str(image.shape).encode() + image.tobytes()).hexdigest()
        if key not in self._answers:
            self._answers[key] = self._run_both_ways(image)
        return self._labelled(image, self._answers[key])

    def remember(self) -> None:
        """Write the answers so far to ``memory``."""
        if self._memory is not None:
            save_checkpoint(self._memory, self._answers, {"input_px": INPUT_PX})

    def _labelled(self, image: U8, rows: F32) -> Labelled:
        ignore = rows[:, 4] < self.threshold
        return Labelled(image, rows[:, :4].copy(), rows[:, 5:].reshape(-1, 5, 2).copy(), ignore)

    def _run(self, image: U8) -> F32:
        """(n, 15): box, score, points."""
        flipped = np.ascontiguousarray(image[..., ::-1])
        boxes, points = self.model.detect(flipped, input_size=(INPUT_PX, INPUT_PX))
        rows: F32 = np.column_stack([boxes, points.reshape(-1, 10)]).astype(np.float32)
        return rows

    def _run_both_ways(self, image: U8) -> F32:
        rows, back = self._run(image), self._run(image[:, ::-1])
        mirrored = back[:, 5:].reshape(-1, 5, 2)[:, MIRRORED] * (-1, 1) + (image.shape[1] - 1, 0)
        for row in rows:
            points = row[5:].reshape(5, 2)
            nearest, distance = nearest_points(mirrored, points)
            if distance < AGREEMENT:
                row[5:] = ((points + mirrored[nearest]) / 2).ravel()
        return rows


def remembered(memory: Path) -> dict[str, F32]:
    """Earlier answers, each (n, 15); ``FacerError`` for a file of something else."""
    try:
        answers = load_checkpoint(memory)[0]
        for name, rows in answers.items():
            if rows.dtype != np.float32 or rows.shape[1:] != (15,) or not np.isfinite(rows).all():
                raise FacerError(
                    f"{memory}: {name[:12]}: found {rows.dtype} {rows.shape}, expected finite "
                    "float32 (n, 15), a teacher's answers"
                )
    except FacerError as error:
        raise FacerError(f"{error.marked}; remove it, and the teacher is asked again") from error
    return answers


def nearest_points(candidates: F32, points: F32) -> tuple[int, float]:
    """Which of (n, 5, 2) is nearest to (5, 2), and how far away in distances between the eyes.

    Without candidates the distance is infinite.
    """
    if not len(candidates):
        return -1, float("inf")
    gaps = point_distance_px(points, candidates)
    eyes = max(float(np.linalg.norm(points[1] - points[0])), 1e-6)
    nearest = int(gaps.argmin())
    return nearest, float(gaps[nearest]) / eyes


def _open(path: Path, threshold: float) -> Any:
    from insightface.model_zoo.retinaface import RetinaFace

    try:
        model = RetinaFace(model_file=str(path), session=open_session(path))
        model.prepare(ctx_id=-1, det_thresh=threshold)
        empty = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
        _, points = model.detect(empty, input_size=(INPUT_PX, INPUT_PX))
        if points is None:
            raise ValueError("no five points")
    except Exception as error:
        raise FacerError(
            f"{path}: found a file that does not run as a teacher ({one_line(error)}), expected a "
            "detector of faces and five points in insightface's RetinaFace layout (ONNX)"
        ) from error
    return model
