"""REC on torch: on a GPU, in bfloat16, and for what trains it on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.common.onnx import fold_batch_norm
from facer.stages.common.training import seeded
from facer.stages.features.bf16 import Convolution, as_bf16, convolution, look_up
from facer.stages.features.rec.crops import ARCFACE, check_crops
from facer.stages.features.rec.network import RecNet, ResidualUnit, pooled, scale_crops
from facer.stages.features.rec.weights import FORMAT, read_weights
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import save_checkpoint
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, FEATURE_NAMES, U8


class TorchRec:
    """REC on PyTorch, channels-last: in float32, or its convolutions in bfloat16 and what follows
    them in float64, of which a float32 is left that depends on no other crop of the batch.
    """

    def __init__(
        self, path: Path, device: str, embedding: bool = False, *, bf16: bool = False
    ) -> None:
        network, meta = load_network(path)
        self.name = path.stem
        self.sha256 = weights_sha256(path)
        self.columns, self.crop = FEATURE_NAMES, ARCFACE
        self.card_sha256 = ""
        self.precision = "bf16" if bf16 else "float32"
        self.same_person: float | None = None
        self.weak_features: tuple[str, ...] = tuple(meta.get("weak_features", ()))
        self.embedding_width = network.expression.in_features if embedding else 0
        self._device = torch.device(device)
        network = fold_batch_norm(network.eval()).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._maps: Callable[[Tensor], Tensor] = network.maps
        self._table: Tensor | None = None  # of all values of a pixel, for bfloat16
        if bf16:
            self._table = as_bf16(scale_crops(torch.arange(256).reshape(1, 1, 256, 1)).flatten())
            self._maps = Bf16Maps(network)
            network.double()

    @torch.inference_mode()
    def predict(self, crops: U8) -> F32:
        """As :meth:`Recogniser.predict`."""
        check_crops(crops)
        if len(crops) == 0:
            return np.zeros((0, len(FEATURE_NAMES) + self.embedding_width), np.float32)
        embedding = pooled(self._maps(self._images(np.ascontiguousarray(crops))))
        columns = self._network.outputs(embedding).features()
        if self.embedding_width:
            columns = torch.cat([columns, embedding], dim=1)
        features: F32 = columns.float().cpu().numpy()
        return features

    def _images(self, crops: U8) -> Tensor:
        """What the network sees: (B, 3, 112, 112) in [-1, 1], channels-last."""
        if self._table is not None and self._device.type == "cpu":
            return look_up(crops, self._table)
        images = torch.from_numpy(crops)
        if self._device.type == "cuda":
            images = images.pin_memory().to(self._device, non_blocking=True)
        return scale_crops(images).contiguous(memory_format=torch.channels_last)


class Bf16Maps:
    """``RecNet.maps`` of a network without batch normalisation, in bfloat16."""

    def __init__(self, network: RecNet) -> None:
        self._stem = convolution(cast(nn.Conv2d, network.stem[0]), relu=True)
        self._pool = network.stem[3:]
        self._units: list[tuple[list[Convolution], Convolution | None]] = []
        for unit in cast(Iterable[ResidualUnit], network.units):
            body, skip = unit.body, unit.skip
            convs = [convolution(c, relu=True) for c in body if isinstance(c, nn.Conv2d)]
            layer = None if isinstance(skip, nn.Identity) else cast(nn.Sequential, skip)[0]
            shortcut = None if layer is None else convolution(cast(nn.Conv2d, layer), relu=False)
            self._units.append((convs, shortcut))

    def __call__(self, x: Tensor) -> Tensor:
        """As ``RecNet.maps``: float32 or bfloat16 in, float64 out."""
        x = self._pool(self._stem(as_bf16(x)))
        for (*convs, last), skip in self._units:
            y = x
            for conv in convs:
                y = conv(y)
            x = last(y, x if skip is None else skip(x))
        return x.double()


def save_rec(
    path: Path, network: RecNet, *, weak: tuple[str, ...], training: Mapping[str, Any]
) -> None:
    """Write a network as safetensors with its dimensions, label names and provenance.

    Kernels and matrices are kept in half precision (relative error below 0.0005), the rest in
    single precision.
    """
    state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    tensors = {k: (v.half() if v.ndim > 1 else v).numpy() for k, v in state.items()}
    meta = {
        "format": FORMAT,
        "architecture": asdict(network.architecture),
        "feature_names": list(FEATURE_NAMES),
        "weak_features": list(weak),
        "training": dict(training),
    }
    save_checkpoint(path, tensors, meta)


def load_network(path: Path) -> tuple[RecNet, dict[str, Any]]:
    """The trainable network in a file of :func:`save_rec`, and the file's header."""
    if path.suffix in (".onnx", ".toml"):
        raise FacerError(
            f"{path}: found {'an ONNX file' if path.suffix == '.onnx' else 'a model card'}, "
            "expected weights of facer train-rec (.safetensors)"
        )
    architecture, tensors, meta = read_weights(path)
    with seeded():
        network = RecNet(architecture)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})  # widens
    return network, meta
