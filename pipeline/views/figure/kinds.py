"""The kinds of figures: each draws the tables of a study, and returns the numbers that it drew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from facer.pipeline.views.figure.config import FigureConfig, FigureKind
from facer.pipeline.views.figure.names import (
    add_lines,
    legend,
    make_room,
    name_places,
    short,
    under,
)
from facer.stages.summary.grid import bins
from facer.stages.summary.groups import GroupMeans, group_means
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.schema import F64
from facer.storage.study.columns import number, text
from facer.storage.study.tables import Collected
from facer.storage.text.likeness import did_you_mean
from facer.storage.text.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Tables = Mapping[str, Collected]
Draw = Callable[["Axes", Tables, FigureConfig], Collected]

_DASHES = ("-", "--", "-.", ":")  # beside their colours
_MOST_ROWS, _MOST_NAMES = 500, 60  # of a heat map
_MOST_CELLS = 50_000_000  # of curves on one clock
_EPS_S = 1e-6

EXTENTS = (
    text("clip_id", "the clip"), text("event", "what times count from"),
    text("participant", "who is in the clip"), text("condition", "of the design"),
    number("start_s", "s", "where curves begin"), number("stop_s", "s", "where they end"),
    number("first_s", "s", "the clip's first frame"), number("end_s", "s", "end of its last"),
)  # fmt: skip
"""Of the table of clips and events that count, beside those of a summary."""
_CURVE = (
    text("clip_id", "the clip"), text("event", "what times count from"),
    text("condition", "of the design"),
    number("t_s", "s", "from the event"), number("value", "of the feature", "bin's mean"),
)  # fmt: skip
_GRAND = (
    text("condition", "of the design"), number("t_s", "s", "from the event"),
    number("participants", "count", "with a value"), number("mean", "of the feature", ""),
    number("lo", "of the feature", "95 % bootstrap interval"),
    number("hi", "of the feature", "its upper end"),
)  # fmt: skip
_PERSON = (
    text("participant", "the person"), text("condition", "of the design"),
    number("mean", "of the feature", "over the person's clips and events"),
)  # fmt: skip


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


def _curves(tables: Tables, config: FigureConfig) -> list[_Curve]:
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
        told = Counter(
            ": ".join(filter(None, cells))
            for block in tables["clips"].blocks
            for cells in zip(block["status"], block["reason"], strict=True)
        )
        why = "; ".join(f"{n} {what}" for what, n in told.most_common(3))
        raise FacerError(
            f"{config.feature}: found no clip that counts with a measured face (clips: {why}), "
            "expected some"
        )
    return curves


def _drawn(curves: Sequence[_Curve], values: Sequence[F64]) -> Collected:
    return Collected.of(_CURVE, [
        (curve.clip, curve.event, curve.condition, float(t), float(v))
        for curve, drawn in zip(curves, values, strict=True)
        for t, v in zip(curve.t_s, drawn, strict=True)
    ])  # fmt: skip


def _on_one_clock(
    curves: Sequence[_Curve], values: Sequence[F64], rate_hz: float
) -> tuple[F64, F64]:
    """Even times that span some curves, (T,), and values at them, (curves, T), NaN where one has
    none; FacerError where the curves lie too far apart.
    """
    places = [np.rint(curve.t_s * rate_hz).astype(np.int64) for curve in curves]
    first, last = min(int(p[0]) for p in places), max(int(p[-1]) for p in places)
    if len(curves) * (last - first + 1) > _MOST_CELLS:
        raise FacerError(
            f"found curves from {first / rate_hz:g} to {last / rate_hz:g} s, expected less time in "
            f"one figure; give each clip's onset_s in the design, or a smaller {named('grid')}"
        )
    grid = np.full((len(curves), last - first + 1), np.nan)
    for row, place, own in zip(grid, places, values, strict=True):
        row[place - first] = own
    return np.arange(first, last + 1) / rate_hz, grid


def _named(tables: Tables, feature: str) -> str:
    """A feature with its unit, for an axis."""
    for block in tables["columns"].blocks:
        for table, name, unit in zip(block["table"], block["column"], block["unit"], strict=True):
            if (table, name) == ("feature", feature) and unit:
                return f"{feature} ({unit})"
    return feature


def _plot(axes: Axes, t_s: F64, values: F64, index: int, label: str | None) -> None:
    """A curve, (T,) each, in a look of its own. A value alone is a dot: no line is drawn of it.

    ``t_s`` are middles of bins: at their starts, what an event brings would rise before it.
    """
    color, known = COLOURS[index % 7], np.pad(np.isfinite(values), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    axes.plot(t_s, values, color=color, linestyle=_DASHES[index % 4], label=label)
    axes.plot(t_s[alone], values[alone], "o", ms=2, color=color)


def _lines(axes: Axes, tables: Tables, config: FigureConfig, of: str, by: str) -> Collected:
    """The curves of one clip or person, in a look for each event or condition."""
    curves = _curves(tables, config)
    chosen = config.of or getattr(curves[0], of)
    mine = [curve for curve in curves if getattr(curve, of) == chosen]
    if not mine:
        known = dict.fromkeys(getattr(curve, of) for curve in curves)
        raise OptionError(
            f"{named('of')}: found {chosen!r}, expected one of the design"
            f"{did_you_mean(chosen, known)}"
        )
    groups = list(dict.fromkeys(getattr(curve, by) for curve in mine))
    for curve in mine:
        group = getattr(curve, by)
        _plot(axes, curve.t_s + 0.5 / config.grid, curve.value, groups.index(group), group or None)
    clips = len({curve.clip for curve in mine})
    events = f", {len(mine)} events" if len(mine) > clips else ""
    below = under(axes, f"{chosen}; n = {clips} clip(s){events}")
    axes.set(xlabel=f"time (s)\n{below}", ylabel=_named(tables, config.feature))
    legend(axes, groups)
    return _drawn(mine, [curve.value for curve in mine])


def _grand(axes: Axes, tables: Tables, config: FigureConfig) -> Collected:
    """Mean of the participants' mean curves of every condition, with a bootstrap interval."""
    curves = _curves(tables, config)
    times, grid = _on_one_clock(curves, [curve.value for curve in curves], config.grid)
    middles = times + 0.5 / config.grid
    found: dict[str, GroupMeans] = {}
    notes = []
    for index, condition in enumerate(sorted({c.condition for c in curves})):
        people: dict[str, list[F64]] = defaultdict(list)
        for curve, line in zip(curves, grid, strict=True):
            if curve.condition == condition:
                people[curve.person].append(line)
        values = np.array([_mean(np.array(people[person])) for person in sorted(people)])
        of = found[condition] = group_means(values, config.resamples, config.seed)
        _plot(axes, middles, of.mean, index, condition or "all")
        axes.fill_between(middles, of.low, of.high, color=COLOURS[index % 7], alpha=0.2, lw=0)
        least, most = int(of.participants.min()), int(of.participants.max())
        n = f"{most}" if least == most else f"{least}\u00a0to\u00a0{most}"  # along the curve
        notes.append(f"{condition or 'all'}\u00a0n\u00a0=\u00a0{n}")  # one line each
    what = f"participants: {', '.join(notes)}; {_interval('band: ', found.values())}"
    below = under(axes, what)
    add_lines(axes, max(0, below.count("\n") - 1))
    axes.set(xlabel=f"time (s)\n{below}", ylabel=_named(tables, config.feature))
    legend(axes, list(found))
    return Collected.of(_GRAND, [
        (condition, float(t), int(n), float(m), float(lo), float(hi))
        for condition, of in found.items()
        for t, n, m, lo, hi in zip(times, of.participants, of.mean, of.low, of.high, strict=True)
    ])  # fmt: skip


