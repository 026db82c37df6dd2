from dataclasses import replace

import pytest

from facer.pipeline.compare import compare_runs
from facer.pipeline.heads import TrainHeadConfig, train_head
from facer.stages.intensity.fit import FitConfig
from facer.stages.intensity.heads import HeadConfig
from facer.stages.intensity.sequences import SequenceConfig
from facer.storage.errors import FacerError

FAST = FitConfig(HeadConfig(units=16, dense=8), learning_rate=3e-3, epochs=12)


@pytest.fixture
def runs(planted, tmp_path):
    """One run on the column that shows joy, one on columns that show nothing."""
    store, labels = planted(48)
    base = TrainHeadConfig(store, labels, tmp_path / "good", fit=FAST)
    columns = {"good": ("au12", "au26"), "bad": ("au01", "au02")}
    for name, features in columns.items():
        sequences = SequenceConfig(features, max_frames=24)
        train_head(replace(base, run=tmp_path / name, sequences=sequences))
    return tmp_path / "good", tmp_path / "bad"


def test_the_better_run_is_found(runs):
    found = compare_runs(*runs, split="test")
    assert found.pearson.difference > 0.3
    assert found.pearson.interval.low > 0
    assert found.to_json()["comparison"]["p_value"] < 0.05
    same = compare_runs(runs[0], runs[0], split="test")
    assert same.pearson.difference == 0


def test_runs_on_other_labels_are_refused(runs, tmp_path):
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    other = tmp_path / "fewer.csv"
    other.write_text("\n".join(lines[:-4]) + "\n")
    run = tmp_path / "third"
    store = str(tmp_path / "planted.zarr")
    train_head(TrainHeadConfig(store, str(other), run, fit=replace(FAST, epochs=1)))
    with pytest.raises(FacerError, match="score other clips"):
        compare_runs(runs[0], run)
