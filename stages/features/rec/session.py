"""An ONNX network that a user brings, in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from facer.stages.common.onnx import open_session
from facer.storage.errors import FacerError, one_line


def open_network(path: Path, device: torch.device, what: str = "REC weights") -> Any:
    """Open an ONNX file; ``FacerError`` for another file, or where CUDA is asked for and absent."""
    try:
        return open_session(path, torch.get_num_threads(), str(device))
    except FacerError:
        raise
    except Exception as error:
        raise FacerError(f"{what} {path}: no readable ONNX model ({one_line(error)})") from error