def _interval(drawn_as: str, means: Iterable[GroupMeans]) -> str:
    """What is said of intervals, which not all means have."""
    low = np.concatenate([of.low for of in means])
    if np.isnan(low).all():
        return "no interval"
    return f"{drawn_as}95 % bootstrap interval" + ", from 3 on" * bool(np.isnan(low).any())


def _mean(rows: F64) -> F64:
    """Mean of each column over the rows that have a value."""
    n = np.isfinite(rows).sum(axis=0)
    found: F64 = np.where(n > 0, np.nansum(rows, axis=0) / np.maximum(n, 1), np.nan)
    return found


def _seen(tables: Tables, config: FigureConfig) -> tuple[list[_Curve], list[F64]]:
    """Every clip and event that counts, and at each of its times 1 where a face was measured, else
    0; NaN outside the clip.
    """
    known = {(curve.clip, curve.event): curve for curve in _curves(tables, config)}
    curves, values = [], []
    for block in tables["extents"].blocks:
        cells = (block[column.name] for column in EXTENTS)
        for clip, event, person, condition, start, stop, first, end in zip(*cells, strict=True):
            curve = known.get((clip, event))
            if curve is None:
                times = bins(start, stop, config.grid, clip)
                none = np.full(len(times), np.nan)
                curve = _Curve(clip, event, person or clip, condition, times, none)
            there = np.isfinite(curve.value).astype(float)
            cut = (curve.t_s < first - _EPS_S) | (curve.t_s + 1 / config.grid > end + _EPS_S)
            if len(there):
                curves.append(curve)
                values.append(np.where((there == 0) & cut, np.nan, there))
    return curves, values


