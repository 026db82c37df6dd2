"""A picture of one clip: its crops over its curves.

Nothing in a name is taken for a formula: ids and titles are drawn as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facer.pipeline.features.stored_video import read_crops, same_video
from facer.pipeline.views import curves
from facer.pipeline.views.canvas import canvas
from facer.stages.features.align import CROP_PX
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import F32, F64, I64, U8, ClipFeatures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FAR = 1e6  # beyond which values are drawn as this: sums of curves stay finite
_WIDTH_IN, _LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _GAP_IN = 11.0, 1.85, 1.3, 0.75, 0.75, 0.14


def draw_clip(
    store: FeatureStore, clip_id: str, video_dir: Path | None, path: Path, note: str = ""
) -> None:
    """Write the PNG of one clip; its video is looked up below ``video_dir``, if that is given.

    ``note`` stands under the title.

    ``FacerError`` for an unknown or failed clip, and where the video is not what was extracted.
    """
    record, clip = store.record(clip_id), store.read(clip_id)
    frames, crops = np.zeros(0, np.int64), np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)
    if video_dir is not None:
        frames = curves.strip_frames(clip)
        crops = read_crops(same_video(record, video_dir), clip, frames)
    known = f"{clip.n_frames} frames, {clip.valid.mean():.0%} with a face"
    clip_picture(
        path, clip, store.feature_names, frames, crops, title=clip_id,
        subtitle=f"{known}; {note}" if note else known, weak_features=store.weak_features,
        au_scale=curves.au_scale(store.provenance.settings),
    )  # fmt: skip


@dataclass(frozen=True)
class _View:
    """What every panel of a clip's picture draws from."""

    clip: ClipFeatures
    columns: dict[str, F32]  # name -> (T,)
    edges: F64  # (T + 1,) seconds at which frames begin and end
    weak: frozenset[str]
    au_scale: tuple[str, float]  # what their numbers are, and the greatest

    def label(self, name: str) -> str:
        """The name, with an asterisk when it was taught by weak labels."""
        return f"{name}*" if name in self.weak else name

    def runs(self) -> Iterator[tuple[slice, F64]]:
        """Each run of frames with a face, and its times extended to where the run ends."""
        for run in curves.runs_of(self.clip.valid):
            inner = self.clip.timestamp_s[run]
            yield run, np.concatenate(([self.edges[run.start]], inner, [self.edges[run.stop]]))


def clip_picture(
    path: str | Path, clip: ClipFeatures, feature_names: Sequence[str], frames: I64, crops: U8, *,
    title: str, subtitle: str = "", weak_features: Sequence[str] = (),
    au_scale: tuple[str, float] = ("probability", 1.0),
) -> None:  # fmt: skip
    """One clip as a PNG: crops over valence-arousal, expressions and AUs, in seconds.

    ``crops`` (k, 112, 112, 3) RGB are those of ``frames`` (k,), chosen by :func:`strip_frames`;
    without any there is no strip. Columns are found by ``feature_names`` and a group without
    columns is left out. Times without a face are hatched. Names in ``weak_features`` carry an
    asterisk and a footnote; ``au_scale`` says what the numbers of AUs are, and the greatest.
    Raises ``FacerError`` for a clip without frames or at times that do not rise, for a store
    without any such column, and for a path that cannot be written.
    """
    if clip.n_frames == 0:
        raise FacerError(f"{path}: found a clip without frames, expected at least one to draw")
    edges = curves.time_edges(clip.timestamp_s)
    if not (np.isfinite(edges).all() and edges[-1] > edges[0]):
        raise FacerError(f"{path}: found frames at times that do not rise, expected seconds")
    values = np.clip(clip.features, -_FAR, _FAR).T
    columns = dict(zip(feature_names, values, strict=True))
    view = _View(clip, columns, edges, frozenset(weak_features), au_scale)
    groups = curves.drawn_columns(feature_names)
    if not groups:
        raise FacerError(
            f"{path}: found none of the columns that a picture shows, expected valence, arousal, "
            "expressions or action units; facer report and facer figure draw others"
        )
    strip_in = (_WIDTH_IN - _LEFT_IN - _RIGHT_IN) / curves.SLOTS
    heights = {"va": 1.25, "expr": 1.6, "au": 0.19 * len(groups.get("au", ()))}
    sizes = [strip_in] * bool(len(crops)) + [heights[group] for group in groups]
    height_in = _TOP_IN + sum(sizes) + _GAP_IN * (len(sizes) - 1) + _BOTTOM_IN
    with canvas(path, (_WIDTH_IN, height_in), title, subtitle) as figure:
        axes = _stack_axes(figure, sizes)
        if len(crops):
            _draw_strip(axes[0], view, frames, crops)
        for axis, (group, names) in zip(axes[-len(groups) :], groups.items(), strict=True):
            _DRAW[group](axis, view, names)
        _share_time(axes, view)
        note = _footnote(view, groups)
        figure.text(_LEFT_IN / _WIDTH_IN, 0.12 / height_in, note, size=8, color="#555555")


