"""REC: aligned crops become the 26 numbers of a frame.

``load("rec-small", "auto").predict(crops)`` is the whole interface. Weights are safetensors
with the network's dimensions, label names and training provenance in their header, or any
ONNX file with the outputs ``va``, ``expression`` and ``au``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch

from facer.stages.common.device import resolve_device
from facer.stages.common.onnx import fold_batch_norm, open_session
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facer.stages.features.bf16 import Convolution, as_bf16, convolution
from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec.network import (
    RecNet,
    ResidualUnit,
    architecture_from_json,
    architecture_to_json,
    build_fitting,
    pooled,
    scale_crops,
)
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError, one_line
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, FEATURE_NAMES, U8

_FORMAT = "facer-rec-1"
_CROP_SHAPE = (112, 112, 3)


class Rec(Protocol):
    """A loaded REC."""

    name: str
    sha256: str  # of the weights
    weak_features: tuple[str, ...]  # columns without labels of people behind them
    embedding_width: int  # D; 0 unless it was loaded with its embedding

    def predict(self, crops: U8) -> F32:
        """RGB uint8 (B, 112, 112, 3) -> float32 (B, 26 + D): ``FEATURE_NAMES``, embedding."""


def load(
    name_or_path: str | Path = STARTER_REC,
    device: str = "auto",
    embedding: bool = False,
    *,
    bf16: bool = False,
) -> Rec:
    """Load REC weights by the name of a built-in model or by path (.safetensors or .onnx).

    ``embedding``: it also gives the pooled space that its outputs are made from. ``bf16``: its
    convolutions are computed in bfloat16; an ONNX file stays in float32.
    """
    path = weights_path(name_or_path)
    if path.suffix == ".onnx":
        return OnnxRec(path, resolve_device(device), embedding)
    return TorchRec(path, resolve_device(device), embedding, bf16=bf16)


def weights_path(name_or_path: str | Path) -> Path:
    """The file behind a name or a path; ``FacerError`` when there is none."""
    if str(name_or_path) == STARTER_REC:
        return Path(str(files("facer.stages.features") / "weights" / f"{STARTER_REC}.safetensors"))
    path = Path(name_or_path)
    if not path.is_file():
        raise FacerError(
            f"REC weights {path} is no file; expected {STARTER_REC} or the path of a "
            ".safetensors or .onnx file"
        )
    return path


class TorchRec:
    """REC on PyTorch, channels-last: in float32, or its convolutions in bfloat16 and what follows
    them in float64, of which a float32 is left that depends on no other crop of the batch.
    """

    def __init__(
        self, path: Path, device: torch.device, embedding: bool = False, *, bf16: bool = False
    ) -> None:
        network, meta = load_network(path)
        self.name = path.stem
        self.sha256 = weights_sha256(path)
        self.weak_features: tuple[str, ...] = tuple(meta.get("weak_features", ()))
        self.embedding_width = network.expression.in_features if embedding else 0
        self._device = device
        network = fold_batch_norm(network.eval()).to(device)
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._maps: Callable[[Tensor], Tensor] = network.maps
        if bf16:
            self._maps = Bf16Maps(network)
            network.double()

    @torch.inference_mode()
    def predict(self, crops: U8) -> F32:
        """As :meth:`Rec.predict`."""
        check_crops(crops)
        if len(crops) == 0:
            return np.zeros((0, len(FEATURE_NAMES) + self.embedding_width), np.float32)
        images = torch.from_numpy(np.ascontiguousarray(crops))
        if self._device.type == "cuda":
            images = images.pin_memory().to(self._device, non_blocking=True)
        x = scale_crops(images).contiguous(memory_format=torch.channels_last)
        embedding = pooled(self._maps(x))
        columns = self._network.outputs(embedding).features()
        if self.embedding_width:
            columns = torch.cat([columns, embedding], dim=1)
        features: F32 = columns.float().cpu().numpy()
        return features


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
        """As ``RecNet.maps``: float32 in, float64 out."""
        x = self._pool(self._stem(as_bf16(x)))
        for (*convs, last), skip in self._units:
            y = x
            for conv in convs:
                y = conv(y)
            x = last(y, x if skip is None else skip(x))
        return x.double()


class OnnxRec:
    """REC from an ONNX file with the outputs ``va``, ``expression`` and ``au``, and
    ``embedding`` where that is wanted.
    """

    def __init__(self, path: Path, device: torch.device, embedding: bool = False) -> None:
        self.name = path.stem
        self.sha256 = weights_sha256(path)
        try:
            self._session = open_session(path, torch.get_num_threads(), str(device))
        except FacerError:
            raise
        except Exception as error:
            raise FacerError(f"REC weights {path}: no readable ONNX model ({error})") from error
        outputs = {output.name: output for output in self._session.get_outputs()}
        self._wanted = ["va", "expression", "au", *(["embedding"] if embedding else [])]
        if not set(self._wanted) <= set(outputs):
            more = ", and embedding (B, D)" if embedding else ""
            raise FacerError(
                f"REC weights {path}: found the outputs {', '.join(sorted(outputs))}; expected "
                f"va (B, 2), expression (B, 7) and au (B, 17){more}"
            )
        self.embedding_width = int(outputs["embedding"].shape[1]) if embedding else 0
        self._input = self._session.get_inputs()[0].name
        meta = self._session.get_modelmeta().custom_metadata_map
        self.weak_features: tuple[str, ...] = tuple(json.loads(meta.get("weak_features", "[]")))

    def predict(self, crops: U8) -> F32:
        """As :meth:`Rec.predict`."""
        check_crops(crops)
        if len(crops) == 0:
            return np.zeros((0, len(FEATURE_NAMES) + self.embedding_width), np.float32)
        x = scale_crops(torch.from_numpy(np.ascontiguousarray(crops))).contiguous().numpy()
        parts = self._session.run(self._wanted, {self._input: x})
        return np.concatenate(parts, axis=1).astype(np.float32)


def check_crops(crops: U8) -> None:
    """Refuse anything but RGB uint8 (B, 112, 112, 3), naming what was found."""
    if crops.ndim != 4 or crops.shape[1:] != _CROP_SHAPE or crops.dtype != np.uint8:
        raise FacerError(
            f"REC: found crops {crops.dtype} {crops.shape}, expected uint8 (B, 112, 112, 3)"
        )


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
        "format": _FORMAT,
        "architecture": architecture_to_json(network.architecture),
        "feature_names": list(FEATURE_NAMES),
        "weak_features": list(weak),
        "training": dict(training),
    }
    save_checkpoint(path, tensors, meta)


def load_network(path: Path) -> tuple[RecNet, dict[str, Any]]:
    """The trainable network in a file of :func:`save_rec`, and the file's header."""
    tensors, meta = load_checkpoint(path)
    if meta.get("format") != _FORMAT:
        raise FacerError(
            f"{path}: found format {meta.get('format')!r}, expected {_FORMAT!r} "
            "(weights written by facer train-rec)"
        )
    if meta.get("feature_names") != list(FEATURE_NAMES):
        raise FacerError(f"{path}: its feature names or their order differ from this facer's")
    weak = meta.get("weak_features", [])
    if not isinstance(weak, list) or not set(map(str, weak)) <= set(FEATURE_NAMES):
        raise FacerError(f"{path}: found weak_features {str(weak)[:80]}, expected feature names")
    try:
        architecture = architecture_from_json(meta["architecture"])
        network = build_fitting(lambda: RecNet(architecture), sum(architecture.units), tensors)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})  # widens
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise FacerError(
            f"{path}: tensors do not fit its own header ({one_line(error)})"
        ) from error
    return network, meta
