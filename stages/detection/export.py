"""The trained network as an ONNX file in insightface's SCRFD layout."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facer.stages.detection.network import OUTPUT_NAMES, STRIDES, DetectorNet, Head
from facer.storage.files.objects import write_atomic

OPSET = 17
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


def fold(net: DetectorNet) -> DetectorNet:
    """A copy in evaluation mode whose convolutions carry their batch normalisation and scale."""
    folded = copy.deepcopy(net).eval()
    for module in folded.modules():
        if isinstance(module, nn.Sequential) and len(module) > 1:
            conv, norm = module[0], module[1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    for head in folded.modules():
        if isinstance(head, Head):
            _fold_units(head)
    return folded


@torch.no_grad()
def _fold_units(head: Head) -> None:
    for kind, conv in head.predict.items():
        scale = head.scale(kind)
        for parameter in conv.parameters():
            parameter.mul_(scale.reshape(-1, *[1] * (parameter.ndim - 1)))
    head.units = torch.ones_like(head.units)


def export_onnx(net: DetectorNet, path: Path, metadata: Mapping[str, object]) -> None:
    """Write ``net`` to ``path``; ``metadata`` goes into the file's metadata_props.

    Input ``image``: float32 (N, 3, H, W), RGB, ``(value - 127.5) / 128``; N, H and W are free,
    H and W multiples of 32. Outputs ``score_8 ... kps_32``: (N, A, 1 | 4 | 10), see DetectorNet.
    Values of ``metadata`` that are not strings are written as JSON.
    """
    exported = ExportedNet(net).eval()
    axes: dict[str, dict[int, str]] = {INPUT_NAME: {0: "batch", 2: "height", 3: "width"}}
    axes |= {name: {0: "batch", 1: f"anchors_{name.split('_')[1]}"} for name in OUTPUT_NAMES}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the tracing exporter is announced as deprecated; the new one needs onnxscript
        warnings.simplefilter("ignore")
        torch.onnx.export(
            exported,
            (torch.zeros(2, 3, 192, 320),),
            buffer,  # type: ignore[arg-type]  # a buffer is taken, its annotation says paths
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    write_atomic(path, model.SerializeToString())
