"""The page of one clip: its video over its curves, and what lies behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from facer.pipeline.features.guarded.guard import ask
from facer.pipeline.summary.clips import times_of
from facer.pipeline.views import curves
from facer.pipeline.views.footage import crop_strip, embed_video, find_video
from facer.pipeline.views.report.folder import CLIPS, ReportFolder, marks_key, packed, page_name
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.schema import FEATURE_GROUPS, ClipFeatures, OnCount, Record
from facer.storage.text.names import some

MAX_FRAMES = 6000
"""Frames drawn at most; of a longer clip every nth frame, each with its exact values."""

Facts = Sequence[tuple[str, str]]
"""(name, text) rows in the head of a page."""


class Footage(NamedTuple):
    """What a page shows of the clip's video, or says of it."""

    url: str = ""
    embedded: bool = False
    start_s: float = 0.0  # in the clip's time, where the player's 0 is
    crops: Sequence[Mapping[str, Any]] = ()
    note: str = ""


@dataclass(frozen=True)
class ClipPages:
    """How the clip pages of one report are made."""

    store: FeatureStore
    folder: ReportFolder
    videos: Path | None  # the VIDEO_DIR
    embed: bool
    back: str  # title of the page that they belong to

    def write_all(self, clips: Mapping[str, Facts], on_page: OnCount) -> dict[str, str]:
        """Write the pages of clips, each with its facts; returns their URLs from the index.

        Raises FacerError when a folder of videos is given that has none of theirs.
        """
        self._check_videos(list(clips))
        urls = {}
        pages = ["", *(f"{page_name(clip_id)}.html" for clip_id in clips), ""]
        for place, (clip_id, facts) in enumerate(clips.items()):
            urls[clip_id] = self.write(clip_id, facts, before=pages[place], after=pages[place + 2])
            on_page(place + 1, len(clips))
        return urls

    def _check_videos(self, clip_ids: Sequence[str]) -> None:
        if self.videos is None:
            return
        lacking = [reason for clip_id in clip_ids if (reason := self._lacks(clip_id))]
        if not lacking:
            return
        count = f"{len(lacking)} of {len(clip_ids)}"
        text = f"{self.videos}: {count} clips have no video there"
        if len(lacking) == len(clip_ids):
            raise FacerError(f"{named('videos')} {text} ({lacking[0]})")
        self.folder.notes.append(f"videos {text}, as their pages say ({lacking[0]}, ...)")

    def _lacks(self, clip_id: str) -> str:
        """Why a clip has no video to show; "" when it has one."""
        try:
            find_video(self.store.record(clip_id), self.videos)
        except FacerError as error:
            return str(error)
        return ""

    def write(self, clip_id: str, facts: Facts = (), *, before: str = "", after: str = "") -> str:
        """Write a clip's page and return its URL from the index; ``facts`` stand in its head.

        ``before`` and ``after`` are the pages beside it that it leads to. A video that is
        missing or is not the one extracted is said on the page. Raises FacerError for a clip
        that is unknown, failed or has no frames.
        """
        record, clip = self.store.record(clip_id), self.store.read(clip_id)
        if not clip.n_frames:
            raise FacerError(f"{self.store.path}: clip {clip_id!r} has no frames to show")
        times, notes = times_of(clip, record), clip_notes(clip, self.store)
        if times is None:
            times = np.arange(clip.n_frames, dtype=np.float64)
            notes.append("Its frames have no times: for seconds read numbers of frames.")
        clip = replace(clip, timestamp_s=times)
        name = f"{CLIPS}/{page_name(clip_id)}"
        footage = self._footage(record, clip, name)
        self.folder.page(
            name, "clip.html", {**clip_curves(clip, self.store), "videoStart": footage.start_s},
            title=clip_id, report=marks_key(self.store.path), back=self.back, before=before,
            after=after, facts=[*facts, *clip_facts(record, clip, self.store)], footage=footage,
            weak_note=curves.WEAK_NOTE if self.store.weak_features else "",
            notes=notes,
        )  # fmt: skip
        return f"{name}.html"

    def _footage(self, record: Record, clip: ClipFeatures, name: str) -> Footage:
        try:
            video = find_video(record, self.videos)
        except FacerError as error:
            return Footage(note=str(error))
        try:
            crops = crop_strip(video, clip)
            if self.embed:
                copy = self.folder.place(f"{name}.mp4")
                return Footage(copy.name, True, embed_video(video, copy), crops)
            start_s = -ask("clock_start_s", video)
        except FacerError as error:
            return Footage(self._url(video), note=str(error))
        return Footage(self._url(video), start_s=start_s, crops=crops)

    def _url(self, video: Path) -> str:
        """Relative for videos beside the report, so that both can move; absolute otherwise."""
        report = self.folder.path.resolve()
        if not video.is_relative_to(report.parent):
            return video.as_uri()
        return quote("../../" + video.relative_to(report.parent).as_posix())


