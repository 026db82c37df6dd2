"""REC: aligned crops become the 26 numbers of a frame.

``load("rec-small", "auto").predict(crops)`` is the whole interface. Weights are safetensors
with the network's dimensions, label names and training provenance in their header, or any
ONNX file with the outputs ``va``, ``expression`` and ``au``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec.network import (
    RecNet,
    architecture_from_json,
    architecture_to_json,
    build_fitting,
    pooled,
    scale_crops,
)
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError, OptionError, named
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


def resolve_device(device: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:n`` as a torch device.

    Asking for a GPU that is not there is a ``FacerError``, never a silent fall-back.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise OptionError(
            f"{named('device')}: found {device!r}, expected auto, cpu, cuda or cuda:N"
        ) from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise FacerError(
            f"{named('device')} {device}: {torch.cuda.device_count()} CUDA devices found; "
            "use --device cpu, or install a CUDA build of torch on a machine with a GPU"
        )
    if resolved.type not in ("cpu", "cuda"):
        raise OptionError(
            f"{named('device')}: found {device!r}, expected auto, cpu, cuda or cuda:N"
        )
    return resolved


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
    """REC on PyTorch, channels-last: the convolutions in float32 or bfloat16, what follows the
    pooling in float32.
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
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._network = fold_batch_norm(network.eval()).to(device)
        for convolutions in (self._network.stem, self._network.units):
            convolutions.to(dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        embedding = pooled(self._network.maps(x.to(self._dtype)).float())
        columns = self._network.outputs(embedding).features()
        if self.embedding_width:
            columns = torch.cat([columns, embedding], dim=1)
        features: F32 = columns.cpu().numpy()
        return features


class OnnxRec:
    """REC from an ONNX file with the outputs ``va``, ``expression`` and ``au``, and
    ``embedding`` where that is wanted.
    """

    def __init__(self, path: Path, device: torch.device, embedding: bool = False) -> None:
        import onnxruntime

        self.name = path.stem
        self.sha256 = weights_sha256(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        providers = ["CUDAExecutionProvider"] if device.type == "cuda" else ["CPUExecutionProvider"]
        if not set(providers) <= set(onnxruntime.get_available_providers()):
            raise FacerError(
                f"{named('device')} {device}: this onnxruntime has no CUDA; use --device cpu"
            )
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
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
        reason = " ".join(str(error).split())[:300]
        raise FacerError(f"{path}: tensors do not fit its own header ({reason})") from error
    return network, meta


def fold_batch_norm(network: RecNet) -> RecNet:
    """Fold every batch normalisation into the convolution before it; for evaluation only."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for position in range(len(module) - 1):
            conv, norm = module[position], module[position + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[position] = fuse_conv_bn_eval(conv, norm)
                module[position + 1] = nn.Identity()
    return network
