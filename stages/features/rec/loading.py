"""REC: aligned crops become the 26 numbers of a frame.

``load("rec-small", "auto").predict(crops)`` is the whole interface. Weights are safetensors
with the network's dimensions, label names and training provenance in their header, or any
ONNX file with the outputs ``va``, ``expression`` and ``au``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.common.device import resolve_device
from facer.stages.common.onnx import fold_batch_norm
from facer.stages.features.bf16 import Convolution, as_bf16, convolution
from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec.card import CARDS, bundled_cards, read_card
from facer.stages.features.rec.card_network import CardRec, weights_of
from facer.stages.features.rec.crops import ARCFACE
from facer.stages.features.rec.network import (
    RecNet,
    ResidualUnit,
    architecture_from_json,
    architecture_to_json,
    build_fitting,
    pooled,
    scale_crops,
)
from facer.stages.features.rec.recognisers import Recogniser, Recognisers
from facer.stages.features.rec.session import open_network
from facer.storage.errors import FacerError, one_line
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import F32, FEATURE_NAMES, U8
from facer.storage.text.likeness import did_you_mean

_FORMAT = "facer-rec-1"
_CROP_SHAPE = (112, 112, 3)


_EXPORT = (
    'python -c "import torch; from PROJECT import NETWORK; n = NETWORK(); '
    "n.load_state_dict(torch.load('CHECKPOINT', weights_only=True)); "
    "torch.onnx.export(n.eval(), torch.zeros(1, 3, 224, 224), 'network.onnx', dynamo=False, "
    "input_names=['input'], dynamic_axes={'input': {0: 'batch'}})\""
)
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def load(
    name_or_path: str | Path = STARTER_REC,
    device: str = "auto",
    embedding: bool = False,
    *,
    bf16: bool = False,
) -> Recogniser:
    """Load a network by name, or by path: weights (.safetensors, .onnx) or a card (.toml).

    ``embedding``: REC also gives the pooled space that its outputs are made from; a card gives
    what it says. ``bf16``: REC's convolutions are computed in bfloat16; an ONNX file stays in
    float32.
    """
    path = weights_path(name_or_path)
    if path.suffix == ".toml":
        return CardRec(read_card(path), resolve_device(device))
    if path.suffix == ".onnx":
        return OnnxRec(path, resolve_device(device), embedding)
    return TorchRec(path, resolve_device(device), embedding, bf16=bf16)


def load_own(name_or_path: str | Path, device: str = "auto") -> Recogniser:
    """Load a network that gives all of ``FEATURE_NAMES`` of facer's crop; no card's."""
    model = load(name_or_path, device)
    if model.columns != FEATURE_NAMES or model.crop != ARCFACE:
        raise FacerError(
            f"{name_or_path}: a model card; expected {STARTER_REC}, or a .safetensors or .onnx "
            "file with facer's 26 columns and crop"
        )
    return model


def load_all(
    names: Sequence[str],
    device: str = "auto",
    embedding: bool = False,
    prefer: Sequence[str] = (),
    *,
    bf16: bool = False,
) -> Recognisers:
    """Load one or several networks as one.

    ``embedding``: as :func:`load`, where no card gives an identity embedding.
    """
    paths = [weights_path(name) for name in names]
    cards = [read_card(path) for path in paths if path.suffix == ".toml"]
    own = embedding and not any(output.embedding for card in cards for output in card.output)
    return Recognisers([load(name, device, own, bf16=bf16) for name in names], prefer)


def weights_path(name_or_path: str | Path) -> Path:
    """The file behind a name or a path; ``FacerError`` when there is none."""
    name = str(name_or_path)
    if name == STARTER_REC:
        return Path(str(files("facer.stages.features") / "weights" / f"{STARTER_REC}.safetensors"))
    if name in bundled_cards():
        return CARDS / f"{name}.toml"
    path = Path(name_or_path)
    if path.suffix.lower() in _PICKLED:
        raise FacerError(f"{path}: {_how_to_export(path)}")
    if not path.is_file():
        known = (STARTER_REC, *bundled_cards())
        near = did_you_mean(name, known)
        raise FacerError(
            f"REC weights {path} is no file; expected {STARTER_REC}, a card (facer models list), "
            f"or the path of a .safetensors, .onnx or .toml file{near}"
        )
    return path


def files_of(name_or_path: str | Path) -> tuple[Path, ...]:
    """The files behind a name or a path: a card and its weights, or weights."""
    path = weights_path(name_or_path)
    return (path, weights_of(read_card(path))) if path.suffix == ".toml" else (path,)


def _how_to_export(path: Path) -> str:
    """Why a pickled checkpoint is refused, and the command that makes an ONNX file of it."""
    cards = [read_card(CARDS / f"{name}.toml") for name in bundled_cards()]
    stem = path.stem.lower()
    known = [c for c in cards if c.file.export and any(word in stem for word in c.file.known_as)]
    of, command = (f" of {known[0].name}", known[0].file.export) if known else ("", _EXPORT)
    return (
        f"a pickled checkpoint{of} can run anything when it is opened, and facer opens none; "
        f"export it to ONNX in the project's own environment: {command}"
    )


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
        self.columns, self.crop = FEATURE_NAMES, ARCFACE
        self.card_sha256 = ""
        self.same_person: float | None = None
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
        """As :meth:`Recogniser.predict`."""
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
        self.columns, self.crop = FEATURE_NAMES, ARCFACE
        self.card_sha256 = ""
        self.same_person: float | None = None
        self._session = open_network(path, device)
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
        """As :meth:`Recogniser.predict`."""
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
