"""An ablation as csv, markdown and a picture; the paper's figures stand beside, marked as such."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.intensity.ablation.recipes import RECIPES
from facer.pipeline.intensity.ablation.rows import FULL, GROUPS, AblationRow
from facer.pipeline.views.canvas import canvas
from facer.stages.intensity.statistics.intervals import Comparison, Interval
from facer.storage.files.cells import safe_cell
from facer.storage.files.objects import LocalObjects

PAPER = "paper (Kollias et al. 2023, Hume-Reaction val)"
PAPER_TEST = "paper (Kollias et al. 2023, Table 1, Hume-Reaction test)"
_MARKERS = {PAPER: "D", PAPER_TEST: "s"}
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
    def std(self) -> float | None:
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
        return tuple(r for r in self.rows if r.reason and not r.reason.startswith("needs "))

    def groups(self) -> Iterator[tuple[str, list[TableRow]]]:
        """Name and rows of each table that has any."""
        for group in GROUPS:
            rows = [row for row in self.rows if group in row.row.groups]
            if any(row.row.id != FULL for row in rows):
                yield group, rows

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
                    "std": row.std,
                    "pearson_95": _ends(row.interval),
                    "n": row.n,
                    "against_full": None
                    if row.against is None
                    else asdict(row.against)
                    | {"p_holm": row.p_holm, "std_over_seeds": row.beyond_deviation},
                    "paper": row.row.paper,
                    "paper_test": row.row.paper_test,
                    "recipe": RECIPES.get(row.row.id),
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
    writer.writerow([*header, *map(safe_cell, table.names), "paper", "paper_test", "reason"])
    for row in table.rows:
        numbers = [row.n, row.mean, row.std, len(row.pearson)]
        difference: list[float | None] = [None] * 6
        if (found := row.against) is not None:
            ends = found.interval
            difference = [found.difference, ends.low, ends.high, row.beyond_deviation]
            difference += [found.p_value, row.p_holm]
        difference += _ends(row.interval) or [None, None]
        emotions = [row.per_emotion.get(name) for name in table.names]
        ids = map(safe_cell, (row.row.id, " ".join(row.row.groups), row.row.title))
        writer.writerow(
            [
                *ids,
                *numbers,
                *difference,
                *emotions,
                row.row.paper,
                row.row.paper_test,
                safe_cell(row.reason),
            ]
        )
    return text.getvalue()


def as_markdown(table: AblationTable) -> str:
    """The tables as markdown, one a group."""
    lines = []
    for group, rows in table.groups():
        lines += [
            f"### {GROUPS[group]}",
            "",
            f"| | Pearson ({table.split}), mean ± deviation over {table.seeds} seed(s) "
            "| its 95 % | mean prediction of the seeds, against the full model's (95 %) "
            f"± over seeds | p, Holm's | n | {paper_of(group)} |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [_markdown_row(row, group) for row in rows]
        lines += ["", *(recipe_lines(rows) if group == "table1" else []), ""]
    return "\n".join(lines)


def paper_of(group: str) -> str:
    """What the paper's figures in a table are."""
    return PAPER_TEST if group == "table1" else PAPER


def recipe_lines(rows: Sequence[TableRow]) -> Iterator[str]:
    """How the rows of Table 1 stand in for the systems of their names."""
    for row in rows:
        if (found := RECIPES.get(row.row.id)) is not None:
            yield f"- {row.row.title}. There: {found.original} Here: {found.here} "\
                  f"Differs: {found.differs}"  # fmt: skip


def _markdown_row(row: TableRow, group: str) -> str:
    figure = row.row.cited(group)
    paper = "" if figure is None else f"{figure:.3f}".lstrip("0")
    if row.mean is None:
        return f"| {row.row.title} | {row.reason} | | | | | {paper} |"
    std = "" if row.std is None else f" ± {row.std:.4f}"
    ends = "" if row.interval is None else f"{row.interval.low:.4f} to {row.interval.high:.4f}"
    difference, p = "", ""
    if row.against is not None:
        low, high = row.against.interval.low, row.against.interval.high
        difference = f"{row.against.difference:+.4f} ({low:+.4f} to {high:+.4f})"
        if row.beyond_deviation is not None:
            difference += f" ± {row.beyond_deviation:.4f}"
        p = "" if row.p_holm is None else f"{row.p_holm:.3f}"
    cells = [row.row.title, f"{row.mean:.4f}{std}", ends, difference, p, str(row.n), paper]
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
        for group, rows in groups:
            axis.text(
                0, y, GROUPS[group], transform=axis.get_yaxis_transform(), size=10, weight="bold"
            )
            for row in rows:
                y += 1
                ticks.append((y, row.row.title))
                _draw_row(axis, row, y, group)
            y += 1.6
        axis.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
        axis.set(xlabel="mean Pearson", ylim=(y - 1, -1))
        axis.grid(axis="x", color="#EEEEEE")
        axis.plot([], [], "o", color=_OURS, label="ours")
        for name in dict.fromkeys(paper_of(group) for group, _ in groups):
            axis.plot([], [], _MARKERS[name], color=_PAPERS, mfc="none", label=name)
        axis.legend(frameon=False, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))


def _draw_row(axis: Any, row: TableRow, y: float, group: str) -> None:
    if (cited := row.row.cited(group)) is not None:
        axis.plot([cited], [y], _MARKERS[paper_of(group)], color=_PAPERS, mfc="none")
    if row.mean is not None:
        axis.plot(row.pearson, [y] * len(row.pearson), "o", color=_OURS, ms=3, alpha=0.4)
        axis.errorbar(row.mean, y, xerr=row.std or 0, fmt="o", color=_OURS, capsize=3)
    else:
        axis.text(
            0.01, y, row.reason, transform=axis.get_yaxis_transform(), size=8, color="#777777",
            va="center",
        )  # fmt: skip
