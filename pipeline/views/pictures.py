"""Pictures that are read at a glance: a clip's curves, a confusion matrix, scores of AUs.

Colours are Okabe and Ito's, which colour-blind people tell apart. Nothing in a name is taken
for a formula: ids and titles are drawn as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from facer.pipeline.views.canvas import canvas, drawable, shorten
from facer.storage.errors import FacerError
from facer.storage.schema import F32, F64, FEATURE_GROUPS, I64, U8, Bools, ClipFeatures, columns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


AU_MEANINGS = {
    "au01": "inner brow up",
    "au02": "outer brow up",
    "au04": "brow lowered",
    "au05": "upper lid up",
    "au06": "cheek up",
    "au07": "lids tight",
    "au09": "nose wrinkled",
    "au10": "upper lip up",
    "au11": "nasolabial fold",
    "au12": "lip corners up",
    "au13": "cheeks puffed up",
    "au14": "dimples",
    "au15": "lip corners down",
    "au16": "lower lip down",
    "au17": "chin up",
    "au18": "lips puckered",
    "au19": "tongue shown",
    "au20": "lips stretched",
    "au22": "lips funnelled",
    "au23": "lips tight",
    "au24": "lips pressed",
    "au25": "lips part",
    "au26": "jaw drops",
    "au27": "mouth stretched",
    "au28": "lips sucked in",
    "au32": "lip bitten",
    "au38": "nostrils wide",
    "au39": "nostrils narrow",
    "au43": "eyes closed",
    "au45": "blink",
}
"""What each action unit looks like, in a few words."""


def au_meaning(name: str) -> str:
    """What a column of an action unit shows; "" where that is not known.

    >>> au_meaning("au12"), au_meaning("au12_left"), au_meaning("au99")
    ('lip corners up', 'lip corners up left', '')
    """
    unit, _, more = name.partition("_")
    words = AU_MEANINGS.get(unit, "")
    return f"{words} {more}".strip() if words else ""


def drawn_columns(feature_names: Iterable[str]) -> dict[str, list[str]]:
    """Columns that pictures draw, by kind; kinds without any are left out.

    Intensities that have a column of their own are on another scale than probabilities.
    """
    names = [name for name in feature_names if not name.endswith("_intensity")]
    found = {group: list(columns_of(group, names)) for group in FEATURE_GROUPS}
    return {group: columns for group, columns in found.items() if columns}


CURVE_COLORS = {
    "valence": "#0072B2",
    "arousal": "#E69F00",
    "neutral": "#D9D9D9",
    "anger": "#D55E00",
    "disgust": "#009E73",
    "fear": "#333333",
    "happiness": "#F0E442",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
    "contempt": "#CC79A7",
}
WEAK_NOTE = "* taught by weak labels, not by people's annotations of this quantity"

_FAR = 1e6  # beyond which values are drawn as this: sums of curves stay finite
_WIDTH_IN, _LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _GAP_IN = 11.0, 1.85, 1.3, 0.75, 0.75, 0.14


@dataclass(frozen=True)
class _View:
    """What every panel of a clip's picture draws from."""

    clip: ClipFeatures
    columns: dict[str, F32]  # name -> (T,)
    edges: F64  # (T + 1,) seconds at which frames begin and end
    weak: frozenset[str]

    def label(self, name: str) -> str:
        """The name, with an asterisk when it was taught by weak labels."""
        return f"{name}*" if name in self.weak else name

    def runs(self) -> Iterator[tuple[slice, F64]]:
        """Each run of frames with a face, and its times extended to where the run ends."""
        for run in runs_of(self.clip.valid):
            inner = self.clip.timestamp_s[run]
            yield run, np.concatenate(([self.edges[run.start]], inner, [self.edges[run.stop]]))


