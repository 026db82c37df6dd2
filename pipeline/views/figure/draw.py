"""Figures for a paper: drawn from the tables of a study, with the drawn numbers beside them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from facer.pipeline.settings import FIGURE, make
from facer.pipeline.summary.summarise import Study, study, summarise_study
from facer.pipeline.views.figure.config import FIGURE_KINDS, FigureConfig, FigureKind
from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.groups import group_means
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.exchange.tables import aside
from facer.storage.files.regular import open_regular
from facer.storage.schema import F64
from facer.storage.study.columns import Column, number, text
from facer.storage.study.tables import Collected, open_table
from facer.storage.text.likeness import did_you_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ENDINGS = (".pdf", ".svg", ".png")
_WIDTHS_MM = {"single": 89.0, "double": 183.0}  # columns of most journals
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind readers tell apart; lines differ in their dashes too."""
_DASHES = ("-", "--", "-.", ":")
_MOST_ROWS, _MOST_NAMES = 500, 60  # of a heat map
_LINE_IN = 0.125  # inches that a name takes
_PER_INCH = 14  # characters of a line under the axes


@dataclass(frozen=True)
class Drawn:
    """The numbers of a figure, by column."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


def draw_figure(of: Study, kind: FigureKind, config: FigureConfig, path: Path) -> Path:
    """Draw a study's figure to pdf, svg or png, and its numbers to a csv beside it.

    Raises FacerError for another ending, an unknown feature or person, and where nothing can be
    drawn.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if kind not in FIGURE_KINDS:
        known = ", ".join(FIGURE_KINDS)
        raise OptionError(f"{named('kind')}: found {kind!r}, expected one of {known}")
    if path.suffix.lower() not in _ENDINGS:
        raise OptionError(f"{path}: found ending {path.suffix!r}, expected one of .pdf, .svg, .png")
    if config.feature not in of.features.names:
        raise OptionError(
            f"{named('feature')}: found {config.feature!r}, expected a column of the store"
            f"{did_you_mean(config.feature, of.features.names)}"
        )
    tables = _tables(of)
    width = _WIDTHS_MM[config.width] / 25.4
    style: Any = {
        "pdf.fonttype": 42, "svg.hashsalt": "facer", "svg.fonttype": "none", "font.size": 7,
        "axes.spines.top": False, "axes.spines.right": False, "lines.linewidth": 1,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure((width, width * 0.68), layout="constrained")
        FigureCanvasAgg(figure)
        drawn = _KINDS[kind](figure.subplots(), tables, config)
        numbers = path.with_suffix(".csv")
        for place in (path, numbers):
            if place.exists() and not place.is_file():
                raise FacerError(f"{place}: found a folder there, expected a path for a file")
        _refuse_another_table(numbers, drawn)
        with aside(path) as picture:
            form = path.suffix[1:].lower()
            dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
            figure.savefig(picture, format=form, dpi=config.dpi, metadata=dates[form])
    with aside(numbers) as place:
        table = open_table(place, drawn.columns, "csv")
        columns = zip(*drawn.rows, strict=True) if drawn.rows else ((),) * len(drawn.columns)
        table.write({c.name: list(v) for c, v in zip(drawn.columns, columns, strict=True)})
        table.close()
    return numbers


def _refuse_another_table(path: Path, drawn: Drawn) -> None:
    """FacerError for a csv that no figure of this kind wrote, such as one of facer summarise."""
    if not path.exists():
        return
    with open_regular(path, "a csv") as file:
        found = file.readline(1 << 16).decode(errors="replace").strip()
    if found != ",".join(column.name for column in drawn.columns):
        raise FacerError(
            f"{path}: found another table there, expected a free name for the drawn numbers; give "
            "the figure another name"
        )


def _tables(of: Study) -> Mapping[str, Collected]:
    tables: dict[str, Collected] = {}

    def collect(name: str, columns: Sequence[Column]) -> Collected:
        tables[name] = Collected(columns)
        return tables[name]

    summarise_study(of, collect)
    return tables


def _rows(table: Collected, feature: str, *names: str) -> Iterator[tuple[Any, ...]]:
    """Cells of a table's rows of one feature that have numbers."""
    for block in table.blocks:
        columns = [block[name] for name in names]
        for i, one in enumerate(block["feature"]):
            if one == feature:
                yield tuple(column[i] for column in columns)


@dataclass(frozen=True)
class _Curve:
    clip: str
    event: str
    person: str
    condition: str
    t_s: F64
    value: F64


def _curves(tables: Mapping[str, Collected], config: FigureConfig) -> list[_Curve]:
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    who = {}
    for clip, event, person, condition, t_s, value in _rows(
        tables["series"], config.feature, "clip_id", "event", "participant", "condition", "t_s",
        "value",
    ):  # fmt: skip
        found[clip, event].append((t_s, value))
        who[clip, event] = (person or clip, condition)
    curves = [_Curve(*key, *who[key], *np.array(rows, np.float64).T) for key, rows in found.items()]
    if not curves:
        raise FacerError(f"{config.feature}: found no clip with a measured face, expected some")
    return curves


_CURVE = (
    text("clip_id", "the clip"), text("condition", "of the design"),
    number("t_s", "s", "from the event"), number("value", "of the feature", "bin's mean"),
)  # fmt: skip


def _clip(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    curves = _curves(tables, config)
    chosen = config.of or curves[0].clip
    return _lines(axes, [c for c in curves if c.clip == chosen], config, chosen,
                  [c.clip for c in curves], by_condition=False)  # fmt: skip


def _participant(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    curves = _curves(tables, config)
    chosen = config.of or curves[0].person
    return _lines(axes, [c for c in curves if c.person == chosen], config, chosen,
                  [c.person for c in curves], by_condition=True)  # fmt: skip


def _lines(
    axes: Axes, curves: Sequence[_Curve], config: FigureConfig, chosen: str, known: Sequence[str],
    by_condition: bool,
) -> Drawn:  # fmt: skip
    if not curves:
        raise OptionError(
            f"{named('of')}: found {chosen!r}, expected one of the design"
            f"{did_you_mean(chosen, dict.fromkeys(known))}"
        )
    groups = list(dict.fromkeys(c.condition if by_condition else c.event for c in curves))
    rows: list[Sequence[Any]] = []
    for curve in curves:
        group = curve.condition if by_condition else curve.event
        axes.plot(curve.t_s, curve.value, **_look(groups.index(group)), label=group or None)
        rows += [
            (curve.clip, curve.condition, float(t), float(v))
            for t, v in zip(curve.t_s, curve.value, strict=True)
        ]
    axes.set(xlabel=f"time (s)\n{chosen}; n = {len(curves)} clip(s)", ylabel=config.feature)
    _legend(axes, groups)
    return Drawn(_CURVE, rows)


def _look(index: int) -> dict[str, Any]:
    return {"color": _COLOURS[index % 7], "linestyle": _DASHES[index % 4]}


def _legend(axes: Axes, groups: Sequence[str]) -> None:
    if any(groups) and len(groups) > 1:
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.legend(handles.values(), handles.keys(), frameon=False)


def _grand(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    """Mean of the participants' mean curves of every condition, with a bootstrap interval."""
    curves = _curves(tables, config)
    times = np.unique(np.concatenate([c.t_s for c in curves]).round(6))
    conditions = sorted({c.condition for c in curves})
    rows: list[Sequence[Any]] = []
    notes = []
    for index, condition in enumerate(conditions):
        people: dict[str, list[F64]] = defaultdict(list)
        for curve in (c for c in curves if c.condition == condition):
            line = np.full(len(times), np.nan)
            line[np.searchsorted(times, curve.t_s.round(6))] = curve.value
            people[curve.person].append(line)
        values = np.array([_mean(np.array(lines)) for lines in people.values()])
        found = group_means(values, 1000, 0)
        look = _look(index)
        axes.plot(times, found.mean, **look, label=condition or "all")
        axes.fill_between(times, found.low, found.high, color=look["color"], alpha=0.2, lw=0)
        notes.append(f"{condition or 'all'}\u00a0n\u00a0=\u00a0{len(people)}")  # one line each
        rows += [
            (condition, float(t), int(n), float(m), float(lo), float(hi))
            for t, n, m, lo, hi in zip(
                times, found.participants, found.mean, found.low, found.high, strict=True
            )
        ]
    characters = int(_PER_INCH * _figure_of(axes).get_figwidth())
    under = "\n".join(wrap(f"participants: {', '.join(notes)}", characters))
    axes.set(xlabel=f"time (s)\n{under}", ylabel=config.feature)
    _legend(axes, conditions)
    columns = (
        text("condition", "of the design"), number("t_s", "s", "from the event"),
        number("participants", "count", "with a value"), number("mean", "of the feature", ""),
        number("lo", "of the feature", "95 % bootstrap interval"),
        number("hi", "of the feature", "its upper end"),
    )  # fmt: skip
    return Drawn(columns, rows)


def _mean(rows: F64) -> F64:
    """Mean of each column over the rows that have a value."""
    n = np.isfinite(rows).sum(axis=0)
    found: F64 = np.where(n > 0, np.nansum(rows, axis=0) / np.maximum(n, 1), np.nan)
    return found


def _heat(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    return _map(axes, tables, config, "viridis", seen=False)


def _missing(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    return _map(axes, tables, config, "Greys_r", seen=True)


def _map(
    axes: Axes, tables: Mapping[str, Collected], config: FigureConfig, colours: str, seen: bool
) -> Drawn:  # fmt: skip
    curves = sorted(_curves(tables, config), key=lambda c: (c.condition, c.person))[:_MOST_ROWS]
    times = np.unique(np.concatenate([c.t_s for c in curves]).round(6))
    grid = np.full((len(curves), len(times)), np.nan)
    for row, curve in enumerate(curves):
        values = np.isfinite(curve.value) if seen else curve.value
        grid[row, np.searchsorted(times, curve.t_s.round(6))] = values
    step = float(np.diff(times).min()) if len(times) > 1 else 1.0
    axes.set_facecolor("0.85")  # where nothing was measured
    image = axes.imshow(
        np.ma.masked_invalid(grid), aspect="auto", interpolation="nearest", cmap=colours,
        extent=(float(times[0]), float(times[-1]) + step, len(curves) - 0.5, -0.5),
        vmin=0 if seen else None, vmax=1 if seen else None,
    )  # fmt: skip
    if not seen:
        axes.figure.colorbar(image, ax=axes, label=config.feature)
    what = "black: not seen" if seen else "grey: not measured"
    drawn, clips = len({c.clip for c in curves}), tables["clips"].length
    n = f"{drawn} clips" if drawn == clips else f"{drawn} of {clips} clips"
    axes.set(xlabel=f"time (s)\nn = {n}; {what}", ylabel="clip")
    if len(curves) <= _MOST_NAMES:
        axes.set_yticks(range(len(curves)), [c.clip for c in curves])
        _make_room(axes, len(curves))
    rows = [
        (c.clip, c.condition, float(t), float(np.isfinite(v)) if seen else float(v))
        for c in curves
        for t, v in zip(c.t_s, c.value, strict=True)
    ]
    return Drawn(_CURVE, rows)


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _make_room(axes: Axes, lines: int) -> None:
    """Make the figure as high as names below one another need."""
    figure = _figure_of(axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, max(height, 0.8 + _LINE_IN * lines))


_PERSON = (text("participant", "the person"), text("condition", "of the design"),
           number("mean", "of the feature", "over the person's clips and windows"))  # fmt: skip


def _people(
    tables: Mapping[str, Collected], feature: str
) -> tuple[list[str], dict[str, dict[str, float]]]:
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for clip, person, condition, mean in _rows(
        tables["summary"], feature, "clip_id", "participant", "condition", "mean"
    ):
        if np.isfinite(mean):
            found[person or clip, condition].append(float(mean))
    people: dict[str, dict[str, float]] = defaultdict(dict)
    for (person, condition), values in sorted(found.items()):
        people[person][condition] = float(np.mean(values))
    return sorted({condition for _, condition in found}), dict(people)


def _paired(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    """A line a person from condition to condition, of those who have all of them."""
    conditions, people = _people(tables, config.feature)
    whole = {p: v for p, v in people.items() if len(v) == len(conditions)}
    if len(conditions) < 2 or not whole:
        raise FacerError(
            f"paired: found {len(conditions)} conditions and {len(whole)} people with all of them, "
            "expected two or more; give a design with participant and condition"
        )
    values = np.array([[v[c] for c in conditions] for v in whole.values()])
    places = range(len(conditions))
    axes.plot(places, values.T, color="0.6", lw=0.7, marker="o", ms=2)
    axes.plot(places, values.mean(axis=0), color=_COLOURS[0], lw=2, marker="o", ms=4)
    axes.set(xlabel=f"n = {len(whole)} of {len(people)} participants; thick: mean",
             ylabel=f"mean {config.feature}", xlim=(-0.3, len(conditions) - 0.7))  # fmt: skip
    axes.set_xticks(places, conditions)
    return Drawn(_PERSON, [(p, c, v[c]) for p, v in whole.items() for c in conditions])


def _strip(axes: Axes, tables: Mapping[str, Collected], config: FigureConfig) -> Drawn:
    """A dot a person, and the mean with its bootstrap interval."""
    conditions, people = _people(tables, config.feature)
    if not people:
        raise FacerError(f"{config.feature}: found no window with a mean, expected some")
    labels = []
    for place, condition in enumerate(conditions):
        values = np.array([v[condition] for v in people.values() if condition in v])
        apart = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + apart, values, "o", ms=2.5, color=_COLOURS[place % 7], alpha=0.6)
        found = group_means(values[:, None], 2000, 0)
        axes.plot([place - 0.25, place + 0.25], [found.mean[0]] * 2, color="black")
        axes.vlines(place, found.low[0], found.high[0], color="black")
        labels.append(f"{condition or 'all'}\nn = {len(values)}")
    axes.set_xticks(range(len(conditions)), labels)
    axes.set(xlabel="line: mean and 95 % bootstrap interval", ylabel=f"mean {config.feature}",
             xlim=(-0.5, len(conditions) - 0.5))  # fmt: skip
    return Drawn(_PERSON, [(p, c, m) for p, v in people.items() for c, m in v.items()])


_Draw = Callable[[Any, Mapping[str, Collected], FigureConfig], Drawn]
_KINDS: Mapping[str, _Draw] = {
    "clip": _clip, "participant": _participant, "grand": _grand, "heat": _heat, "paired": _paired,
    "missing": _missing, "strip": _strip,
}  # fmt: skip


def figure(
    kind: FigureKind,
    store: FeatureStore | str | os.PathLike[str],
    output: str | os.PathLike[str],
    design: str | os.PathLike[str] | None = None,
    *,
    events: str | os.PathLike[str] | None = None,
    marks: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Path:
    """Draw a figure of a study, as ``facer figure``, and return the path of its numbers.

    ``kind``: clip, participant, grand, heat, paired, missing or strip. Other keywords are the
    command's options. Raises FacerError for what cannot be drawn.
    """
    config = make(FigureConfig, FIGURE.complete(settings))
    of = SummaryConfig(
        windows=config.windows, min_valid=config.min_valid, grid=config.grid, resamples=0
    )
    opened = store if isinstance(store, FeatureStore) else FeatureStore.open(store)
    tables = (None if place is None else os.fspath(place) for place in (design, events, marks))
    return draw_figure(study(opened, of, *tables), kind, config, Path(output))


figure.__signature__ = FIGURE.signature(figure)  # type: ignore[attr-defined]
