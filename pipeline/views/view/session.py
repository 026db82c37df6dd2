"""The pages of a store, made when they are asked for, and what a person does on them."""

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

from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.summary.clips import Features, times_of
from facer.pipeline.summary.summarise import Study, study
from facer.pipeline.views.report.folder import data_script, number, packed, page_name, render
from facer.pipeline.views.view.config import ViewConfig
from facer.pipeline.views.view.lanes import Ask, Measured
from facer.pipeline.views.view.notes import Notes
from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.units import units
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.labels.matching import match_ids
from facer.storage.schema import ClipFeatures, Record
from facer.storage.study.design import DesignRow
from facer.storage.study.events import START
from facer.storage.study.journal import Row
from facer.storage.study.marks import Mark

_STATUS_CODES = {"ok": 0, "no_face": 1, "failed": 2}
_FIRST_SHOWN = ("au12", "happiness", "valence")
_OF_A_PERSON = 24  # clips drawn at most
_COPIES = 8  # of videos kept at most
_LONGEST_S = 1e7

Json = Mapping[str, Any]


class ViewSession:
    """One opened store: answers by page, and changes of marks.csv and faces.csv."""

    def __init__(self, config: ViewConfig, summary: SummaryConfig) -> None:
        self.config, self.summary = config, summary
        self.store = FeatureStore.open(config.store)
        self.study: Study = study(self.store, summary, config.design, config.events)
        self.rows = {row.clip_id: row for row in self.study.design.rows if row.known}
        self.other, self.other_clip = None, dict[str, str]()
        if config.against is not None:
            self.other = FeatureStore.open(config.against)
            match = match_ids(self.store.clip_ids, self.other.clip_ids)
            self.other_clip = {self.store.clip_ids[row]: clip for row, clip in match.pairs}
            if not self.other_clip:
                raise FacerError(
                    f"{self.store.path} and {self.other.path}: found no common clip, expected two "
                    "stores over the same videos"
                )
        self.notes = Notes(self.store, config.marks_file, config.faces_file, config.person)
        self.clip_of = {page_name(clip_id): clip_id for clip_id in self.store.clip_ids}
        self.name_of = {clip_id: name for name, clip_id in self.clip_of.items()}
        self.order = [record.clip_id for record in _worst_first(self.store.records)]
        self._decoding, self._copying = Lock(), Lock()
        self._copies: dict[str, Path] = {}

    def close(self) -> None:
        """Remove the copies of videos."""
        if "_folder" in vars(self):
            self._folder.cleanup()

    # pages

    def index(self) -> str:
        """The page of all clips."""
        status, marks = store_status(self.store), self.notes.marked()
        tiles = [
            ("clips", f"{len(self.store):,}"),
            *((word, f"{status.clips[key]:,}") for word, key in
              (("without a face", "no_face"), ("failed", "failed"))),
            ("left out", f"{sum(self._left_out(clip, marks) != '' for clip in self.order):,}"),
            ("marks", f"{sum(map(len, marks.values())):,}"),
        ]  # fmt: skip
        return render(
            "index", "view_store.html", title=self.store.path, tiles=tiles,
            notes=self.study.design.notes, marks=str(self.config.marks_file),
            design=self.config.design,
            first=self._url(self._to_see(self.order)),
        )  # fmt: skip

    def index_data(self) -> str:
        """All clips with what their records say, the worst first: quick for any store."""
        records = [self.store.record(clip_id) for clip_id in self.order]
        rows = [self.rows.get(clip_id) for clip_id in self.order]
        marks = self.notes.marked()
        table: dict[str, list[Any]] = {
            "clip": self.order,
            "url": [self._url(r.clip_id) if r.n_frames else "" for r in records],
            "status": [_STATUS_CODES[r.status] for r in records],
            "quality": [number(q, 3) for q in map(_quality, records)],
            "faces": [number(r.n_valid / r.n_frames) if r.n_frames else None for r in records],
            "switches": [r.track_switches for r in records],
            "frames": [r.n_frames for r in records],
            "duration": [number(r.n_frames / r.fps, 2) if r.fps > 0 else None for r in records],
            "fps": [number(r.fps, 2) for r in records],
            "marks": [len(marks.get(clip_id, ())) for clip_id in self.order],
            "out": [self._left_out(clip_id, marks) for clip_id in self.order],
            "note": [r.reason for r in records],
        }
        if self.config.design is not None:
            for name in ("participant", "condition"):
                table[name] = ["" if row is None else getattr(row, name) for row in rows]
        return data_script({"table": table, "headFrames": None})

    def clip_page(self, name: str) -> str:
        """The page of a clip; FacerError for one without frames."""
        from facer.pipeline.views.pictures import WEAK_NOTE
        from facer.pipeline.views.report.clip_page import Footage, clip_facts, clip_notes

        record, clip = self._read(self._clip(name))
        try:
            footage = Footage(f"{name}.video", start_s=0.0)
            self.video(name)
        except FacerError as error:
            footage = Footage(note=str(error))
        return render(
            f"clips/{name}", "view_clip.html", title=record.clip_id, back="all clips",
            before=self._page(self._beside(record.clip_id, -1)),
            after=self._page(self._beside(record.clip_id, 1)),
            facts=[*self._who(record.clip_id), *clip_facts(record, clip)], footage=footage,
            weak_note=WEAK_NOTE if self.store.weak_features else "",
            notes=clip_notes(clip, self.store),
            marks=str(self.config.marks_file), faces=str(self.config.faces_file),
            reasons=self._reasons(), several=bool((clip.n_faces > 1).any()),
            other=self.other.path if self.other is not None else "",
        )  # fmt: skip

    def clip_data(self, name: str) -> str:
        """The data of a clip's page."""
        from facer.pipeline.features.guarded.guard import ask
        from facer.pipeline.views.report.clip_page import clip_curves

        clip_id = self._clip(name)
        record, clip = self._read(clip_id)
        try:
            with self._decoding:
                start_s = -ask("clock_start_s", self.video(name))
        except FacerError:
            start_s = 0.0
        row, names = self.rows.get(clip_id), self.store.feature_names
        boxes = {"ours": _boxes(clip, record)}
        if self.other is not None and clip_id in self.other_clip:
            theirs = self.other.record(self.other_clip[clip_id])
            if theirs.n_frames:
                found = self.other.read(theirs.clip_id)
                times = times_of(found, theirs)
                if times is not None:
                    boxes["theirs"] = _boxes(replace(found, timestamp_s=times), theirs)
        windows = ", ".join(f"{k}={a:g}:{b:g}" for k, (a, b) in self.summary.windows.items())
        rest = self.summary.baseline
        return data_script({
            **clip_curves(clip, self.store), "videoStart": start_s, "copy": f"{name}.mp4",
            "copyStart": float(clip.timestamp_s[0]),
            "view": {
                "name": name, "times": packed(clip.timestamp_s), "size": [
                    record.width_px, record.height_px],
                "boxes": boxes, "features": list(names),
                "feature": next((f for f in _FIRST_SHOWN if f in names), names[0]),
                "windows": windows, "baseline": "" if rest is None else "{:g}:{:g}".format(*rest),
                "participant": "" if row is None else row.participant,
                "against": self.other is not None,
            },
        })  # fmt: skip

    # answers

    def lanes(self, name: str, query: Mapping[str, str]) -> Json:
        """A feature of a clip, and of the same clip in the other store."""
        clip_id = self._clip(name)
        asked = Ask.of(query, self.summary)
        found: dict[str, Any] = {"ours": self._measured(clip_id).lane(asked), "theirs": None}
        if self.other is not None and clip_id in self.other_clip:
            theirs = self._measured_there(clip_id)
            if asked.feature in theirs.features.names:
                found["theirs"] = theirs.lane(asked)
        return found

    def person(self, name: str, query: Mapping[str, str]) -> Json:
        """The same feature of all clips of the clip's participant, in the design's order."""
        here = self._clip(name)
        row = self.rows.get(here)
        if row is None or not row.participant:
            return {"participant": "", "lanes": [], "more": 0}
        asked = Ask.of(query, self.summary)
        clips = [r.clip_id for r in self.rows.values() if r.participant == row.participant]
        lanes = [
            {
                **self._measured(clip).lane(asked),
                "url": self._page(clip),
                "here": clip == row.clip_id,
            }
            for clip in clips[:_OF_A_PERSON]
        ]
        more = len(clips[_OF_A_PERSON:])
        return {"participant": row.participant, "lanes": lanes, "more": more}

    def crops(self, name: str) -> Json:
        """Crops that show the clip at a glance."""
        from facer.pipeline.views.report.clip_page import crop_strip

        _, clip = self._read(self._clip(name))
        video = self.video(name)
        with self._decoding:
            return {"crops": crop_strip(video, clip)}

    def notes_of(self, name: str) -> Json:
        """The marks and clicks of a clip."""
        clip_id = self._clip(name)
        return {
            "marks": [dict(row) for row in self.notes.rows_of(clip_id)],
            "points": [list(point) for point in self.notes.points_of(clip_id)],
            "out": self._left_out(clip_id, self.notes.marked()), "undoable": self.notes.undoable,
            "reasons": self._reasons(),
        }  # fmt: skip

    def video(self, name: str) -> Path:
        """The clip's video, which must be as large as the one extracted; else FacerError."""
        from facer.pipeline.views.report.clip_page import find_video

        record = self.store.record(self._clip(name))
        video = find_video(record, self.config.videos)
        size = video.stat().st_size
        if record.source_size and size != record.source_size:
            raise FacerError(
                f"{record.source}: found {size} bytes, expected {record.source_size}: it is not "
                "the video that was extracted"
            )
        return video

    def copy(self, name: str) -> Path:
        """A small copy of the video that every browser plays; its first frame is at time 0."""
        from facer.pipeline.views.report.clip_page import embed_video

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
        """Mark frames ``first`` to ``last`` of a clip, or all of it, with a reason."""
        clip_id = self._clip(str(body.get("name")))
        span = None
        if body.get("first") is not None:
            span = self._span(clip_id, body)
        texts = [str(body.get(key) or "") for key in ("mark", "feature", "note")]
        self.notes.mark(clip_id, span, *texts)
        return self.notes_of(str(body["name"]))

    def point(self, body: Json) -> Json:
        """Say which face is meant."""
        clip_id = self._clip(str(body.get("name")))
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
        row: Row = self.notes.undo()
        return {**self.notes_of(str(body.get("name"))), "undone": row["clip_id"]}

    # what they need

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="facer-view-")

    def _clip(self, name: str) -> str:
        if name not in self.clip_of:
            raise FacerError("found no such clip")
        return self.clip_of[name]

    def _read(self, clip_id: str) -> tuple[Record, ClipFeatures]:
        record = self.store.record(clip_id)
        if not record.n_frames:
            raise FacerError(f"{clip_id}: has no frames to show; {record.reason or record.status}")
        clip = self.store.read(clip_id)
        times = times_of(clip, record)
        if times is None:
            raise FacerError(f"{clip_id}: its frames have no times")
        return record, replace(clip, timestamp_s=times)

    def _measured(self, clip_id: str) -> Measured:
        row = self.rows.get(clip_id, DesignRow(clip_id))
        events = self.study.events.get(clip_id, [START])
        marks = self.notes.marked().get(clip_id, ())
        return Measured(self.store, self.study.features, clip_id, row, events, marks)

    def _measured_there(self, clip_id: str) -> Measured:
        assert self.other is not None
        names, there = self.other.feature_names, self.other_clip[clip_id]
        weak = tuple(int(name in self.other.weak_features) for name in names)
        meant = Features(names, units(names, self.other.provenance.settings), weak)
        ours = self._measured(clip_id)
        marks = [mark for mark in ours.marks if mark.feature in ("", *names)]
        row = replace(ours.row, clip_id=there)
        return Measured(self.other, meant, there, row, ours.events, marks)

    def _span(self, clip_id: str, body: Json) -> tuple[float, float]:
        """Frames ``first`` to ``last``, both included, as a stretch of time."""
        record, clip = self._read(clip_id)
        first, last = body.get("first"), body.get("last")
        if not (type(first) is int and type(last) is int and 0 <= first <= last < clip.n_frames):
            raise FacerError(f"found frames {first} to {last}, expected some of the clip's")
        times = clip.timestamp_s
        if last + 1 < clip.n_frames:
            return float(times[first]), float(times[last + 1])
        step = np.median(np.diff(times)) if clip.n_frames > 1 else 1 / max(record.fps, 1e-3)
        return float(times[first]), float(times[last] + max(step, 1e-3))

    def _left_out(self, clip_id: str, marks: Mapping[str, Sequence[Mark]]) -> str:
        """Why a clip is left out; "" when it is not."""
        row = self.rows.get(clip_id)
        if row is not None and row.exclude:
            return row.reason or "excluded in the design"
        whole = [mark for mark in marks.get(clip_id, ()) if mark.whole_clip]
        return whole[0].why if whole else ""

    def _to_see(self, clip_ids: Sequence[str]) -> str:
        """The first of some clips that has frames and is not left out; "" for none."""
        marks = self.notes.marked()
        rest = (c for c in clip_ids if self.store.record(c).n_frames)
        return next((c for c in rest if not self._left_out(c, marks)), "")

    def _beside(self, clip_id: str, step: int) -> str:
        """The clip to see before or after one, in the order worst first; "" for none."""
        place = self.order.index(clip_id)
        return self._to_see(self.order[place + 1 :] if step > 0 else self.order[:place][::-1])

    def _reasons(self) -> list[str]:
        """Reasons to choose from: the usual ones, after those given so far."""
        given = Counter(m.mark for marks in self.notes.marked().values() for m in marks if m.mark)
        usual = ("hand over face", "looks away", "speaking", "wrong person", "poor picture")
        return list(dict.fromkeys([*(name for name, _ in given.most_common(20)), *usual]))

    def _who(self, clip_id: str) -> list[tuple[str, str]]:
        row = self.rows.get(clip_id)
        if row is None or self.config.design is None:
            return []
        cells = [(name, getattr(row, name)) for name in ("participant", "condition", "session")]
        cells += zip(self.study.design.carried, row.carried, strict=True)
        return [(name, cell) for name, cell in cells if cell]

    def _page(self, clip_id: str) -> str:
        return f"{self.name_of[clip_id]}.html" if clip_id else ""

    def _url(self, clip_id: str) -> str:
        return f"clips/{self._page(clip_id)}" if clip_id else ""


def _quality(record: Record) -> float:
    """Mean quality over all frames, 0 where no face is; the share with a face if not stored."""
    if not record.n_frames:
        return float("nan")
    known = 1.0 if record.quality is None else record.quality
    return known * record.n_valid / record.n_frames


def _worst_first(records: Sequence[Record]) -> list[Record]:
    """Failed ones, then by quality, then by id."""
    return sorted(records, key=lambda r: (r.status != "failed", np.nan_to_num(_quality(r))))


def _boxes(clip: ClipFeatures, record: Record) -> Json:
    return {
        "time": packed(clip.timestamp_s), "box": packed(clip.bbox_px),
        "size": [record.width_px, record.height_px],
    }  # fmt: skip


def _finite(body: Json, key: str) -> float:
    value = body.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
        raise FacerError(f"{key}: found {str(value)[:40]!r}, expected a number")
    return float(value)
