"""A study's clips for the programs in which a lab goes on with them."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from facer.pipeline.summary.clips import ClipSummary, Features, There, idle_note, late_note
from facer.pipeline.summary.config import ExportConfig
from facer.pipeline.summary.people import person_of
from facer.pipeline.summary.rows import clip_row
from facer.pipeline.summary.summarise import Study, clips_of, notes_of, study
from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.grid import bins, frame_bins, series
from facer.stages.summary.units import units
from facer.storage import FeatureStore
from facer.storage.errors import FacerError, named
from facer.storage.exchange import bids, logs
from facer.storage.exchange.formats import FRAME_TABLES, STUDY_FORMATS, StudyFormat
from facer.storage.exchange.frames import FrameTable
from facer.storage.exchange.tables import export_store
from facer.storage.exchange.tiers import Linked, Stretch, Tier, elan, split, textgrid
from facer.storage.files.atomic import write_atomic, written_whole
from facer.storage.files.csv_table import csv_text
from facer.storage.files.objects import LocalObjects
from facer.storage.files.refusals import refuse_existing
from facer.storage.study.design import design_of
from facer.storage.study.events import START
from facer.storage.text.names import distinct, numbered, some

_JSON_HZ = 10.0
_UNFILLED_S = 0.0  # longest unseen gap that curves go on over: they have no column that says so
_NAME_BYTES = 255  # that a file's name may have
_ROOM = 20  # of them for a number and an ending
_ENDINGS: Mapping[StudyFormat, str] = {
    "elan": ".eaf", "textgrid": ".TextGrid", "facereader": "_detailed.txt", "openface": ".csv",
    "json": ".json",
}  # fmt: skip
"""What follows a clip's id in the name of its file, of formats that have one a clip."""
_log = logging.getLogger("facer")


def export(store: FeatureStore, config: ExportConfig) -> int:
    """Write a store's features for other tools, and return how many clips are in them.

    FacerError where something is at the path, or other text where a table's dictionary is to be.
    """
    form = config.form
    if form in STUDY_FORMATS:
        of = SummaryConfig(thresholds=config.thresholds)
        found = study(store, of, config.design, config.events, config.marks)
        return _export_study(found, config.path, form, config.videos)
    if form in FRAME_TABLES:
        return _export_frames(store, config)
    return export_store(store, config.path, form)


def _export_frames(store: FeatureStore, config: ExportConfig) -> int:
    """Write one table of frames and its dictionary."""
    path, long = config.path, config.long
    dictionary = path.with_name(f"{path.stem}.columns.csv")
    found = None if config.design is None else design_of(config.design, store.clip_ids)
    names = store.feature_names
    meant = dict(zip(names, units(names, store.provenance.settings), strict=True))
    columns = FrameTable.of(store, store.clip_ids, found, long).columns
    rows = [["column", "unit", "low", "high", "weak", "definition"]]
    rows += [[column.name, column.unit, "", "", "", column.definition] for column in columns]
    if long:
        rows += [[name, "", "", "", "", ""] for name in names]
    for row in rows[1:]:
        if (unit := meant.get(row[0])) is not None:
            ends = ["" if end != end else f"{end:g}" for end in (unit.low, unit.high)]
            row[1:] = [unit.unit, *ends, str(int(row[0] in store.weak_features)), unit.definition]
    meanings = csv_text(rows)
    there = LocalObjects(path.parent).get(dictionary.name) if dictionary.is_file() else None
    if there != meanings.encode():  # the same beside the same table in another format
        refuse_existing(dictionary)
    written = export_store(store, path, config.form, design=found, long=long)
    write_atomic(dictionary, meanings)
    _tell(found.notes if found is not None else ())
    return written


