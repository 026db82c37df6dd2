"""One clip's rows in every table of a summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import ClipSummary, bare_track
from facer.stages.summary.config import Span
from facer.stages.summary.episodes import Episodes
from facer.stages.summary.grid import bins, series
from facer.stages.summary.track import FrameTimes
from facer.stages.summary.windows import of_known
from facer.storage.schema import F64, Bools, ClipFeatures
from facer.storage.study.columns import Block
from facer.storage.study.events import Event
from facer.storage.study.marks import unmarked

_NAN = float("nan")
_UNKNOWN: Mapping[str, Any] = {
    "duration_s": _NAN, "fps": _NAN, "n_frames": None, "n_valid": None, "valid_share": _NAN,
    "longest_gap_s": _NAN, "marked_s": _NAN, "faces_max": None, "track_switches": None,
    "face_height_px": _NAN, "det_score_mean": _NAN,
}  # fmt: skip
_NO_EPISODE: Mapping[str, Any] = {
    **{key: [_NAN] for key in ("start_s", "stop_s", "duration_s", "peak", "peak_s", "mean")},
    "feature": [""], "n": [0], "cut_start": [None], "cut_stop": [None],
}  # fmt: skip


def _rows(
    of: ClipSummary, n: int, mine: Mapping[str, Any], beside: Mapping[str, str] = {}
) -> Block:
    same = {"clip_id": of.row.clip_id, "status": of.status, **of.who, **beside}
    return {**{name: [value] * n for name, value in same.items()}, **mine}


def clip_row(of: ClipSummary) -> Block:
    """The clip's row of the clips' table."""
    found: dict[str, Any] = {"reason": of.reason, **_UNKNOWN}
    if of.record is not None:
        kept = ("fps", "n_frames", "n_valid", "track_switches")
        found |= {name: getattr(of.record, name) for name in kept}
    if of.time is not None and of.clip is not None:
        found |= _quality(of, of.time, of.clip)
    return _rows(of, 1, {name: [value] for name, value in found.items()})


def _quality(of: ClipSummary, time: FrameTimes, clip: ClipFeatures) -> dict[str, Any]:
    length = time.stop_s - time.start_s
    marked = unmarked([m for m in of.marks if not m.feature], time.t_s, ())
    heights = clip.bbox_px[clip.valid, 3] - clip.bbox_px[clip.valid, 1]
    seen = bare_track(time, clip.valid & marked)
    return {
        "duration_s": length,
        "valid_share": float(time.weight_s[clip.valid].sum() / length) if length else 0.0,
        "longest_gap_s": seen.unseen_s(time.start_s, time.stop_s),
        "marked_s": float(time.weight_s[~marked].sum()),
        "faces_max": int(clip.n_faces.max(initial=0)),
        "face_height_px": of_known(np.median, heights),
        "det_score_mean": of_known(np.mean, clip.det_score[clip.valid]),
    }


def summary_rows(of: ClipSummary, event: Event, window: str, numbers: Mapping[str, Any]) -> Block:
    """Rows of an event and window, one a feature."""
    beside = {"event": event.name, "trial_type": event.trial_type, "window": window}
    mine = {"feature": of.features.names, "weak": of.features.weak, **numbers}
    return _rows(of, len(of.features.names), mine, beside)


def episode_rows(of: ClipSummary) -> Block:
    """The clip's episodes, or a row that says that it has none."""
    found = [of.episodes_of(track) for track in of.parts]
    if not sum(map(len, found)):
        return _rows(of, 1, _NO_EPISODE)
    joined = {
        name: np.concatenate([getattr(one, name) for one in found])
        for name in Episodes.__annotations__
    }
    order = np.argsort(joined["column"], kind="stable")
    joined = {name: values[order] for name, values in joined.items()}
    column = joined.pop("column")
    n = np.arange(len(column)) - np.searchsorted(column, column) + 1
    joined["duration_s"] = joined["stop_s"] - joined["start_s"]
    names = [of.features.names[place] for place in column]
    return _rows(of, len(column), {"feature": names, "n": n, **joined})


def series_rows(of: ClipSummary) -> Iterator[Block]:
    """The clip's curves on the grid, for every event."""
    rate = of.config.grid
    if rate is None:
        return
    for event in of.events:
        span = span_of(of, event) if of.status == "ok" and of.parts else None
        starts = np.zeros(0) if span is None else bins(*span, rate, of.row.clip_id)
        if not len(starts):  # as of a clip of one frame, which has no length
            yield _no_series(of, event)
            continue
        shape = (len(starts), len(of.features.names))
        value, share = np.full(shape, np.nan), np.zeros(shape)
        filled = np.zeros(shape, bool)
        for track in of.parts:
            one = series(track, starts + event.onset_s, rate, of.config.max_gap)
            value[:, track.columns] = one.value
            share[:, track.columns] = one.seen_share[:, None]
            filled[:, track.columns] = one.filled[:, None]
        yield _series(of, event, starts, value, share, filled)


def _series(
    of: ClipSummary, event: Event, starts: F64, value: F64, share: F64, filled: Bools
) -> Block:
    rest, against = of.baseline(event), np.full(value.shape, np.nan)
    if rest is not None:
        against = of.corrected(value, of.subtracted(rest)[0])
    names, beside = of.features.names, {"event": event.name}
    if of.config.series == "wide":
        wide: dict[str, Any] = {"t_s": starts}
        wide |= {name: value[:, i] for i, name in enumerate(names)}
        wide |= {f"{name}_bc": against[:, i] for i, name in enumerate(names)}
        wide |= {"seen_share": share.max(axis=1), "filled": filled.any(axis=1)}
        return _rows(of, len(starts), wide, beside)
    long = {
        "t_s": np.tile(starts, len(names)),
        "feature": [name for name in names for _ in starts],
        "value": value.T.ravel(), "value_bc": against.T.ravel(),
        "seen_share": share.T.ravel(), "filled": filled.T.ravel(),
    }  # fmt: skip
    return _rows(of, value.size, long, beside)


def _no_series(of: ClipSummary, event: Event) -> Block:
    names = [*of.features.names, *(f"{name}_bc" for name in of.features.names)]
    empty = {name: [_NAN] for name in ("t_s", "value", "value_bc", "seen_share", *names)}
    return _rows(of, 1, {**empty, "feature": [""], "filled": [None]}, {"event": event.name})


def span_of(of: ClipSummary, event: Event) -> Span | None:
    """What the series covers, from the event: all windows and the baseline."""
    spans = [
        (start - event.onset_s, stop - event.onset_s)
        for start, stop in filter(None, of.windows(event).values())
    ]
    if not spans:
        return None
    spans += [of.config.baseline] if of.config.baseline is not None else []
    return min(start for start, _ in spans), max(stop for _, stop in spans)


def left_out_rows(of: ClipSummary) -> Block:
    """Why numbers of the clip are empty."""
    if of.status == "ok":
        return left_out([(of.row.clip_id, *why) for why in of.left_out])
    why = ": ".join(filter(None, (of.status, of.reason)))
    return left_out([(of.row.clip_id, "", "", "", why)])


def left_out(rows: list[tuple[str, str, str, str, str]]) -> Block:
    """Rows (clip, event, window, feature, why) of what is left out."""
    cells = zip(*rows, strict=True) if rows else ((),) * 5
    return dict(zip(("clip_id", "event", "window", "feature", "why"), cells, strict=True))
