"""What the overview of a store says, read part by part: scores and boxes, never features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage import FeatureStore
from facer.storage.schema import F64, I64, Record

BLOCK_FRAMES = 1 << 18  # read at a time
_BARS = 40
_SCORE_EDGES = np.linspace(0, 1, _BARS + 1)
_FACE_EDGES_PX = np.arange(0, 4097, dtype=np.float64)  # merged to fewer at the end
_ARRAYS = ("valid", "det_score", "bbox_px", "n_faces")


@dataclass(frozen=True)
class Histogram:
    """Counts (B,) between edges (B + 1,), and how many values lie above the last edge."""

    edges: F64
    counts: I64
    above: int = 0

    def to_json(self) -> dict[str, Any]:
        """For the overview's script."""
        edges, counts = self.edges.round(4).tolist(), self.counts.tolist()
        return {"edges": edges, "counts": counts, "above": self.above}


@dataclass(frozen=True)
class Survey:
    """Figures of C clips, each (C,) and nan where there is nothing to measure."""

    records: tuple[Record, ...]
    duration_s: F64
    score: F64  # mean detection score of the frames with a face
    quality: F64  # over all frames
    face_px: F64  # median height of the face's box
    most_faces: F64  # in one frame
    score_histogram: Histogram  # of frames with a face
    face_histogram: Histogram

    def worst_first(self) -> I64:
        """Places of the clips, (C,): failed ones, then by quality, then by id."""
        failed = np.array([record.status == "failed" for record in self.records], bool)
        return np.lexsort((np.nan_to_num(self.quality), ~failed))


def survey_store(store: FeatureStore) -> Survey:
    """Measure every clip; memory is a few numbers a clip and one block of frames."""
    return store.retrying(lambda: _survey(store))


def _survey(store: FeatureStore) -> Survey:
    records = store.records
    figures = np.full((3, len(records)), np.nan)
    scores = np.zeros(len(_SCORE_EDGES) - 1, np.int64)
    faces = np.zeros(len(_FACE_EDGES_PX) - 1, np.int64)
    for places, block in _blocks(store, records):
        height_px = block["bbox_px"][:, 3] - block["bbox_px"][:, 1]
        first = records[places[0]].start
        ours = np.zeros(len(height_px), bool)  # not rows of clips that a later part has again
        for place in places:
            rows = slice(records[place].start - first, records[place].stop - first)
            clip = {name: values[rows] for name, values in block.items()}
            figures[:, place] = _clip_figures(clip, height_px[rows])
            ours[rows] = True
        scores += np.histogram(block["det_score"][ours].clip(0, 1), _SCORE_EDGES)[0]
        faces += np.histogram(height_px[ours].clip(0, 4096), _FACE_EDGES_PX)[0]
    score, face_px, most_faces = figures
    return Survey(
        records=records,
        duration_s=np.array([_duration_s(record) for record in records]),
        score=score,
        quality=np.array([record.overall_quality for record in records], np.float64),
        face_px=face_px,
        most_faces=most_faces,
        score_histogram=Histogram(_SCORE_EDGES, scores),
        face_histogram=merged(Histogram(_FACE_EDGES_PX, faces)),
    )


def _blocks(
    store: FeatureStore, records: tuple[Record, ...]
) -> Iterator[tuple[list[int], dict[str, npt.NDArray[Any]]]]:
    """Places of some clips that lie one after another in a part, and the part's rows of them."""
    by_part: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        if record.n_frames:
            by_part[record.part].append(place)
    for part, places in sorted(by_part.items()):
        stored = {name: store.array(part, name) for name in _ARRAYS}
        places.sort(key=lambda place: records[place].start)
        while places:
            start = records[places[0]].start
            n = max(1, sum(records[place].stop - start <= BLOCK_FRAMES for place in places))
            stop = records[places[n - 1]].stop
            yield places[:n], {name: array.read(start, stop) for name, array in stored.items()}
            places = places[n:]


def _clip_figures(clip: dict[str, npt.NDArray[Any]], height_px: F64) -> tuple[float, ...]:
    """Score, face height and most faces of one clip of one frame or more."""
    valid = clip["valid"]
    most = float(clip["n_faces"].max())
    if not valid.any():
        return np.nan, np.nan, most
    scores = clip["det_score"][valid].astype(np.float64)
    known = np.isfinite(scores)
    score = float(scores[known].mean()) if known.any() else np.nan
    heights = height_px[valid & np.isfinite(height_px)]
    face_px = float(np.median(heights)) if len(heights) else np.nan
    return score, face_px, most


def _duration_s(record: Record) -> float:
    return record.n_frames / record.fps if record.n_frames and record.fps > 0 else np.nan


def histogram(values: F64, step: float | None = None) -> Histogram:
    """Bars of the finite values from 0, or of width ``step``; a far tail is counted, not drawn."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Histogram(np.array([0.0, 1.0]), np.zeros(1, np.int64))
    top, usual = float(known.max()), float(np.quantile(known, 0.99))
    limit = 1.2 * usual if top > 3 * usual > 0 else top
    edges = np.linspace(0, limit or 1.0, _BARS + 1)
    if step is not None and limit - known.min() <= 3 * _BARS * step:
        edges = np.arange(np.floor(known.min()) - 0.5 * step, limit + 1.5 * step, step)
    counts = np.histogram(known, edges)[0]
    return Histogram(edges, counts, int((known > edges[-1]).sum()))


def merged(fine: Histogram) -> Histogram:
    """A histogram of many narrow bars without its empty end, in at most 40 wider ones."""
    filled = np.flatnonzero(fine.counts)
    if not len(filled):
        return Histogram(fine.edges[:2], np.zeros(1, np.int64))
    wide = -(-int(filled[-1] + 1) // _BARS)
    bars = -(-int(filled[-1] + 1) // wide)
    counts = np.pad(fine.counts, (0, max(0, bars * wide - len(fine.counts))))
    edges = fine.edges[0] + np.arange(bars + 1) * wide * (fine.edges[1] - fine.edges[0])
    return Histogram(edges, counts[: bars * wide].reshape(bars, wide).sum(1))