def _map(axes: Axes, tables: Tables, config: FigureConfig, seen: bool) -> Collected:
    """A row a clip: its values, or where it was seen."""
    curves = _curves(tables, config)
    values = [curve.value for curve in curves]
    if seen:
        curves, values = _seen(tables, config)
    order = sorted(range(len(curves)), key=lambda i: (curves[i].condition, curves[i].person))
    places = np.linspace(0, len(order) - 1, min(len(order), _MOST_ROWS)).astype(int)
    rows = [order[place] for place in places]  # of many, evenly spaced: of every condition
    curves, values = [curves[i] for i in rows], [values[i] for i in rows]
    times, grid = _on_one_clock(curves, values, config.grid)
    axes.set_facecolor("0.85")  # where nothing was measured
    image = axes.imshow(
        np.ma.masked_invalid(grid), aspect="auto", interpolation="nearest",
        cmap="Greys_r" if seen else "viridis",
        extent=(float(times[0]), float(times[-1]) + 1 / config.grid, len(curves) - 0.5, -0.5),
        vmin=0 if seen else None, vmax=1 if seen else None,
    )  # fmt: skip
    if not seen:
        axes.figure.colorbar(image, ax=axes, label=_named(tables, config.feature))
    what = "black: not seen\ngrey: outside the clip" if seen else "grey: not measured"
    drawn, clips = len({c.clip for c in curves}), tables["clips"].length
    n = f"{drawn} clips" if drawn == clips else f"{drawn} of {clips} clips"
    n += ", evenly spaced" if len(rows) < len(order) else ""
    axes.set(xlabel=f"time (s)\nn = {n}\n{what}", ylabel="clip")
    if len(curves) <= _MOST_NAMES:
        events = Counter(c.clip for c in curves)
        names = [c.clip if events[c.clip] == 1 else f"{c.clip} {c.event}" for c in curves]
        axes.set_yticks(range(len(curves)), [short(axes, name) for name in names])
        make_room(axes, len(curves))
    return _drawn(curves, values)


def _people(tables: Tables, feature: str) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Conditions, and the mean of each by person."""
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


def _paired(axes: Axes, tables: Tables, config: FigureConfig) -> Collected:
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
    axes.plot(places, values.mean(axis=0), color=COLOURS[0], lw=2, marker="o", ms=4)
    below = f"n = {len(whole)} of {len(people)} participants; thick: mean"
    label = f"mean {_named(tables, config.feature)}"
    axes.set(xlabel=below, ylabel=label, xlim=(-0.3, len(conditions) - 0.7))
    name_places(axes, conditions)
    return Collected.of(_PERSON, [(p, c, v[c]) for p, v in whole.items() for c in conditions])


def _strip(axes: Axes, tables: Tables, config: FigureConfig) -> Collected:
    """A dot a person, and the mean with its bootstrap interval."""
    conditions, people = _people(tables, config.feature)
    if not people:
        raise FacerError(f"{config.feature}: found no window with a mean, expected some")
    numbers, means = [], []
    for place, condition in enumerate(conditions):
        values = np.array([v[condition] for v in people.values() if condition in v])
        apart = np.linspace(-0.15, 0.15, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + apart, values, "o", ms=2.5, color=COLOURS[place % 7], alpha=0.6)
        found = group_means(values[:, None], config.resamples, config.seed)
        means.append(found)
        axes.plot([place - 0.25, place + 0.25], [found.mean[0]] * 2, color="black")
        axes.vlines(place, found.low[0], found.high[0], color="black")
        numbers.append(f"n = {len(values)}")
    name_places(axes, [condition or "all" for condition in conditions], numbers)
    below = under(axes, f"line: mean, {_interval('', means)}")
    label = _named(tables, config.feature)
    axes.set(xlabel=below, ylabel=f"mean {label}", xlim=(-0.5, len(conditions) - 0.5))
    return Collected.of(_PERSON, [(p, c, m) for p, v in people.items() for c, m in v.items()])


DRAW: Mapping[FigureKind, Draw] = {
    "clip": partial(_lines, of="clip", by="event"),
    "participant": partial(_lines, of="person", by="condition"),
    "grand": _grand, "heat": partial(_map, seen=False), "paired": _paired,
    "missing": partial(_map, seen=True), "strip": _strip,
}  # fmt: skip
