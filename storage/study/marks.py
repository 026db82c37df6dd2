"""What a person marked to be left out: marks.csv, as ``facer view`` writes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facer.storage.errors import FacerError, named
from facer.storage.files.csv_table import read_table
from facer.storage.schema import F64, Bools
from facer.storage.study.ids import matched


class Mark(NamedTuple):
    """A stretch of a clip, or the whole clip where both times are None, of one or all features."""

    start_s: float | None
    stop_s: float | None
    mark: str
    feature: str = ""  # "" for all
    who: str = ""
    when: str = ""
    note: str = ""

    @property
    def whole_clip(self) -> bool:
        """Whether nothing of the clip is left."""
        return self.start_s is None and not self.feature

    @property
    def why(self) -> str:
        """The reason in words."""
        return ": ".join(filter(None, [self.mark or "marked", self.note]))


MARK_COLUMNS = ("clip_id", "start_s", "stop_s", "mark", "feature", "who", "when", "note")


def read_marks(
    path: Path, clip_ids: Sequence[str], features: Sequence[str]
) -> Mapping[str, Sequence[Mark]]:
    """Read marks.csv; FacerError for an unknown clip or feature, or a stretch that is none."""
    if not path.exists():
        raise FacerError(
            f"{path}: no such file, expected marks of facer view, which writes it with the first "
            f"mark; where nothing is marked, leave {named('marks')} out"
        )
    table = read_table(path)
    clip, *ends = table.required(*MARK_COLUMNS[:3])
    places = {name: table.index(name) for name in MARK_COLUMNS}
    ids = table.column(clip)
    clip_of = matched(path, ids, clip_ids)
    for column in ends:
        table.require_seconds(column)
    found: dict[str, list[Mark]] = defaultdict(list)
    for row, cells in enumerate(table.rows):
        words = {name: "" if place is None else cells[place] for name, place in places.items()}
        start, stop = (table.number(row, place) for place in ends)
        if (start == start) != (stop == stop) or start >= stop:
            raise FacerError(
                f"{table.at(row)}: found a mark from {words['start_s']!r} to {words['stop_s']!r}, "
                "expected a start before its stop in seconds, or neither for a whole clip"
            )
        if words["feature"] and words["feature"] not in features:
            raise FacerError(
                f"{table.at(row)}: found feature {words['feature']!r}, expected one of "
                f"{', '.join(features[:30])}, or nothing for all"
            )
        times = (None, None) if start != start else (start, stop)
        rest = [words[name] for name in MARK_COLUMNS[3:]]
        found[clip_of[ids[row]]].append(Mark(*times, *rest))
    return dict(found)


def unmarked(marks: Sequence[Mark], t_s: F64, features: Sequence[str]) -> Bools:
    """Return which cells of a clip no mark covers: (T, F), or (T,) where all marks are of all."""
    kept = np.ones(len(t_s), bool)
    for mark in marks:
        if not mark.feature:
            kept &= ~_inside(mark, t_s)
    named = [mark for mark in marks if mark.feature]
    if not named:
        return kept
    cells = np.repeat(kept[:, None], len(features), axis=1)
    for mark in named:
        cells[_inside(mark, t_s), features.index(mark.feature)] = False
    return cells


def _inside(mark: Mark, t_s: F64) -> Bools:
    if mark.start_s is None or mark.stop_s is None:
        return np.ones(len(t_s), bool)
    found: Bools = (t_s >= mark.start_s - 1e-9) & (t_s < mark.stop_s - 1e-9)
    return found
