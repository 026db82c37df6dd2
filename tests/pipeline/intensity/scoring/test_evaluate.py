"""Mistakes of public evaluation code that belong to reading a run's features again."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facer.cli import main
from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.train import train_head
from facer.stages.common.threads import on_threads
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.model import predict
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.statistics.intervals import bootstrap
from facer.storage import FeatureStore, read_labels
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)


@pytest.fixture
def run(planted, tmp_path):
    store, labels = planted()
    sequences = SequenceConfig(max_frames=24)
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=FAST))
    return tmp_path / "run"


def test_clips_of_other_labels_that_were_trained_on_are_told(run, tmp_path):
    """Seen: clips of train scored as test, because a newer file had other splits."""
    own = Path(read_run(run).labels.path)
    moved = {"train": "test", "test": "train", "val": "val"}
    lines = [line.split(",") for line in own.read_text().splitlines()]
    other = tmp_path / "other.csv"
    other.write_text("".join(f"{','.join([a, moved.get(b, b), *c])}\n" for a, b, *c in lines))
    (note,) = evaluate(run, "test", labels=other).warnings
    n = sum(split == "train" for _, split, *_ in lines)
    assert note.startswith(f"{n} of {n} clips of test are in train in the labels of {run} (")
    assert evaluate(run, "val", labels=other).warnings == ()
    assert evaluate(run, "test", labels=own).warnings == ()


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


def test_predictions_never_replace_the_labels(run):
    """A challenge's labels and predictions can have the same first line."""
    (labels,) = (Path(name) for name in evaluate(run).label_files)
    header, *rows = labels.read_text().splitlines()
    labels.write_text("\n".join([f"{header},status", *(f"{row},ok" for row in rows)]))
    before = labels.read_bytes()
    with pytest.raises(FacerError, match=r"labels\.csv: found the labels there, expected another"):
        evaluate(run, labels=str(labels)).write(labels)
    assert labels.read_bytes() == before


def test_features_that_changed_since_the_training_are_told(run, tmp_path):
    assert not evaluate(run, "val").warnings
    place = Path(json.loads((run / "config.json").read_text())["store"])
    store = FeatureStore.open(place)
    clips = [(store.record(clip), store.read(clip)) for clip in store.clip_ids]
    place.rename(tmp_path / "before.zarr")
    other = FeatureStore.create(place, store.provenance)
    other.write_part([(r, replace(c, features=1 - c.features)) for r, c in clips])
    (warning,) = evaluate(run, "val").warnings
    assert warning == "the store's features are not those that the run was trained on"


def test_what_to_know_of_a_run_is_told_beside_predictions_of_clips_without_labels(
    run, tmp_path, capsys
):
    """Seen: predictions of a challenge's test split went out without a word of a changed store."""
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"seeds": 3}))
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    bare = [f"{row.split(',')[0]},test,," if ",test," in row else row for row in rows]
    (tmp_path / "bare.csv").write_text("\n".join(bare))
    arguments = ["evaluate", str(run), "--labels", str(tmp_path / "bare.csv"), "--split", "test"]
    for more in (["--json"], [], ["--predictions", "-"]):
        with pytest.raises(SystemExit, match="0"):
            main([*arguments, *more])
        printed = capsys.readouterr()
        told = json.loads(printed.out)["warnings"] if more == ["--json"] else [printed.err]
        assert len(told) == 1
        assert "of 3 seeds have finished" in told[0]


def test_seeds_that_have_not_finished_are_told(run):
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(record | {"seeds": 3}))
    (run / "seed-old").mkdir()
    assert "1 of 3 seeds have finished" in evaluate(run, "val").warnings


def test_features_of_another_detector_setting_are_refused(run, tmp_path):
    record = json.loads((run / "config.json").read_text())
    store = FeatureStore.open(record["store"])
    for settings, message in (
        ({"det_size_px": 160}, "det_size_px is 160, .* with none; extract with the same"),
        ({"precision": "bf16"}, "precision is bf16, .* with float32; extract with the same"),
        ({"embedding": 256}, ""),
    ):
        provenance = replace(store.provenance, settings={**store.provenance.settings, **settings})
        other = FeatureStore.create(tmp_path / f"{next(iter(settings))}.zarr", provenance)
        other.write_part([(store.record(c), store.read(c)) for c in store.clip_ids])
        if message:
            with pytest.raises(FacerError, match=message):
                evaluate(run, "val", store=other.path)
        else:
            assert evaluate(run, "val", store=other.path).n_scored


def test_every_emotion_has_its_interval(run):
    found = evaluate(run, "test").to_json()
    for one in found["per_emotion"].values():
        low, high = one["pearson_95"]
        assert -1 <= low <= high <= 1


