"""What tests of every folder share: commands, and values as they must be."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import av
import cv2
import numpy as np
import pytest
import zarr

from facer.cli import main

T = TypeVar("T")


def some(value: T | None) -> T:
    """The value, which must not be None."""
    assert value is not None
    return value


def exit_code(*arguments: object) -> int | str | None:
    """Run a command of facer's."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def outcome(
    capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int | str | None, str, str]:
    """Exit code, stdout and stderr of a command."""
    code = exit_code(*arguments)
    return code, *capsys.readouterr()


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    """Stdout and stderr of a command, which must end with an exit code."""
    found, out, err = outcome(capsys, *arguments)
    assert found == code, err
    return out, err


def script(path: Path) -> ModuleType:
    """A Python file outside the package, as a module; it may import those beside it."""
    spec = some(spec_from_file_location(path.stem, path))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
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