def _export_study(of: Study, path: Path, form: StudyFormat, videos: Path | None) -> int:
    """Write a folder with files of every clip, and return how many clips have some.

    A clip that failed, was excluded or is not in the store has none. ``videos``: the folder of
    the videos, which ELAN's documents then link to by a relative path. FacerError when ``path``
    exists, and for intensities of 0 to 5 in a log of FaceReader.
    """
    writers: dict[str, Callable[[_Place, ClipSummary, There], None]] = {
        "elan": _elan, "textgrid": _textgrid, "bids": _bids, "facereader": _facereader,
        "imotions": _imotions, "openface": _openface, "json": _json,
    }  # fmt: skip
    refuse_existing(path)
    if form == "facereader" and any(unit.unit == "intensity" for unit in of.features.units):
        raise FacerError(
            f"{of.store.path}: found action units of 0 to 5, expected shares, as those of a log of "
            "FaceReader are; export to another format"
        )
    _refuse_empty(of, form)
    _refuse_long(of, form)
    written, idle, late = 0, list[str](), list[str]()
    with written_whole(path) as folder:
        place = _Place(folder, path, videos, of)
        folder.mkdir(parents=True)
        if form == "bids":
            _describe(place)
        for clip in clips_of(of):
            idle += clip.idle_marks()
            late += clip.late_events()
            if clip.there is not None:
                writers[form](place, clip, clip.there)
                written += 1
        for name, data in bids.participants(place.people).items() if form == "bids" else ():
            place.write(name, data)
    _tell([*notes_of(of), *idle_note(idle), *late_note(late)])
    return written


def _refuse_empty(of: Study, form: StudyFormat) -> None:
    """FacerError where no feature of the store has a column in the files of a format."""
    names = of.features.names
    columns: dict[str, Collection[str]] = {
        "facereader": logs.facereader_columns(names),
        "openface": logs.openface_units(names, _thresholds(of.features)),
    }
    if form in columns and not columns[form]:
        raise FacerError(
            f"{of.store.path}: found features {some(names)}, expected some that {form} has, such "
            f"as au12; {named('format')} csv or json take any"
        )


def _refuse_long(of: Study, form: StudyFormat) -> None:
    """FacerError for a clip whose name is too long for a file of a format, before any work."""
    if form not in _ENDINGS:
        return
    for row in of.design.rows:
        name = f"{PurePosixPath(row.clip_id).name}{_ENDINGS[form]}"
        over = len(os.fsencode(name)) - _NAME_BYTES
        if over > 0 and row.known and not row.exclude and of.store.record(row.clip_id).n_frames:
            raise FacerError(
                f"{of.store.path}: clip {row.clip_id!r}: its file {_ENDINGS[form]} would have a "
                f"name {over} bytes too long; leave it out by exclude in a {named('design')}, or "
                "export one table (.csv, .parquet)"
            )


def _thresholds(of: Features) -> Mapping[str, float]:
    return dict(zip(of.names, of.thresholds.tolist(), strict=True))


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        _log.warning(note)


