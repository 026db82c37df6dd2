"""A design as a file, and how its cells are filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facer.storage.files.atomic import write_atomic
from facer.storage.files.csv_table import csv_text
from facer.storage.files.refusals import refuse_existing
from facer.storage.study.design import KNOWN, Design


@dataclass(frozen=True)
class DesignCheck:
    """Counts of a design: who, which conditions, and which of both lack a clip."""

    clips: int
    participants: int
    conditions: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]  # participant, condition
    several: tuple[tuple[str, str, int], ...]  # and how many clips
    excluded: int
    not_in_store: tuple[str, ...]
    not_in_design: tuple[str, ...]


def check_design(design: Design) -> DesignCheck:
    """Count what a design has of each participant and condition."""
    used = [row for row in design.rows if row.participant]
    cells = Counter((row.participant, row.condition) for row in used)
    people = list(dict.fromkeys(row.participant for row in used))
    conditions = list(dict.fromkeys(row.condition for row in design.rows))
    return DesignCheck(
        len(design.rows), len(people), tuple(conditions),
        tuple((p, c) for p in people for c in conditions if not cells[p, c]),
        tuple((p, c, n) for (p, c), n in cells.items() if n > 1),
        sum(row.exclude for row in design.rows),
        tuple(row.clip_id for row in design.rows if not row.known), design.not_in_design,
    )  # fmt: skip


def write_design(design: Design, path: Path) -> None:
    """Write design.csv; FacerError when something is there, for it may have been edited."""
    refuse_existing(path)
    rows: list[Sequence[str]] = [(*KNOWN, *design.carried)]
    for row in design.rows:
        onset = "" if row.onset_s is None else f"{row.onset_s:.9g}"
        known = (row.clip_id, row.participant, row.condition, row.session, onset,
                 str(int(row.exclude)), row.reason)  # fmt: skip
        rows.append((*known, *row.carried))
    write_atomic(path, csv_text(rows))
