"""Stores of clips whose curves a test writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.schema import Status

Curves = Mapping[str, object]


@pytest.fixture
def study_store(tmp_path: Path) -> Callable[..., str]:
    """``study_store({clip_id: (times, {feature: values}, valid)})``; None is a failed clip."""

    def make(clips: Mapping[str, Any], name: str = "study.zarr", **provenance: Any) -> str:
        made = Provenance("det", "d" * 64, "rec", "r" * 64, settings=provenance)
        store = FeatureStore.create(tmp_path / name, made)
        store.write_part([_entry(clip_id, clip) for clip_id, clip in clips.items()])
        return str(tmp_path / name)

    return make


def _entry(clip_id: str, clip: Any) -> tuple[Record, ClipFeatures | None]:
    if clip is None:
        return Record(clip_id, "failed", 0, reason="no video stream"), None
    times, curves, valid = (*clip, None)[:3]
    times = np.asarray(times, np.float64)
    n = len(times)
    valid = np.ones(n, bool) if valid is None else np.asarray(valid, bool)
    features = np.full((n, len(FEATURE_NAMES)), 0.1, np.float32)
    for name, values in curves.items():
        features[:, FEATURE_NAMES.index(name)] = values
    features[~valid] = np.nan
    boxes = np.tile(np.array([10, 10, 60, 90], np.float32), (n, 1))
    boxes[~valid] = np.nan
    arrays = ClipFeatures(
        features, times, valid, np.where(valid, 0.9, np.nan).astype(np.float32), boxes,
        np.zeros((n, 5, 2), np.float32), valid.astype(np.int16),
    )  # fmt: skip
    status: Status = "ok" if valid.any() else "no_face"
    fps = (n - 1) / (times[-1] - times[0]) if n > 1 else float("nan")
    return Record(clip_id, status, n, n_valid=int(valid.sum()), fps=fps), arrays
