"""Convolutional networks in bfloat16 on torch, each sum and ReLU in the pass of its convolution.

onnxruntime computes in float32 on every x86 CPU; :class:`TorchGraph` runs the ONNX files of
facer-det and its refiner in bfloat16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.storage.errors import FacerError, named
from facer.storage.schema import F32, F64, U8


@dataclass
class Convolution:
    """``relu(conv(x) + other)``, of which the sum and the ReLU may be absent."""

    weight: Tensor  # (O, I, k, k) as_bf16
    bias: Tensor  # (O,)
    stride: Sequence[int]
    padding: Sequence[int]
    relu: bool = False
    packed: bool = False  # the weight is as oneDNN wants it; it else puts it so at every call

    def __call__(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """(B, I, H, W), and (B, O, H', W') to be added -> (B, O, H', W')."""
        if x.device.type != "cpu" or not _fuses():
            y = F.conv2d(x, self.weight, self.bias, tuple(self.stride), tuple(self.padding))
            y = y if other is None else y + other
            return y.relu_() if self.relu else y
        if not self.packed:
            self._pack(x.shape)
        fused = torch.ops.mkldnn._convolution_pointwise
        how = (self.weight, self.bias, self.padding, self.stride, [1, 1], 1)
        relu = "relu" if self.relu else None
        if other is None:
            return cast(Tensor, fused(x, *how, relu or "none", [], ""))
        return cast(Tensor, fused.binary(x, other, *how, "add", 1.0, relu, [], ""))

    def _pack(self, shape: Sequence[int]) -> None:
        """Lay the weight out for inputs of a shape, which others may differ from."""
        pack = torch.ops.mkldnn._reorder_convolution_weight
        self.weight = pack(self.weight, self.padding, self.stride, [1, 1], 1, list(shape))
        self.packed = True


def convolution(layer: nn.Conv2d, *, relu: bool) -> Convolution:
    """A layer that is ready to be used; padded alike on both sides, in one group."""
    assert layer.bias is not None
    weight, bias = as_bf16(layer.weight.detach()), as_bf16(layer.bias.detach())
    return Convolution(weight, bias, layer.stride, cast(tuple[int, int], layer.padding), relu)


@cache
def _fuses() -> bool:
    """Whether oneDNN takes bfloat16 here; torch's own kernels do everywhere, if slowly."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def as_bf16(values: Tensor) -> Tensor:
    """Weights or maps in bfloat16; channels-last where they have four axes."""
    values = values.to(torch.bfloat16)
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values


def look_up(images: U8, table: Tensor) -> Tensor:
    """Pixels (B, H, W, 3) as what a table (256,) of bfloat16 has for them: (B, 3, H, W), on the
    CPU and channels-last. A tenth of the time that the arithmetic takes.
    """
    bits: Any = cv2.LUT(images.reshape(-1, *images.shape[2:]), table.view(torch.int16).numpy())
    found = torch.from_numpy(bits.reshape(images.shape)).view(torch.bfloat16)
    return found.permute(0, 3, 1, 2)


@dataclass
class _Node:
    kind: str
    function: Callable[..., Any]
    inputs: list[str]
    output: str


