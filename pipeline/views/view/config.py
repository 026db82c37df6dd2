"""What ``facer view`` is asked for."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from facer.pipeline.views.report.config import check_video_dir
from facer.storage.errors import OptionError, named
from facer.storage.settings import Setting, check


@dataclass(frozen=True)
class ViewConfig:
    """One ``facer view``."""

    store: str  # local path or fsspec URL
    videos: Annotated[
        Path | None, Setting("The VIDEO_DIR: clips then play, with the box of the followed face.")
    ] = None
    design: Annotated[
        str | None,
        Setting(
            "design.csv, or how clips are named: {participant}_{condition}. The clips of a person "
            "then stand under one another.",
            metavar="FILE|PATTERN",
        ),
    ] = None
    events: Annotated[Path | None, Setting("events.csv: clip_id, onset_s and others.")] = None
    against: Annotated[
        str | None, Setting("A second store over the same videos, drawn beside the first.")
    ] = None
    marks: Annotated[
        Path | None,
        Setting("Where marks go, for facer summarise --marks.", none="marks.csv beside the store"),
    ] = None
    faces: Annotated[
        Path | None,
        Setting(
            "Where clicks on another face go, for facer extract --faces.",
            none="faces.csv beside the marks",
        ),
    ] = None
    who: Annotated[
        str | None, Setting("Whose marks they are.", none="the user's name", metavar="NAME")
    ] = None
    port: Annotated[int, Setting("Of 127.0.0.1; 0: one that is free.", low=0, high=65535)] = 0

    def __post_init__(self) -> None:
        check(self)
        check_video_dir(self.videos)
        if self.faces_file.resolve() == self.marks_file.resolve():
            raise OptionError(
                f"{named('faces')} {self.faces}: is the file of the marks, expected another one"
            )

    @property
    def marks_file(self) -> Path:
        """Where marks go."""
        beside = Path() if "://" in self.store else Path(self.store).absolute().parent
        return self.marks or beside / "marks.csv"

    @property
    def faces_file(self) -> Path:
        """Where clicks on another face go."""
        return self.faces or self.marks_file.with_name("faces.csv")

    @property
    def person(self) -> str:
        """Whose marks they are."""
        if self.who is not None:
            return self.who
        try:
            return getpass.getuser()
        except (OSError, KeyError):  # a user without a name
            return ""
