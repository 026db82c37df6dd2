"""Settings of what is made of stores beside a summary's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from facer.stages.summary.config import THRESHOLDS
from facer.storage.errors import OptionError, named
from facer.storage.exchange.formats import FRAME_TABLES, STUDY_FORMATS, ExportFormat, format_of
from facer.storage.settings import Checked, Setting
from facer.storage.study.table_formats import TableFormat


@dataclass(frozen=True)
class StudyFiles(Checked):
    """What says who and when the clips of a store are."""

    design: Annotated[
        Path | str | None,
        Setting("design.csv, or how clips are named: {participant}_{condition}.",
                metavar="FILE|PATTERN"),
    ] = None  # fmt: skip
    events: Annotated[
        Path | None, Setting("events.csv: clip_id, onset_s, duration_s, trial_type.")
    ] = None
    marks: Annotated[Path | None, Setting("marks.csv: stretches and clips that are left out.")] = (
        None
    )


@dataclass(frozen=True)
class TablesConfig(Checked):
    """In which files a summary is written."""

    format: Annotated[TableFormat, Setting("Of the tables.")] = "csv"


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


@dataclass(frozen=True)
class ExportConfig(Checked):
    """One ``facer export``: where to, in which format, and what goes into it."""

    path: Path  # a new one
    format: Annotated[
        ExportFormat | None,
        Setting(
            "hdf5, parquet, feather or csv (one file); muse, elan, textgrid, bids, facereader, "
            "imotions, openface or json (a folder).", metavar="FORMAT",
            none="by the ending of PATH: .h5, .parquet, .feather or .csv",
        ),
    ] = None  # fmt: skip
    design: Annotated[
        Path | str | None,
        Setting(
            "For a table or folder: design.csv, or how clips are named.", metavar="FILE|PATTERN"
        ),
    ] = None
    long: Annotated[
        bool, Setting("For a table: a row a frame and feature, not a column a feature.")
    ] = False
    events: Annotated[Path | None, Setting("For a folder: events.csv.")] = None
    marks: Annotated[Path | None, Setting("For a folder: marks.csv; what it marks is empty.")] = (
        None
    )
    thresholds: Annotated[
        Mapping[str, float],
        replace(THRESHOLDS, help="For a folder: above it a feature counts as shown."),
    ] = field(default_factory=dict)
    videos: Annotated[
        Path | None, Setting("For elan: the VIDEO_DIR, which the documents link to.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for_folder = {"events": self.events, "marks": self.marks, "threshold": self.thresholds,
                      "videos": self.videos}  # fmt: skip
        given = next((name for name, value in for_folder.items() if value), None)
        if given and self.format not in STUDY_FORMATS:
            raise OptionError(
                f"{named(given)}: expected {named('format')}, one of {', '.join(STUDY_FORMATS)}"
            )
        for name, value, known in (
            ("design", self.design, (*FRAME_TABLES, *STUDY_FORMATS)),
            ("long", self.long, FRAME_TABLES),
        ):
            if value and self.form not in known:
                raise OptionError(
                    f"{named(name)}: found format {self.form}, expected one of {', '.join(known)}"
                )

    @property
    def form(self) -> ExportFormat:
        """The format that is written, by the path's ending where none is given."""
        return format_of(self.path, self.format)
