"""Factories of clips and stores."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.schema import Status

Entry = tuple[Record, ClipFeatures | None]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def provenance() -> Provenance:
    return Provenance("det", "d" * 64, "rec", "r" * 64, settings={"input_px": 320})


@pytest.fixture
def make_entry() -> Callable[..., Entry]:
    def make(
        clip_id: str,
        frames: int = 5,
        *,
        columns: int = len(FEATURE_NAMES),
        seed: int = 0,
        embedding: int | None = None,
        quality: bool = False,
        face: bool = True,
    ) -> Entry:
        rng = np.random.default_rng([seed, frames])
        valid = rng.random(frames) < 0.8 if face else np.zeros(frames, np.bool_)

        def measured(*shape: int) -> np.ndarray:
            values = rng.standard_normal((frames, *shape)).astype(np.float32)
            values[~valid] = np.nan
            return values

        clip = ClipFeatures(
            features=measured(columns),
            timestamp_s=np.arange(frames) / 30.0,
            valid=valid,
            det_score=measured(),
            bbox_px=measured(4),
            keypoints_px=measured(5, 2),
            n_faces=valid.astype(np.int16),
            embedding=None if embedding is None else measured(embedding).astype(np.float16),
            quality=measured() if quality else None,
        )
        status: Status = "ok" if valid.any() else "no_face"
        return Record(clip_id, status, frames, n_valid=int(valid.sum()), fps=30.0), clip

    return make


@pytest.fixture
def store(tmp_path: Path, provenance: Provenance, make_entry: Callable[..., Entry]) -> FeatureStore:
    """A store of two parts: a, b/1 and a failed clip; then c without a face."""
    made = FeatureStore.create(tmp_path / "s.zarr", provenance, weak_features=("au11",))
    failed = Record("broken", "failed", 0, reason="moov atom not found", source="broken.mp4")
    made.write_part([make_entry("a", 7, seed=1), make_entry("b/1", 3, seed=2), (failed, None)])
    made.write_part([make_entry("c", 4, seed=3, face=False)])
    return made


def same_clip(found: ClipFeatures, expected: ClipFeatures) -> None:
    for name, values in vars(expected).items():
        if values is None:
            assert getattr(found, name) is None
        else:
            np.testing.assert_array_equal(getattr(found, name), values)
            assert getattr(found, name).dtype == values.dtype


@pytest.fixture(name="same_clip")
def same_clip_fixture() -> Callable[[ClipFeatures, ClipFeatures], None]:
    return same_clip
