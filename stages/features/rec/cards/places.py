"""Where a card's weights lie, how they are pinned, and how one gets them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from facer.stages.common.cache import user_cache
from facer.stages.features.rec.cards.card import CARDS, Card
from facer.storage.errors import FacerError
from facer.storage.files.json_files import parse_json
from facer.storage.files.weights import weights_sha256


def models_folder() -> Path:
    """Where fetched weights lie: FACER_MODELS, or facer/models in the user's cache."""
    own = os.environ.get("FACER_MODELS")
    return Path(own) if own else user_cache() / "models"


def weights_of(card: Card) -> Path:
    """The ONNX file of a card: beside it; for the package's cards in the folder of models."""
    bundled = card.path.parent == CARDS
    return (models_folder() / card.name if bundled else card.path.parent) / card.file.name


def pin_of(card: Card) -> Path:
    """The file that says which bytes a card's weights were when they were fetched first."""
    path = weights_of(card)
    return path.with_name(f"{path.name}.pin.json")


def pinned_sha256(card: Card) -> str:
    """The digest in it; "" where there is none. ``FacerError`` for a damaged one."""
    path = pin_of(card)
    if not path.is_file():
        return ""
    try:
        found = str(parse_json(path.read_text())["sha256"])
        if not re.fullmatch("[0-9a-f]{64}", found):
            raise ValueError(f"found sha256 {found[:80]}, expected 64 hexadecimal digits")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FacerError(f"{path}: is damaged ({error}); remove it, and fetch again") from error


def checked_weights(name: str, path: Path, expected: str, advice: str) -> str:
    """The sha256 of a card's weights; ``FacerError``, with advice, where they are absent, and where
    they are not the ``expected`` ones ("": any).
    """
    if not path.is_file():
        raise FacerError(f"{name}: its weights {path} are not there; {advice}")
    found = weights_sha256(path)
    if expected and found != expected:
        raise FacerError(
            f"{name}: {path} has sha256 {found}, expected {expected}; it is another file or "
            "damaged: get it again"
        )
    return found


def how_to_get(card: Card) -> str:
    """What to do for a card's weights, in a line."""
    if card.file.url:
        return f"facer models fetch {card.name}, or put the file there"
    if card.file.export:
        where = card.file.checkpoint or card.file.source
        return f"export them from {where}: {card.file.export}"
    return "put the file there"
