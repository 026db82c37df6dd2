"""An ablation as csv, markdown and a picture; the paper's figures stand beside, marked as such."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.ablation.rows import FULL, GROUPS, AblationRow
from facer.pipeline.views.canvas import canvas
from facer.stages.intensity.statistics.intervals import Comparison, Interval
from facer.storage.files.csv_table import safe_cell
from facer.storage.files.objects import LocalObjects

PAPER = "paper (Kollias et al. 2023, Hume-Reaction val)"
_OURS, _PAPERS = "#0072B2", "#D55E00"


@dataclass(frozen=True)
class TableRow:
    """One row's scores over seeds, or the reason why there are none."""

    row: AblationRow
    by_seed: Mapping[str, float] = field(default_factory=dict)  # mean Pearson over emotions
    n: int = 0  # clips scored
    per_emotion: Mapping[str, float | None] = field(default_factory=dict)  # mean over seeds
    against: Comparison | None = None  # with the full model, of the mean predictions over seeds
    reason: str = ""
    interval: Interval | None = None  # 95 % of the mean over seeds, over clips or subjects
    p_holm: float | None = None  # of ``against``, corrected for the number of rows compared
    beyond_full: tuple[float, ...] = ()  # mean Pearson less the full model's, seed by seed

    @property
    def pearson(self) -> tuple[float, ...]:
        """Mean over emotions, one a seed."""
        return tuple(self.by_seed.values())

    @property
    def beyond_deviation(self) -> float | None:
        """Standard deviation over seeds (n - 1) of the difference from the full model."""
        return float(np.std(self.beyond_full, ddof=1)) if len(self.beyond_full) > 1 else None

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.pearson)) if self.pearson else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        return float(np.std(self.pearson, ddof=1)) if len(self.pearson) > 1 else None


@dataclass(frozen=True)
class AblationTable:
    """All rows of an ablation."""

    names: tuple[str, ...]  # of the emotions
    split: str
    seeds: int
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()  # how the labels were read, and what to know of them

    @property
    def failed(self) -> tuple[TableRow, ...]:
        """Rows that were to be trained and could not be."""
        return tuple(r for r in self.rows if r.reason and not r.reason.startswith("needs --also"))

    def groups(self) -> Iterator[tuple[str, list[TableRow]]]:
        """Title and rows of each table that has any."""
        for group, title in GROUPS.items():
            rows = [row for row in self.rows if group in row.row.groups]
            if any(row.row.id != FULL for row in rows):
                yield title, rows

    def to_json(self) -> dict[str, Any]:
        """As ``facer ablate --json`` prints it."""
        return {
            "split": self.split,
            "seeds": self.seeds,
            "rows": [
                {
                    "id": row.row.id,
                    "groups": list(row.row.groups),
                    "title": row.row.title,
                    "pearson": row.mean,
                    "std": row.deviation,
                    "pearson_95": _ends(row.interval),
                    "n": row.n,
                    "against_full": None
                    if row.against is None
                    else asdict(row.against)
                    | {"p_holm": row.p_holm, "std_over_seeds": row.beyond_deviation},
                    "paper": row.row.paper,
                    "reason": row.reason or None,
                }
                for row in self.rows
            ],
        }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def write_table(table: AblationTable, folder: Path) -> None:
    """Write ``table.csv``, ``table.md`` and ``table.png``; existing ones are replaced."""
    files = LocalObjects(folder)
    files.put("table.csv", _as_csv(table).encode())
    files.put("table.md", as_markdown(table).encode())
    _draw(table, folder / "table.png")


