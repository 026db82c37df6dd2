"""What tests of every folder share: values that must be there, scripts, pictures, arrays."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import av
import cv2
import numpy as np
import zarr

T = TypeVar("T")


def some(value: T | None) -> T:
    """The value, which must not be None."""
    assert value is not None
    return value


def script(path: Path) -> ModuleType:
    """A Python file outside the package, as a module."""
    spec = some(spec_from_file_location(path.stem, path))
    module = module_from_spec(spec)
    some(spec.loader).exec_module(module)
    return module


def time_of(frame: av.VideoFrame) -> float:
    """Where a frame lies in its file, in seconds."""
    return float(some(frame.pts) * some(frame.time_base))


def read_rgb(path: Path) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3)."""
    return np.ascontiguousarray(some(cv2.imread(str(path)))[..., ::-1], np.uint8)


def zarr_values(path: Path) -> np.ndarray:
    """All values of a zarr array, as any program reads them."""
    return np.asarray(zarr.open_array(path, mode="r")[...])