def test_every_figure_stands_beside_its_own_interval(planted, tmp_path):
    """Seen: the mean over seeds beside the interval of the seeds' mean prediction."""
    store, labels = planted(48)
    train_head(TrainHeadConfig(store, labels, tmp_path / "seeds", fit=FAST, seeds=3))
    found = evaluate(tmp_path / "seeds", "test")
    values, result = np.stack([found.by_seed[s] for s in (0, 1, 2)]), found.to_json()
    np.testing.assert_allclose(values.mean(0), found.predictions, atol=1e-6)
    targets = read_labels(labels)
    rows = [targets.clip_ids.index(clip) for clip in found.label_ids]
    own = bootstrap(values, targets.values[rows])
    averaged = bootstrap(found.predictions, targets.values[rows])
    assert own != averaged
    for figures, mean in ((result["mean"], own.mean), (result["ensemble"], averaged.mean)):
        assert figures["pearson_95"] == [some(mean).low, some(mean).high]
    for place, name in enumerate(found.names):
        for part, intervals in ((result, own), (result["ensemble"], averaged)):
            one = some(intervals.per_emotion[place])
            figures = part["per_emotion"][name]
            assert figures["pearson_95"] == [one.low, one.high]
            assert one.low <= figures["pearson"] <= one.high


def test_labels_that_do_not_vary_are_not_defined_and_said(run, tmp_path):
    labels = json.loads((run / "config.json").read_text())["labels"]["path"]
    rows = [line.split(",") for line in Path(labels).read_text().splitlines()]
    other = tmp_path / "flat.csv"
    other.write_text("".join(f"{a},{b},{c if c == 'joy' else 0.25},{d}\n" for a, b, c, d in rows))
    found = evaluate(run, "test", labels=str(other))
    result = found.to_json()
    assert result["not_defined"] == ["joy"]
    assert result["per_emotion"]["joy"]["pearson"] is None
    assert result["per_emotion"]["joy"]["pearson_95"] is None
    assert result["mean"]["pearson"] == result["per_emotion"]["awe"]["pearson"]
    assert any(
        "all labels of joy in test are one value: correlations are not defined there, and their "
        "means are those of the others" in text
        for text in found.warnings
    )
    assert result["mean"]["mse"] == pytest.approx(
        np.mean([result["per_emotion"][name]["mse"] for name in ("joy", "awe")])
    )
    assert "<td>joy</td><td>-</td>" in found._repr_html_()
    assert result["std_over_seeds"]["mse"] is None  # of one seed: 0 was said
    assert "NaN" not in json.dumps(result)
    other.write_text("".join(f"{a},{b},{c if c == 'joy' else 1},{d if d == 'awe' else 1}\n"
                             for a, b, c, d in rows))  # fmt: skip
    result = evaluate(run, "test", labels=str(other)).to_json()
    assert result["mean"]["pearson"] is result["ensemble"]["pearson_95"] is None
    assert "NaN" not in json.dumps(result)


def test_intervals_over_one_person_say_so(run, tmp_path):
    rows = [line.split(",") for line in Path(read_run(run).labels.path).read_text().split()]
    text = "\n".join(",".join([*row, "subject" if i == 0 else "p1"]) for i, row in enumerate(rows))
    labels = tmp_path / "one-person.csv"
    labels.write_text(text + "\n")
    found = evaluate(run, labels=str(labels))
    assert some(found.intervals).unit == "clip"
    assert any("are of one subject" in warning for warning in found.warnings)


def test_an_emotion_without_labels_has_no_interval(run, tmp_path):
    record = json.loads((run / "config.json").read_text())
    rows = Path(record["labels"]["path"]).read_text().splitlines()
    kept = [f"{row.rpartition(',')[0]}," if ",test," in row else row for row in rows]
    other = tmp_path / "no-awe.csv"
    other.write_text("\n".join(kept) + "\n")
    found = evaluate(run, "test", labels=str(other)).to_json()["per_emotion"]
    assert found["awe"]["pearson_95"] is None
    assert found["awe"]["n"] == 0
    assert len(found["joy"]["pearson_95"]) == 2


def test_a_config_of_something_else_is_refused(run):
    (run / "config.json").write_text("{}")
    with pytest.raises(FacerError, match="found no format, expected the config of facer train"):
        evaluate(run, "val")


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
        found = evaluate(run, "val", labels=more)
        assert found.n_filled == 20
        fills.append(found.predictions[[c.startswith("gone") for c in found.label_ids]])
    assert np.array_equal(fills[0], fills[1])