def _as_csv(table: AblationTable) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["id", "groups", "title", "n", "pearson", "std", "seeds", "difference_from_full"]
    header += ["difference_low", "difference_high", "difference_std", "p", "p_holm"]
    header += ["pearson_low", "pearson_high"]
    writer.writerow([*header, *map(safe_cell, table.names), "paper", "reason"])
    for row in table.rows:
        numbers = [row.n, row.mean, row.deviation, len(row.pearson)]
        difference: list[float | None] = [None] * 6
        if (found := row.against) is not None:
            ends = found.interval
            difference = [found.difference, ends.low, ends.high, row.beyond_deviation]
            difference += [found.p_value, row.p_holm]
        difference += _ends(row.interval) or [None, None]
        emotions = [row.per_emotion.get(name) for name in table.names]
        ids = map(safe_cell, (row.row.id, " ".join(row.row.groups), row.row.title))
        writer.writerow(
            [*ids, *numbers, *difference, *emotions, row.row.paper, safe_cell(row.reason)]
        )
    return text.getvalue()


def as_markdown(table: AblationTable) -> str:
    """The tables as markdown, one a group."""
    lines = []
    for title, rows in table.groups():
        lines += [
            f"### {title}",
            "",
            f"| | Pearson ({table.split}), mean ± deviation over {table.seeds} seed(s) "
            "| its 95 % | mean prediction of the seeds, against the full model's (95 %) "
            f"± over seeds | p, Holm's | n | {PAPER} |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_markdown_row(row) for row in rows]
        lines.append("")
    return "\n".join(lines)


def _markdown_row(row: TableRow) -> str:
    paper = "" if row.row.paper is None else f"{row.row.paper:.3f}".lstrip("0")
    if row.mean is None:
        return f"| {row.row.title} | {row.reason} | | | | | {paper} |"
    deviation = "" if row.deviation is None else f" ± {row.deviation:.4f}"
    ends = "" if row.interval is None else f"{row.interval.low:.4f} to {row.interval.high:.4f}"
    difference, p = "", ""
    if row.against is not None:
        low, high = row.against.interval.low, row.against.interval.high
        difference = f"{row.against.difference:+.4f} ({low:+.4f} to {high:+.4f})"
        if row.beyond_deviation is not None:
            difference += f" ± {row.beyond_deviation:.4f}"
        p = "" if row.p_holm is None else f"{row.p_holm:.3f}"
    cells = [row.row.title, f"{row.mean:.4f}{deviation}", ends, difference, p, str(row.n), paper]
    return f"| {' | '.join(cells)} |"


def _draw(table: AblationTable, path: Path) -> None:
    groups = list(table.groups())
    lines = sum(len(rows) + 1.6 for _, rows in groups)
    height = 1.7 + 0.27 * lines
    subtitle = f"mean Pearson on {table.split}: mean and deviation over seeds, every seed a dot"
    with canvas(path, (8.5, height), "Ablation", subtitle) as sheet:
        axis = sheet.add_axes((0.32, 0.55 / height, 0.64, 1 - 1.55 / height))
        y = 0.0
        ticks: list[tuple[float, str]] = []
        for title, rows in groups:
            axis.text(0, y, title, transform=axis.get_yaxis_transform(), size=10, weight="bold")
            for row in rows:
                y += 1
                ticks.append((y, row.row.title))
                _draw_row(axis, row, y)
            y += 1.6
        axis.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
        axis.set(xlabel="mean Pearson", ylim=(y - 1, -1))
        axis.grid(axis="x", color="#EEEEEE")
        axis.plot([], [], "o", color=_OURS, label="ours")
        axis.plot([], [], "D", color=_PAPERS, mfc="none", label=PAPER)
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))


def _draw_row(axis: Any, row: TableRow, y: float) -> None:
    if row.row.paper is not None:
        axis.plot([row.row.paper], [y], "D", color=_PAPERS, mfc="none")
    if row.mean is not None:
        axis.plot(row.pearson, [y] * len(row.pearson), "o", color=_OURS, ms=3, alpha=0.4)
        axis.errorbar(row.mean, y, xerr=row.deviation or 0, fmt="o", color=_OURS, capsize=3)
    else:
        axis.text(
            0.01, y, row.reason, transform=axis.get_yaxis_transform(), size=8, color="#777777",
            va="center",
        )  # fmt: skip
