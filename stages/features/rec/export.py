"""REC weights as an ONNX file for other runtimes; ``rec.load`` takes it as well.

Input ``crops`` float32 (B, 3, 112, 112) in [-1, 1]; outputs ``va`` (B, 2) in [-1, 1],
``expression`` (B, 7) and ``au`` (B, 17) probabilities, columns named in the metadata, and
``embedding`` (B, D), the pooled space that they are made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.common.onnx import (
    check_onnx_name,
    fold_batch_norm,
    open_session,
    to_onnx,
    write_exported,
)
from facer.stages.features.rec.network import RecNet
from facer.stages.features.rec.onnx_rec import EMBEDDING, FEATURE_OUTPUTS
from facer.stages.features.rec.torch_rec import load_network

OUTPUTS = (*FEATURE_OUTPUTS, EMBEDDING)


class _Probabilities(nn.Module):
    """A REC network whose outputs are the stored features, in parts, and its embedding."""

    def __init__(self, network: RecNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        embedding = self.network.embed(crops)
        output = self.network.outputs(embedding)
        return output.va, output.expression.softmax(1), output.au.sigmoid(), embedding


def export_onnx(rec_path: str | Path, onnx_path: str | Path) -> float:
    """Write REC weights (.safetensors) as ONNX with a free batch dimension.

    The metadata carry ``weak_features``, ``feature_names``, ``training`` and ``format`` as
    JSON. Returns the largest difference from torch on random crops; ``FacerError`` and no file
    when it is above 1e-4.
    """
    onnx_path = Path(onnx_path)
    check_onnx_name(onnx_path)
    network, meta = load_network(Path(rec_path))
    model = _Probabilities(fold_batch_norm(network.eval())).eval()
    keys = ("format", "feature_names", "weak_features", "training")
    data = rec_to_onnx(model, {key: json.dumps(meta[key]) for key in keys})
    difference = difference_from_torch(model, data)
    write_exported(onnx_path, data, difference)
    return difference


def rec_to_onnx(model: nn.Module, meta: Mapping[str, Any]) -> bytes:
    """A module that maps crops (B, 3, 112, 112) to the four ``OUTPUTS``, as an ONNX file."""
    axes = {name: {0: "batch"} for name in ("crops", *OUTPUTS)}
    exported = to_onnx(model, torch.zeros(2, 3, 112, 112), ("crops", OUTPUTS), axes, meta)
    data: bytes = exported.SerializeToString()
    return data


def difference_from_torch(model: nn.Module, data: bytes) -> float:
    """Largest absolute difference between torch and onnxruntime on random crops."""
    crops = np.random.default_rng(0).uniform(-1, 1, (5, 3, 112, 112)).astype(np.float32)
    found = open_session(data).run(list(OUTPUTS), {"crops": crops})
    with torch.inference_mode():
        expected = model(torch.from_numpy(crops))
    pairs = zip(found, expected, strict=True)
    return float(np.max([np.abs(f - e.numpy()).max() for f, e in pairs]))  # NaN where any is
