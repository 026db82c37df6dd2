"""A trained head as ONNX: one clip's features in, its intensities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import onnx
import torch
from torch import Tensor, nn

from facer.stages.common.onnx import to_onnx
from facer.stages.intensity.model import IntensityModel
from facer.storage.errors import FacerError

_TRACED_FRAMES = 16


class _Clip(nn.Module):
    """Features (T, F) of one clip -> calibrated intensities (E,)."""

    def __init__(self, model: IntensityModel) -> None:
        super().__init__()
        self.model = model
        self.slope = model.get_buffer("slope").float()
        self.intercept = model.get_buffer("intercept").float()

    def forward(self, features: Tensor) -> Tensor:
        model = self.model
        if model.standardised:
            mean, std = model.get_buffer("input_mean"), model.get_buffer("input_deviation")
            features = (features - mean) / std
        intensities: Tensor = model.head.clip(features)[0] * self.slope + self.intercept
        return intensities


def head_to_onnx(
    model: IntensityModel, columns: Sequence[str], names: Sequence[str]
) -> onnx.ModelProto:
    """Export to ONNX: ``features`` (T, F) float32 -> ``intensities`` (E,) float32.

    T is free, from 1 to ``max_frames``. Features are ``columns`` in this order, with invalid
    frames filled as in training; both lists and ``max_frames`` are in the file's metadata, and
    ``zero_row``, which stands for a frame under ``--missing zero``: zeros after the input scale.
    Input scale and calibration are part of the graph. Raises FacerError when the lists do not
    fit the model.
    """
    if (len(columns), len(names)) != (model.shape.features, model.shape.intensities):
        raise FacerError(
            f"export: found {len(columns)} columns and {len(names)} names, expected "
            f"{model.shape.features} and {model.shape.intensities}"
        )
    frames = min(_TRACED_FRAMES, model.shape.max_frames)
    metadata = {
        "columns": list(columns),
        "names": list(names),
        "max_frames": str(model.shape.max_frames),
        "zero_row": model.get_buffer("input_mean").tolist(),
        "head": asdict(model.config),
    }
    example, axes = torch.zeros(frames, model.shape.features), {"features": {0: "T"}}
    clip = _Clip(model).cpu().eval()
    return to_onnx(clip, example, ("features", ["intensities"]), axes, metadata)
