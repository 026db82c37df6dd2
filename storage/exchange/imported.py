"""Features that another tool made, as clips for a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.parts import Entry
from facer.storage.schema import F32, F64, Bools, ClipFeatures, Provenance, Record, mean_rate_hz


@dataclass(frozen=True)
class Imported:
    """What a store of another tool's features needs, and its clips one by one."""

    feature_names: tuple[str, ...]
    weak_features: tuple[str, ...]
    provenance: Provenance
    clips: Iterator[Entry]  # files are read as it advances


def files_under(path: Path, suffix: str) -> dict[str, Path]:
    """Return the file at ``path``, or those below it, by path without suffix.

    Raises FacerError when there is none.
    """
    if path.is_file():
        return {path.stem: path}
    found = sorted(file for file in path.rglob(f"*{suffix}") if not file.name.startswith("."))
    if not found:
        raise FacerError(f"{path}: found no {suffix} file there, expected at least one")
    return {file.relative_to(path).with_suffix("").as_posix(): file for file in found}


def imported_provenance(tool: str, face_policy: str, **settings: str) -> Provenance:
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


def imported_clip(
    clip_id: str,
    features: F64,
    timestamp_s: F64,
    valid: Bools,
    extras: Mapping[str, npt.NDArray[Any]],
    note: str = "",
) -> Entry:
    """Return a clip of T frames: features (T, F), NaN where not valid; ``note``: what was odd.

    ``extras`` may give det_score (T,), bbox_px (T, 4), keypoints_px (T, 5, 2) and n_faces
    (T,); what is not given is NaN, and one face in valid frames.
    """
    frames = len(timestamp_s)
    measured = {"features": features}
    for name, *shape in (("det_score",), ("bbox_px", 4), ("keypoints_px", 5, 2)):
        measured[name] = extras.get(name, np.full((frames, *shape), np.nan))
    clip = ClipFeatures(
        **{name: _where(valid, values) for name, values in measured.items()},
        timestamp_s=timestamp_s.astype(np.float64),
        valid=valid,
        n_faces=extras.get("n_faces", valid).astype(np.int16),
    )
    record = Record(
        clip_id,
        "ok" if valid.any() else "no_face",
        frames,
        n_valid=int(valid.sum()),
        fps=mean_rate_hz(timestamp_s),
        reason=note,
    )
    return record, clip


def _where(valid: Bools, values: npt.NDArray[Any]) -> F32:
    found = values.astype(np.float32)
    found[~valid] = np.nan
    return found
