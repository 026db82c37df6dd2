"""Settings of what is made of stores beside the tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from facer.storage.errors import OptionError, named
from facer.storage.settings import Checked, Setting


@dataclass(frozen=True)
class CompareConfig(Checked):
    """One ``facer compare``."""

    output: Path | None = None  # a new folder
    videos: Annotated[
        Path | None,
        Setting("The VIDEO_DIR: the page then shows the faces that only one saw."),
    ] = None
    worst: Annotated[int, Setting("Clips of which it does.", low=0, high=1000)] = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.videos is not None and self.output is None:
            raise OptionError(f"{named('videos')}: expected {named('output')} beside it")
