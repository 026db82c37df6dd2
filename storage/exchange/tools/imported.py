"""Features that another tool made, as clips for a store."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.files.cells import parse_number
from facer.storage.files.csv_table import CsvTable, iterate_rows, looks_like_a_row, read_table
from facer.storage.files.regular import check_name
from facer.storage.labels.words import key_of, names_people
from facer.storage.layout.parts import Entry
from facer.storage.schema import (
    F32,
    F64,
    I64,
    Bools,
    ClipFeatures,
    Provenance,
    Record,
    mean_rate_hz,
)
from facer.storage.text.names import some

Names = Mapping[str, str]  # facer's name of a column: the file's
NamesOf = Callable[[Sequence[str]], Sequence[tuple[str, str]]]  # the same of a header
_MOST_LEFT_OUT = 1_000_000  # frames that a file may leave out: nine hours at 30 Hz
CLIP_COLUMNS = ("filename", "file_id", "file", "video", "video_id", "clip", "clip_id")
_SLOWEST_HZ, _FASTEST_HZ = 0.1, 245.0  # of frames; times in a wrong unit are beyond
MS_STEP = 2.0  # timestamps that advance by as much are milliseconds, of 500 Hz at most


@dataclass(frozen=True)
class Imported:
    """What a store of another tool's features needs, and its clips one by one."""

    feature_names: tuple[str, ...]
    weak_features: tuple[str, ...]
    provenance: Provenance
    clips: Iterator[Entry]  # files are read as it advances


def files_under(path: Path, suffix: str) -> dict[str, Path]:
    """Return the file at ``path``, or those below it, by path without suffix.

    The suffix may be in upper case. Raises FacerError when there is none, or two of one name.
    """
    if path.is_file():
        check_name(path)
        return {path.stem: path}
    found: dict[str, Path] = {}
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() != suffix or file.name.startswith("."):
            continue
        check_name(file)
        name = file.relative_to(path).with_suffix("").as_posix()
        if name in found:
            raise FacerError(f"{file}: found {found[name].name} beside it, expected a file a clip")
        found[name] = file
    if not found:
        others = some(sorted({file.suffix for file in path.rglob("*") if file.suffix}))
        there = f" (but {others})" if others else ""
        raise FacerError(f"{path}: found no {suffix} file there{there}, expected at least one")
    return found


def provenance(tool: str, face_policy: str, **settings: str) -> Provenance:
    """Return the provenance of features whose weights are not known to facer."""
    return Provenance(
        detector=tool,
        detector_sha256="",
        rec=tool,
        rec_sha256="",
        alignment=tool,
        face_policy=face_policy,
        frame_policy="as imported",
        settings={"imported": tool, **settings},
    )


def clip(
    clip_id: str,
    features: F64,
    timestamp_s: F64,
    valid: Bools,
    extras: Mapping[str, npt.NDArray[Any]],
    note: str = "",
) -> Entry:
    """Return a clip of T frames: features (T, F), NaN where not valid; ``note``: what was odd.

    A frame without any number is not valid. ``extras`` may give det_score (T,), bbox_px (T, 4),
    keypoints_px (T, 5, 2) and n_faces (T,); what is not given is NaN, and one face in valid frames.
    FacerError for an infinite time.
    """
    if np.isinf(timestamp_s).any():
        raise FacerError(f"clip {clip_id!r}: times: found an infinite one, expected seconds")
    frames, rate_hz = len(timestamp_s), mean_rate_hz(timestamp_s)
    valid = valid & measured(features)
    back = int((np.diff(timestamp_s) <= 0).sum())
    halts = [f"its rows are not in the order of time: times go back or stand still {back}x"]
    unit = [f"its times give {rate_hz:.3g} frames/s: are they in another unit?"]
    odd_unit = rate_hz < _SLOWEST_HZ or rate_hz > _FASTEST_HZ
    arrays = {"features": features}
    for name, *shape in (("det_score",), ("bbox_px", 4), ("keypoints_px", 5, 2)):
        arrays[name] = extras.get(name, np.full((frames, *shape), np.nan))
    known: dict[str, Any] = {name: _where(valid, values) for name, values in arrays.items()}
    features_of_clip = ClipFeatures(
        **known,
        timestamp_s=timestamp_s.astype(np.float64),
        valid=valid,
        n_faces=extras.get("n_faces", valid).astype(np.int16),
    )
    record = Record(
        clip_id,
        "ok" if valid.any() else "no_face",
        frames,
        n_valid=int(valid.sum()),
        fps=rate_hz,
        reason="; ".join(filter(None, [note, *halts * (back > 0), *unit * odd_unit])),
    )
    return record, features_of_clip


