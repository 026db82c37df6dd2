"""Two stores over the same videos: what both saw, and where they are apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.runtime.places import Place
from facer.pipeline.summary.clips import times_of
from facer.stages.summary.comparison import correlations, lags, pair
from facer.stages.summary.track import clock
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.exchange.tables import aside
from facer.storage.files.objects import write_atomic
from facer.storage.labels.matching import match_ids
from facer.storage.schema import F64
from facer.storage.streaming import stream
from facer.storage.study.columns import Column, integer, number, text
from facer.storage.study.tables import Collected, open_table

COLUMNS: Sequence[Column] = (
    text("feature", "column that both stores have"),
    integer("clips", "clips with frames that both saw"),
    integer("frames", "frames that both saw", "frames"),
    number("mean_a", "of the feature", "over the frames that both saw"),
    number("mean_b", "of the feature", "over the frames that both saw"),
    number("difference", "of the feature", "mean of b minus a"),
    number("sd_difference", "of the feature", "standard deviation of b minus a"),
    number("distance", "of the feature", "mean absolute difference"),
    number("correlation", "-1 to 1", "over all frames that both saw"),
    number("correlation_median", "-1 to 1", "median of the clips' own correlations"),
    number("lag_s", "s", "median over clips of how much later b is, in 25ths of a second"),
)
CLIPS: Sequence[Column] = (
    text("clip_id", "of store a"), text("clip_b", "of store b"),
    text("status_a", "ok, no_face, no_sound, failed"),
    text("status_b", "ok, no_face, no_sound, failed"),
    number("both_s", "s", "time that both saw"), number("only_a_s", "s", "time that only a saw"),
    number("only_b_s", "s", "time that only b saw"),
    number("neither_s", "s", "time that neither saw"),
    number("correlation", "-1 to 1", "mean over the columns"),
    number("distance", "of the features", "mean absolute difference over frames and columns"),
    text("farthest", "the column with the greatest distance"),
)  # fmt: skip


@dataclass
class StoreComparison:
    """Numbers by column, and by clip with the worst first."""

    columns: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    only_a: tuple[str, ...]  # clips
    only_b: tuple[str, ...]
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """One object; None where there is no number."""
        rows = {"columns": self.columns, "clips": self.clips}
        plain = {
            name: [{k: None if v != v else v for k, v in row.items()} for row in of]
            for name, of in rows.items()
        }
        return {**plain, "only_a": self.only_a, "only_b": self.only_b, **self.settings}

    @property
    def frames(self) -> Mapping[str, Any]:
        """``columns`` and ``clips`` as DataFrames."""
        return {
            name: _collected(columns, rows).frame()
            for name, columns, rows in (
                ("columns", COLUMNS, self.columns), ("clips", CLIPS, self.clips)
            )
        }  # fmt: skip


def compare(
    a: FeatureStore | Place, b: FeatureStore | Place, output: Place | None = None, *,
    videos: Place | None = None, worst: int = 12,
) -> StoreComparison:  # fmt: skip
    """Compare two stores over the same videos, as ``facer compare``.

    Clips are joined by their ids as labels are, columns by name; frames by their time. ``output``
    is a new folder for csv, JSON and a page, which shows what only one saw of the ``worst`` clips
    where ``videos`` is their VIDEO_DIR. Raises FacerError when nothing is common.
    """
    if videos is not None and output is None:
        raise OptionError(f"{named('videos')}: expected {named('output')} beside it")
    found = _compare(*(s if isinstance(s, FeatureStore) else FeatureStore.open(s) for s in (a, b)))
    if output is not None:
        place = None if videos is None else Path(videos)
        write_comparison(found, Path(output), place, worst)
    return found


def _compare(one: FeatureStore, other: FeatureStore) -> StoreComparison:
    names = [name for name in one.feature_names if name in other.feature_names]
    match = match_ids(one.clip_ids, other.clip_ids)
    if not names or not match.pairs:
        what = "clip" if names else "column"
        raise FacerError(
            f"{one.path} and {other.path}: found no common {what}, expected two stores over the "
            "same videos; columns and clips are joined by their names"
        )
    joined = [(one.clip_ids[row], clip) for row, clip in match.pairs]
    places = [[s.feature_names.index(name) for name in names] for s in (one, other)]
    sums, clips = _Sums(len(names)), []
    streams = (stream(s, [ids[i] for ids in joined]) for i, s in enumerate((one, other)))
    for (record_a, clip_a), (record_b, clip_b) in zip(*streams, strict=True):
        row: dict[str, Any] = {
            "clip_id": record_a.clip_id, "clip_b": record_b.clip_id, "status_a": record_a.status,
            "status_b": record_b.status, **dict.fromkeys(
                ("both_s", "only_a_s", "only_b_s", "neither_s", "correlation", "distance"),
                float("nan")), "farthest": "",
        }  # fmt: skip
        times = [times_of(clip_a, record_a), times_of(clip_b, record_b)]
        if times[0] is not None and len(times[0]) and times[1] is not None:
            found = pair(
                clock(times[0], record_a.fps), clip_a.features[:, places[0]], clip_a.valid,
                clock(times[1], record_b.fps), clip_b.features[:, places[1]], clip_b.valid,
            )  # fmt: skip
            apart, alike = sums.add(found)
            row |= {"both_s": found.both_s, "only_a_s": found.only_a_s,
                    "only_b_s": found.only_b_s, "neither_s": found.neither_s}  # fmt: skip
            if np.isfinite(apart).any():
                row |= {"correlation": _mean(alike), "distance": _mean(apart),
                        "farthest": names[int(np.nanargmax(apart))]}  # fmt: skip
        clips.append(row)
    clips.sort(key=_badness, reverse=True)
    settings = {"a": one.path, "b": other.path, "features": names}
    paired = {b for _, b in joined}
    only_b = tuple(clip for clip in other.clip_ids if clip not in paired)
    return StoreComparison(sums.rows(names), clips, match.labels_only, only_b, settings)


class _Sums:
    """What is added up over the clips, by column."""

    def __init__(self, width: int) -> None:
        self.clips = np.zeros(width)
        self.n, self.a, self.b, self.aa, self.bb, self.ab, self.far = np.zeros((7, width))
        self.alike: list[F64] = []
        self.lags: list[F64] = []

    def add(self, of: Any) -> tuple[F64, F64]:
        """Take in a clip; return its mean distance and correlation by column."""
        there = np.isfinite(of.a) & np.isfinite(of.b)
        a, b = np.where(there, of.a, 0), np.where(there, of.b, 0)
        n = there.sum(axis=0)
        self.clips += n > 0
        self.n += n
        self.a, self.b = self.a + a.sum(axis=0), self.b + b.sum(axis=0)
        self.aa, self.bb = self.aa + (a**2).sum(axis=0), self.bb + (b**2).sum(axis=0)
        self.ab = self.ab + (a * b).sum(axis=0)
        far = np.abs(a - b).sum(axis=0)
        self.far = self.far + far
        self.alike.append(correlations(of.a, of.b))
        self.lags.append(lags(of))
        return np.where(n > 0, far / np.maximum(n, 1), np.nan), self.alike[-1]

    def rows(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """A row a column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_a, mean_b = self.a / self.n, self.b / self.n
            va, vb = self.aa / self.n - mean_a**2, self.bb / self.n - mean_b**2
            both = self.ab / self.n - mean_a * mean_b
            scale = np.sqrt(np.maximum(va, 0) * np.maximum(vb, 0))
            alike = np.where(scale > 1e-12, both / scale, np.nan)
            spread = np.sqrt(np.maximum(va + vb - 2 * both, 0))
            far = self.far / self.n
        return [
            {
                "feature": name, "clips": int(self.clips[i]), "frames": int(self.n[i]),
                "mean_a": float(mean_a[i]), "mean_b": float(mean_b[i]),
                "difference": float(mean_b[i] - mean_a[i]), "sd_difference": float(spread[i]),
                "distance": float(far[i]), "correlation": float(alike[i]),
                "correlation_median": _median([row[i] for row in self.alike]),
                "lag_s": _median([row[i] for row in self.lags]),
            }
            for i, name in enumerate(names)
        ]  # fmt: skip


