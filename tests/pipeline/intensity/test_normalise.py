"""--normalise subject: a person's resting face is taken out, in training and in prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import ExportHeadConfig, FoldConfig, TrainHeadConfig
from facer.pipeline.intensity.export import export_head
from facer.pipeline.intensity.folds.train import train_folds
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.labelled import load_labelled
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.subject_scales import load_scales, scaled_rows, training_scales
from facer.pipeline.intensity.train import train_head
from facer.pipeline.intensity.training import Training
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.storage import FeatureStore, read_labels
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint

FIT = FitConfig(
    HeadConfig(hidden_size=8, dense=4), learning_rate=3e-3, epochs=2, normalise="subject"
)


@pytest.fixture
def config(planted, tmp_path):
    """Two clips of each person; those of val are strangers, test has one of train's too."""
    store, labels = planted()
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    people = [
        f"{line},p{i // 4}{'' if i % 4 in (0, 1) else i % 4}" for i, line in enumerate(lines[1:])
    ]
    people[3] = people[3].removesuffix("3")
    (tmp_path / "labels.csv").write_text("\n".join([f"{lines[0]},subject", *people]) + "\n")
    return TrainHeadConfig(store, labels, tmp_path / "run", fit=FIT)


def cohort_of(config):
    return load_labelled(
        FeatureStore.open(config.store), read_labels(config.labels), config.sequences
    )[0]


def test_evaluation_reads_what_the_training_read(config):
    training = Training(config)
    train_head(config)
    cohort, record = cohort_of(config), read_run(config.run)
    for split in ("train", "val"):
        found = scaled_rows(config.run, record, cohort, cohort.of(split))
        for clip in cohort.to_learn(split):
            rows = slice(*cohort.sequences.offsets[clip : clip + 2])
            own = found.rows(clip)[0]
            assert torch.equal(own, training.data.rows(clip)[0])
            assert not np.array_equal(own, cohort.sequences.features[rows])
    assert set(load_scales(config.run)) == {f"p{i}" for i in range(6)}


def test_labels_and_the_other_splits_change_no_scale_of_a_training(config):
    cohort = cohort_of(config)
    data = DeviceSequences(cohort.sequences, torch.device("cpu"))
    scales = training_scales(data, cohort)
    cohort.targets[:] = 0
    test = cohort.places(cohort.of("test"))
    for clip in test:
        cohort.sequences.features[slice(*cohort.sequences.offsets[clip : clip + 2])] = 99
    again = training_scales(data, cohort)
    assert all(np.array_equal(scales[p].mean, again[p].mean) for p in scales)


def test_a_seen_person_keeps_the_runs_scale_and_a_stranger_has_his_own(config):
    train_head(config)
    cohort, record = cohort_of(config), read_run(config.run)
    rows = cohort.of("test")
    found = scaled_rows(config.run, record, cohort, rows)
    means = [abs(found.rows(clip)[0].mean(0)).max() for clip in cohort.places(rows)]
    assert means[0] > 0.05  # p0 of the train split
    assert max(means[1:]) < 1e-4


def test_without_subjects_nothing_is_known_and_prediction_is_clip_by_clip(config):
    train_head(config)
    store = FeatureStore.open(config.store)
    whole = predict_store(config.run, store, store.clip_ids).values
    alone = predict_store(config.run, store, store.clip_ids[:1]).values
    np.testing.assert_allclose(whole[:1], alone, atol=1e-6)


def test_labels_without_subjects_are_refused(planted, tmp_path):
    store, labels = planted()
    with pytest.raises(FacerError, match="normalise subject: found no subject"):
        train_head(TrainHeadConfig(store, labels, tmp_path / "run", fit=FIT))


def test_folds_have_scales_of_their_own(config):
    config = replace(config, folds=FoldConfig("3"))
    result = train_folds(config)
    seen = [set(load_scales(config.run / f"fold-{k}")) for k in range(3)]
    assert len({frozenset(one) for one in seen}) == 3
    assert result.scores.n_scored == evaluate(config.run).n_scored


def test_a_graph_of_one_clip_has_no_people(config, tmp_path):
    train_head(config)
    with pytest.raises(FacerError, match="trained with normalise subject"):
        export_head(ExportHeadConfig(config.run, tmp_path / "head.onnx"))


@pytest.mark.parametrize("change", ["names", "shape", "zero", "nan", "type"])
def test_scales_that_facer_did_not_write_are_refused(config, change):
    train_head(config)
    path = config.run / "subjects.safetensors"
    arrays, meta = load_checkpoint(path)
    if change == "names":
        meta["subjects"] = meta["subjects"][1:]
    if change == "shape":
        arrays["mean"] = arrays["mean"][:, 1:]
    if change == "zero":
        arrays["std"] = 0 * arrays["std"]
    if change == "nan":
        arrays["mean"] = arrays["mean"] * np.float32(np.nan)
    if change == "type":
        arrays["mean"] = arrays["mean"].astype(np.float64)
    save_checkpoint(path, arrays, meta)
    with pytest.raises(FacerError, match=r"subjects\.safetensors: found no scales"):
        evaluate(config.run)