def _where(valid: Bools, values: npt.NDArray[Any]) -> F32:
    found = values.astype(np.float32)
    found[~valid] = np.nan
    return found


def first_header(files: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the column names of the first of some files."""
    return next(iterate_rows(next(iter(files.values()))))[1]


def refuse_row_as_header(files: Mapping[str, Path], header: Sequence[str]) -> None:
    """Raise FacerError for a first line of numbers that have a decimal point or do not ascend."""
    numbers = [parse_number(name) for name in header if name]
    known = [number for number in numbers if number is not None]
    if looks_like_a_row(header) or (len(known) == len(numbers) and known != sorted(known)):
        raise FacerError(
            f"{next(iter(files.values()))}: found {', '.join(header[:5])} in the first line, "
            "expected the names of the columns; put a line of names above the rows"
        )


def one_a_file(
    files: Mapping[str, Path], names: Names, names_of: NamesOf,
    read_clip: Callable[[str, CsvTable, Names], Entry],
) -> Iterator[Entry]:  # fmt: skip
    """Yield a clip a file; one without rows is a failed clip.

    FacerError for a file whose column of clips, such as ``filename``, has several.
    """
    for clip_id, file in files.items():
        table = read_table(file)
        if table.rows:
            _refuse_many_clips(table)
            yield noted(read_clip(clip_id, table, names), names, names_of(table.header))
        else:
            yield Record(clip_id, "failed", 0, reason="its file has no rows"), None


def noted(entry: Entry, names: Names, own: Sequence[tuple[str, str]]) -> Entry:
    """A clip whose note says which of its file's ``own`` features the store has no column for."""
    record, of_clip = entry
    lost = [theirs for ours, theirs in own if ours not in names]
    if not lost:
        return entry
    note = f"the first file has no {some(lost)}: left out"
    return replace(record, reason="; ".join(filter(None, [record.reason, note]))), of_clip


def _refuse_many_clips(table: CsvTable) -> None:
    """FacerError for several clips in a column that names them, or for people or ids whose rows
    stand together: those of a row's own number or of who speaks do not.
    """
    for column, name in enumerate(table.header):
        of_clips = table.index(*CLIP_COLUMNS) == column
        if not (of_clips or names_people(name) or key_of(name) in ("id", "name")):
            continue
        cells = table.column(column)
        clips = dict.fromkeys(cells)
        blocks = 1 + sum(one != other for one, other in pairwise(cells))
        if len(clips) > 1 and (of_clips or blocks == len(clips) < len(cells)):
            first, second, *_ = clips
            raise FacerError(
                f"{table.path}: column {name!r}: found {len(clips)} clips such as {first!r} and "
                f"{second!r}, expected a file a clip; split the file by this column"
            )


def distinct(path: Path, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return facer's name and the file's of each column; FacerError for two of one meaning."""
    found: dict[str, str] = {}
    for ours, theirs in pairs:
        if ours in found:
            raise FacerError(
                f"{path}: found columns {found[ours]!r} and {theirs!r}, which are both {ours!r}, "
                "expected one of them; take the other out"
            )
        found[ours] = theirs
    return found


def features_of(table: CsvTable, names: Names) -> F64:
    """Return the features of a table in the order of their names, (T, F).

    FacerError for a number that is too large for float32.
    """
    columns = [table.where(name) for name in names.values()]
    values = table.numbers(columns)
    for row, place in np.argwhere(np.abs(values) > np.finfo(np.float32).max)[:1]:
        raise FacerError(
            f"{table.at(row)}: column {table.header[columns[place]]!r}: found "
            f"{values[row, place]:g}, expected numbers up to {np.finfo(np.float32).max:.2g}"
        )
    return values


def beyond_scale(features: F64, names: Names, scale: tuple[float, float] = (0, 5)) -> str:
    """Say which AU intensities (``au12``) of (T, F) lie outside their tool's scale; "" for none."""
    units = [place for place, name in enumerate(names) if re.fullmatch(r"au\d\d", name)]
    found = features[:, units][~np.isnan(features[:, units])]
    out = found[(found < scale[0]) | (found > scale[1])]
    if not len(out):
        return ""
    return (
        f"{len(out)} AU intensities lie outside {scale[0]:g} to {scale[1]:g}, from {out.min():g} "
        f"to {out.max():g}: are they on another scale, or codes for no face?"
    )


def measured(features: F64) -> Bools:
    """Return which frames are valid, (T,): those with any number."""
    return np.asarray(~np.isnan(features).all(axis=1), np.bool_)


def seconds(times: F64) -> F64:
    """Return times (T,) in seconds: those that advance by 2 or more are milliseconds, and one
    alone, which does not tell its unit, is NaN unless it is 0.
    """
    step = step_of(times)
    if np.isnan(step):
        return np.where(times == 0, times, np.nan)
    return times / 1000 if step >= MS_STEP else times


def step_of(times: F64) -> float:
    """By how much times (T,) advance, in the middle; NaN for fewer than two."""
    steps = np.abs(np.diff(times[~np.isnan(times)]))
    return float(np.median(steps)) if len(steps) else np.nan


def at_frames(frames: int, known: I64, times_s: F64) -> F64:
    """The times (frames,) of all frames, given those (k,) of the ``known`` (k,), or NaN: between
    these, and before the first and after the last at the clip's own rate; NaN where none tells.
    """
    found = np.full(frames, np.nan)
    told = ~np.isnan(times_s)
    known, times_s = known[told], times_s[told]
    if len(known) < 2:
        found[known] = times_s
        return found
    every = np.arange(frames)
    found = np.interp(every, known, times_s)
    step_s = np.polyfit(known, times_s, 1)[0]
    found += step_s * (np.minimum(every - known[0], 0) + np.maximum(every - known[-1], 0))
    return np.asarray(found, np.float64)


def from_time_0(frame: I64, times_s: F64) -> I64:
    """Return frame numbers less what would put frames before time 0, where times tell."""
    order = np.argsort(frame)
    order = order[~np.isnan(times_s[order])]
    steps, seconds_on = np.diff(frame[order]), np.diff(times_s[order])
    known = (steps > 0) & (seconds_on > 0)
    if not known.any():
        return frame
    step_s = float(np.median(seconds_on[known] / steps[known]))
    first = order[0]
    before = max(0, round(float(times_s[first]) / step_s)) - int(frame[first] - frame.min())
    return frame - max(0, int(frame.min()) - max(0, before))


def refuse_twice(table: CsvTable, frames: Sequence[object], of: str = "") -> None:
    """Raise FacerError, with its line, for a frame (of one face, say) that is there again."""
    first: dict[object, int] = {}
    for row, frame in enumerate(frames):
        if frame in first:
            raise FacerError(
                f"{table.at(row)}: found a frame twice{of} (first at line "
                f"{table.lines[first[frame]]}), expected it once; several clips need a file each"
            )
        first[frame] = row


def frame_numbers(table: CsvTable, values: F64) -> I64:
    """Return numbers of frames (T,); FacerError for one that is none, or far beyond the rows."""
    most = len(values) + _MOST_LEFT_OUT
    bad = ~((values >= 0) & (values < most) & (values % 1 == 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise FacerError(
            f"{table.at(row)}: column 'frame': found {values[row]}, expected a whole number from 0 "
            f"to {most - 1}"
        )
    return values.astype(np.int64)


def landmarks(table: CsvTable) -> dict[str, F64]:
    """Return five keypoints (T, 5, 2) and the box (T, 4) of 68 points ``x_0``, ``y_0`` ..., in
    pixels; nothing where the table lacks some.
    """
    axes = [[f"{axis}_{point}" for point in range(68)] for axis in "xy"]
    if not all(name in table.header for names in axes for name in names):
        return {}
    x, y = (table.numbers([table.where(name) for name in names]) for names in axes)
    points = np.stack([x, y], axis=2)
    groups = (slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55))
    keypoints = np.stack([points[:, group].mean(axis=1) for group in groups], axis=1)
    box = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    return {"keypoints_px": keypoints, "bbox_px": box}


def dominant(faces: Sequence[object], success: Bools, confidence: F64) -> Bools:
    """Return the rows (n,) of the face that is measured most often, then most surely."""
    best: tuple[int, float, int] | None = None
    kept = np.zeros(len(faces), np.bool_)
    for order, face in enumerate(dict.fromkeys(faces)):
        rows = np.array([other == face for other in faces], np.bool_)
        measured = rows & success
        key = (int(measured.sum()), float(np.nansum(confidence[measured])), -order)
        if best is None or key > best:
            best, kept = key, rows
    return kept
