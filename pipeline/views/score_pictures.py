"""Pictures of scores that are read at a glance: a confusion matrix, AUC and F1 of AUs.

Colours are Okabe and Ito's, which colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facer.pipeline.views.canvas import canvas, drawable, shorten
from facer.pipeline.views.curves import au_meaning
from facer.storage.errors import FacerError
from facer.storage.schema import F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_picture(
    path: str | Path, matrix: npt.NDArray[np.integer[Any]], names: Sequence[str], title: str,
    subtitle: str = "",
) -> None:  # fmt: skip
    """A confusion matrix as a PNG: rows are labels, columns predictions, as shares of a row.

    ``matrix`` (K, K) counts samples. Each cell shows its share and, small, its count; the
    diagonal is the recall. Raises ``FacerError`` when sizes do not match.
    """
    n = len(names)
    if matrix.shape != (n, n):
        raise FacerError(f"{path}: found a matrix {matrix.shape} for {n} names, expected {n, n}")
    side = 0.75 * n
    size = (1.6 + side + 0.4, 1.0 + side + 0.9)
    with canvas(path, size, title, subtitle) as figure:
        axis = figure.add_axes((1.6 / size[0], 0.9 / size[1], side / size[0], side / size[1]))
        _draw_cells(axis, matrix)
        labels = [drawable(shorten(name, 16)) for name in names]
        counted = zip(labels, matrix.sum(axis=1), strict=True)
        axis.set_xticks(range(n), labels, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(n), [f"{label}  n={int(total):,}" for label, total in counted])
        axis.tick_params(length=0, labelsize=9)
        axis.set_xlabel("predicted")
        axis.set_ylabel("labelled")
        axis.spines[:].set_visible(False)


def _draw_cells(axis: Axes, matrix: npt.NDArray[np.integer[Any]]) -> None:
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    style: dict[str, Any] = {"ha": "center", "va": "center"}
    for (row, column), share in np.ndenumerate(shares):
        style["color"] = "white" if share > 0.6 else "#222222"
        axis.text(column, row - 0.08, f"{100 * share:.0f}%" if totals[row, 0] else "-", **style)
        axis.text(column, row + 0.26, f"{int(matrix[row, column]):,}", size=7, **style)


def au_bars_picture(
    path: str | Path, names: Sequence[str], auc: Sequence[float], f1: Sequence[float],
    n: Sequence[int], title: str, subtitle: str = "",
) -> None:  # fmt: skip
    """AUC and F1 of each action unit as a PNG of bars; NaN has no bar, and a word says why.

    The dashed line is the AUC of guessing. ``n`` are the labelled samples of each unit.
    """
    place = np.arange(len(names), dtype=np.float64)
    size = (max(6.0, 1.2 + 0.62 * len(names)), 4.5)
    with canvas(path, size, title, subtitle) as figure:
        axis = figure.add_axes((0.7 / size[0], 1.35 / size[1], 1 - 0.9 / size[0], 2.1 / size[1]))
        _draw_bars(axis, place - 0.2, auc, "#0072B2", "AUC")
        _draw_bars(axis, place + 0.2, f1, "#E69F00", "F1")
        for x, a, b, k in zip(place.tolist(), auc, f1, n, strict=True):
            if not (np.isfinite(a) or np.isfinite(b)):
                why = "none present" if k else "no labels"
                axis.text(x, 0.02, why, rotation=90, ha="center", va="bottom", size=8)
        axis.axhline(0.5, color="#555555", linestyle="--", linewidth=0.8, zorder=0)
        axis.set_ylim(0, 1.08)
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.set_xticks(place, [_tick(name, k) for name, k in zip(names, n, strict=True)])
        axis.tick_params(axis="x", length=0, labelsize=8, labelrotation=40)
        for tick in axis.get_xticklabels():
            tick.set(ha="right", rotation_mode="anchor")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=2, frameon=False)


def _draw_bars(axis: Axes, places: F64, values: Sequence[float], color: str, label: str) -> None:
    axis.bar(places, np.nan_to_num(np.asarray(values, np.float64)), 0.38, color=color, label=label)
    for x, value in zip(places.tolist(), values, strict=True):
        if np.isfinite(value):
            text = f"{value:.2f}".removeprefix("0")
            axis.text(x, value + 0.01, text, ha="center", va="bottom", size=7)


def _tick(name: str, n: int) -> str:
    return drawable(f"{au_meaning(name)}  {name.upper()}\nn={n:,}")
