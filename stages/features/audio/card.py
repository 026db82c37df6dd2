"""Cards of sound encoders: what an ONNX network such as wav2vec 2.0 takes and gives, as TOML.

format = "facer-audio-card-1"
name = "wav2vec2-base"

[file]        # as in a card of REC (docs/public-models.md): name, licence, source, training ...
[input]       # rate_hz, normalise, tensor
[output]      # hop, window, width, prefix, tensor, layout
[chunk]       # seconds, context_s
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Literal

from facer.stages.features.card_tables import build, check_name, read_tables
from facer.stages.features.rec.cards.card import CardFile
from facer.storage.errors import FacerError

FORMAT = "facer-audio-card-1"
MAX_WIDTH = 4096

Normalise = Literal["none", "chunk"]
Layout = Literal["time-width", "width-time"]


@dataclass(frozen=True)
class SoundInput:
    """How samples become the tensor (1, n) float32: sample * scale, or normalised."""

    rate_hz: int = 16000
    tensor: str = ""  # "": the network's only input
    normalise: Normalise = "none"  # chunk: to mean 0 and variance 1 over each chunk
    scale: float = 1.0  # 32768 for networks that were taught on int16

    def __post_init__(self) -> None:
        """Refuse what is no preprocessing."""
        _between("rate_hz", self.rate_hz, 4000, 192000)
        if not (isfinite(self.scale) and self.scale > 0):
            raise FacerError(f"scale: found {self.scale}, expected more than 0")


@dataclass(frozen=True)
class SoundOutput:
    """Rows of numbers: row k is over ``window`` samples from sample ``k * hop`` on."""

    hop: int  # samples
    window: int  # samples
    width: int  # numbers in a row
    prefix: str  # of the columns: prefix_0, prefix_1 ...
    tensor: str = ""  # "": the network's only output
    layout: Layout = "time-width"  # of the axes after the first, which is 1

    def __post_init__(self) -> None:
        """Refuse rows that cannot be stored."""
        _between("hop", self.hop, 1, 1 << 20)
        _between("window", self.window, self.hop, 1 << 20)
        _between("width", self.width, 1, MAX_WIDTH)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,19}", self.prefix):
            raise FacerError(f"prefix: found {self.prefix!r}, expected such as wav2vec")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a store gets."""
        return tuple(f"{self.prefix}_{number}" for number in range(self.width))


@dataclass(frozen=True)
class Chunk:
    """How much the network sees at a time; what is kept of it lies inside its context."""

    seconds: float = 20.0
    context_s: float = 2.0  # on either side

    def __post_init__(self) -> None:
        """Refuse chunks that no memory holds."""
        _between("seconds", self.seconds, 1, 600)
        _between("context_s", self.context_s, 0, 60)


@dataclass(frozen=True)
class AudioCard:
    """One encoder."""

    name: str
    file: CardFile
    output: SoundOutput
    input: SoundInput = field(default_factory=SoundInput)
    chunk: Chunk = field(default_factory=Chunk)
    path: Path = field(default=Path(), compare=False)  # of the card

    def __post_init__(self) -> None:
        """Refuse names that are none."""
        check_name(self.name)

    @property
    def sha256(self) -> str:
        """Digest of all that decides the numbers, save the weights: not of prose."""
        facts = {key: asdict(getattr(self, key)) for key in ("input", "output", "chunk")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_audio_card(path: Path) -> AudioCard:
    """Read a card; ``FacerError`` that names the table and key for one that breaks the format."""
    table = read_tables(path, FORMAT, "a card of sound features")
    try:
        card: AudioCard = build(AudioCard, table, "", hidden=("path",))
    except FacerError as error:
        raise FacerError(f"{path}: {error}") from error
    return replace(card, path=path)


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise FacerError(f"{name}: found {value}, expected {low:g} to {high:g}")
