"""The files behind REC's names, and what facer's own weights hold; read without torch.

Weights are safetensors with the network's dimensions, label names and training provenance in
their header.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec.architecture import (
    Architecture,
    architecture_from_json,
    tensor_shapes,
)
from facer.stages.features.rec.cards.card import CARDS, bundled_cards, read_card
from facer.stages.features.rec.cards.places import weights_of
from facer.storage.errors import FacerError, one_line
from facer.storage.files.checkpoints import check_layers, check_shapes, load_checkpoint
from facer.storage.schema import FEATURE_NAMES
from facer.storage.text.likeness import did_you_mean

FORMAT = "facer-rec-1"
_EXPORT = (
    'python -c "import torch; from PROJECT import NETWORK; n = NETWORK(); '
    "n.load_state_dict(torch.load('CHECKPOINT', weights_only=True)); "
    "torch.onnx.export(n.eval(), torch.zeros(1, 3, 224, 224), 'network.onnx', dynamo=False, "
    "input_names=['input'], dynamic_axes={'input': {0: 'batch'}})\""
)
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt")


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
    if (path / "rec.safetensors").is_file():
        raise FacerError(
            f"REC weights {path} is a folder of facer train-rec; expected its weights: "
            f"{path / 'rec.safetensors'}"
        )
    if not path.is_file():
        known = (STARTER_REC, *bundled_cards())
        near = did_you_mean(name, known)
        raise FacerError(
            f"REC weights {path} is no file; expected {STARTER_REC}, a card (facer models list), "
            f"or the path of a .safetensors, .onnx or .toml file{near}"
        )
    return path


def takes_bf16(name_or_path: str | Path) -> bool:
    """Whether a network can be computed in bfloat16: facer's own weights; no ONNX file, as
    onnxruntime has no bfloat16 on a CPU and facer uses none on a GPU.
    """
    return weights_path(name_or_path).suffix not in (".toml", ".onnx")


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


def read_weights(path: Path) -> tuple[Architecture, dict[str, Any], dict[str, Any]]:
    """Dimensions, tensors by name and header of facer's own weights (.safetensors).

    ``FacerError`` for another file, or for tensors that are not those of its header or not finite.
    """
    tensors, meta = load_checkpoint(path)
    if meta.get("format") != FORMAT:
        raise FacerError(
            f"{path}: found format {meta.get('format')!r}, expected {FORMAT!r} "
            "(weights written by facer train-rec)"
        )
    if meta.get("feature_names") != list(FEATURE_NAMES):
        raise FacerError(f"{path}: its feature names or their order differ from this facer's")
    check_weak(meta.get("weak_features", []), path)
    try:
        architecture = architecture_from_json(meta["architecture"])
        check_layers(sum(architecture.units), tensors)
        check_shapes(tensor_shapes(architecture), tensors)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise FacerError(
            f"{path}: tensors do not fit its own header ({one_line(error)})"
        ) from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise FacerError(
                f"{path}: tensor {name} holds numbers that are not finite; the training that wrote "
                "it diverged: take an earlier checkpoint"
            )
    return architecture, tensors, meta


def check_weak(found: object, path: Path) -> tuple[str, ...]:
    """The features without labels of people behind them that a file names; ``FacerError`` where
    they are no list of names of features.
    """
    if not isinstance(found, list) or not set(map(str, found)) <= set(FEATURE_NAMES):
        raise FacerError(f"{path}: found weak_features {str(found)[:80]}, expected feature names")
    return tuple(found)
