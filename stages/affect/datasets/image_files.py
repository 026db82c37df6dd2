"""Crops as image files in folders, decoded when asked for."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from facer.stages.features.align import CROP_PX
from facer.storage.errors import FacerError
from facer.storage.files.regular import read_regular
from facer.storage.schema import I32, U8

_LIMIT_BYTES = 1 << 28  # of a photograph


def read_image_file(path: Path) -> bytes:
    """The bytes of a photograph; ``FacerError`` for what is no regular file, or too large."""
    return read_regular(path, "a photograph", _LIMIT_BYTES)


def decode_image(data: bytes | U8) -> U8 | None:
    """RGB uint8 (H, W, 3) of an encoded image, upright; None when it cannot be decoded.

    One of more than 179 million pixels is not: a header of some hundred bytes may promise them.
    """
    buffer = np.frombuffer(data, np.uint8)
    if _is_bomb(buffer.tobytes()):
        return None
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if len(buffer) else None
    except cv2.error:  # a header that promises more pixels than OpenCV takes
        return None
    if image is None:
        return None
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def _is_bomb(data: bytes) -> bool:
    """Tell whether an image's header promises more pixels than Pillow takes (179 million)."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)):
            return False
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError, SyntaxError, struct.error):  # a format of OpenCV alone, or none
        return False


def decode_crop(data: bytes | U8, where: str) -> U8:
    """RGB uint8 (112, 112, 3) of an encoded crop; ``FacerError`` for anything else."""
    crop = decode_image(data)
    if crop is None:
        raise FacerError(f"{where}: found no image that can be decoded; restore or remove it")
    if crop.shape != (CROP_PX, CROP_PX, 3):
        raise FacerError(
            f"{where}: found an image of {crop.shape[1]}x{crop.shape[0]} px, expected an aligned "
            f"crop of {CROP_PX}x{CROP_PX}"
        )
    return crop


@dataclass(frozen=True)
class CropFiles:
    """Aligned crops that lie as files in many folders; names are kept as bytes, for millions."""

    root: Path
    folders: tuple[str, ...]  # below root
    folder: I32 = field(repr=False)  # (N,) index into folders
    names: npt.NDArray[np.bytes_] = field(repr=False)  # (N,) utf-8 file names

    def path(self, index: int) -> Path:
        """File of one crop."""
        return self.root / self.name(index)

    def name(self, index: int) -> str:
        """File below the root, as FOLDER/FILE."""
        return f"{self.folders[int(self.folder[index])]}/{bytes(self.names[index]).decode()}"

    def crop(self, index: int) -> U8:
        """RGB uint8 (112, 112, 3); ``FacerError`` when the file is no aligned crop."""
        path = self.path(index)
        return decode_crop(read_image_file(path), str(path))