def strip_frames(clip: ClipFeatures, n_slots: int = 10) -> I64:
    """Frames whose crops show a clip at a glance, (k,) with k <= ``n_slots``.

    The clip's time is cut into equal slots; each gives its frame with a face that is nearest
    to its middle, and a slot without a face gives none.
    """
    if not clip.valid.any():
        return np.zeros(0, np.int64)
    place = _slot_positions(clip, n_slots)
    chosen = []
    for slot in range(n_slots):
        frames = np.flatnonzero(clip.valid & (place.astype(np.int64) == slot))
        if len(frames):
            chosen.append(int(frames[np.abs(place[frames] - slot - 0.5).argmin()]))
    return np.array(chosen, dtype=np.int64)


def clip_picture(
    path: str | Path,
    clip: ClipFeatures,
    feature_names: Sequence[str],
    frames: I64,
    crops: U8,
    *,
    title: str,
    subtitle: str = "",
    weak_features: Sequence[str] = (),
    n_slots: int = 10,
) -> None:
    """One clip as a PNG: crops over valence-arousal, expressions and AUs, in seconds.

    ``crops`` (k, 112, 112, 3) RGB are those of ``frames`` (k,), chosen by
    :func:`strip_frames` with the same ``n_slots``; without any there is no strip. Columns are
    found by ``feature_names`` and a group without columns is left out. Times without a face
    are hatched. Names in ``weak_features`` carry an asterisk and a footnote. Raises
    ``FacerError`` for a clip without frames or at times that do not rise, for crops that do
    not match, and for a path that cannot be written.
    """
    if clip.n_frames == 0:
        raise FacerError(f"{path}: found a clip without frames, expected at least one to draw")
    edges = time_edges(clip.timestamp_s)
    if not (np.isfinite(edges).all() and edges[-1] > edges[0]):
        raise FacerError(f"{path}: found frames at times that do not rise, expected seconds")
    if len(frames) != len(crops):
        raise FacerError(f"{path}: found {len(crops)} crops for {len(frames)} frames")
    view = _View(
        clip,
        {name: np.clip(clip.features[:, i], -_FAR, _FAR) for i, name in enumerate(feature_names)},
        edges,
        frozenset(weak_features),
    )
    groups = drawn_columns(feature_names)
    strip_in = (_WIDTH_IN - _LEFT_IN - _RIGHT_IN) / n_slots
    heights = {"va": 1.25, "expr": 1.6, "au": 0.19 * len(groups.get("au", ()))}
    sizes = [strip_in] * bool(len(crops)) + [heights[group] for group in groups]
    height_in = _TOP_IN + sum(sizes) + _GAP_IN * (len(sizes) - 1) + _BOTTOM_IN
    draw = {"va": _draw_valence_arousal, "expr": _draw_expressions, "au": _draw_action_units}
    with canvas(path, (_WIDTH_IN, height_in), title, subtitle) as figure:
        axes = _stack_axes(figure, sizes)
        if len(crops):
            _draw_strip(axes[0], view, frames, crops, n_slots)
        for axis, (group, names) in zip(axes[-len(groups) :], groups.items(), strict=True):
            draw[group](axis, view, names)
        _share_time(axes, view)
        notes = []
        if any(name in view.weak for names in groups.values() for name in names):
            notes.append(WEAK_NOTE)
        if not clip.valid.all():
            notes.append("hatched: no face" if clip.valid.any() else "no face in any frame")
        note = ";  ".join(notes)
        figure.text(_LEFT_IN / _WIDTH_IN, 0.12 / height_in, note, size=8, color="#555555")


