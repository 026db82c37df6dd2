"""The report of a store: the overview of all clips, and pages of those that were chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from facer.pipeline.features.inspect.clip_status import clip_status, seen_lines
from facer.pipeline.features.inspect.status import StoreStatus, store_status
from facer.pipeline.views.report.clip_page import ClipPages
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.report.folder import CLIPS, ReportFolder, marks_key, number, page_name
from facer.pipeline.views.report.survey import Survey, histogram, survey_store
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore
from facer.storage.schema import OnCount, Record, measured_of
from facer.storage.text.names import some

_REASONS_SHOWN, _CLIPS_OF_A_REASON, _FAILED_PAGES = 20, 5, 50
_STATUS_CODES = {"ok": 0, "no_face": 1, "no_sound": 1, "failed": 2}


def write_store_report(config: ReportConfig, folder: ReportFolder, on_page: OnCount) -> int:
    """Write the overview and the chosen clips' pages; returns how many pages of clips."""
    store = FeatureStore.open(config.source)
    status = store_status(store)
    survey = survey_store(store)
    ranked = [survey.records[place] for place in survey.worst_first()]
    shown = [record.clip_id for record in ranked if record.n_frames]
    pages = ClipPages(store, folder, config.videos, config.embed, "all clips of the store")
    urls = pages.write_all(dict.fromkeys(config.choose(shown), ()), on_page)
    n_pages = len(urls)
    if config.videos is not None:
        failed = [record for record in ranked if record.status == "failed"]
        urls |= _write_failed_pages(store, folder, failed, config.videos, pages.back)
    head_frames, of_sound = SequenceConfig().max_frames, store.provenance.of_sound
    data = {"charts": _charts(survey, of_sound), "table": _table(survey, urls),
            "headFrames": head_frames, "sound": of_sound}  # fmt: skip
    failures = _failures(survey.records)
    folder.page(
        "index", "store.html", data, title=store.path, report=marks_key(store.path),
        tiles=_tiles(status, survey, head_frames),
        failures=failures[:_REASONS_SHOWN], more_reasons=len(failures[_REASONS_SHOWN:]),
        n_pages=n_pages, head_frames=head_frames, of_sound=of_sound,
        measured=measured_of(status.clips), provenance=flat(status.provenance),
    )  # fmt: skip
    return n_pages


def _write_failed_pages(
    store: FeatureStore, folder: ReportFolder, failed: Sequence[Record], videos: Path, back: str
) -> dict[str, str]:
    """Write pages of failed clips, of 50 at most; return their URLs from the index."""
    urls = {}
    for record in failed[:_FAILED_PAGES]:
        found = clip_status(store, record.clip_id, videos)
        name = f"{CLIPS}/{page_name(record.clip_id)}"
        facts = [("reason", record.reason), ("video", record.source or "unknown"),
                 ("bytes when it was tried", f"{record.source_size:,}"),
                 ("tried", found.written or "unknown")]  # fmt: skip
        lines = [found.note] if found.note else []
        lines += seen_lines(found.seen) if found.seen is not None else []
        folder.page(name, "failed.html", {}, title=record.clip_id, back=back, facts=facts,
                    lines=lines or ["The store does not know its file."])  # fmt: skip
        urls[record.clip_id] = f"{name}.html"
    return urls


def _failures(records: Sequence[Record]) -> list[tuple[str, int, str]]:
    """(reason, how many clips, the first of them) of each reason, the most frequent first."""
    clips = defaultdict(list)
    for record in records:
        if record.status == "failed":
            reason = record.reason.removeprefix(f"{PurePath(record.source).name}: ")
            clips[reason].append(record.clip_id)
    return [
        (reason, len(ids), some(ids, _CLIPS_OF_A_REASON))
        for reason, ids in sorted(clips.items(), key=lambda item: -len(item[1]))
    ]


def _tiles(status: StoreStatus, survey: Survey, head_frames: int) -> list[tuple[str, str]]:
    share = "-" if status.face_share is None else f"{status.face_share:.1%}"
    what, (measured, empty, failed) = measured_of(status.clips), status.clips.values()
    seconds = float(np.nansum(survey.duration_s))
    over = sum(record.n_frames > head_frames for record in survey.records)
    return [
        ("clips", f"{len(survey.records):,}"),
        (f"with {what}", f"{measured:,}"),
        (f"without {what}", f"{empty:,}"),
        ("failed", f"{failed:,}"),
        ("frames", f"{status.frames:,}"),
        (f"of the frames with {what}", share),
        ("of clips", f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"),
        (f"clips over t = {head_frames}", f"{over:,}"),
    ]


def _charts(survey: Survey, of_sound: bool) -> dict[str, Any]:
    """Histograms by the id of the element they are drawn in; those of faces where there are any."""
    fps = np.array([record.fps for record in survey.records])
    charts = {"duration": histogram(survey.duration_s), "fps": histogram(fps, step=1.0)}
    if not of_sound:
        charts |= {"face": survey.face_histogram, "score": survey.score_histogram}
    return {name: chart.to_json() for name, chart in charts.items()}


def _table(survey: Survey, urls: Mapping[str, str]) -> dict[str, list[Any]]:
    """One list a column, clips in the order worst first."""
    order = survey.worst_first()
    records = [survey.records[place] for place in order]
    return {
        **record_columns(records),
        "url": [urls.get(record.clip_id, "") for record in records],
        "duration": [number(value, 2) for value in survey.duration_s[order]],
        "score": [number(value, 3) for value in survey.score[order]],
        "quality": [number(value, 3) for value in survey.quality[order]],
        "size": [number(value, 1) for value in survey.face_px[order]],
        "most": [number(value, 0) for value in survey.most_faces[order]],
    }


def record_columns(records: Sequence[Record]) -> dict[str, list[Any]]:
    """What clips.js shows of the records themselves, one list a column."""
    return {
        "clip": [record.clip_id for record in records],
        "status": [_STATUS_CODES[record.status] for record in records],
        "frames": [record.n_frames for record in records],
        "fps": [number(record.fps, 2) for record in records],
        "faces": [number(r.n_valid / r.n_frames) if r.n_frames else None for r in records],
        "note": [record.reason for record in records],
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (name, text) rows.

    >>> flat({"fit": {"epochs": 3}, "names": ["joy", "awe"]})
    [('fit: epochs', '3'), ('names', 'joy, awe')]
    """
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}: ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            rows.append((f"{prefix}{name}", text))
    return rows