def _footnote(view: _View, groups: Mapping[str, Sequence[str]]) -> str:
    notes = []
    if any(name in view.weak for names in groups.values() for name in names):
        notes.append(curves.WEAK_NOTE)
    if not view.clip.valid.all():
        notes.append("hatched: no face" if view.clip.valid.any() else "no face in any frame")
    return ";  ".join(notes)


def _stack_axes(figure: Figure, sizes_in: Sequence[float]) -> list[Axes]:
    """Axes of the given heights, one under another."""
    width, height = figure.get_size_inches()
    left, share = _LEFT_IN / width, (width - _LEFT_IN - _RIGHT_IN) / width
    axes, top = [], height - _TOP_IN
    for size in sizes_in:
        axes.append(figure.add_axes((left, (top - size) / height, share, size / height)))
        top -= size + _GAP_IN
    return axes


def _share_time(axes: Sequence[Axes], view: _View) -> None:
    """One time axis for all panels, and hatching over the times without a face."""
    gaps = [view.edges[[gap.start, gap.stop]] for gap in curves.runs_of(~view.clip.valid)]
    for axis in axes:
        for start, stop in gaps:
            axis.axvspan(start, stop, facecolor="#EEEEEE", hatch="///", lw=0)
        axis.set_xlim(view.edges[0], view.edges[-1])
        axis.tick_params(labelbottom=axis is axes[-1])
    axes[-1].set_xlabel("seconds")


def _draw_strip(axis: Axes, view: _View, frames: I64, crops: U8) -> None:
    start, width = view.edges[0], (view.edges[-1] - view.edges[0]) / curves.SLOTS
    for position, crop in zip(curves.slot_positions(view.clip)[frames], crops, strict=True):
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
            axis.plot(times, values, color=curves.CURVE_COLORS[name], linewidth=1.8)
    for name in names:
        axis.plot([], [], color=curves.CURVE_COLORS[name], linewidth=1.8, label=view.label(name))
    axis.axhline(0, color="#999999", linewidth=0.7, zorder=0)
    axis.set_ylim(-1, 1)
    axis.set_yticks([-1, 0, 1])
    _legend(axis)


def _draw_expressions(axis: Axes, view: _View, names: Sequence[str]) -> None:
    """Shares of the expressions, stacked; neutral lies on top as the background."""
    order = sorted(names, key=lambda name: name == "neutral")
    colors = [curves.CURVE_COLORS[name] for name in order]
    for run, times in view.runs():
        shares = [np.pad(view.columns[name][run], 1, mode="edge") for name in order]
        axis.stackplot(times, np.stack(shares), colors=colors, linewidth=0)
    for name in names:
        axis.fill_between(
            [], [], color=curves.CURVE_COLORS[name], label=view.label(name), linewidth=0
        )
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.set_ylabel("expression")
    _legend(axis)


def _draw_action_units(axis: Axes, view: _View, names: Sequence[str]) -> None:
    matrix = np.ma.masked_invalid(np.stack([view.columns[name] for name in names]))
    rows = np.arange(len(names) + 1)
    unit, high = view.au_scale
    mesh = axis.pcolormesh(view.edges, rows, matrix, cmap="Blues", vmin=0, vmax=high)
    labels = [f"{curves.au_meaning(name)}  {view.label(name).upper()}" for name in names]
    axis.set_yticks(rows[:-1] + 0.5, labels, size=8)
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    bar = axis.inset_axes((1.015, 0.0, 0.015, 1.0))
    axis.figure.colorbar(mesh, cax=bar, ticks=[0, high / 2, high])
    bar.set_ylabel(unit, size=8)
    bar.tick_params(labelsize=8)


def _legend(axis: Axes) -> None:
    axis.legend(loc="center left", bbox_to_anchor=(1.005, 0.5), frameon=False, fontsize=9,
                handlelength=1.2, labelspacing=0.25)  # fmt: skip


_DRAW: Mapping[str, Callable[[Axes, _View, Sequence[str]], None]] = {
    "va": _draw_valence_arousal, "expr": _draw_expressions, "au": _draw_action_units
}  # fmt: skip