class _Place:
    """Where files go: a folder that is written aside and then becomes ``final``."""

    def __init__(self, folder: Path, final: Path, videos: Path | None, of: Study) -> None:
        self.folder, self.final, self.videos, self.of = folder, final, videos, of
        self.people: dict[str, str] = {}  # names by label, of those who have files
        self.runs: Counter[tuple[str, ...]] = Counter()

    @cached_property
    def bids_keys(self) -> dict[str, tuple[str, str, str]]:
        """Labels of subject, session and task, by clip; different names have different ones."""
        rows = self.of.design.rows
        subjects = bids.labels(map(person_of, rows), "unknown")
        sessions = {"": "", **bids.labels((r.session for r in rows if r.session), "unknown")}
        tasks = bids.labels((row.condition for row in rows), "video")
        return {
            row.clip_id: (subjects[person_of(row)], sessions[row.session], tasks[row.condition])
            for row in rows
        }

    @cached_property
    def several(self) -> Counter[tuple[str, str, str]]:
        """How many clips have the same labels."""
        return Counter(self.bids_keys.values())

    @cached_property
    def imotions_names(self) -> dict[str, str]:
        """A file's path without its ending, by clip: no two are the same."""
        rows = self.of.design.rows
        people = distinct(map(person_of, rows), _file_name)
        stimuli = [_file_name(row.condition or row.clip_id) for row in rows]
        wanted = [f"Ex_Data/{people[person_of(row)]}/facer/{stimulus}"
                  for row, stimulus in zip(rows, stimuli, strict=True)]  # fmt: skip
        return dict(zip((row.clip_id for row in rows), numbered(wanted), strict=True))

    def write(self, name: str, data: str | bytes) -> None:
        """Write a file below the folder; FacerError for a clip whose name leads out of it."""
        parts = PurePosixPath(name).parts
        if not parts or any(part in ("..", "/") or "\0" in part for part in parts):
            raise FacerError(f"{self.final}: clip {name!r}: found an id that cannot name a file")
        write_atomic(self.folder.joinpath(*parts), data)

    def write_of(self, clip: ClipSummary, form: StudyFormat, data: str | bytes) -> None:
        """Write a clip's file, of a format that has one a clip."""
        self.write(f"{clip.row.clip_id}{_ENDINGS[form]}", data)

    def link(self, clip: ClipSummary) -> str:
        """The video's path from the clip's file; "" where it is not known."""
        source = clip.record.source if clip.record is not None else ""
        if self.videos is None or not source:
            return ""
        here = self.final.resolve() / PurePosixPath(clip.row.clip_id).parent
        return Path(os.path.relpath(self.videos.resolve() / source, here)).as_posix()


def tiers_of(clip: ClipSummary) -> list[Tier]:
    """Return a tier a feature with its episodes (text: the peak), ``no_face`` and ``marks``."""
    names = clip.features.names
    found: dict[str, list[Stretch]] = {
        name: [] for name, unit in zip(names, clip.features.units, strict=True)
        if unit.threshold == unit.threshold
    }  # fmt: skip
    for track in clip.parts:
        episodes = clip.episodes_of(track)
        for place, start, stop, peak in zip(
            episodes.column, episodes.start_s, episodes.stop_s, episodes.peak, strict=True
        ):
            found[names[place]].append(Stretch(float(start), float(stop), f"{peak:.3f}"))
    tiers = [Tier(name, stretches) for name, stretches in found.items()]
    tiers.append(Tier("no_face", [Stretch(a, b, "no face") for a, b in clip.without_face()]))
    whole = (0.0, 0.0) if clip.time is None else (clip.time.start_s, clip.time.stop_s)
    marks = [
        Stretch(
            whole[0] if mark.start_s is None else mark.start_s,
            whole[1] if mark.stop_s is None else mark.stop_s,
            " ".join(filter(None, [mark.feature, mark.why])),
        )
        for mark in clip.marks
    ]
    return [*tiers, Tier("marks", split(marks))]


def _elan(place: _Place, clip: ClipSummary, there: There) -> None:
    record, arrays, _ = there
    stem = PurePosixPath(clip.row.clip_id).name
    linked = Linked(place.link(clip), f"./{stem}.txt")
    place.write_of(clip, "elan", elan(tiers_of(clip), linked, max(0, record.source_mtime_ns)))
    lines = ["\t".join(["time_s", *clip.features.names])]
    lines += [
        "\t".join([f"{time_s:.6f}", *("" if v != v else f"{v:.6g}" for v in row)])
        for time_s, row in zip(arrays.timestamp_s, arrays.features, strict=True)
    ]
    place.write(f"{clip.row.clip_id}.txt", "\n".join(lines) + "\n")


def _textgrid(place: _Place, clip: ClipSummary, there: There) -> None:
    place.write_of(clip, "textgrid", textgrid(tiers_of(clip), there[2].stop_s))


