"""Mistakes of public evaluation code that belong to reading a run's features again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.evaluate import evaluate, predict_store
from facer.pipeline.heads import TrainHeadConfig, train_head
from facer.stages.intensity.fit import FitConfig
from facer.stages.intensity.heads import HeadConfig
from facer.stages.intensity.sequences import SequenceConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError

FAST = FitConfig(HeadConfig(units=8, dense=6), learning_rate=3e-3, epochs=2)


@pytest.fixture
def run(planted, tmp_path):
    store, labels = planted()
    sequences = SequenceConfig(max_frames=24)
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=FAST))
    return tmp_path / "run"


def moved(store, path, names):
    """A copy of a store with its columns in another order."""
    other = FeatureStore.create(path, store.provenance, feature_names=names)
    order = [store.feature_names.index(name) for name in names]
    clips = [(store.record(clip), store.read(clip)) for clip in store.clip_ids]
    other.write_part([(r, replace(c, features=c.features[:, order])) for r, c in clips])
    return other


def test_columns_are_taken_by_name_from_a_store_whose_columns_moved(run, tmp_path):
    """Seen: feature columns taken by position from a file whose columns moved."""
    before = evaluate(run, "test")
    record = json.loads((run / "config.json").read_text())
    store = FeatureStore.open(record["store"])
    other = moved(store, tmp_path / "moved.zarr", store.feature_names[::-1])
    clips = store.clip_ids[:3]
    assert np.array_equal(
        predict_store(run, other, clips).values, predict_store(run, store, clips).values
    )
    (run / "config.json").write_text(json.dumps(record | {"store": other.path}))
    assert np.array_equal(evaluate(run, "test").predictions, before.predictions)


def test_a_column_that_is_gone_is_named(run, tmp_path):
    record = json.loads((run / "config.json").read_text())
    store = FeatureStore.open(record["store"])
    fewer = moved(store, tmp_path / "fewer.zarr", store.feature_names[:-1])
    (run / "config.json").write_text(json.dumps(record | {"store": fewer.path}))
    with pytest.raises(FacerError, match="au26"):
        evaluate(run, "test")


def test_a_missing_clip_does_not_see_the_labels_that_it_is_scored_on(run, tmp_path):
    """Seen: missing validation videos filled with the validation ground truth's mean."""
    labels = json.loads((run / "config.json").read_text())["labels"]["path"]
    text = Path(labels).read_text()
    fills = []
    for value in (0.1, 0.9):
        more = tmp_path / f"more-{value}.csv"
        more.write_text(text + "".join(f"gone-{i},val,{value},{value}\n" for i in range(20)))
        found = evaluate(run, "val", str(more))
        assert found.n_filled == 20
        fills.append(found.predictions[[c.startswith("gone") for c in found.label_ids]])
    assert np.array_equal(fills[0], fills[1])
