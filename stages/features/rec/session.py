"""An ONNX network in onnxruntime: one way to open it, on the CPU or a CUDA device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from facer.storage.errors import FacerError


def open_session(path: Path, device: torch.device, what: str = "REC weights") -> Any:
    """Open an ONNX file; ``FacerError`` for another file, or where CUDA is asked for and absent."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise FacerError(f"--device {device}: this onnxruntime has no CUDA; use --device cpu")
        providers = [("CUDAExecutionProvider", {"device_id": device.index or 0})]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise FacerError(f"{what} {path}: no readable ONNX model ({reason})") from error
