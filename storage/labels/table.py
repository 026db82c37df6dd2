"""Intensity labels of clips, read from the files that people have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from facer.storage.errors import FacerError
from facer.storage.files.regular import refuse_no_path
from facer.storage.labels.formats import READERS
from facer.storage.labels.options import LabelKind, LabelOptions
from facer.storage.labels.recognise import recognise
from facer.storage.labels.subjects import one_name_each
from facer.storage.labels.values import as_float32, refuse_outliers
from facer.storage.labels.words import key_of
from facer.storage.schema import F32


@dataclass(frozen=True)
class IntensityLabels:
    """Intensities of C clips, E emotions each.

    - ``source``: file or folder they were read from
    - ``names`` (E,)
    - ``clip_ids`` (C,): as in the file, brackets included
    - ``values`` (C, E): NaN where the file has none
    - ``splits`` (C,): train, val, test, or "" where the file has none
    - ``subjects`` (C,): "" where the file has none
    - ``files``: that were read
    - ``dialect``: what they were taken for
    - ``columns``: id, split, subject: their names
    - ``left_out``: columns that were not read, and why
    - ``notes``: what a reader of any figure must know
    """

    kind: LabelKind
    source: str
    names: tuple[str, ...]
    clip_ids: tuple[str, ...]
    values: F32
    splits: tuple[str, ...]
    subjects: tuple[str, ...]
    files: tuple[str, ...] = ()
    dialect: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> tuple[str, ...]:
        """What the file was taken for, and what each column is."""
        roles = [f"{role} {name!r}" for role, name in self.columns.items()]
        left_out = [f"{name} ({why})" for name, why in self.left_out]
        dialect = f", {self.dialect}" if self.dialect else ""
        return (
            f"{self.source}: read as {self.kind}{dialect}",
            *[f"columns: {', '.join(roles)}"] * bool(roles),
            f"targets: {', '.join(self.names)}",
            *[f"columns not read: {', '.join(left_out)}"] * bool(left_out),
        )

    def only(self, names: Sequence[str]) -> IntensityLabels:
        """Return the labels of some targets, in their order and under these names."""
        keys = {key_of(name): place for place, name in enumerate(self.names)}
        keys |= {name: place for place, name in enumerate(self.names)}
        found = [keys.get(name, keys.get(key_of(name))) for name in names]
        places = [place for place in found if place is not None]
        if len(places) < len(names):
            raise FacerError(
                f"{self.source}: has intensities {', '.join(self.names)}, expected "
                f"{', '.join(names)}"
            )
        return replace(self, names=tuple(names), values=self.values[:, places])


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
    refuse_no_path("labels", path)
    source = Path(path)
    if not source.exists():
        raise FacerError(f"{source}: found no such file or folder, expected labels")
    kind = recognise(source) if options.kind == "auto" else options.kind
    table = READERS[kind](source, options)
    if not table.rows:
        raise FacerError(f"{source}: found no rows under the header, expected one a clip")
    values = np.array([row.values for row in table.rows], np.float64)
    at = [row.at for row in table.rows]
    refuse_outliers(table.names, values, at, options)
    clip_ids = tuple(row.clip_id for row in table.rows)
    subjects, notes = one_name_each([row.subject for row in table.rows], clip_ids)
    excluded = f"rows left out because their column exclude says so: {table.excluded}"
    return IntensityLabels(
        kind=kind,
        source=str(source),
        names=table.names,
        clip_ids=clip_ids,
        values=as_float32(table.names, values, at),
        splits=tuple(row.split for row in table.rows),
        subjects=subjects,
        files=tuple(str(file) for file in table.files),
        dialect=table.dialect,
        columns=table.columns,
        left_out=table.left_out,
        notes=(*table.notes, *notes, *[excluded] * bool(table.excluded)),
    )