def _badness(row: Mapping[str, Any]) -> tuple[float, float]:
    """Time that only one saw, then distance; a clip that one of both lacks is worst."""
    alone = row["only_a_s"] + row["only_b_s"]
    return (np.inf if alone != alone else alone, -np.inf if row["distance"] != row["distance"]
            else row["distance"])  # fmt: skip


def _mean(values: F64) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


def _median(values: Sequence[float]) -> float:
    there = [value for value in values if value == value]
    return float(np.median(there)) if there else float("nan")


def _collected(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Collected:
    table = Collected(columns)
    table.write({column.name: [row[column.name] for row in rows] for column in columns})
    return table


def write_comparison(
    found: StoreComparison, folder: Path, videos: Path | None = None, worst: int = 12
) -> None:
    """Write columns.csv, clips.csv, compare.json and index.html into a new folder.

    With ``videos``, the page shows crops that only one saw, of the ``worst`` clips.
    """
    from facer.pipeline.views.compare_page import compare_page

    if folder.exists():
        raise FacerError(f"{folder}: found something there, expected a new folder")
    with aside(folder) as place:
        place.mkdir(parents=True)
        for name, columns, rows in (
            ("columns", COLUMNS, found.columns), ("clips", CLIPS, found.clips)
        ):  # fmt: skip
            table = open_table(place / f"{name}.csv", columns, "csv")
            table.write({c.name: [row[c.name] for row in rows] for c in columns})
            table.close()
        write_atomic(place / "compare.json", json.dumps(found.to_json(), indent=1) + "\n")
        write_atomic(place / "index.html", compare_page(found, videos, worst))
