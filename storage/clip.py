"""Clips by name of column: curves, and tables of frames for pandas and xarray."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facer.storage.errors import FacerError, OptionError, named
from facer.storage.loading import Ragged
from facer.storage.optional import optional
from facer.storage.schema import F32, ClipFeatures, Record
from facer.storage.text import notebook
from facer.storage.text.likeness import did_you_mean
from facer.storage.text.names import items_of, some

if TYPE_CHECKING:
    import pandas
    import xarray

FRAME_COLUMNS = ("clip_id", "frame_index", "timestamp_s", "valid")
"""What stands beside the features in every table of frames."""

_SHOWN = 4  # curves in a notebook
_NAMED = 100  # features in a message


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Clip(ClipFeatures):
    """All that a store has of one clip, with its columns by name: ``clip["au12"]``, (T,)."""

    record: Record
    feature_names: tuple[str, ...]  # (F,)

    @property
    def clip_id(self) -> str:
        """The clip's id."""
        return self.record.clip_id

    def __getitem__(self, column: str) -> F32:
        """Return one column over the frames, (T,), NaN without a face; FacerError for none."""
        (name,) = as_names("column", [column])
        return self.features[:, column_indices(self.feature_names, [name], self.clip_id)[0]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.feature_names)

    def to_dataframe(self, columns: Sequence[str] | None = None) -> pandas.DataFrame:
        """Return a table with a row a frame: clip_id, frame_index, timestamp_s, valid, columns.

        ``columns`` chooses features by name (default: all). Raises FacerError without pandas.
        """
        names = self.feature_names if columns is None else as_names("columns", columns)
        picks = column_indices(self.feature_names, names, self.clip_id)
        offsets = np.array([0, self.n_frames])
        features = self.features[:, picks]
        ragged = Ragged(features, self.valid, offsets, (self.clip_id,), self.timestamp_s)
        return frames_table(ragged, names)

    def to_xarray(self) -> xarray.Dataset:
        """Return a dataset over ``frame_index`` with a variable a feature.

        ``timestamp_s``, ``valid`` and ``clip_id`` are coordinates. Raises FacerError without
        xarray.
        """
        module = optional("xarray")
        check_free(self.feature_names)
        along = FRAME_COLUMNS[1]
        coordinates = {
            "clip_id": self.clip_id,
            along: np.arange(self.n_frames),
            "timestamp_s": (along, self.timestamp_s),
            "valid": (along, self.valid),
        }
        data = {name: (along, self[name]) for name in self.feature_names}
        found: xarray.Dataset = module.Dataset(data, coordinates, {"fps": self.record.fps})
        return found

    def __repr__(self) -> str:
        return f"<Clip {self._summary()}>"

    def _repr_html_(self) -> str:
        shown = {name: self[name] for name in self.feature_names[:_SHOWN]}
        return notebook.curves(self._summary(), self.timestamp_s, shown)

    def _summary(self) -> str:
        reason = f"; {self.record.reason}" if self.record.reason else ""
        return (
            f"{self.clip_id!r}: {self.n_frames} frames, {self.record.n_valid} with a face, "
            f"{self.record.fps:.4g} fps, {len(self.feature_names)} columns{reason}"
        )


def as_names(setting: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns or clips; one name alone is one of them, not its letters."""
    found = (names,) if isinstance(names, str) else items_of(setting, names)
    for name in found:
        if not isinstance(name, str):
            raise OptionError(f"{named(setting)}: found {name!r}, expected names")
    return found


def column_indices(feature_names: Sequence[str], columns: Sequence[str], where: str) -> list[int]:
    """Return the places of columns by name; FacerError, with the nearest name, for none."""
    places = {name: place for place, name in enumerate(feature_names)}
    for column in columns:
        if column not in places:
            raise FacerError(
                f"{where}: found no feature {column!r}{did_you_mean(column, [*places][:_NAMED])}; "
                f"it has {some(places, _NAMED)}"
            )
    return [places[column] for column in columns]


def check_free(names: Sequence[str]) -> None:
    """Refuse features with a name that tables of frames need."""
    if taken := sorted({*FRAME_COLUMNS} & {*names}):
        raise FacerError(f"found features named {', '.join(taken)}, a name that a table needs")


def frames_table(ragged: Ragged, names: Sequence[str]) -> pandas.DataFrame:
    """Return the frames of some clips (N rows) with their features under ``names`` (F,).

    ``clip_id`` is categorical, so that it takes little memory. Raises FacerError without pandas.
    """
    module = optional("pandas")
    check_free(names)
    clip_of = np.repeat(np.arange(len(ragged.clip_ids)), ragged.lengths)
    ids = module.Index(list(ragged.clip_ids), dtype=object)
    beside = {
        "clip_id": module.Categorical.from_codes(clip_of, ids),
        "frame_index": np.arange(len(clip_of)) - ragged.offsets[clip_of],
        "timestamp_s": ragged.timestamp_s,
        "valid": ragged.valid,
    }
    features = module.DataFrame(ragged.features, columns=list(names), copy=False)
    table: pandas.DataFrame = module.concat([module.DataFrame(beside), features], axis=1)
    return table
