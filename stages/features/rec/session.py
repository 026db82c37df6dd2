"""An ONNX network that a user brings, in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.common.cores import usual_threads
from facer.stages.common.onnx import open_session, run_in_time
from facer.storage.errors import FacerError, one_line

MAX_EMBEDDING = 4096
SAME = 1e-3
"""By which a crop's numbers may depend on what is beside it."""
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
        return _Network(open_session(path, threads or usual_threads(), device))
    except FacerError:
        raise
    except Exception as error:
        raise FacerError(f"{what} {path}: no readable ONNX model ({one_line(error)})") from error


class _Network:
    """A session whose first run, which is a trial, must end."""

    def __init__(self, session: Any) -> None:
        self._session, self._tried = session, False

    def run(self, names: Sequence[str], fed: Mapping[str, Any]) -> list[Any]:
        """As that of a session."""
        if self._tried:
            outputs: list[Any] = self._session.run(names, fed)
        else:
            outputs, self._tried = run_in_time(self._session, names, fed), True
        return outputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def names_of(tensors: Sequence[Any]) -> str:
    """Their names, of many or long ones the first."""
    return ", ".join(tensor.name[:80] for tensor in tensors[:20])


def tensor_name(name: str, tensors: Sequence[Any], where: str) -> str:
    """The tensor of that name, the only one where there is no name; FacerError for none."""
    names = [tensor.name for tensor in tensors]
    if not name and len(names) == 1:
        return str(names[0])
    if name not in names:
        found = f"{name!r}" if name else "no name"
        raise FacerError(f"{where}: found {found}, the network has {names_of(tensors)}")
    return name
