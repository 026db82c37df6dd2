"""Intensity labels of clips, read from the files that people have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.label_formats import READERS, recognise
from facer.storage.label_options import LabelKind, LabelOptions
from facer.storage.label_values import refuse_outliers
from facer.storage.schema import F32
from facer.storage.subjects import one_name_each


@dataclass(frozen=True)
class IntensityLabels:
    """Intensities of C clips, E emotions each."""

    kind: LabelKind
    source: str  # file or folder they were read from
    names: tuple[str, ...]  # (E,)
    clip_ids: tuple[str, ...]  # (C,) as in the file, brackets included
    values: F32  # (C, E), NaN where the file has none
    splits: tuple[str, ...]  # (C,) train, val, test, or "" where the file has none
    subjects: tuple[str, ...]  # (C,) "" where the file has none
    files: tuple[str, ...] = ()  # that were read
    dialect: str = ""  # what they were taken for
    columns: Mapping[str, str] = field(default_factory=dict)  # id, split, subject: their names
    left_out: tuple[tuple[str, str], ...] = ()  # columns that were not read, and why
    notes: tuple[str, ...] = ()  # what a reader of any figure must know


def read_labels(
    path: str | os.PathLike[str],
    options: LabelOptions | LabelKind | Literal["auto"] = "auto",
) -> IntensityLabels:
    """Read a label file or folder; columns are found by name, or named by ``options``.

    A kind alone forces a format; ``auto`` recognises it by the names of files and columns, and
    the result's ``kind`` says which one it was. Raises FacerError with file and line when an id
    is there twice, a number is text or far from all others, a split is unknown or a column is
    missing.
    """
    if isinstance(options, str):
        options = LabelOptions(kind=options)
    source = Path(path)
    if not source.exists():
        raise FacerError(f"{source}: found no such file or folder, expected labels")
    kind = recognise(source) if options.kind == "auto" else options.kind
    table = READERS[kind](source, options)
    if not table.rows:
        raise FacerError(f"{source}: found no rows under the header, expected one a clip")
    values = np.array([row.values for row in table.rows], np.float64)
    refuse_outliers(table.names, values, [row.at for row in table.rows], options)
    clip_ids = tuple(row.clip_id for row in table.rows)
    subjects, notes = one_name_each([row.subject for row in table.rows], clip_ids)
    excluded = f"{table.excluded} rows are left out, as their column exclude says"
    return IntensityLabels(
        kind=kind,
        source=str(source),
        names=table.names,
        clip_ids=clip_ids,
        values=values.astype(np.float32),
        splits=tuple(row.split for row in table.rows),
        subjects=subjects,
        files=tuple(str(file) for file in table.files),
        dialect=table.dialect,
        columns=table.columns,
        left_out=table.left_out,
        notes=(*notes, *[excluded] * bool(table.excluded)),
    )
