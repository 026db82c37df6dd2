"""The pages of a view and their data, made when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facer.pipeline.features.guarded.guard import ask
from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.summary.clips import times_of
from facer.pipeline.summary.summarise import notes_of
from facer.pipeline.views.curves import WEAK_NOTE
from facer.pipeline.views.footage import crop_strip
from facer.pipeline.views.report.clip_page import Footage, clip_curves, clip_facts, clip_notes
from facer.pipeline.views.report.folder import data_script, number, packed, render
from facer.pipeline.views.report.store_page import record_columns
from facer.pipeline.views.view.session import ViewSession
from facer.storage.errors import FacerError
from facer.storage.schema import ClipFeatures, Record, measured_of
from facer.storage.study.design import WHO

_FIRST_SHOWN = ("au12", "happiness", "valence")


def index_page(of: ViewSession) -> str:
    """The page of all clips."""
    status, marks = store_status(of.store), of.notes.marked()
    measured, (_, empty, failed) = measured_of(status.clips), status.clips.values()
    tiles = [
        ("clips", len(of.store)),
        (f"without {measured}", empty),
        ("failed", failed),
        ("left out", sum(of.left_out(clip, marks) != "" for clip in of.order)),
        ("marks", sum(map(len, marks.values()))),
    ]
    return render(
        "index", "view_store.html", title=of.store.path,
        tiles=[(name, f"{n:,}") for name, n in tiles], notes=list(notes_of(of.study)),
        marks_file=str(of.config.marks_file), design=of.config.design, measured=measured,
        first=of.url(of.to_see(of.order)),
    )  # fmt: skip


def index_data(of: ViewSession) -> str:
    """All clips with what their records say, the worst first: quick for any store."""
    records = [of.store.record(clip_id) for clip_id in of.order]
    marks = of.notes.marked()
    table: dict[str, list[Any]] = {
        **record_columns(records),
        "url": [of.url(r.clip_id) if r.n_frames else "" for r in records],
        "quality": [number(r.overall_quality, 3) for r in records],
        "switches": [r.track_switches for r in records],
        "duration": [number(r.n_frames / r.fps, 2) if r.fps > 0 else None for r in records],
        "marks": [len(marks.get(clip_id, ())) for clip_id in of.order],
        "out": [of.left_out(clip_id, marks) for clip_id in of.order],
    }
    if of.config.design is not None:
        rows = [of.rows.get(clip_id) for clip_id in of.order]
        for name in ("participant", "condition"):
            table[name] = ["" if row is None else getattr(row, name) for row in rows]
    return data_script({"table": table, "headFrames": None, "sound": of.store.provenance.of_sound})


def clip_page(of: ViewSession, name: str) -> str:
    """The page of a clip, as it was extracted last; FacerError for one without frames."""
    of.store.refresh()
    record, clip = of.read(of.clip(name))
    try:
        of.video(name)
        footage = Footage(f"{name}.video")
    except FacerError as error:
        footage = Footage(note=str(error))
    before, after = (of.page(of.beside(record.clip_id, step)) for step in (-1, 1))
    return render(
        f"clips/{name}", "view_clip.html", title=record.clip_id, back="all clips",
        before=before, after=after, footage=footage,
        facts=[*_who(of, record.clip_id), *clip_facts(record, clip, of.store)],
        weak_note=WEAK_NOTE if of.store.weak_features else "", notes=clip_notes(clip, of.store),
        marks_file=str(of.config.marks_file), faces_file=str(of.config.faces_file),
        reasons=of.reasons(), several=bool((clip.n_faces > 1).any()),
        other=of.other.path if of.other is not None else "",
    )  # fmt: skip


def _who(of: ViewSession, clip_id: str) -> list[tuple[str, str]]:
    """What the design says of a clip."""
    row = of.rows.get(clip_id)
    if row is None or of.config.design is None:
        return []
    cells = [(name, getattr(row, name)) for name in WHO]
    cells += zip(of.study.design.carried, row.carried, strict=True)
    return [(name, cell) for name, cell in cells if cell]


def clip_data(of: ViewSession, name: str) -> str:
    """The data of a clip's page."""
    clip_id = of.clip(name)
    record, clip = of.read(clip_id)
    try:
        with of.decoding:
            start_s = -ask("clock_start_s", of.video(name))
    except FacerError:
        start_s = 0.0
    row, names, rest = of.rows.get(clip_id), of.store.feature_names, of.summary.baseline
    windows = ", ".join(f"{k}={a:g}:{b:g}" for k, (a, b) in of.summary.windows.items())
    return data_script({
        **clip_curves(clip, of.store), "videoStart": start_s, "copy": f"{name}.mp4",
        "copyStart": float(clip.timestamp_s[0]),
        "view": {
            "name": name, "times": packed(clip.timestamp_s),
            "size": [record.width_px, record.height_px],
            "boxes": {"ours": _boxes(clip, record), **_their_boxes(of, clip_id)},
            "features": list(names),
            "feature": next((f for f in _FIRST_SHOWN if f in names), names[0]),
            "windows": windows, "baseline": "" if rest is None else "{:g}:{:g}".format(*rest),
            "participant": "" if row is None else row.participant,
            "against": of.other is not None,
        },
    })  # fmt: skip


def _boxes(clip: ClipFeatures, record: Record) -> Mapping[str, Any]:
    return {
        "time": packed(clip.timestamp_s), "box": packed(clip.bbox_px),
        "size": [record.width_px, record.height_px],
    }  # fmt: skip


def _their_boxes(of: ViewSession, clip_id: str) -> dict[str, Any]:
    """Boxes of the other store, where it has the clip."""
    if of.other is None or clip_id not in of.other_clip:
        return {}
    record = of.other.record(of.other_clip[clip_id])
    if not record.n_frames:
        return {}
    clip = of.other.read(record.clip_id)
    times = times_of(clip, record)
    return {} if times is None else {"theirs": _boxes(replace(clip, timestamp_s=times), record)}


def crops(of: ViewSession, name: str) -> Mapping[str, Any]:
    """Crops that show the clip at a glance."""
    _, clip = of.read(of.clip(name))
    video = of.video(name)
    with of.decoding:
        return {"crops": crop_strip(video, clip)}