def _bids(place: _Place, clip: ClipSummary, there: There) -> None:
    row, time = clip.row, there[2]
    key = place.bids_keys[row.clip_id]
    place.people[key[0]] = person_of(row)
    place.runs[key] += 1
    folder, name = bids.stem(*key, place.runs[key] if place.several[key] > 1 else 0)
    starts, rate = frame_bins(time, row.clip_id)
    values = np.full((len(starts), len(clip.features.names) + 1), np.nan)
    for track in clip.parts:
        one = series(track, starts, rate, _UNFILLED_S)
        values[:, track.columns] = one.value
        values[:, -1] = np.fmax(values[:, -1], one.seen_share)
    columns = {
        column: (unit.definition, unit.unit)
        for column, unit in zip(clip.features.names, clip.features.units, strict=True)
    }
    columns["seen_share"] = ("time of the sample in which a face was measured", "0 to 1")
    base = f"{folder}/{name}"
    place.write(f"{base}_recording-face_physio.tsv.gz", bids.rows(values))
    described = bids.sidecar(rate, time.start_s, columns, TaskName=row.condition or "video")
    place.write(f"{base}_recording-face_physio.json", described)
    events = [event for event in clip.events if event != START]
    if events:
        listed = [(e.onset_s, e.duration_s, e.trial_type or e.name) for e in events]
        place.write(f"{base}_events.tsv", bids.events(listed))


def _describe(place: _Place) -> None:
    from facer import __version__

    place.write("dataset_description.json", bids.description(__version__))
    place.write("README.md", "Facial expression measured by facer, see dataset_description.json.\n")


def _facereader(place: _Place, clip: ClipSummary, there: There) -> None:
    log = logs.facereader(there[0], there[1], clip.features.names, clip.row.condition)
    place.write_of(clip, "facereader", log)


def _imotions(place: _Place, clip: ClipSummary, there: There) -> None:
    first_s = min(event.onset_s for event in clip.events)  # a table of events has any order
    text = logs.imotions(there[1], clip.features.names, first_s)
    place.write(f"{place.imotions_names[clip.row.clip_id]}.csv", text)


def _file_name(text: str) -> str:
    name = text.replace("/", "_").strip(". ")
    while len(os.fsencode(name)) > _NAME_BYTES - _ROOM:
        name = name[:-1]
    return name or "_"


def _openface(place: _Place, clip: ClipSummary, there: There) -> None:
    text = logs.openface(there[1], clip.features.names, _thresholds(clip.features))
    place.write_of(clip, "openface", text)


def _json(place: _Place, clip: ClipSummary, there: There) -> None:
    """A clip's meta data, summary, curves of 10 a second and events, in one object."""
    names = clip.features.names
    starts = bins(there[2].start_s, there[2].stop_s, _JSON_HZ, clip.row.clip_id)
    curves: dict[str, Any] = {}
    for track in clip.parts:
        value = series(track, starts, _JSON_HZ, _UNFILLED_S).value
        curves |= {names[c]: _plain(value[:, i]) for i, c in enumerate(track.columns)}
    summary = [
        {"event": event.name, "window": window, "feature": name,
         **{k: _plain(v)[i] for k, v in numbers.items()}}
        for event, window, numbers in clip.measured()
        for i, name in enumerate(names)
    ]  # fmt: skip
    row = clip_row(clip)
    meta = {name: _plain(values)[0] for name, values in row.items()}
    place.write_of(clip, "json", json.dumps({
        "clip": meta, "events": [event._asdict() for event in clip.events],
        "marks": [mark._asdict() for mark in clip.marks], "summary": summary,
        "series": {"rate_hz": _JSON_HZ, "t_s": _plain(starts), **curves},
    }, ensure_ascii=False))  # fmt: skip


def _plain(values: Any) -> list[Any]:
    """Values as JSON has them: None where nothing was measured."""
    found = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [None if v != v else v for v in found]