class TorchGraph:
    """The graph of an ONNX file of facer's own detectors, in bfloat16 on the CPU; matrix products
    are in float64, of which a float32 is left that depends on no other image of the batch.

    ``pixels`` (256,): what the network sees of a pixel's value. ``FacerError`` for an operator
    that those files do not have.
    """

    def __init__(self, path: Path, pixels: F64) -> None:
        import onnx

        self._pixels = as_bf16(torch.from_numpy(pixels).float())

        graph = onnx.load(str(path)).graph
        self._input = graph.input[0].name
        self._outputs = [output.name for output in graph.output]
        read = onnx.numpy_helper.to_array
        exact = {tensor.name: read(tensor) for tensor in graph.initializer}
        self._constants = {name: _constant(values) for name, values in exact.items()}
        self._constants[""] = None  # an input that is left out
        nodes: list[_Node] = []
        for node in graph.node:
            kind, inputs, output = node.op_type, list(node.input), node.output[0]
            options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if kind == "Constant":
                self._constants[output] = _constant(read(options["value"]))
            elif kind == "Conv" and options["group"] == 1:
                weight, bias = (self._constants[name] for name in inputs[1:])
                function = Convolution(weight, bias, options["strides"], options["pads"][:2])
                nodes.append(_Node(kind, function, inputs[:1], output))
            elif kind == "Gemm" and options["transB"]:
                matrix, bias = (torch.from_numpy(exact[n].copy()).double() for n in inputs[1:])
                nodes.append(_Node(kind, partial(_linear, matrix, bias), inputs[:1], output))
            elif kind in _OPERATORS:
                nodes.append(_Node(kind, partial(_OPERATORS[kind], **options), inputs, output))
            else:
                raise FacerError(
                    f"{path}: found the operator {kind}, which facer has not in bfloat16; use "
                    f"{named('precision')} float32"
                )
        self._nodes = _fused(nodes, {*self._constants}, self._outputs)

    @torch.inference_mode()
    def run(self, images: U8) -> list[F32]:
        """Outputs for images (N, H, W, 3)."""
        values = {**self._constants, self._input: look_up(images, self._pixels)}
        for node in self._nodes:
            values[node.output] = node.function(*(values[name] for name in node.inputs))
        return [values[name].float().numpy() for name in self._outputs]


def _constant(values: Any) -> Any:
    """Weights as tensors in bfloat16; whole numbers, which are axes and sizes, as they are."""
    return as_bf16(torch.from_numpy(values.copy())) if values.dtype.kind == "f" else values


def _fused(nodes: Sequence[_Node], constants: set[str], outputs: Sequence[str]) -> list[_Node]:
    """Sums and ReLUs of a convolution that nothing else reads become part of it."""
    uses = Counter([*outputs, *(name for node in nodes for name in node.inputs)])
    result: dict[str, _Node] = {}  # by output, in order
    for node in nodes:
        for name in node.inputs if node.kind in ("Add", "Relu") else ():
            conv = result.get(name)
            if conv is None or conv.kind != "Conv" or uses[name] > 1:
                continue
            function = cast(Convolution, conv.function)
            others = [other for other in node.inputs if other != name]
            if function.relu or (others and (len(conv.inputs) > 1 or constants & {*others})):
                continue
            function.relu = node.kind == "Relu"
            conv.inputs += others
            del result[name]  # it moves to where the other is known
            conv.output = node.output
            node = conv
            break
        result[node.output] = node
    return list(result.values())


def _linear(matrix: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return F.linear(x.double(), matrix, bias)


def _gather(values: Any, index: Any, axis: int) -> Any:
    """Of a shape, or of maps."""
    return values.select(axis, int(index)) if torch.is_tensor(values) else values.take(index, axis)


def _slice(x: Tensor, start: Any, end: Any, axes: Any, _steps: Any) -> Tensor:
    axis, first = int(axes[0]), int(start[0])
    return x.narrow(axis, first, min(int(end[0]), x.shape[axis]) - first)


_OPERATORS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "Add": torch.add,
        "Concat": lambda *sizes, axis: np.concatenate(sizes, axis),
        "Flatten": lambda x, axis: x.flatten(axis),
        "Gather": _gather,
        "Mul": torch.mul,
        "Relu": torch.relu,
        "Reshape": lambda x, sizes, **_: x.reshape(sizes.tolist()),
        "Resize": lambda x, _roi, scales, **_: F.interpolate(x, scale_factor=scales[2:].tolist()),
        "Shape": lambda x: np.array(x.shape),
        "Sigmoid": lambda x: torch.sigmoid(x.double()).float(),  # the same wherever it lies
        "Slice": _slice,
        "Transpose": lambda x, perm: x.permute(perm),
        "Unsqueeze": lambda size, _axes: np.reshape(size, -1),
    }
)
