"""The trained network as an ONNX file in insightface's SCRFD layout."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from facer.stages.common.onnx import fold_batch_norm, to_onnx
from facer.stages.detection.network import OUTPUT_NAMES, STRIDES, DetectorNet, LevelHead
from facer.storage.files.atomic import write_atomic

INPUT_NAME = "image"


class ExportedNet(nn.Module):
    """The network as the file has it: batch normalisation folded, scores as probabilities."""

    def __init__(self, net: DetectorNet) -> None:
        super().__init__()
        self.net = fold(net)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """As DetectorNet's, with sigmoid scores in [0, 1]."""
        outputs: tuple[Tensor, ...] = self.net(x)
        scores = tuple(torch.sigmoid(logits) for logits in outputs[: len(STRIDES)])
        return scores + outputs[len(STRIDES) :]


@torch.no_grad()
def fold(net: DetectorNet) -> DetectorNet:
    """A copy in evaluation mode whose convolutions carry their batch normalisation and scale."""
    folded = fold_batch_norm(copy.deepcopy(net).eval())
    for head in folded.heads:
        assert isinstance(head, LevelHead)
        for kind, conv in head.predict.items():
            for parameter in conv.parameters():
                parameter.mul_(head.scale(kind).reshape(-1, *[1] * (parameter.ndim - 1)))
        head.anchor_sizes = torch.ones_like(head.anchor_sizes)
    return folded


def export_onnx(net: DetectorNet, path: Path, metadata: Mapping[str, object]) -> None:
    """Write ``net`` to ``path``; ``metadata`` goes into the file's metadata_props.

    Input ``image``: float32 (N, 3, H, W), RGB, ``(value - 127.5) / 128``; N, H and W are free,
    H and W multiples of 32. Outputs ``score_8 ... kps_32``: (N, A, 1 | 4 | 10), see DetectorNet.
    Values of ``metadata`` that are not strings are written as JSON.
    """
    exported = ExportedNet(net).eval()
    axes: dict[str, dict[int, str]] = {INPUT_NAME: {0: "batch", 2: "height", 3: "width"}}
    axes |= {name: {0: "batch", 1: f"anchors_{name.split('_')[1]}"} for name in OUTPUT_NAMES}
    example = torch.zeros(2, 3, 192, 320)
    model = to_onnx(exported, example, (INPUT_NAME, OUTPUT_NAMES), axes, metadata)
    write_atomic(path, model.SerializeToString())
