"""A clip's frames as the text files of other programs: FaceReader, iMotions, OpenFace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from facer.storage.files.cells import safe_cell
from facer.storage.schema import ClipFeatures, Record

_FACEREADER = {
    "neutral": "Neutral", "happiness": "Happy", "sadness": "Sad", "anger": "Angry",
    "surprise": "Surprised", "fear": "Scared", "disgust": "Disgusted", "valence": "Valence",
    "arousal": "Arousal",
}  # fmt: skip
_UNITS = {
    1: "Inner Brow Raiser", 2: "Outer Brow Raiser", 4: "Brow Lowerer", 5: "Upper Lid Raiser",
    6: "Cheek Raiser", 7: "Lid Tightener", 9: "Nose Wrinkler", 10: "Upper Lip Raiser",
    11: "Nasolabial Deepener", 12: "Lip Corner Puller", 14: "Dimpler",
    15: "Lip Corner Depressor", 17: "Chin Raiser", 18: "Lip Puckerer", 20: "Lip Stretcher",
    23: "Lip Tightener", 24: "Lip Pressor", 25: "Lips Part", 26: "Jaw Drop", 27: "Mouth Stretch",
    43: "Eyes Closed",
}  # fmt: skip


def facereader_columns(names: Sequence[str]) -> dict[str, str]:
    """FaceReader's names of the features that its logs can have, by ours."""
    known = {name: word for name, word in _FACEREADER.items() if name in names}
    return {**known, **{name: _unit(name) for name in names if name not in known and _unit(name)}}


def openface_units(names: Sequence[str], thresholds: Mapping[str, float]) -> list[str]:
    """The action units whose presence a threshold tells."""
    return [name for name in names if _unit(name) and thresholds[name] == thresholds[name]]


def facereader(record: Record, clip: ClipFeatures, names: Sequence[str], stimulus: str) -> str:
    """Return a detailed log of FaceReader: tab-delimited, ``FIND_FAILED`` where no face was seen.

    Columns that facer does not measure, such as contempt and the head's orientation, are left
    out; unit cells are numbers, because letters from A to E would claim intensities.
    """
    columns = facereader_columns(names)
    head = [
        "Video analysis detailed log", "Face Model:\tfacer", "Calibration:\tNone",
        "Start time:\t00:00:00.000", f"Filename:\t{_one_line(record.source or record.clip_id)}",
        f"Frame rate:\t{record.fps:.6g}", "",
    ]  # fmt: skip
    lines = ["\t".join(["Video Time", *columns.values(), "Stimulus", "Event Marker"])]
    places = [names.index(name) for name in columns]
    for time_s, valid, row in zip(clip.timestamp_s, clip.valid, clip.features, strict=True):
        cells = [_cell(row[place]) for place in places] if valid else ["FIND_FAILED"] * len(places)
        lines.append("\t".join([_clock(float(time_s)), *cells, _one_line(stimulus), ""]))
    return "\n".join([*head, *lines]) + "\n"


def _unit(name: str) -> str:
    number = name[2:4]
    if not (name.startswith("au") and number.isdecimal() and len(name) == 4):
        return ""
    return f"Action Unit {number} - {_UNITS.get(int(number), 'Unit')}"


def _clock(time_s: float) -> str:
    """Hours, minutes, seconds; a time before 0 is written as 0."""
    ms = max(0, round(time_s * 1000))
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def imotions(clip: ClipFeatures, names: Sequence[str], onset_s: float) -> str:
    """Return a csv of external data: ``timestamp`` in milliseconds from the stimulus, signals."""
    lines = [",".join(["timestamp", *map(_one_line, names)])]
    for time_s, row in zip(clip.timestamp_s, clip.features, strict=True):
        ms = (float(time_s) - onset_s) * 1000
        lines.append(",".join([f"{ms:.3f}", *("" if v != v else f"{v:.6g}" for v in row)]))
    return "\n".join(lines) + "\n"


def openface(clip: ClipFeatures, names: Sequence[str], thresholds: Mapping[str, float]) -> str:
    """Return a csv of OpenFace 2: frame, timestamp, confidence, success and presences (``_c``).

    A unit is present above its threshold; without a number, the cell of a frame with a face is
    empty. There are no ``_r`` columns: those are intensities.
    """
    units = openface_units(names, thresholds)
    places = [names.index(name) for name in units]
    lines = [", ".join(["frame", "face_id", "timestamp", "confidence", "success",
                        *(f"{name.upper()}_c" for name in units)])]  # fmt: skip
    limits = np.array([thresholds[name] for name in units])
    for i, (time_s, valid, row) in enumerate(
        zip(clip.timestamp_s, clip.valid, clip.features, strict=True), 1
    ):
        score = float(clip.det_score[i - 1])
        values = row[places] if valid else np.zeros(len(units))
        shown = np.where(np.isnan(values), np.nan, values > limits)
        start = [str(i), "0", f"{float(time_s):.3f}", f"{score if valid else 0.0:.2f}",
                 str(int(valid))]  # fmt: skip
        lines.append(", ".join([*start, *("" if v != v else f"{v:.2f}" for v in shown)]))
    return "\n".join(lines) + "\n"


def _cell(value: float) -> str:
    return "" if value != value else f"{value:.6g}"


def _one_line(text: str) -> str:
    """Return text for a cell of a file that is split at commas or tabs; it is no formula."""
    return safe_cell(" ".join(text.replace(",", " ").replace('"', "'").split()))
