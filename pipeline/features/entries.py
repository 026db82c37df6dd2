"""What the store gets of a video: the records of its sequences, and their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from facer.pipeline.features.fingerprints import Fingerprint
from facer.pipeline.features.pending import ClipTask, video_id
from facer.stages.features.extraction import ClipSequence, Extraction
from facer.storage import FeatureStore
from facer.storage.layout.parts import Entry
from facer.storage.schema import F32, Record, mean_rate_hz
from facer.storage.study.faces import points_text


def sequences_before(store: FeatureStore, policy: str) -> Mapping[str, int]:
    """How many sequences a store has of each video, where one has several."""
    return Counter(video_id(r, policy) for r in store.records) if policy == "all" else {}


def entries_of(
    clip: ClipTask, result: Extraction, source: Fingerprint | None, policy: str,
    store: FeatureStore, before: Mapping[str, int],
) -> list[Entry]:  # fmt: skip
    """What the store gets of one video: a record a sequence, or one that says why there is none.

    Sequences that the store has of it from ``before`` (:func:`sequences_before`) and that are not
    found again are replaced by ones without a face.
    """
    record = Record(
        clip.clip_id, "failed", 0, result.reason, source=clip.path, seconds=result.seconds,
        width_px=result.width_px, height_px=result.height_px, face_points=points_text(clip.points),
    )  # fmt: skip
    if source is not None:
        record = replace(
            record, source_size=source.size, source_mtime_ns=source.mtime_ns,
            source_sha256=source.sha256,
        )  # fmt: skip
    if policy != "all":
        return [_entry(record, next(iter(result.sequences), None), store)]
    sequences: list[ClipSequence | None] = [*result.sequences] or [None]
    gone = _without_face(sequences[0])
    sequences += [gone] * (before.get(clip.clip_id, 0) - len(sequences))
    return [
        _entry(replace(record, clip_id=f"{clip.clip_id}#{number}"), sequence, store)
        for number, sequence in enumerate(sequences)
    ]


def _entry(record: Record, sequence: ClipSequence | None, store: FeatureStore) -> Entry:
    if sequence is None:
        return record, None
    clip = sequence.clip
    n_valid, (ok, empty, _) = int(clip.valid.sum()), store.provenance.statuses
    record = replace(
        record, status=ok if n_valid else empty, n_frames=clip.n_frames, n_valid=n_valid,
        fps=mean_rate_hz(clip.timestamp_s), track_switches=sequence.track_switches,
        quality=_mean(clip.quality),
    )  # fmt: skip
    return record, clip


def _without_face(sequence: ClipSequence | None) -> ClipSequence | None:
    """The same frames, with no face measured in them."""
    if sequence is None:
        return None
    clip = sequence.clip
    arrays = ("features", "det_score", "bbox_px", "keypoints_px", "embedding", "quality")
    values = {name: getattr(clip, name) for name in arrays}
    empty = {k: np.full_like(v, np.nan) for k, v in values.items() if v is not None}
    return ClipSequence(replace(clip, valid=np.zeros_like(clip.valid), **empty), 0)


def _mean(quality: F32 | None) -> float | None:
    """Of the frames with a face."""
    if quality is None or np.isnan(quality).all():
        return None
    return round(float(np.nanmean(quality.astype(np.float64))), 4)
