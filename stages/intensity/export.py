"""A trained head as ONNX: one clip's features in, its intensities out."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from facer.stages.intensity.model import IntensityModel
from facer.storage.errors import FacerError

_OPSET = 17
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
            mean, deviation = model.get_buffer("input_mean"), model.get_buffer("input_deviation")
            features = (features - mean) / deviation
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
    exported = _trace(_Clip(model).cpu().eval(), model.shape.features)
    onnx.helper.set_model_props(
        exported,
        {
            "columns": json.dumps(list(columns)),
            "names": json.dumps(list(names)),
            "max_frames": str(model.shape.max_frames),
            "zero_row": json.dumps(model.get_buffer("input_mean").tolist()),
            "head": json.dumps(asdict(model.config)),
        },
    )
    onnx.checker.check_model(exported)
    return exported


def _trace(clip: _Clip, features: int) -> onnx.ModelProto:
    """Trace with torch's TorchScript exporter: the other one needs a package more."""
    frames = min(_TRACED_FRAMES, clip.model.shape.max_frames)
    with tempfile.TemporaryDirectory(prefix="facer-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, and that T might be fixed
        path = Path(folder) / "head.onnx"
        torch.onnx.export(
            clip,
            (torch.rand(frames, features),),
            path,
            input_names=["features"],
            output_names=["intensities"],
            dynamic_axes={"features": {0: "T"}},
            opset_version=_OPSET,
            dynamo=False,
        )
        return onnx.load(path)
