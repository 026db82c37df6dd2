"""Which format a label file or folder has, by the names of files and columns."""

from __future__ import annotations

from pathlib import Path

from facer.storage.errors import FacerError
from facer.storage.files.csv_table import CsvTable, read_table
from facer.storage.labels.challenges import CHALLENGES, positions
from facer.storage.labels.options import LabelKind

EMI_FILES = {
    "train_split.csv": "train", "valid_split.csv": "val", "val_split.csv": "val",
    "test_split.csv": "test",
}  # fmt: skip


def recognise(source: Path) -> LabelKind:
    """Return the format that names of files and columns speak for."""
    if source.is_dir():
        if (source / "labels.csv").is_file():
            if not (source / "partition.csv").is_file():
                raise FacerError(
                    f"{source}: found labels.csv but no partition.csv, expected both (MuSe); for "
                    f"another kind give the file itself, {source / 'labels.csv'}"
                )
            return _partitioned_kind(read_table(source / "labels.csv")) or "muse"
        if any((source / name).is_file() for name in EMI_FILES):
            return "emi"
        if (source / "data_info.csv").is_file():
            return "eri"
        raise FacerError(
            f"{source}: found no label files in this folder, expected labels.csv and "
            f"partition.csv (MuSe), train_split.csv (EMI) or data_info.csv (ERI); "
            f"or give one csv file"
        )
    table = read_table(source)
    if _has_names(table, "emi") and source.name in EMI_FILES:
        return "emi"
    if table.index("split") is not None:
        return "eri" if table.index("file_id") is not None and _has_names(table, "eri") else "plain"
    if source.name == "labels.csv" or (source.parent / "partition.csv").is_file():
        return _partitioned_kind(table) or "plain"
    return "plain"


def _partitioned_kind(table: CsvTable) -> LabelKind | None:
    kinds: tuple[LabelKind, ...] = ("mimic", "muse")
    return next(
        (
            kind
            for kind in kinds
            if _has_names(table, kind) and table.index(CHALLENGES[kind].id_column) is not None
        ),
        None,
    )


def _has_names(table: CsvTable, kind: str) -> bool:
    names = CHALLENGES[kind].names
    return len(positions(table.header, names)) == len(names)
