"""Training goes on from an exported detector: its folded weights become a trainable network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.detection.network import ConvNormAct, DetectorNet, Head, Residual
from facer.storage.errors import FacerError


@torch.no_grad()
def start_from_file(net: DetectorNet, path: Path, images: Tensor) -> None:
    """Give ``net`` the weights of a detector.onnx that facer exported.

    A folded convolution y = w x + b is restored as w x, normalised by its mean and variance over
    ``images`` (N, 3, H, W), with the weight and bias of the normalisation that make it w x + b
    again. Residual units that the file lacks start as identities. ``FacerError`` for a file of
    another network.
    """
    weights = _weights(path)
    for name, module in net.named_modules():
        if isinstance(module, Residual) and f"{name}.first.0.weight" not in weights:
            nn.init.zeros_(module.second[1].weight)
        elif isinstance(module, Head):
            _fill_predictions(module, name, weights)
    left = {name: weights.pop(name) for name in list(weights) if name.endswith(".0.bias")}
    state = net.state_dict()
    for name, value in weights.items():
        if name not in state or state[name].shape != value.shape:
            raise FacerError(f"{path}: found {name} {tuple(value.shape)}, not of this network")
        state[name].copy_(value)
    hooks = [
        module[1].register_forward_pre_hook(_Restore(left[f"{name}.0.bias"]))
        for name, module in net.named_modules()
        if isinstance(module, ConvNormAct) and f"{name}.0.bias" in left
    ]
    net.eval()(images)
    for hook in hooks:
        hook.remove()


class _Restore:
    """Sets a normalisation so that it adds ``bias`` (C,) and nothing else to what it first sees."""

    def __init__(self, bias: Tensor) -> None:
        self._bias = bias

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        mean, variance = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))
        for mine, value in (
            (norm.running_mean, mean),
            (norm.running_var, variance),
            (norm.weight, (variance + norm.eps).sqrt()),
            (norm.bias, mean + self._bias),
        ):
            assert mine is not None
            mine.copy_(value)


def _weights(path: Path) -> dict[str, Tensor]:
    import onnx

    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:
        raise FacerError(f"{path}: found no readable ONNX file ({error})") from error
    named = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    return {
        name.removeprefix("net."): torch.from_numpy(np.array(value, np.float32))
        for name, value in named.items()
        if name.startswith("net.")
    }


def _fill_predictions(head: Head, name: str, weights: dict[str, Any]) -> None:
    """Undo the units that the file's predictions carry."""
    for kind in head.predict:
        for part in ("weight", "bias"):
            key = f"{name}.predict.{kind}.{part}"
            if key in weights:
                value = weights[key]
                weights[key] = value / head.scale(kind).reshape(-1, *[1] * (value.ndim - 1))
