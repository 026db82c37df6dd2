"""An ONNX network that a user brings, in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.common.onnx import open_session, usual_threads
from facer.storage.errors import FacerError, one_line

FLOATS = {
    "tensor(float)": (np.float32, "float32"),
    "tensor(float16)": (np.float16, "float16"),
    "tensor(double)": (np.float64, "float64"),
}
"""By what onnxruntime calls a tensor: its dtype, and what a network that takes it computes in."""


def open_network(
    path: Path, device: str, what: str = "REC weights", *, threads: int | None = None
) -> Any:
    """Open an ONNX file; ``FacerError`` for another file, or where CUDA is asked for and absent."""
    try:
        return open_session(path, threads or usual_threads(), device)
    except FacerError:
        raise
    except Exception as error:
        raise FacerError(f"{what} {path}: no readable ONNX model ({one_line(error)})") from error


def tensor_name(name: str, tensors: Sequence[Any], where: str) -> str:
    """The tensor of that name, the only one where there is no name; FacerError for none."""
    names = [tensor.name for tensor in tensors]
    if not name and len(names) == 1:
        return str(names[0])
    if name not in names:
        found = f"{name!r}" if name else "no name"
        raise FacerError(f"{where}: found {found}, the network has {', '.join(names[:20])}")
    return name