def clip_facts(record: Record, clip: ClipFeatures, store: FeatureStore) -> list[tuple[str, str]]:
    """Rows of what is known of a clip."""
    facts = [
        ("frames", f"{record.n_frames:,}"),
        (f"with {store.provenance.measured}", f"{record.n_valid / record.n_frames:.1%}"),
        ("duration", f"{record.n_frames / record.fps:.2f} s" if record.fps > 0 else "unknown"),
        ("frame rate", f"{record.fps:.2f} Hz" if record.fps > 0 else "unknown"),
        ("time between frames", _steps(clip)),
        ("size", f"{record.width_px} × {record.height_px} px" if record.width_px else "unknown"),
        ("video", record.source or "unknown"),
    ]
    if not store.provenance.of_sound:
        facts.append(("switches of the face's track", str(record.track_switches)))
    return [*facts, ("note", record.reason)] if record.reason else facts


def _steps(clip: ClipFeatures) -> str:
    """The mean time between frames, or its range where the frame rate varies."""
    if clip.n_frames < 2:
        return "unknown"
    steps_ms = 1000 * np.diff(clip.timestamp_s)
    low, middle, high = np.quantile(steps_ms, (0, 0.5, 1))
    if high - low <= 2:  # containers round to 1 ms
        return f"{steps_ms.mean():.1f} ms"
    return f"{low:.1f} to {high:.1f} ms, median {middle:.1f} ms"


def _step(clip: ClipFeatures) -> int:
    return -(-clip.n_frames // MAX_FRAMES) or 1


def clip_notes(clip: ClipFeatures, store: FeatureStore) -> list[str]:
    """What a reader of the curves must know: frames and columns that are not drawn."""
    notes, step = [f"Hatched: no {store.provenance.measured.removeprefix('a ')}."], _step(clip)
    if step > 1:
        notes.append(f"One frame in {step} of {clip.n_frames:,} is drawn, with its exact values.")
    known = {name for names in curves.drawn_columns(store.feature_names).values() for name in names}
    if others := [name for name in store.feature_names if name not in known]:
        names = some(others, 8)
        notes.append(f"Not drawn: {len(others)} other columns of the store ({names}).")
    return notes


def clip_curves(clip: ClipFeatures, store: FeatureStore) -> dict[str, Any]:
    """All that the page draws: times, columns by name, gaps, and how to show them."""
    rows = slice(None, None, _step(clip))
    edges = curves.time_edges(clip.timestamp_s)
    columns = {name: clip.features[rows, i] for i, name in enumerate(store.feature_names)}
    drawn = curves.drawn_columns(store.feature_names)
    au_unit, au_high = curves.au_scale(store.provenance.settings)
    groups = {group: drawn.get(group, []) for group in FEATURE_GROUPS}
    shown = [name for names in groups.values() for name in names]
    of_sound, measured = store.provenance.of_sound, store.provenance.measured.removeprefix("a ")
    return {
        "time": packed(clip.timestamp_s[rows]),
        "edges": packed(curves.time_edges(clip.timestamp_s[rows])),
        "step": _step(clip),
        "faces": packed((clip.valid if of_sound else clip.n_faces)[rows]),
        "counted": measured if of_sound else "faces",
        "measured": measured,
        "valid": packed(clip.valid[rows]),
        "columns": {name: packed(columns[name]) for name in shown},
        "groups": groups,
        "auUnit": au_unit,
        "auHigh": au_high,
        "gaps": [
            [float(edges[gap.start]), float(edges[gap.stop])] for gap in curves.runs_of(~clip.valid)
        ],
        "weak": [name for name in shown if name in store.weak_features],
        "meanings": {name: curves.au_meaning(name) for name in groups["au"]},
        "colors": curves.CURVE_COLORS,
    }
