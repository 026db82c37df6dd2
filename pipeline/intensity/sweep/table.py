"""A sweep as csv, markdown, JSON and a picture, and the settings of its best trial as TOML."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facer.pipeline.intensity.ablation.trials import TrialScores
from facer.pipeline.intensity.config import SweepConfig
from facer.pipeline.intensity.sweep.space import shown_value
from facer.pipeline.settings.commands import SWEPT
from facer.pipeline.settings.table import Settings
from facer.pipeline.views.canvas import canvas
from facer.storage.files.atomic import write_atomic
from facer.storage.files.csv_table import csv_text
from facer.storage.optional import optional
from facer.storage.text.palette import COLOURS

_COLOUR, _BEST = COLOURS[:2]
_COLUMNS = 3  # of panels


@dataclass(frozen=True, kw_only=True)
class SweepRow(TrialScores):
    """One trial: its settings and scores."""

    id: str
    settings: Settings

    def to_json(self) -> dict[str, Any]:
        """A row of ``facer sweep --json``."""
        return {
            "id": self.id,
            "settings": dict(self.settings),
            **self.figures(),
            "per_emotion": dict(self.per_emotion),
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class SweepTable:
    """All trials of a sweep, the best first, those that failed last."""

    names: tuple[str, ...]  # of the emotions
    split: str
    seeds: int
    rows: tuple[SweepRow, ...]
    notes: tuple[str, ...] = ()  # how the labels were read, and what to know of them

    @property
    def best(self) -> SweepRow:
        """The trial with the highest mean Pearson; being the best of many flatters its score."""
        return self.rows[0]

    @property
    def failed(self) -> tuple[SweepRow, ...]:
        """Trials that could not be trained."""
        return tuple(row for row in self.rows if row.mean is None)

    def to_json(self) -> dict[str, Any]:
        """As ``facer sweep --json`` prints it, and ``table.json``."""
        rows = [row.to_json() for row in self.rows]
        return {"split": self.split, "seeds": self.seeds, "best": rows[0], "rows": rows}

    def to_dataframe(self) -> Any:
        """A pandas DataFrame: a row a trial, the swept settings as columns, the best first.

        Raises FacerError without pandas.
        """
        return optional("pandas").DataFrame([
            {"id": row.id, **row.settings, "pearson": row.mean, "std": row.std, "n": row.n,
             "reason": row.reason}
            for row in self.rows
        ])  # fmt: skip


def write_table(table: SweepTable, config: SweepConfig) -> None:
    """Write the table in every form, and ``best.toml``; existing files are replaced."""
    best = {**config.settings, **table.best.settings}
    write_atomic(config.output / "table.csv", _as_csv(table))
    write_atomic(config.output / "table.md", as_markdown(table))
    write_atomic(config.output / "table.json", json.dumps(table.to_json(), indent=1) + "\n")
    write_atomic(config.output / "best.toml", _as_toml(best))
    _draw(table, config)


def _as_csv(table: SweepTable) -> str:
    scores = ["n", "pearson", "std", "seeds", "pearson_low", "pearson_high"]
    header = ["id", *table.best.settings, *scores, *table.names, "reason"]
    rows = [
        [
            *(row.id, *map(shown_value, row.settings.values())),
            *(row.n, row.mean, row.std, len(row.by_seed)),
            *row.ends,
            *(row.per_emotion.get(name) for name in table.names),
            row.reason,
        ]
        for row in table.rows
    ]
    return csv_text([header, *rows])


def as_markdown(table: SweepTable) -> str:
    """The trials as markdown, the best first."""
    swept = list(table.best.settings)
    title = f"Pearson ({table.split}), mean ± deviation over {table.seeds} seed(s)"
    lines = [f"| {' | '.join(swept)} | {title} | its 95 % | n | id |"]
    lines.append(f"|{'---|' * (len(swept) + 4)}")
    for row in table.rows:
        values = map(shown_value, row.settings.values())
        n = "" if row.mean is None else str(row.n)
        lines.append(f"| {' | '.join([*values, *row.cells(), n, row.id])} |")
    return "\n".join(lines) + "\n"


def _as_toml(settings: Settings) -> str:
    """What of a training's settings is not the default, for ``facer train-head --config``."""
    lines = [
        "# settings of the best trial: facer train-head STORE --labels L -o RUN --config ...\n"
    ]
    for name, value in settings.items():
        default = SWEPT.declared[name].value if name in SWEPT else value
        if value is not None and value != default and _plain(value) != _plain(default):
            lines.append(f"{name} = {json.dumps(_plain(value), ensure_ascii=False)}\n")
    return "".join(lines)


def _plain(value: Any) -> Any:
    return ",".join(value) if isinstance(value, list | tuple) else value


def _draw(table: SweepTable, config: SweepConfig) -> None:
    swept = [name for name in config.space if _varies(table, name)]
    swept = swept or list(config.space)[:1]
    columns = min(_COLUMNS, len(swept))
    rows = -(-len(swept) // columns)
    size = (1.2 + 3.2 * columns, 1.2 + 2.8 * rows)
    subtitle = f"mean Pearson on {table.split}, a dot a trial; the best is marked"
    with canvas(config.output / "table.png", size, "Sweep", subtitle) as sheet:
        grid = {"top": 1 - 0.9 / size[1], "bottom": 0.6 / size[1], "hspace": 0.5, "wspace": 0.35}
        panels = sheet.subplots(rows, columns, squeeze=False, sharey=True, gridspec_kw=grid)
        for panel, name in zip(panels.flat, swept, strict=False):
            _draw_panel(panel, table, name)
        for panel in list(panels.flat)[len(swept) :]:
            panel.set_visible(False)


def _varies(table: SweepTable, name: str) -> bool:
    return len({shown_value(row.settings[name]) for row in table.rows}) > 1


def _draw_panel(panel: Any, table: SweepTable, name: str) -> None:
    """Scores over the values of one setting: on an axis of numbers, or side by side."""
    done = [row for row in table.rows if row.mean is not None]
    values = [row.settings[name] for row in done]
    if _are_numbers(values):
        places: Sequence[float] = values
        if min(values) > 0 and max(values) / min(values) >= 10:
            panel.set_xscale("log")
    else:
        words = list(dict.fromkeys(shown_value(value) for value in values))
        places = [words.index(shown_value(value)) for value in values]
        panel.set_xticks(range(len(words)), words, rotation=20)
    panel.plot(places, [row.mean for row in done], "o", color=_COLOUR, alpha=0.6)
    panel.plot(places[:1], [done[0].mean], "o", color=_BEST, ms=9, mfc="none")
    panel.set(xlabel=name, ylabel="mean Pearson")


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
