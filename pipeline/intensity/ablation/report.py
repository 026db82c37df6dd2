"""An ablation as csv, markdown and a picture; the paper's figures stand beside, marked as such."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facer.pipeline.intensity.ablation.recipes import RECIPES
from facer.pipeline.intensity.ablation.rows import FULL, GROUPS, AblationRow
from facer.pipeline.intensity.ablation.trials import TrialScores
from facer.pipeline.views.canvas import canvas
from facer.stages.intensity.metrics import std_of
from facer.stages.intensity.statistics.intervals import Comparison, ends_of
from facer.storage.files.atomic import write_atomic
from facer.storage.files.csv_table import csv_text
from facer.storage.text.palette import COLOURS

PAPER = "paper (Kollias et al. 2023, Hume-Reaction val)"
PAPER_TEST = "paper (Kollias et al. 2023, Table 1, Hume-Reaction test)"
_MARKERS = {PAPER: "D", PAPER_TEST: "s"}
_OURS, _PAPERS = COLOURS[:2]


@dataclass(frozen=True, kw_only=True)
class TableRow(TrialScores):
    """One row's scores, and how far they are from the full model's."""

    row: AblationRow
    against: Comparison | None = None  # with the full model, of the mean predictions over seeds
    p_holm: float | None = None  # of ``against``, corrected for the number of rows compared
    beyond_full: tuple[float, ...] = ()  # mean Pearson less the full model's, seed by seed

    @property
    def beyond_deviation(self) -> float | None:
        """Standard deviation over seeds (n - 1) of the difference from the full model."""
        return std_of(self.beyond_full)

    def to_json(self) -> dict[str, Any]:
        """A row of ``facer ablate --json``."""
        against = None
        if self.against is not None:
            more = {"p_holm": self.p_holm, "std_over_seeds": self.beyond_deviation}
            against = asdict(self.against) | more
        return {
            "id": self.row.id,
            "groups": list(self.row.groups),
            "title": self.row.title,
            **self.figures(),
            "against_full": against,
            "paper": self.row.paper,
            "paper_test": self.row.paper_test,
            "recipe": RECIPES.get(self.row.id),
            "reason": self.reason or None,
        }


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
        rows = [row.to_json() for row in self.rows]
        return {"split": self.split, "seeds": self.seeds, "rows": rows}


def write_table(table: AblationTable, folder: Path) -> None:
    """Write ``table.csv``, ``table.md`` and ``table.png``; existing ones are replaced."""
    write_atomic(folder / "table.csv", _as_csv(table))
    write_atomic(folder / "table.md", as_markdown(table))
    _draw(table, folder / "table.png")


def _as_csv(table: AblationTable) -> str:
    header = ["id", "groups", "title", "n", "pearson", "std", "seeds", "difference_from_full"]
    header += ["difference_low", "difference_high", "difference_std", "p", "p_holm"]
    header += ["pearson_low", "pearson_high", *table.names, "paper", "paper_test", "reason"]
    return csv_text([header, *(_csv_row(row, table.names) for row in table.rows)])


def _csv_row(one: TableRow, names: Sequence[str]) -> list[Any]:
    row = one.row
    difference: list[float | None] = [None] * 6
    if (found := one.against) is not None:
        ends = ends_of(found.interval) or (None, None)
        difference = [found.difference, *ends, one.beyond_deviation]
        difference += [found.p_value, one.p_holm]
    return [
        *(row.id, " ".join(row.groups), row.title, one.n, one.mean, one.std, len(one.pearson)),
        *difference,
        *one.ends,
        *(one.per_emotion.get(name) for name in names),
        *(row.paper, row.paper_test, one.reason),
    ]


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
        drawn = [row.against.drawn for row in rows if row.against is not None]
        lines += ["", f"Intervals: bootstrap, {max(drawn, key=len)}."] if drawn else []
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
    difference, p = "", ""
    if row.against is not None:
        difference = f"{row.against.difference:+z.4f}"
        if (ends := row.against.interval) is not None:
            difference += f" ({ends.low:+z.4f} to {ends.high:+z.4f})"
        if row.beyond_deviation is not None:
            difference += f" ± {row.beyond_deviation:.4f}"
        p = "" if row.p_holm is None else f"{row.p_holm:.3f}"
    return f"| {' | '.join([row.row.title, *row.cells(), difference, p, str(row.n), paper])} |"


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
