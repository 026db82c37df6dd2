"""Training goes on from an exported model: its folded weights become a trainable network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.detection.config import DetectorTrainConfig, RefinerTrainConfig, Split
from facer.stages.detection.network import DetectorNet, LevelHead, Residual
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint
from facer.storage.files.weights import external_files, read_onnx


def start_detector(net: DetectorNet, path: Path, images: Tensor) -> None:
    """Give ``net`` the weights of a detector.onnx that facer exported; see ``start_network``.

    Residual units that the file lacks start as identities.
    """
    weights = read_weights(path)
    lacking = []
    for name, module in net.named_modules():
        if isinstance(module, Residual) and f"{name}.first.0.weight" not in weights:
            module.second[1].weight.data.zero_()  # type: ignore[operator]
            lacking.append(f"{name}.")
        elif isinstance(module, LevelHead):
            _fill_predictions(module, name, weights)
    start_network(net, weights, images, path, tuple(lacking))


@torch.no_grad()
def start_network(
    net: nn.Module, weights: dict[str, Tensor], images: Tensor, path: Path,
    lacking: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Give ``net`` the folded weights of ``path``, a file of the same network.

    A folded convolution y = w x + b is restored as w x, normalised by its mean and variance over
    ``images`` (N, 3, H, W), with the weight and bias of the normalisation that make it w x + b
    again. ``FacerError`` for a file of another network; ``lacking`` begin the names of weights that
    it may be without.
    """
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and name not in weights and not name.startswith(lacking):
            raise FacerError(f"{path}: found no {name}, expected a file of this network")
    weights = dict(weights)
    hooks = [
        norm.register_forward_pre_hook(_Restore(weights.pop(f"{conv}.bias")))
        for conv, norm in _folded(net)
        if f"{conv}.bias" in weights
    ]
    state = net.state_dict()
    for name, value in weights.items():
        if name not in state or state[name].shape != value.shape:
            raise FacerError(f"{path}: found {name} {tuple(value.shape)}, not of this network")
        state[name].copy_(value)
    net.eval()(images)
    for hook in hooks:
        hook.remove()


def seen_splits(config: DetectorTrainConfig | RefinerTrainConfig) -> tuple[Split, ...]:
    """The splits of the people that a training's weights have seen in the end."""
    before = () if config.start is None else splits_of_weights(config.start)
    own = (config.split,) if config.people or config.people_clips else ()
    return tuple(dict.fromkeys((*before, *own)))


def splits_of_weights(path: Path) -> tuple[Split, ...]:
    """The splits of the people that a checkpoint or an ONNX file says its weights have seen.

    Empty for a file that no facer wrote; ``all`` for an older one that began from other weights.
    """
    try:
        if path.suffix == ".onnx":
            properties = {p.key: p.value for p in read_onnx(path).metadata_props}
            training = json.loads(properties["training"])
            before = ["all"] if training.get("start") else []
            own = [training.get("split", "train")] if training["people"] else []
            seen = training.get("seen", before + own)
        else:
            seen = load_checkpoint(path)[1].get("seen", ["all"])
        return tuple(dict.fromkeys(split for split in seen if split in get_args(Split)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The trained numbers of an ONNX file that facer exported, by their names in the network."""
    from onnx import numpy_helper

    model = read_onnx(path)
    if model is None:
        raise FacerError(f"{path}: found no ONNX model, expected one that facer exported")
    if external_files(path):
        raise FacerError(f"{path}: its tensors lie in other files; facer exports one file")
    weights = {
        one.name.removeprefix("net."): torch.from_numpy(
            np.array(numpy_helper.to_array(one), np.float32)
        )
        for one in model.graph.initializer
        if one.name.startswith("net.")
    }
    check_finite(path, weights)
    return weights


def check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """FacerError for weights that no training makes good."""
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise FacerError(
                f"{path}: found numbers in {name} that are not finite, expected trained weights; "
                "start from another file"
            )


def _folded(net: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    """Names of the convolutions that are folded with the normalisation after them, and it."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Sequential):
            for place in range(len(module) - 1):
                norm = module[place + 1]
                if isinstance(module[place], nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    yield f"{name}.{place}", norm


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


def _fill_predictions(head: LevelHead, name: str, weights: dict[str, Any]) -> None:
    """Undo the units that the file's predictions carry."""
    for kind in head.predict:
        for part in ("weight", "bias"):
            key = f"{name}.predict.{kind}.{part}"
            if key in weights:
                value = weights[key]
                weights[key] = value / head.scale(kind).reshape(-1, *[1] * (value.ndim - 1))
