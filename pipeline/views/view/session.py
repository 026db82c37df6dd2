"""An opened store: its clips in their order, their marks, and what a person changes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import times_of
from facer.pipeline.summary.summarise import study
from facer.pipeline.views.footage import embed_video, find_video
from facer.pipeline.views.report.folder import page_name
from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.notes import Notes
from facer.stages.summary.config import SummaryConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.labels.matching import match_ids
from facer.storage.schema import ClipFeatures, Record
from facer.storage.study.events import START, Event
from facer.storage.study.marks import Mark

_COPIES = 8  # of videos kept at most
_LONGEST_S = 1e7
_LARGEST = 1e300  # number of a body: beyond it, a whole number is no float
_USUAL_REASONS = ("hand over face", "looks away", "speaking", "wrong person", "poor picture")

Json = Mapping[str, Any]


class ViewSession:
    """One opened store, what is known of its clips, and changes of marks.csv and faces.csv."""

    def __init__(self, config: ViewConfig, summary: SummaryConfig) -> None:
        videos = None if config.videos is None else config.videos.absolute()
        marks, faces = config.marks_file.absolute(), config.faces_file.absolute()
        # a notebook goes to another folder while the pages are served
        config = replace(config, videos=videos, marks=marks, faces=faces)
        self.config, self.summary = config, summary
        self.store = FeatureStore.open(config.store)
        self.study = study(self.store, summary, config.design, config.events)
        self.rows = {row.clip_id: row for row in self.study.design.rows if row.known}
        self.other = None if config.against is None else FeatureStore.open(config.against)
        self.other_clip = {} if self.other is None else _same_clips(self.store, self.other)
        self.notes = Notes(self.store, config.marks_file, config.faces_file, config.person)
        self._clip_of = {page_name(clip_id): clip_id for clip_id in self.store.clip_ids}
        self._name_of = {clip_id: name for name, clip_id in self._clip_of.items()}
        worst = sorted(
            self.store.records,
            key=lambda r: (r.status != "failed", np.nan_to_num(r.overall_quality)),
        )
        self.order = [record.clip_id for record in worst]
        self.decoding, self._copying = Lock(), Lock()
        self._copies: dict[str, Path] = {}

    def close(self) -> None:
        """Remove the copies of videos."""
        if "_folder" in vars(self):
            self._folder.cleanup()

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="facer-view-")

    # clips

    def clip(self, name: str) -> str:
        """The clip of a page; FacerError where there is none."""
        if name not in self._clip_of:
            raise FacerError("found no such clip")
        return self._clip_of[name]

    def page(self, clip_id: str) -> str:
        """The address of a clip's page beside those of others; "" for no clip."""
        return f"{self._name_of[clip_id]}.html" if clip_id else ""

    def url(self, clip_id: str) -> str:
        """The address of a clip's page from the page of all; "" for no clip."""
        return f"clips/{self.page(clip_id)}" if clip_id else ""

    def read(self, clip_id: str) -> tuple[Record, ClipFeatures]:
        """A clip at times that ascend; FacerError for one without frames or times."""
        record = self.store.record(clip_id)
        if not record.n_frames:
            raise FacerError(f"{clip_id}: has no frames to show; {record.reason or record.status}")
        clip = self.store.read(clip_id)
        times = times_of(clip, record)
        if times is None:
            raise FacerError(f"{clip_id}: its frames have no times")
        return record, replace(clip, timestamp_s=times)

    def events_of(self, clip_id: str) -> Sequence[Event]:
        """The events of a clip."""
        return self.study.events.get(clip_id, [START])

    def marks_of(self, clip_id: str) -> Sequence[Mark]:
        """The marks of a clip, as they are in the file now."""
        return self.notes.marked().get(clip_id, ())

    def left_out(self, clip_id: str, marks: Mapping[str, Sequence[Mark]]) -> str:
        """Why a clip is left out; "" when it is not."""
        row = self.rows.get(clip_id)
        if row is not None and row.exclude:
            return row.reason or "excluded in the design"
        return next((mark.why for mark in marks.get(clip_id, ()) if mark.whole_clip), "")

    def to_see(self, clip_ids: Sequence[str]) -> str:
        """The first of some clips that has frames and is not left out; "" for none."""
        marks = self.notes.marked()
        there = (clip for clip in clip_ids if self.store.record(clip).n_frames)
        return next((clip for clip in there if not self.left_out(clip, marks)), "")

    def beside(self, clip_id: str, step: int) -> str:
        """The clip to see before or after one, in the order worst first; "" for none."""
        place = self.order.index(clip_id)
        return self.to_see(self.order[place + 1 :] if step > 0 else self.order[:place][::-1])

    def reasons(self) -> list[str]:
        """Reasons to choose from: the usual ones, after those given so far."""
        given = Counter(m.mark for marks in self.notes.marked().values() for m in marks if m.mark)
        return list(dict.fromkeys([*(name for name, _ in given.most_common(20)), *_USUAL_REASONS]))

    def video(self, name: str) -> Path:
        """The clip's video, which must be as large as the one extracted; else FacerError."""
        return find_video(self.store.record(self.clip(name)), self.config.videos)

    def copy(self, name: str) -> Path:
        """A small copy of the video that every browser plays; its first frame is at time 0."""
        video = self.video(name)
        with self._copying:
            if name not in self._copies:
                while len(self._copies) >= _COPIES:
                    self._copies.pop(next(iter(self._copies))).unlink(missing_ok=True)
                path = Path(self._folder.name) / f"{name}.mp4"
                embed_video(video, path)
                self._copies[name] = path
            return self._copies[name]

    # changes

    def mark(self, body: Json) -> Json:
        """Mark frames ``first`` to ``last`` of a clip of ``frames``, or all, with a reason."""
        clip_id = self.clip(str(body.get("name")))
        span = None
        if body.get("first") is not None:
            span = self._span(clip_id, body)
        texts = [str(body.get(key) or "") for key in ("mark", "feature", "note")]
        self.notes.mark(clip_id, span, *texts)
        return self.notes_of(str(body["name"]))

    def point(self, body: Json) -> Json:
        """Say which face is meant."""
        clip_id = self.clip(str(body.get("name")))
        record = self.store.record(clip_id)
        time_s, x_px, y_px = (_finite(body, key) for key in ("time_s", "x_px", "y_px"))
        inside = 0 <= x_px <= (record.width_px or 1e5) and 0 <= y_px <= (record.height_px or 1e5)
        if not inside or abs(time_s) > _LONGEST_S:
            raise FacerError("found a place outside the frame, expected one on a face")
        self.notes.point(clip_id, time_s, x_px, y_px)
        return self.notes_of(str(body["name"]))

    def remove(self, body: Json) -> Json:
        """Take a mark away."""
        row = body.get("row")
        if not isinstance(row, dict) or not all(isinstance(v, str) for v in row.values()):
            raise FacerError("found no row, expected one of marks.csv")
        self.notes.remove(row)
        return self.notes_of(str(body.get("name")))

    def undo(self, body: Json) -> Json:
        """Take back the latest change, whichever clip it was of."""
        row = self.notes.undo()
        return {**self.notes_of(str(body.get("name"))), "undone": row["clip_id"]}

    def notes_of(self, name: str) -> Json:
        """The marks and clicks of a clip."""
        clip_id = self.clip(name)
        return {
            "marks": [dict(row) for row in self.notes.rows_of(clip_id)],
            "points": [list(point) for point in self.notes.points_of(clip_id)],
            "out": self.left_out(clip_id, self.notes.marked()), "undoable": self.notes.undoable,
            "reasons": self.reasons(),
        }  # fmt: skip

    def _span(self, clip_id: str, body: Json) -> tuple[float, float]:
        """Frames ``first`` to ``last``, both included, as a stretch of time."""
        record, clip = self.read(clip_id)
        first, last = body.get("first"), body.get("last")
        if body.get("frames", clip.n_frames) != clip.n_frames:
            raise FacerError(f"{clip_id}: was extracted again meanwhile; reload the page")
        if not (type(first) is int and type(last) is int and 0 <= first <= last < clip.n_frames):
            raise FacerError(f"found frames {first} to {last}, expected some of the clip's")
        times = clip.timestamp_s
        if last + 1 < clip.n_frames:
            return float(times[first]), float(times[last + 1])
        step = np.median(np.diff(times)) if clip.n_frames > 1 else 1 / max(record.fps, 1e-3)
        return float(times[first]), float(times[last] + max(step, 1e-3))


def _same_clips(store: FeatureStore, other: FeatureStore) -> dict[str, str]:
    """The clip of the other store by ours; FacerError where none is common."""
    match = match_ids(store.clip_ids, other.clip_ids)
    if not match.pairs:
        raise FacerError(
            f"{store.path} and {other.path}: found no common clip, expected two stores over the "
            "same videos"
        )
    return {store.clip_ids[row]: clip for row, clip in match.pairs}


def _finite(body: Json, key: str) -> float:
    value = body.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return float(value)  # NaN is not smaller either
    raise FacerError(f"{key}: found {str(value)[:40]!r}, expected a number")
