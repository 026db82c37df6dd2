"""Two stores over the same videos: what both saw, and where they are apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import clock_of
from facer.pipeline.summary.config import CompareConfig
from facer.pipeline.summary.schema import COMPARED_CLIPS, COMPARED_COLUMNS
from facer.stages.summary.comparison import correlations, lags, pair, varying
from facer.stages.summary.windows import of_known
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic, written_whole
from facer.storage.files.refusals import refuse_existing
from facer.storage.labels.matching import match_ids
from facer.storage.schema import F64, ClipFeatures, Record
from facer.storage.streaming import stream
from facer.storage.study.tables import Collected

_Side = tuple[Record, ClipFeatures]


@dataclass
class StoreComparison:
    """Numbers by column, and by clip with the worst first."""

    columns: list[dict[str, Any]]
    clips: list[dict[str, Any]]
    only_a: tuple[str, ...]  # clips without a row, also where they could be several of b
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
    def tables(self) -> Mapping[str, Collected]:
        """``columns`` and ``clips``."""
        of = {"columns": (COMPARED_COLUMNS, self.columns), "clips": (COMPARED_CLIPS, self.clips)}
        return {
            name: Collected.of(columns, [[row[c.name] for c in columns] for row in rows])
            for name, (columns, rows) in of.items()
        }

    @property
    def frames(self) -> Mapping[str, Any]:
        """``columns`` and ``clips`` as DataFrames."""
        return {name: table.frame() for name, table in self.tables.items()}


def compare_stores(one: FeatureStore, other: FeatureStore) -> StoreComparison:
    """Compare two stores; FacerError when no column or no clip is common."""
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
    sums = _Sums(names)
    streams = (stream(s, [ids[i] for ids in joined]) for i, s in enumerate((one, other)))
    clips = [_clip_row(sums, a, b, places) for a, b in zip(*streams, strict=True)]
    clips.sort(key=_badness, reverse=True)
    settings = {"a": one.path, "b": other.path, "features": names}
    a_ids, b_ids = (set(ids) for ids in zip(*joined, strict=True))
    only_a = tuple(clip for clip in one.clip_ids if clip not in a_ids)
    only_b = tuple(clip for clip in other.clip_ids if clip not in b_ids)
    return StoreComparison(sums.rows(), clips, only_a, only_b, settings)


def _clip_row(
    sums: _Sums, one: _Side, other: _Side, places: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """A clip's row; what both saw is taken in by the sums."""
    (record_a, clip_a), (record_b, clip_b) = one, other
    row: dict[str, Any] = {
        "clip_id": record_a.clip_id, "clip_b": record_b.clip_id, "status_a": record_a.status,
        "status_b": record_b.status, **dict.fromkeys(
            ("both_s", "only_a_s", "only_b_s", "neither_s", "correlation", "distance"),
            float("nan")), "farthest": "",
    }  # fmt: skip
    clock_a, clock_b = clock_of(clip_a, record_a), clock_of(clip_b, record_b)
    if clock_a is None or clock_b is None or not clip_a.n_frames:
        return row
    found = pair(
        clock_a, clip_a.features[:, places[0]], clip_a.valid,
        clock_b, clip_b.features[:, places[1]], clip_b.valid,
    )  # fmt: skip
    row |= {name: getattr(found, name) for name in ("both_s", "only_a_s", "only_b_s", "neither_s")}
    apart, alike = sums.add(found)
    if np.isfinite(apart).any():
        row |= {"correlation": of_known(np.mean, alike), "distance": of_known(np.mean, apart),
                "farthest": sums.names[int(np.nanargmax(apart))]}  # fmt: skip
    return row


class _Sums:
    """What is added up over the clips, by column."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.clips = np.zeros(len(names))
        self.n, self.a, self.b, self.aa, self.bb, self.ab, self.far = np.zeros((7, len(names)))
        self.from_a, self.from_b = np.full((2, len(names)), np.nan)  # what values count from
        self.alike: list[F64] = []
        self.lags: list[F64] = []

    def add(self, of: Any) -> tuple[F64, F64]:
        """Take in a clip; return its mean distance and correlation by column."""
        there = np.isfinite(of.a) & np.isfinite(of.b)
        n = there.sum(axis=0)
        far = np.where(there, np.abs(of.a - of.b), 0).sum(axis=0)
        if len(there):  # a column's first value: sums of squares of large numbers lose the small
            first, new = there.argmax(axis=0)[None], np.isnan(self.from_a) & (n > 0)
            for origin, x in ((self.from_a, of.a), (self.from_b, of.b)):
                origin[new] = np.take_along_axis(x, first, axis=0)[0, new]
        a, b = np.where(there, of.a - self.from_a, 0), np.where(there, of.b - self.from_b, 0)
        self.clips += n > 0
        self.n += n
        self.a, self.b = self.a + a.sum(axis=0), self.b + b.sum(axis=0)
        self.aa, self.bb = self.aa + (a**2).sum(axis=0), self.bb + (b**2).sum(axis=0)
        self.ab = self.ab + (a * b).sum(axis=0)
        self.far = self.far + far
        self.alike.append(correlations(of.a, of.b))
        self.lags.append(lags(of))
        return np.where(n > 0, far / np.maximum(n, 1), np.nan), self.alike[-1]

    def rows(self) -> list[dict[str, Any]]:
        """A row a column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_a, mean_b = self.a / self.n, self.b / self.n
            va = varying(self.aa / self.n - mean_a**2, self.aa / self.n)
            vb = varying(self.bb / self.n - mean_b**2, self.bb / self.n)
            both = self.ab / self.n - mean_a * mean_b
            alike = np.where((va > 0) & (vb > 0), both / (np.sqrt(va) * np.sqrt(vb)), np.nan)
            spread = np.sqrt(np.maximum(va + vb - 2 * both, 0))
            far = self.far / self.n
        mean_a, mean_b = self.from_a + mean_a, self.from_b + mean_b
        return [
            {
                "feature": name, "clips": int(self.clips[i]), "frames": int(self.n[i]),
                "mean_a": float(mean_a[i]), "mean_b": float(mean_b[i]),
                "difference": float(mean_b[i] - mean_a[i]), "sd_difference": float(spread[i]),
                "distance": float(far[i]), "correlation": float(alike[i]),
                "correlation_median": of_known(np.median, np.array(self.alike)[:, i]),
                "lag_s": of_known(np.median, np.array(self.lags)[:, i]),
            }
            for i, name in enumerate(self.names)
        ]  # fmt: skip


def _badness(row: Mapping[str, Any]) -> tuple[float, float]:
    """Time that only one saw, then distance; a clip that one of both lacks is worst."""
    alone = row["only_a_s"] + row["only_b_s"]
    return (np.inf if alone != alone else alone, -np.inf if row["distance"] != row["distance"]
            else row["distance"])  # fmt: skip


def write_comparison(found: StoreComparison, folder: Path, config: CompareConfig) -> None:
    """Write columns.csv, clips.csv, compare.json and index.html into a new folder."""
    from facer.pipeline.views.compare_page import compare_page

    refuse_existing(folder)
    with written_whole(folder) as place:
        place.mkdir(parents=True)
        for name, table in found.tables.items():
            table.to_csv(place / f"{name}.csv")
        write_atomic(place / "compare.json", json.dumps(found.to_json(), indent=1) + "\n")
        write_atomic(place / "index.html", compare_page(found, config.videos, config.worst))
