"""Which cards there are, and whether their weights are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facer.stages.features.rec.cards.card import CARDS, Card, bundled_cards, read_card
from facer.stages.features.rec.cards.places import how_to_get, weights_of
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import OptionError


@dataclass(frozen=True)
class ListedCard:
    """A card and its weights."""

    name: str
    licence: str
    size_px: int
    columns: tuple[str, ...]
    embedding: bool  # it gives an identity embedding
    path: Path  # of the weights
    there: bool
    how: str  # to get them, where they are not there
    notes: str = ""  # what a user must know of the numbers
    verified: str = ""  # which facts were read in the project's sources, and where
    unverified: str = ""


def list_cards() -> tuple[ListedCard, ...]:
    """Return the package's cards by name."""
    return tuple(_listed(read_card(CARDS / f"{name}.toml")) for name in bundled_cards())


def find_card(name_or_path: str) -> Card:
    """Return one of the package's cards by name, or a card by its path; OptionError for neither."""
    path = weights_path(name_or_path)
    if path.suffix != ".toml":
        raise OptionError(f"{name_or_path}: expected the name or path of a model card (.toml)")
    return read_card(path)


def _listed(card: Card) -> ListedCard:
    path = weights_of(card)
    return ListedCard(
        card.name, card.file.licence, card.input.size_px, card.columns,
        any(output.embedding for output in card.output), path, path.is_file(), how_to_get(card),
        card.file.notes, card.file.verified, card.file.unverified,
    )  # fmt: skip
