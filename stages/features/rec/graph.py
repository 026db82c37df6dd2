"""REC's weights as an ONNX graph for onnxruntime on a CPU, made without torch.

Convolutions with their normalisation folded in, in float32; what follows the pooling is in
float64, of which a float32 is left that depends on no other crop of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from facer.stages.features.rec.architecture import (
    HEADS,
    Architecture,
    ConvLayer,
    stem_layer,
    unit_layers,
)

Tensors = Mapping[str, npt.NDArray[Any]]

_BN_EPS = 1e-5  # of torch.nn.BatchNorm2d
_OPSET = 17
_IR_VERSION = 8  # what belongs to that opset
_ACTIVATIONS = {"va": "Tanh", "expression": "Softmax", "au": "Sigmoid"}


def rec_graph(architecture: Architecture, tensors: Tensors) -> bytes:
    """The ONNX file of a network: ``crops`` float32 (B, 3, 112, 112) in [-1, 1] -> ``va``
    (B, 2), ``expression`` (B, 7), ``au`` (B, 17), and ``embedding`` (B, D), the pooled space.
    """
    graph = _Graph(tensors)
    maps = graph.convolution(stem_layer(architecture), "crops", relu=True)
    if architecture.pool_stem:
        maps = graph.node("MaxPool", [maps], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for unit in unit_layers(architecture):
        skip = maps if unit.skip is None else graph.convolution(unit.skip, maps, relu=False)
        for layer in unit.body[:-1]:
            maps = graph.convolution(layer, maps, relu=True)
        maps = graph.convolution(unit.body[-1], maps, relu=False)
        maps = graph.node("Relu", [graph.node("Add", [maps, skip])])
    pooled = graph.node("Flatten", [graph.node("GlobalAveragePool", [maps])], "embedding", axis=1)
    exact = graph.node("Cast", [pooled], to=TensorProto.DOUBLE)
    for head in HEADS:
        weights = [graph.constant(tensors[f"{head}.{part}"], np.float64) for part in _LINEAR]
        numbers = graph.node("Gemm", [exact, *weights], transB=1)
        numbers = graph.node(_ACTIVATIONS[head], [numbers])
        graph.node("Cast", [numbers], head, to=TensorProto.FLOAT)
    return graph.file(unit.body[-1].outputs)


_LINEAR = ("weight", "bias")


class _Graph:
    """Nodes and constants, named by their number."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Add a node of one output; its name."""
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: npt.NDArray[Any], dtype: Any = np.float32) -> str:
        """Add numbers; their name."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def convolution(self, layer: ConvLayer, source: str, *, relu: bool) -> str:
        """Add a layer; the name of its maps."""
        weight, bias = _folded(layer, self._tensors)
        inputs = [source, self.constant(weight), self.constant(bias)]
        pads = [layer.kernel // 2] * 4
        maps = self.node("Conv", inputs, strides=[layer.stride] * 2, pads=pads)
        return self.node("Relu", [maps]) if relu else maps

    def file(self, width: int) -> bytes:
        """The whole as the bytes of a file."""
        floats, sides = TensorProto.FLOAT, ["batch", 3, 112, 112]
        widths = {**HEADS, "embedding": width}
        graph = helper.make_graph(
            self._nodes,
            "rec",
            [helper.make_tensor_value_info("crops", floats, sides)],
            [helper.make_tensor_value_info(k, floats, ["batch", n]) for k, n in widths.items()],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data


def _folded(layer: ConvLayer, tensors: Tensors) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Weight (O, I, k, k) and bias (O,) of a convolution with its normalisation in it."""
    gain, shift, mean, var = (
        tensors[f"{layer.norm}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(var + _BN_EPS)
    weight = tensors[f"{layer.name}.weight"].astype(np.float64) * scale[:, None, None, None]
    return weight, shift - mean * scale