def confusion_picture(
    path: str | Path,
    matrix: npt.NDArray[np.integer[Any]],
    names: Sequence[str],
    title: str,
    subtitle: str = "",
) -> None:
    """A confusion matrix as a PNG: rows are labels, columns predictions, as shares of a row.

    ``matrix`` (K, K) counts samples. Each cell shows its share and, small, its count; the
    diagonal is the recall. Raises ``FacerError`` when sizes do not match.
    """
    n = len(names)
    if matrix.shape != (n, n):
        raise FacerError(f"{path}: found a matrix {matrix.shape} for {n} names, expected {n, n}")
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros((n, n)), where=totals > 0)
    side = 0.75 * n
    size = (1.6 + side + 0.4, 1.0 + side + 0.9)
    with canvas(path, size, title, subtitle) as figure:
        axis = figure.add_axes((1.6 / size[0], 0.9 / size[1], side / size[0], side / size[1]))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(n, n):
            color = "white" if shares[row, column] > 0.6 else "#222222"
            count, share = int(matrix[row, column]), 100 * shares[row, column]
            shown = f"{share:.0f}%" if totals[row, 0] else "-"
            axis.text(column, row - 0.08, shown, ha="center", va="center", color=color)
            axis.text(
                column, row + 0.26, f"{count:,}", ha="center", va="center", color=color, size=7
            )
        labels = [drawable(shorten(name, 16)) for name in names]
        axis.set_xticks(range(n), labels, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(
            range(n),
            [f"{label}  n={int(k):,}" for label, k in zip(labels, totals[:, 0], strict=True)],
        )
        axis.tick_params(length=0, labelsize=9)
        axis.set_xlabel("predicted")
        axis.set_ylabel("labelled")
        axis.spines[:].set_visible(False)


def au_bars_picture(
    path: str | Path,
    names: Sequence[str],
    auc: Sequence[float],
    f1: Sequence[float],
    n: Sequence[int],
    title: str,
    subtitle: str = "",
) -> None:
    """AUC and F1 of each action unit as a PNG of bars; NaN has no bar, and a word says why.

    The dashed line is the AUC of guessing. ``n`` are the labelled samples of each unit.
    """
    place = np.arange(len(names))
    size = (max(6.0, 1.2 + 0.62 * len(names)), 4.5)
    with canvas(path, size, title, subtitle) as figure:
        axis = figure.add_axes((0.7 / size[0], 1.35 / size[1], 1 - 0.9 / size[0], 2.1 / size[1]))
        for offset, values, color, label in (
            (-0.2, auc, "#0072B2", "AUC"),
            (0.2, f1, "#E69F00", "F1"),
        ):
            heights = np.nan_to_num(np.asarray(values, dtype=np.float64))
            axis.bar(place + offset, heights, 0.38, color=color, label=label)
            for x, value in zip((place + offset).tolist(), values, strict=True):
                if np.isfinite(value):
                    text = f"{value:.2f}".removeprefix("0")
                    axis.text(x, value + 0.01, text, ha="center", va="bottom", size=7)
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


def _stack_axes(figure: Figure, sizes_in: Sequence[float]) -> list[Axes]:
    """Axes of the given heights, one under another."""
    width, height = figure.get_size_inches()
    axes, top = [], height - _TOP_IN
    for size in sizes_in:
        box = (_LEFT_IN, top - size, width - _LEFT_IN - _RIGHT_IN, size)
        axes.append(
            figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        )
        top -= size + _GAP_IN
    return axes


def _share_time(axes: Sequence[Axes], view: _View) -> None:
    """One time axis for all panels, and hatching over the times without a face."""
    for axis in axes:
        for gap in runs_of(~view.clip.valid):
            axis.axvspan(
                view.edges[gap.start], view.edges[gap.stop], facecolor="#EEEEEE", hatch="///", lw=0
            )
        axis.set_xlim(view.edges[0], view.edges[-1])
        axis.tick_params(labelbottom=axis is axes[-1])
    axes[-1].set_xlabel("seconds")


def _draw_strip(axis: Axes, view: _View, frames: I64, crops: U8, n_slots: int) -> None:
    start, width = view.edges[0], (view.edges[-1] - view.edges[0]) / n_slots
    for position, crop in zip(_slot_positions(view.clip, n_slots)[frames], crops, strict=True):
        left = start + int(position) * width
        extent = (left + 0.02 * width, left + 0.98 * width, 0.0, 1.0)
        axis.imshow(crop, extent=extent, aspect="auto", zorder=3)
    axis.set_ylim(0, 1)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _draw_valence_arousal(axis: Axes, view: _View, names: Sequence[str]) -> None:
    for run, times in view.runs():
        for name in names:
            values = np.pad(view.columns[name][run], 1, mode="edge")
            axis.plot(times, values, color=CURVE_COLORS[name], linewidth=1.8)
    for name in names:
        axis.plot([], [], color=CURVE_COLORS[name], linewidth=1.8, label=view.label(name))
    axis.axhline(0, color="#999999", linewidth=0.7, zorder=0)
    axis.set_ylim(-1, 1)
    axis.set_yticks([-1, 0, 1])
    _legend(axis)


def _draw_expressions(axis: Axes, view: _View, names: Sequence[str]) -> None:
    """Shares of the expressions, stacked; neutral lies on top as the background."""
    order = sorted(names, key=lambda name: name == "neutral")
    colors = [CURVE_COLORS[name] for name in order]
    for run, times in view.runs():
        shares = [np.pad(view.columns[name][run], 1, mode="edge") for name in order]
        axis.stackplot(times, np.stack(shares), colors=colors, linewidth=0)
    for name in names:
        axis.fill_between([], [], color=CURVE_COLORS[name], label=view.label(name), linewidth=0)
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("expression")
    _legend(axis)


def _draw_action_units(axis: Axes, view: _View, names: Sequence[str]) -> None:
    matrix = np.ma.masked_invalid(np.stack([view.columns[name] for name in names]))
    rows = np.arange(len(names) + 1)
    mesh = axis.pcolormesh(view.edges, rows, matrix, cmap="Blues", vmin=0, vmax=1)
    labels = [f"{au_meaning(name)}  {view.label(name).upper()}" for name in names]
    axis.set_yticks(rows[:-1] + 0.5, labels, size=8)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    bar = axis.inset_axes((1.015, 0.0, 0.015, 1.0))
    axis.figure.colorbar(mesh, cax=bar, ticks=[0, 0.5, 1])
    bar.set_ylabel("probability", size=8)
    bar.tick_params(labelsize=8)


def _legend(axis: Axes) -> None:
    axis.legend(
        loc="center left",
        bbox_to_anchor=(1.005, 0.5),
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        labelspacing=0.25,
    )


def _slot_positions(clip: ClipFeatures, n_slots: int) -> F64:
    """Where each frame lies among equal slots of the clip's time, (T,), in [0, n_slots)."""
    edges = time_edges(clip.timestamp_s)
    share = (clip.timestamp_s - edges[0]) / (edges[-1] - edges[0])
    return np.asarray(np.clip(share * n_slots, 0, np.nextafter(n_slots, 0)))


def time_edges(timestamp_s: F64) -> F64:
    """Times at which T >= 1 frames begin and end, (T + 1,); a lone frame lasts 1/25 s."""
    if timestamp_s[0] == timestamp_s[-1]:
        return np.asarray(timestamp_s[0] + np.linspace(-0.02, 0.02, len(timestamp_s) + 1))
    middles = (timestamp_s[:-1] + timestamp_s[1:]) / 2
    first = timestamp_s[0] - (middles[0] - timestamp_s[0])
    last = timestamp_s[-1] + (timestamp_s[-1] - middles[-1])
    return np.concatenate(([first], middles, [last]))


def runs_of(mask: Bools) -> list[slice]:
    """Maximal runs of True.

    >>> runs_of(np.array([True, False, True, True]))
    [slice(0, 1, None), slice(2, 4, None)]
    """
    steps = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return [slice(int(start), int(stop)) for start, stop in steps.reshape(-1, 2)]


def _tick(name: str, n: int) -> str:
    meaning = au_meaning(name)
    return drawable(f"{meaning}  {name.upper()}\nn={n:,}")
