"""Settings of stage one for sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from facer.storage.errors import OptionError, named
from facer.storage.settings import DEVICE, Setting, check

LOGMEL = "logmel"
EGEMAPS = "egemaps"


@dataclass(frozen=True)
class AudioConfig:
    """Everything that decides the features of a file's sound."""

    face: ClassVar[str] = ""  # as ExtractConfig's: a file has one sound

    features: Annotated[
        str,
        Setting(
            "logmel (log-mel bands), egemaps (low-level descriptors of eGeMAPSv02 by opensmile, an "
            "extra whose licence excludes commercial use), or the card of an ONNX encoder, the "
            "path of a .toml.",
            metavar="NAME",
        ),
    ] = LOGMEL
    bands: Annotated[int, Setting("Mel bands of logmel.", low=8, high=128)] = 64
    device: Annotated[str, DEVICE] = "auto"

    def __post_init__(self) -> None:
        check(self)
        if self.features not in (LOGMEL, EGEMAPS) and not self.learnt:
            raise OptionError(
                f"{named('features')}: found {self.features!r}, expected {LOGMEL}, {EGEMAPS} or "
                "the path of a card (.toml)"
            )
        if self.bands != AudioConfig.bands and self.features != LOGMEL:
            raise OptionError(f"{named('bands')}: expected {named('features')} {LOGMEL} beside it")

    @property
    def learnt(self) -> bool:
        """Whether a network measures, which a GPU may run."""
        return self.features.endswith(".toml")