def test_the_mean_over_seeds_is_reported_never_the_best(planted, tmp_path):
    """Seen: test scores computed for each seed before choosing."""
    store, labels = planted()
    config = TrainHeadConfig(store, labels, tmp_path / "seeds", fit=FAST, seeds=3)
    train_head(config)
    found = evaluate(config.run, "test")
    each = [scores.mean("pearson") for scores in found.seeds.values()]
    assert len(set(each)) == 3
    assert found.to_json()["mean"]["pearson"] == pytest.approx(np.mean(each))
    assert found.to_json()["std_over_seeds"]["pearson"] == pytest.approx(np.std(each, ddof=1))


def test_a_calibration_on_val_is_told_beside_scores_of_val(planted, tmp_path):
    store, labels = planted()
    for split in ("train", "val"):
        fit = replace(FAST, calibrate=split)
        train_head(TrainHeadConfig(store, labels, tmp_path / split, fit=fit))
    assert evaluate(tmp_path / "train", "val").warnings == ()
    (warning,) = evaluate(tmp_path / "val", "val").to_json()["warnings"]
    assert "calibration was fitted on val" in warning
    assert evaluate(tmp_path / "val", "test").warnings == ()


def test_uncalibrated_predictions_are_filled_with_their_mean_on_train(planted, tmp_path):
    """Seen: clips without features on the labels' scale, among raw predictions."""
    store, labels = planted()
    path = Path(labels)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    scaled = [[*r[:2], *(str(100 * float(v)) for v in r[2:])] for r in rows[1:]]
    path.write_text("\n".join(map(",".join, [rows[0], *scaled])) + "\ngone,val,50,50\n")
    fit = replace(FAST, calibrate="none")
    config = TrainHeadConfig(store, labels, tmp_path / "raw", fit=fit, seeds=2)
    train_head(config)
    found = evaluate(config.run, "val")
    (row,) = (i for i, clip in enumerate(found.label_ids) if clip == "gone")
    expected = evaluate(config.run, "train").predictions.mean(axis=0)
    np.testing.assert_allclose(found.predictions[row], expected, rtol=1e-4)
    assert found.predictions.max() < 10
    for seed in (0, 1):
        weights = config.run / f"seed-{seed}" / "best.safetensors"
        arrays, meta = load_checkpoint(weights)
        save_checkpoint(weights, arrays, {k: v for k, v in meta.items() if k != "stand_in"})
    with pytest.raises(FacerError, match="made by an earlier facer with calibrate none"):
        evaluate(config.run, "val")
    assert evaluate(config.run, "test").n_scored


def test_constant_predictions_are_scored_as_zero_with_a_warning(planted, copy_store, tmp_path):
    plain, labels = planted()

    def still(clip):
        return replace(clip, features=np.full_like(clip.features, 0.5))

    store = copy_store(plain, tmp_path / "still.zarr", still)
    fit = replace(FAST, head=HeadConfig("stats-mlp", hidden_size=8))
    train_head(TrainHeadConfig(store, labels, tmp_path / "constant", fit=fit))
    found = evaluate(tmp_path / "constant", "test")
    assert found.mean("pearson") == found.mean("ccc") == 0
    assert found.constant == ("joy", "awe")
    assert "one and the same prediction for joy, awe" in found.warnings[0]
    mean = some(some(found.intervals).mean)
    assert mean.low == mean.high == 0


def test_n_counts_clips_with_a_label(planted, tmp_path):
    store, labels = planted()
    lines = [line.split(",") for line in Path(labels).read_text().splitlines()]
    lines[4][2] = ""  # one clip of test lacks joy, another both
    lines[8][2:] = ["", ""]
    Path(labels).write_text("\n".join(map(",".join, lines)) + "\n")
    train_head(TrainHeadConfig(store, labels, tmp_path / "gaps", fit=FAST))
    found = evaluate(tmp_path / "gaps", "test").to_json()
    assert (found["n"], found["n_predicted"]) == (5, 6)
    assert found["per_emotion"]["joy"]["n"] == 4
    assert found["per_emotion"]["awe"]["n"] == 5


def test_a_store_that_was_moved_is_given(run, tmp_path, copy_store):
    before = evaluate(run, "test")
    path = json.loads((run / "config.json").read_text())["store"]
    other = copy_store(path, tmp_path / "elsewhere.zarr")
    shutil.rmtree(path)
    with pytest.raises(FacerError, match="found nothing there"):
        evaluate(run, "test")
    assert np.array_equal(evaluate(run, "test", store=other).predictions, before.predictions)


def test_predictions_are_summed_as_the_run_was_whatever_the_caller_does(run, monkeypatch):
    found = []

    def told(model, data, clips):
        found.append(torch.get_num_threads())
        return predict(model, data, clips)

    monkeypatch.setattr("facer.pipeline.intensity.scoring.evaluate.predict", told)
    with on_threads(2):
        evaluate(run, "test")
        predict_store(run, FeatureStore.open(read_run(run).store), ["clip-00"])
        assert torch.get_num_threads() == 2
    assert found == [1, 1]
