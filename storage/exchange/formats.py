"""The formats of features for other tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from facer.storage.errors import OptionError, named

FrameTableFormat = Literal["csv", "parquet", "feather"]
StoreFormat = Literal["muse", "hdf5", FrameTableFormat]
StudyFormat = Literal["elan", "textgrid", "bids", "facereader", "imotions", "openface", "json"]
ExportFormat = Literal[StoreFormat, StudyFormat]
FRAME_TABLES: tuple[FrameTableFormat, ...] = get_args(FrameTableFormat)
STORE_FORMATS: tuple[StoreFormat, ...] = get_args(StoreFormat)
STUDY_FORMATS: tuple[StudyFormat, ...] = get_args(StudyFormat)
_ENDINGS: Mapping[str, ExportFormat] = {
    ".h5": "hdf5", ".hdf5": "hdf5", ".parquet": "parquet", ".feather": "feather", ".csv": "csv"
}  # fmt: skip


def format_of(path: Path, format: ExportFormat | None) -> ExportFormat:
    """The format of a path, by its ending where ``format`` is None.

    That of a study is a folder of any name. OptionError when the ending is another format's.
    """
    own = _ENDINGS.get(path.suffix.lower())
    if format is None and own is None:
        raise OptionError(
            f"{path}: its ending names no format; expected {', '.join(_ENDINGS)}, or "
            f"{named('format')} muse for a folder of csv files"
        )
    if format is not None and own not in (None, format) and format not in STUDY_FORMATS:
        raise OptionError(
            f"{path}: its ending is that of {own}, and {named('format')} is {format}; expected "
            "the same"
        )
    return format or own or "hdf5"
