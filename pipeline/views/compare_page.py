"""The page of two stores side by side: columns, clips, and the faces that only one saw."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.features.stored_video import read_crops, same_video
from facer.pipeline.summary.clips import clock_of
from facer.pipeline.summary.compare import StoreComparison
from facer.pipeline.summary.schema import COMPARED_CLIPS, COMPARED_COLUMNS
from facer.pipeline.views.footage import jpeg_url
from facer.stages.summary.comparison import pair
from facer.stages.summary.track import FrameTimes
from facer.storage import FeatureStore, Record
from facer.storage.errors import FacerError
from facer.storage.schema import ClipFeatures
from facer.storage.study.columns import Column

_ROWS = 2000  # of a table
_CROPS = 8  # of a clip and store
_STYLE = (
    ":root{color-scheme:light dark}@media print{:root{color-scheme:light}.wide{overflow:visible}}"
    "body{font:14px system-ui;margin:2em;overflow-wrap:anywhere}.wide{overflow-x:auto}"
    "table{border-collapse:collapse;overflow-wrap:normal}"
    "td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #8886}"
    "td:first-child,th:first-child{text-align:left;overflow-wrap:anywhere;min-width:8em}"
    "figure{display:inline-block;margin:.3em}figcaption{font-size:12px;opacity:.8}dt{float:left;"
    "clear:left;margin-right:.5em;font-weight:600}dd{margin:0}"
    "@media(max-width:40em){body{margin:1em}}"
)
_Side = tuple[ClipFeatures, FrameTimes]


def compare_page(found: StoreComparison, videos: Path | None, worst: int) -> str:
    """Return the page; it fetches nothing and runs nothing."""
    tables = _table("Columns", COMPARED_COLUMNS, found.columns)
    tables += _table("Clips, the worst first", COMPARED_CLIPS, found.clips)
    crops = "" if videos is None else _seen_by_one(found, videos, worst)
    alone = "".join(
        f"<p>Only in {which}: {html.escape(', '.join(clips[:50]))}"
        f"{' ...' if len(clips) > 50 else ''}</p>"
        for which, clips in (("a", found.only_a), ("b", found.only_b))
        if clips
    )
    a, b = (html.escape(str(found.settings[name])) for name in "ab")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>facer compare</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style>"
        f"<h1>Two measurements</h1><p>a: {a}<br>b: {b}</p>{alone}{tables}{crops}</html>\n"
    )


def _table(title: str, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{c.name}</th>" for c in columns)
    meant = "".join(f"<dt>{c.name}</dt><dd>{_meaning(c)}</dd>" for c in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_shown(row[c.name])}</td>" for c in columns) + "</tr>"
        for row in rows[:_ROWS]
    )
    more = f"<p>{len(rows) - _ROWS} more rows are in the csv.</p>" if len(rows) > _ROWS else ""
    return (
        f'<h2>{title}</h2><div class="wide" tabindex="0" role="region" aria-label="{title}"><table>'
        f"<tr>{head}</tr>{body}</table></div>{more}"
        f"<details><summary>What the columns are</summary><dl>{meant}</dl></details>"
    )


def _meaning(column: Column) -> str:
    text = ", ".join(filter(None, [column.definition, column.unit]))
    return html.escape(text)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:z.3f}"
    return html.escape(str(value))


def _seen_by_one(found: StoreComparison, videos: Path, worst: int) -> str:
    stores = [FeatureStore.open(found.settings[name]) for name in "ab"]
    apart = [
        row for row in found.clips
        if row["only_a_s"] + row["only_b_s"] != 0  # NaN where a store lacks it
        and {row["status_a"], row["status_b"]} != {"failed"}
    ][:worst]  # fmt: skip
    return "<h2>Faces that only one saw</h2>" + "".join(_clip(stores, row, videos) for row in apart)


def _clip(stores: Sequence[FeatureStore], row: Mapping[str, Any], videos: Path) -> str:
    ids = (row["clip_id"], row["clip_b"])
    records = [store.record(clip_id) for store, clip_id in zip(stores, ids, strict=True)]
    a, b = (_side(store, record) for store, record in zip(stores, records, strict=True))
    source = next((record for record in records if record.source), None)
    parts = [f"<h3>{html.escape(row['clip_id'])}</h3>"]
    for name, mine, theirs in (("a", a, b), ("b", b, a)):
        if mine is not None and len(rows := _alone(mine, theirs)):
            parts.append(f"<p>Only {name} saw a face in {len(rows)} frame(s).</p>")
            parts.append(_strip(mine, rows, source, videos))
    return "".join(parts)


def _side(store: FeatureStore, record: Record) -> _Side | None:
    """A clip with its clock; None where it failed or has no times."""
    if not record.n_frames:
        return None
    clip = store.read(record.clip_id)
    time = clock_of(clip, record)
    return None if time is None else (clip, time)


def _alone(mine: _Side, theirs: _Side | None) -> Any:
    """Rows of a clip in which only this store saw a face."""
    clip, time = mine
    if theirs is None:
        return np.flatnonzero(clip.valid)
    other, their_time = theirs
    none = np.zeros((len(clip.valid), 0), np.float32)
    nothing = np.zeros((len(other.valid), 0), np.float32)
    return np.flatnonzero(pair(time, none, clip.valid, their_time, nothing, other.valid).alone)


def _strip(mine: _Side, rows: Any, source: Record | None, videos: Path) -> str:
    clip, time = mine
    placed = rows[np.isfinite(clip.keypoints_px[rows]).all(axis=(1, 2))]
    if not len(placed):
        return "<p>This store does not say where the face was.</p>"
    some = placed[np.unique(np.linspace(0, len(placed) - 1, _CROPS).round().astype(int))]
    try:
        if source is None:
            raise FacerError("neither store knows its video: both are imports")
        crops = read_crops(same_video(source, videos), clip, some)
    except FacerError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return "".join(
        f'<figure><img width="112" height="112" alt="Face at {time.t_s[row]:.2f} seconds" '
        f'src="{jpeg_url(crop)}"><figcaption>{time.t_s[row]:.2f} s</figcaption></figure>'
        for row, crop in zip(some, crops, strict=True)
    )
