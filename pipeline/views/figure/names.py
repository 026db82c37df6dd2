"""Names in a figure: shortened, broken into lines, aslant or above, so that all lie within it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from textwrap import wrap
from typing import TYPE_CHECKING

from facer.pipeline.views.canvas import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE_IN = 0.125  # inches that a name takes
_PER_INCH = 14  # characters of a line under the axes
_FEW_NAMES = 4  # that a legend in the axes leaves room for


def legend(axes: Axes, groups: Sequence[str]) -> None:
    """Names of the curves: in the axes, or of many above them."""
    if not any(groups) or len(groups) < 2:
        return
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    names = [short(axes, name) for name in handles]
    if len(names) <= _FEW_NAMES:
        axes.legend(handles.values(), names, frameon=False)
        return
    columns = max(1, _characters(axes) // (max(map(len, names)) + 8))
    _figure_of(axes).legend(
        handles.values(), names, loc="outside upper left", ncols=columns, frameon=False
    )
    add_lines(axes, ceil(len(names) / columns))


def short(axes: Axes, name: str) -> str:
    """A name that leaves more than half of the figure's width to what is drawn."""
    return shorten(name, 2 * _characters(axes) // 5)


def _characters(axes: Axes) -> int:
    return int(_PER_INCH * _figure_of(axes).get_figwidth())


def under(axes: Axes, what: str) -> str:
    """What stands under the axes, in lines that fit."""
    return "\n".join(wrap(what, _characters(axes)))


def add_lines(axes: Axes, lines: int) -> None:
    """Make the figure higher by lines of text."""
    figure = _figure_of(axes)
    figure.set_figheight(figure.get_figheight() + _LINE_IN * lines)


def name_places(axes: Axes, names: Sequence[str], more: Sequence[str] = ()) -> None:
    """Name places along the axis, with ``more`` under each; aslant where they would touch."""
    shown = [short(axes, name) for name in names]
    both = list(zip(shown, more, strict=True)) if more else [(name,) for name in shown]
    longest = max(len(line) for lines in both for line in lines)
    if longest * len(both) <= 0.7 * _characters(axes):
        axes.set_xticks(range(len(both)), ["\n".join(lines) for lines in both])
        return
    labels = [", ".join(lines) for lines in both]
    axes.set_xticks(range(len(both)), labels, rotation=45, ha="right", rotation_mode="anchor")
    add_lines(axes, ceil(max(map(len, labels)) / 2))


def make_room(axes: Axes, lines: int) -> None:
    """Make the figure as high as names below one another need."""
    figure = _figure_of(axes)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, max(height, 0.8 + _LINE_IN * lines))


def _figure_of(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure
