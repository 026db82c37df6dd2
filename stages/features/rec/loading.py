"""REC: aligned crops become the 26 numbers of a frame.

``load("rec-small", "auto").predict(crops)`` is the whole interface. Weights are safetensors
with the network's dimensions, label names and training provenance in their header, or any
ONNX file with the outputs ``va``, ``expression`` and ``au``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facer.stages.common.device import device_name
from facer.stages.features.config import STARTER_REC
from facer.stages.features.rec.cards.card import read_card
from facer.stages.features.rec.crops import ARCFACE
from facer.stages.features.rec.onnx_rec import open_onnx, open_weights
from facer.stages.features.rec.recognisers import Recogniser, Recognisers
from facer.stages.features.rec.trial import try_card, try_out
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError
from facer.storage.schema import FEATURE_NAMES


def load(
    name_or_path: str | Path = STARTER_REC,
    device: str = "auto",
    embedding: bool = False,
    *,
    bf16: bool = False,
    threads: int | None = None,
) -> Recogniser:
    """Load a network by name, or by path: weights (.safetensors, .onnx) or a card (.toml).

    ``embedding``: REC also gives the pooled space that its outputs are made from; a card gives
    what it says. ``bf16``: REC's convolutions are computed in bfloat16; an ONNX file stays in
    float32. ``threads``: of onnxruntime on a CPU; as many as ``OMP_NUM_THREADS`` says, or cores.
    What is not in the package is run once; ``FacerError`` where it gives something else than REC.
    """
    path, where = weights_path(name_or_path), device_name(device)
    if path.suffix == ".toml":
        from facer.stages.features.rec.cards.network import CardRec

        return CardRec(read_card(path), where, threads)
    model = _open(path, where, embedding, bf16, threads)
    if name_or_path != STARTER_REC:
        try_out(model, path)
    return model


def _open(path: Path, where: str, embedding: bool, bf16: bool, threads: int | None) -> Recogniser:
    """Weights on ``where``, a device."""
    if path.suffix == ".onnx":
        return open_onnx(path, where, embedding, threads)
    if where == "cpu" and not bf16:
        return open_weights(path, embedding, threads)
    from facer.stages.features.rec.torch_rec import TorchRec  # torch takes a second to import

    return TorchRec(path, where, embedding, bf16=bf16)


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
    threads: int | None = None,
) -> Recognisers:
    """Load one or several networks as one.

    As :func:`load`; ``embedding`` where no card gives an identity embedding.
    """
    paths = [weights_path(name) for name in names]
    cards = [read_card(path) for path in paths if path.suffix == ".toml"]
    own = embedding and not any(output.embedding for card in cards for output in card.output)
    members = [load(name, device, own, bf16=bf16, threads=threads) for name in names]
    for path, member in zip(paths, members, strict=True):
        if path.suffix == ".toml":
            try_card(member)
    return Recognisers(members, prefer)
