from dataclasses import replace

import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage.errors import FacerError
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=16, dense=8), learning_rate=3e-3, epochs=12)


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
    found = evaluate(runs[0], "test", against=runs[1])
    assert found.pearson.difference > 0.3
    assert some(found.pearson.interval).low > 0
    assert found.to_json()["comparison"]["p_value"] < 0.05
    same = evaluate(runs[0], "test", against=runs[0])
    assert same.pearson.difference == 0


def test_the_same_number_of_seeds_is_compared(runs, tmp_path):
    """Seen: the average of three seeds against one seed, which it beats by being an average."""
    record = config_of_run(runs[0], tmp_path / "three")
    fit = replace(record.fit, epochs=2)
    train_head(replace(record, fit=fit, seeds=3, repeats=None))
    train_head(replace(record, fit=replace(fit, seed=2), run=tmp_path / "one", repeats=None))
    three, one = tmp_path / "three", tmp_path / "one"
    found = evaluate(three, "test", against=one)
    assert (found.first_seeds, found.second_seeds) == ((2,), (2,))
    assert found.pearson.difference == 0  # seed 2 is the same training in both
    assert found.to_json()["comparison"]["seeds"] == {"run": [2], "against": [2]}
    other = evaluate(runs[1], "test", against=three)
    assert (other.first_seeds, other.second_seeds) == ((0,), (0,))
    assert evaluate(three, "test", against=three).first_seeds == (0, 1, 2)


def test_runs_on_other_labels_are_refused(runs, tmp_path):
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    other = tmp_path / "fewer.csv"
    other.write_text("\n".join(lines[:-4]) + "\n")
    run = tmp_path / "third"
    store = str(tmp_path / "planted.zarr")
    train_head(TrainHeadConfig(store, str(other), run, fit=replace(FAST, epochs=1)))
    with pytest.raises(FacerError, match="score other clips"):
        evaluate(runs[0], against=run)
    other.write_text("\n".join(line.replace(",0.", ",0.1") for line in lines) + "\n")
    run = tmp_path / "fourth"
    train_head(TrainHeadConfig(store, str(other), run, fit=replace(FAST, epochs=1)))
    with pytest.raises(FacerError, match="other labels of the clips of val"):
        evaluate(runs[0], against=run)
