"""The store does what a dict does, whatever is written, dropped, opened again or damaged."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from facer.storage import ClipFeatures, FacerError, FeatureStore, Provenance, Record
from facer.storage.verify import verify_store

CLIPS = st.sampled_from(["a", "b/1", "c d", "ü"])
logging.getLogger("facer").addHandler(logging.NullHandler())


def clip_of(value: int, frames: int) -> ClipFeatures:
    full = np.full(frames, value)
    return ClipFeatures(
        features=np.tile(full[:, None], (1, 2)).astype(np.float32),
        timestamp_s=np.arange(frames) / 25,
        valid=np.ones(frames, np.bool_),
        det_score=full.astype(np.float32),
        bbox_px=np.tile(full[:, None], (1, 4)).astype(np.float32),
        keypoints_px=np.tile(full[:, None, None], (1, 5, 2)).astype(np.float32),
        n_faces=full.astype(np.int16),
    )


class StoreAgainstDict(RuleBasedStateMachine):
    """``parts`` is the model: what each part holds, in the order of writing."""

    @initialize()
    def create(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "s.zarr"
        self.store = FeatureStore.create(
            self.path, Provenance("d", "", "r", ""), feature_names=("x", "y")
        )
        self.parts: dict[str, dict[str, tuple[int, int] | None]] = {}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(clips=st.dictionaries(CLIPS, st.none() | st.tuples(st.integers(0, 99), st.integers(1, 4)),
                                min_size=1))  # fmt: skip
    def write(self, clips: dict[str, tuple[int, int] | None]) -> None:
        entries = [
            (Record(c, "failed", 0, "why"), None) if what is None
            else (Record(c, "ok", what[1], n_valid=what[1]), clip_of(*what))
            for c, what in clips.items()
        ]  # fmt: skip
        part = self.store.write_part(entries)
        assert all(part > other for other in self.parts)
        self.parts[part] = clips

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        if self.parts:
            part = data.draw(st.sampled_from(sorted(self.parts)))
            self.store.drop_parts([part])
            del self.parts[part]

    @rule(data=st.data())
    def damage_records(self, data: st.DataObject) -> None:
        if not self.parts:
            return
        part = data.draw(st.sampled_from(sorted(self.parts)))
        file = self.path / "parts" / part / "zarr.json"
        file.write_bytes(file.read_bytes()[:-9])
        self.store = FeatureStore.open(self.path)
        assert list(self.store.damaged) == [part]
        assert [p.part for p in verify_store(self.store, 1).parts_of_state("damaged")] == [part]
        self.store.drop_parts([part])
        del self.parts[part]

    @rule()
    def open_again(self) -> None:
        self.store = FeatureStore.open(self.path)

    @invariant()
    def reads_like_the_dict(self) -> None:
        if not hasattr(self, "parts"):
            return
        model = {c: what for part in self.parts.values() for c, what in part.items()}
        assert self.store.clip_ids == tuple(sorted(model))
        loaded = self.store.load(self.store.clip_ids)
        for place, clip_id in enumerate(self.store.clip_ids):
            what = model[clip_id]
            rows = loaded.features[loaded.offsets[place] : loaded.offsets[place + 1]]
            if what is None:
                assert len(rows) == 0
                with pytest.raises(FacerError, match="failed: why"):
                    self.store.read(clip_id)
                continue
            expected = clip_of(*what)
            np.testing.assert_array_equal(rows, expected.features)
            for name, values in vars(self.store.read(clip_id)).items():
                np.testing.assert_array_equal(values, getattr(expected, name))


TestStoreAgainstDict = StoreAgainstDict.TestCase
TestStoreAgainstDict.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None,
    suppress_health_check=list(HealthCheck), derandomize=True,
)  # fmt: skip
