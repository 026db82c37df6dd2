"""The page of one clip: its video over its curves, and what lies behind them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader, ask
from facer.pipeline.views.annotate_sound import add_sound
from facer.pipeline.views.look import read_crops, source_video
from facer.pipeline.views.pictures import (
    CURVE_COLORS,
    WEAK_NOTE,
    au_meaning,
    drawn_columns,
    runs_of,
    strip_frames,
    time_edges,
)
from facer.pipeline.views.report.config import OnPage
from facer.pipeline.views.report.folder import CLIPS, ReportFolder, packed, page_name
from facer.pipeline.views.video import write_video
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import FEATURE_GROUPS, U8, ClipFeatures, Record

MAX_FRAMES = 6000
"""Frames drawn at most; of a longer clip every nth frame, each with its exact values."""

Facts = Sequence[tuple[str, str]]
"""(name, text) rows in the head of a page."""

_EMBED_HEIGHT_PX = 360
_JPEG_QUALITY = 85


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

    def write_all(self, clips: Mapping[str, Facts], on_page: OnPage) -> dict[str, str]:
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
        reasons = [self._lacks(clip_id) for clip_id in clip_ids if self.videos is not None]
        lacking = [reason for reason in reasons if reason]
        if not lacking:
            return
        count = f"{len(lacking)} of {len(clip_ids)}"
        text = f"--videos {self.videos}: {count} clips have no video there"
        if len(lacking) == len(clip_ids):
            raise FacerError(f"{text} ({lacking[0]})")
        self.folder.notes.append(f"{text}, as their pages say ({lacking[0]}, ...)")

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
        name = f"{CLIPS}/{page_name(clip_id)}"
        footage = self._footage(record, clip, name)
        self.folder.page(
            name,
            "clip.html",
            {**clip_curves(clip, self.store), "videoStart": footage.start_s},
            title=clip_id,
            report=self.store.path,
            back=self.back,
            before=before,
            after=after,
            facts=[*facts, *clip_facts(record, clip)],
            footage=footage,
            weak_note=WEAK_NOTE if self.store.weak_features else "",
            notes=clip_notes(clip, self.store),
        )
        return f"{name}.html"

    def _footage(self, record: Record, clip: ClipFeatures, name: str) -> Footage:
        try:
            video = find_video(record, self.videos)
        except FacerError as error:
            return Footage(note=str(error))
        try:
            crops = crop_strip(video, clip)
            if self.embed:
                copy = self.folder.path / f"{name}.mp4"
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


def find_video(record: Record, videos: Path | None) -> Path:
    """Return the clip's video; FacerError with the reason where there is none to show."""
    if videos is None:
        raise FacerError("not shown: give the folder of the videos as --videos VIDEO_DIR")
    if not record.source:
        raise FacerError("not known to the store: its features were imported")
    return source_video(record, videos)


def clip_facts(record: Record, clip: ClipFeatures) -> list[tuple[str, str]]:
    """Rows of what is known of a clip."""
    facts = [
        ("frames", f"{record.n_frames:,}"),
        ("with a face", f"{record.n_valid / record.n_frames:.1%}"),
        ("duration", f"{record.n_frames / record.fps:.2f} s" if record.fps > 0 else "unknown"),
        ("frame rate", f"{record.fps:.2f} Hz" if record.fps > 0 else "unknown"),
        ("time between frames", _steps(clip)),
        ("size", f"{record.width_px} × {record.height_px} px" if record.width_px else "unknown"),
        ("video", record.source or "unknown"),
        ("switches of the face's track", str(record.track_switches)),
    ]
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
    """What a reader of the curves must know."""
    return [text for text in (_drawn(clip), _left_out(store)) if text]


def _drawn(clip: ClipFeatures) -> str:
    """What a long clip's page says about its curves."""
    step = _step(clip)
    if step == 1:
        return ""
    return f"One frame in {step} of {clip.n_frames:,} is drawn, with its exact values."


def _left_out(store: FeatureStore) -> str:
    known = {name for names in drawn_columns(store.feature_names).values() for name in names}
    others = [name for name in store.feature_names if name not in known]
    if not others:
        return ""
    some = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
    return f"Not drawn: {len(others)} other columns of the store ({some})."


def clip_curves(clip: ClipFeatures, store: FeatureStore) -> dict[str, Any]:
    """All that the page draws: times, columns by name, gaps, and how to show them."""
    rows = slice(None, None, _step(clip))
    edges = time_edges(clip.timestamp_s)
    columns = {name: clip.features[rows, i] for i, name in enumerate(store.feature_names)}
    drawn = drawn_columns(store.feature_names)
    groups = {group: drawn.get(group, []) for group in FEATURE_GROUPS}
    shown = [name for names in groups.values() for name in names]
    return {
        "time": packed(clip.timestamp_s[rows]),
        "edges": packed(time_edges(clip.timestamp_s[rows])),
        "step": _step(clip),
        "faces": packed(clip.n_faces[rows]),
        "valid": packed(clip.valid[rows]),
        "columns": {name: packed(columns[name]) for name in shown},
        "groups": groups,
        "gaps": [[float(edges[gap.start]), float(edges[gap.stop])] for gap in runs_of(~clip.valid)],
        "weak": [name for name in shown if name in store.weak_features],
        "meanings": {name: au_meaning(name) for name in groups["au"]},
        "colors": CURVE_COLORS,
    }


def crop_strip(video: Path, clip: ClipFeatures) -> list[dict[str, Any]]:
    """Crops that show the clip at a glance, as JPEGs in data URLs, with their times."""
    rows = strip_frames(clip)
    rows = rows[np.isfinite(clip.keypoints_px[rows]).all(axis=(1, 2))]
    return [
        {"time_s": f"{clip.timestamp_s[row]:.2f}", "exact_s": float(clip.timestamp_s[row]),
         "url": jpeg_url(crop)}
        for row, crop in zip(rows, read_crops(video, clip, rows), strict=True)
    ]  # fmt: skip


def jpeg_url(image: U8) -> str:
    """Return a crop as a data URL."""
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise FacerError("a crop cannot be written as JPEG; expected an image of 112x112")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def embed_video(video: Path, path: Path) -> float:
    """Copy a video small, with its sound where that can be copied, its first frame at time 0.

    Returns the time that the first frame had in the source.
    """
    start_s: list[float] = []  # of every frame

    def frames(reader: GuardedReader) -> Iterator[tuple[float, U8]]:
        for frame in reader:
            start_s.append(frame.timestamp_s)
            yield frame.timestamp_s - start_s[0], frame.image

    with GuardedReader(video) as reader:
        write_video(path, frames(reader), height_px=_EMBED_HEIGHT_PX)
    add_sound(path, video, start_s[0])
    return start_s[0]
