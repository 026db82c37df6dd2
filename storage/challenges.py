"""What the challenges' label and prediction files look like: columns by name, and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

_REACTION = (
    "Adoration",
    "Amusement",
    "Anxiety",
    "Disgust",
    "Empathic-Pain",
    "Fear",
    "Surprise",
)


@dataclass(frozen=True)
class Challenge:
    """One challenge's files: the id column and the targets, in the official order."""

    title: str
    id_column: str
    names: tuple[str, ...]
    bracketed: bool  # ids are written [10000]


CHALLENGES: Mapping[str, Challenge] = MappingProxyType(
    {
        "eri": Challenge("ABAW5 ERI", "File_ID", _REACTION, bracketed=True),
        "muse": Challenge("MuSe-2022 Reaction", "File_ID", _REACTION, bracketed=True),
        "emi": Challenge(
            "ABAW EMI",
            "Filename",
            ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy"),
            bracketed=False,
        ),
        "mimic": Challenge(
            "MuSe-2023 Mimic",
            "filename",
            ("Approval", "Disappointment", "Uncertainty"),
            bracketed=False,
        ),
    }
)

_SPLITS = {
    "": "",
    "train": "train",
    "training": "train",
    "dev": "val",
    "devel": "val",
    "development": "val",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def canonical_split(text: str) -> str | None:
    """Return train, val, test or "" for any spelling of them; None for another word."""
    return _SPLITS.get(text.strip().lower())


def plain_name(name: str) -> str:
    """Return a column name as it is compared: ``Empathic-Pain`` is ``empathic pain``."""
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def bare_id(clip_id: str) -> str:
    """Return an id without the challenges' brackets; leading zeros are kept."""
    text = clip_id.strip()
    if text.startswith("[") and text.endswith("]"):
        return text[1:-1].strip()
    return text


def positions(header: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return where each of ``names`` is in ``header``; names that are absent are left out."""
    where = {plain_name(name): index for index, name in enumerate(header)}
    return {name: where[plain_name(name)] for name in names if plain_name(name) in where}
