"""What a notebook shows of an object: small tables and curves, with every name escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from facer.storage.errors import printable
from facer.storage.schema import F32, F64, Record
from facer.storage.text.palette import COLOURS

_WIDTH, _HEIGHT = 480, 90  # px
_POINTS = 480  # of a curve at most
_CLIPS = 10  # of a store


def text(value: object) -> str:
    """Return a value as text of HTML: markup and control characters escaped."""
    return escape(printable(value))


def figure(value: float) -> str:
    """Return a score as tables show it; - where it is not defined."""
    return "-" if value != value else f"{value:z.4f}"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of HTML with a title over it."""
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    return (
        f"<div><b>{text(title)}</b><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def summary(path: str, records: Sequence[Record], feature_names: Sequence[str]) -> str:
    """Return a line on a store: how many clips of which status, how many frames."""
    statuses = [record.status for record in records]
    counts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
    frames = sum(record.n_frames for record in records)
    return (
        f"{path!r}: {len(statuses)} clips ({', '.join(counts) or 'none yet'}), "
        f"{frames} frames, {len(feature_names)} features"
    )


def records_table(title: str, records: Sequence[Record]) -> str:
    """Return a table of the first clips of a store, and how many more there are."""
    rows: list[tuple[object, ...]] = [
        (r.clip_id, r.status, r.n_frames, r.n_valid, f"{r.fps:.4g}", r.reason)
        for r in records[:_CLIPS]
    ]
    if len(records) > _CLIPS:
        rows.append((f"... and {len(records) - _CLIPS} more", *[""] * 5))
    return table(title, ("clip_id", "status", "frames", "with a face", "fps", "reason"), rows)


def curves(title: str, time_s: F64, values: Mapping[str, F32]) -> str:
    """Return a title, a picture of some curves (T,) over time, and which colour is which.

    Values that are not finite leave gaps.
    """
    none = np.empty(0, np.float32)
    finite = np.concatenate([none, *(curve[np.isfinite(curve)] for curve in values.values())])
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    lines = [
        f'<path fill="none" stroke="{colour}" d="{_path(time_s, curve, low, high)}"/>'
        for colour, curve in zip(COLOURS, values.values(), strict=False)
    ]
    legend = " ".join(
        f'<span style="color:{colour}">{text(name)}</span>'
        for colour, name in zip(COLOURS, values, strict=False)
    )
    return (
        f"<div><b>{text(title)}</b><br>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(lines)}</svg><br>{legend} '
        f"({low:.2f} to {high:.2f})</div>"
    )


def _path(time_s: F64, values: F32, low: float, high: float) -> str:
    """Return a path of SVG that begins anew after each gap."""
    step = max(1, -(-len(values) // _POINTS))
    span_s = float(time_s[-1] - time_s[0]) if len(time_s) else 0.0
    words, pen_is_down = [], False
    for at_s, value in zip(time_s[::step], values[::step], strict=True):
        if not np.isfinite(value):
            pen_is_down = False
            continue
        x = (at_s - time_s[0]) / (span_s or 1) * _WIDTH
        y = _HEIGHT - 2 - (value - low) / ((high - low) or 1) * (_HEIGHT - 4)
        words.append(f"{'L' if pen_is_down else 'M'}{x:.1f} {y:.1f}")
        pen_is_down = True
    return "".join(words)
