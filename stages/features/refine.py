"""Step 2c: a small network sets the five points right and says whether a face is there.

A guess (the detector's points, or points carried over from other frames) places a 64x64 crop;
the network answers with how far every point is off, and with the probability that the guess is
on a face at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from facer.stages.common.onnx import open_session
from facer.stages.features.align import ARCFACE_TEMPLATE_PX, CROP_PX, similarity_transforms
from facer.stages.features.decode.picture import Picture, shown
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, F64, U8

POINTS_PX = 64
"""Side of the crop that the network sees."""

MIN_FACE = 0.5
"""Probability from which on a guess counts as a face."""

_FACE_SHARE = 0.72  # of the crop's side that the ArcFace crop takes: room for wrong guesses
POINTS_TEMPLATE_PX: F32 = np.asarray(
    (ARCFACE_TEMPLATE_PX / CROP_PX - 0.5) * _FACE_SHARE * POINTS_PX + POINTS_PX / 2, np.float32
)
"""Where a right guess lies in the crop, (5, 2)."""

EYES_PX = float(np.linalg.norm(POINTS_TEMPLATE_PX[1] - POINTS_TEMPLATE_PX[0]))
"""Distance between the eyes there: the unit of the network's answer."""

_BF16_CROPS = 64
_CPU_CROPS = 16  # in one run on the CPU: more are no faster, and every size keeps its memory
_SHRINK = POINTS_PX * _FACE_SHARE / CROP_PX


def crop_transforms(guess_px: F32) -> F64:
    """Similarity transforms from the frame to the crop: (n, 5, 2) -> (n, 2, 3)."""
    matrices = similarity_transforms(guess_px) * _SHRINK
    matrices[:, :, 2] += POINTS_PX / 2 * (1 - _FACE_SHARE)
    return matrices


def read_crop(picture: Picture, matrix: F64) -> U8:
    """The crop (64, 64, 3) of one transform; large faces are shrunk first, against aliasing."""
    with shown(picture, matrix, POINTS_PX) as image:
        return read_square(image, matrix, POINTS_PX)


def read_square(image: U8, matrix: F64, side_px: int) -> U8:
    """The square (side, side, 3) that a transform (2, 3) shows of an image, black outside it."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    factor = int(0.7 / scale) if scale > 0 else 1
    if factor < 2:
        return np.asarray(cv2.warpAffine(image, matrix, (side_px,) * 2), np.uint8)
    side = side_px * factor
    larger = matrix * factor
    larger[:, 2] += (factor - 1) / 2  # pixel centres
    big = cv2.warpAffine(image, larger, (side, side))
    return np.asarray(cv2.resize(big, (side_px,) * 2, interpolation=cv2.INTER_AREA), np.uint8)


class KeypointRefiner:
    """The network as an ONNX file: ``image`` float32 (N, 3, 64, 64) in [-1, 1] -> ``points``
    (N, 5, 2), offsets in distances between the eyes, and ``face`` (N,) in [0, 1].

    ``bf16``: on a CPU its convolutions are computed in bfloat16.
    """

    def __init__(
        self,
        path: Path | None = None,
        threads: int = 1,
        device: str = "cpu",
        *,
        bf16: bool = False,
    ) -> None:
        path = path or Path(str(files("facer.stages.features") / "weights" / "points.onnx"))
        self.sha256 = weights_sha256(path)  # first: it looks where the tensors lie
        self._network: Callable[[U8], list[F32]]
        if bf16 and device == "cpu":
            from facer.stages.features.bf16 import TorchGraph  # torch takes a second to import

            self._network = TorchGraph(path, np.arange(256) / 127.5 - 1).run
            self._at_once = _BF16_CROPS
        else:
            self._network = partial(_run, open_session(path, threads, device))
            self._at_once = _CPU_CROPS if device == "cpu" else 1024

    def refine(
        self, pictures: Sequence[Picture], guesses_px: Sequence[F32]
    ) -> tuple[list[F32], list[F32]]:
        """Better points (n, 5, 2) for the guesses (n, 5, 2) of every frame, and how probable it is
        that each is on a face, (n,) in [0, 1].
        """
        counts = [len(guess) for guess in guesses_px]
        if not sum(counts):
            return [*guesses_px], [np.zeros(0, np.float32) for _ in guesses_px]
        matrices = crop_transforms(np.concatenate(guesses_px))
        of_face = (p for p, count in zip(pictures, counts, strict=True) for _ in range(count))
        crops = [read_crop(p, matrix) for p, matrix in zip(of_face, matrices, strict=True)]
        offsets, face = self._run(crops)
        points = _back(POINTS_TEMPLATE_PX + offsets * EYES_PX, matrices)
        ends = np.cumsum(counts)[:-1]
        return np.split(points, ends), np.split(face, ends)

    def _run(self, crops: Sequence[U8]) -> tuple[F32, F32]:
        starts = range(0, len(crops), self._at_once)
        found = [self._network(np.stack(crops[at : at + self._at_once])) for at in starts]
        offsets, face = map(np.concatenate, zip(*found, strict=True))
        return offsets, face


def _run(session: Any, crops: U8) -> list[F32]:
    image = crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1
    return cast(list[F32], session.run(["points", "face"], {"image": image}))


def _back(points: F32, matrices: F64) -> F32:
    """Points (n, 5, 2) in crops as points in the frame."""
    inverse = np.linalg.inv(matrices[:, :, :2])
    moved = points - matrices[:, None, :, 2]
    return np.asarray(np.einsum("nij,npj->npi", inverse, moved), np.float32)
