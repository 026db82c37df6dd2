"""A sweep as csv, markdown, JSON and a picture, and the settings of its best trial as TOML."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facer.pipeline.intensity.config import SweepConfig
from facer.pipeline.intensity.sweep.space import shown_value
from facer.pipeline.settings import SWEPT, Settings
from facer.pipeline.views.canvas import canvas
from facer.storage.files.cells import safe_cell
from facer.storage.files.objects import LocalObjects

_COLOUR, _BEST = "#0072B2", "#D55E00"
_COLUMNS = 3  # of panels


@dataclass(frozen=True)
class SweepRow:
    """One trial's scores over seeds, or the reason why there are none."""

    id: str
    settings: Settings
    by_seed: Mapping[str, float] = field(default_factory=dict)  # mean Pearson over emotions
    n: int = 0  # clips scored
    per_emotion: Mapping[str, float | None] = field(default_factory=dict)  # mean over seeds
    interval: tuple[float, float] | None = None  # 95 % of the mean, over clips or subjects
    reason: str = ""

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(list(self.by_seed.values()))) if self.by_seed else None

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds (n - 1); None for fewer than two."""
        values = list(self.by_seed.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def to_json(self) -> dict[str, Any]:
        """A row of ``facer sweep --json``."""
        return {
            "id": self.id,
            "settings": dict(self.settings),
            "pearson": self.mean,
            "std": self.std,
            "pearson_95": self.interval,
            "n": self.n,
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
        """A pandas DataFrame: a row a trial, the swept settings as columns, the best first."""
        import pandas as pd

        return pd.DataFrame([
            {"id": row.id, **row.settings, "pearson": row.mean, "std": row.std, "n": row.n,
             "reason": row.reason}
            for row in self.rows
        ])  # fmt: skip


def write_table(table: SweepTable, config: SweepConfig) -> None:
    """Write the table in every form, and ``best.toml``; existing files are replaced."""
    files = LocalObjects(config.output)
    files.put("table.csv", _as_csv(table).encode())
    files.put("table.md", as_markdown(table).encode())
    files.put("table.json", (json.dumps(table.to_json(), indent=1) + "\n").encode())
    files.put("best.toml", _as_toml({**config.settings, **table.best.settings}).encode())
    _draw(table, config)


def _as_csv(table: SweepTable) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    swept = list(table.best.settings)
    scores = ["n", "pearson", "std", "seeds", "pearson_low", "pearson_high"]
    writer.writerow(["id", *swept, *scores, *map(safe_cell, table.names), "reason"])
    for row in table.rows:
        values = [safe_cell(shown_value(row.settings[name])) for name in swept]
        numbers = [row.n, row.mean, row.std, len(row.by_seed)]
        ends = row.interval or (None, None)
        emotions = [row.per_emotion.get(name) for name in table.names]
        writer.writerow([row.id, *values, *numbers, *ends, *emotions, safe_cell(row.reason)])
    return text.getvalue()


def as_markdown(table: SweepTable) -> str:
    """The trials as markdown, the best first."""
    swept = list(table.best.settings)
    title = f"Pearson ({table.split}), mean ± deviation over {table.seeds} seed(s)"
    lines = [f"| {' | '.join(swept)} | {title} | its 95 % | n | id |"]
    lines.append(f"|{'---|' * (len(swept) + 4)}")
    for row in table.rows:
        values = [shown_value(row.settings[name]) for name in swept]
        scores = [row.reason or "not run", "", ""]
        if row.mean is not None:
            spread = "" if row.std is None else f" ± {row.std:.4f}"
            ends = "" if row.interval is None else "{:.4f} to {:.4f}".format(*row.interval)
            scores = [f"{row.mean:.4f}{spread}", ends, str(row.n)]
        lines.append(f"| {' | '.join([*values, *scores, row.id])} |")
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
