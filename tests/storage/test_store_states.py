"""A store against a dict: any order of writing, dropping, reading anew and a killed writer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record

CLIPS = st.sampled_from(["a", "b", "folder/c", "d"])


def clip(seed: int, frames: int) -> ClipFeatures:
    rng = np.random.default_rng([seed, frames])
    return ClipFeatures(
        features=rng.random((frames, len(FEATURE_NAMES)), dtype=np.float32),
        timestamp_s=np.arange(frames) / 25,
        valid=np.ones(frames, np.bool_),
        det_score=rng.random(frames, dtype=np.float32),
        bbox_px=rng.random((frames, 4), dtype=np.float32),
        keypoints_px=rng.random((frames, 5, 2), dtype=np.float32),
        n_faces=np.ones(frames, np.int16),
    )


def record(clip_id: str, found: ClipFeatures | None) -> Record:
    frames = 0 if found is None else len(found.valid)
    return Record(
        clip_id=clip_id,
        status="failed" if found is None else "ok",
        reason="broken" if found is None else "",
        n_frames=frames,
        n_valid=frames,
        fps=float("nan") if found is None else 25.0,
    )


class StoreStates(RuleBasedStateMachine):
    """``self.expected`` has what each clip's latest record says."""

    expected: dict[str, ClipFeatures | None]

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        provenance = Provenance("det", "d" * 64, "rec", "r" * 64)
        self.store = FeatureStore.create(self.folder / "s.zarr", provenance)
        self.expected = {}

    @rule(clips=st.lists(CLIPS, min_size=1, max_size=3, unique=True), seed=st.integers(0, 9),
          frames=st.integers(1, 4), failed=st.booleans())  # fmt: skip
    def write(self, clips: list[str], seed: int, frames: int, failed: bool) -> None:
        found = {c: None if failed else clip(seed + i, frames) for i, c in enumerate(clips)}
        self.store.write_part([(record(c, values), values) for c, values in found.items()])
        self.expected |= found

    @rule(clips=st.sets(CLIPS, max_size=2))
    def drop(self, clips: set[str]) -> None:
        self.store.drop_clips(clips)
        self.expected = {c: v for c, v in self.expected.items() if c not in clips}

    @rule()
    def leave_half_a_part(self) -> None:
        """A writer was killed before it committed: arrays, no records."""
        parts = self.folder / "s.zarr" / "parts"
        if whole := [path for path in parts.glob("*") if path.is_dir()]:
            half = parts / f"{whole[-1].name}x"
            shutil.copytree(whole[-1], half, dirs_exist_ok=True)
            (half / "zarr.json").unlink()

    @rule()
    def open_anew(self) -> None:
        self.store = FeatureStore.open(self.folder / "s.zarr")

    @invariant()
    def agrees(self) -> None:
        for store in (self.store, FeatureStore.open(self.store.path)):
            assert sorted(store.clip_ids) == sorted(self.expected)
            for clip_id, values in self.expected.items():
                assert (store.record(clip_id).status == "failed") == (values is None)
                if values is not None:
                    found = store.read(clip_id)
                    np.testing.assert_array_equal(found.features, values.features)
                    np.testing.assert_array_equal(found.bbox_px, values.bbox_px)
        whole = [clip_id for clip_id, values in self.expected.items() if values is not None]
        if whole:
            ragged = self.store.load(whole)
            features = [values.features for c in whole if (values := self.expected[c]) is not None]
            np.testing.assert_array_equal(ragged.features, np.concatenate(features))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


@pytest.mark.filterwarnings("default")
def test_a_store_is_a_dict_of_the_latest() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        StoreStates,
        settings=settings(
            max_examples=15, stateful_step_count=8, deadline=None, derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
