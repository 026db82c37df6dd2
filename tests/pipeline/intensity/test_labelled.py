"""Labels and features joined, the embedding included."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import ExportHeadConfig, TrainHeadConfig
from facer.pipeline.intensity.export import export_head
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.labelled import features_sha256, load_labelled
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FEATURE_NAMES, FeatureStore, read_labels
from facer.storage.errors import FacerError
from tests.support import some

SIGNAL = [FEATURE_NAMES.index("au12"), FEATURE_NAMES.index("au26")]


def embedded(clip):
    """The clip with what it shows in an embedding alone."""
    embedding = np.zeros((clip.n_frames, 4), np.float16)
    embedding[:, 1:3] = clip.features[:, SIGNAL]
    return replace(clip, features=clip.features * 0, embedding=embedding)


@pytest.fixture
def config(planted, copy_store, tmp_path):
    plain, labels = planted(48)
    store = copy_store(plain, tmp_path / "embedded.zarr", embedded)
    sequences = SequenceConfig(("valence", "embedding"), max_frames=24)
    head = HeadConfig(hidden_size=16, dense=8)
    fit = FitConfig(head, learning_rate=3e-3, epochs=12, standardise=True)
    return TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=fit)


def test_a_head_learns_from_the_embedding(config, tmp_path):
    assert train_head(config).n_columns == 5
    found = evaluate(config.run, "test")
    assert found.mean("pearson") > 0.8
    store = FeatureStore.open(config.store)
    again = predict_store(config.run, store, found.label_ids)
    np.testing.assert_allclose(again.values, found.predictions, atol=1e-6)
    assert read_run(config.run).embedding is True
    exported = export_head(ExportHeadConfig(config.run, tmp_path / "head.onnx"))
    clip = store.read(found.label_ids[0])
    x = np.hstack([clip.features[:, :1], some(clip.embedding).astype(np.float32)])
    (values,) = onnxruntime.InferenceSession(str(exported.path)).run(None, {"features": x})
    np.testing.assert_allclose(values, found.predictions[0], atol=1e-5)


def test_a_store_without_embedding_says_what_to_do(config):
    store = config.store.replace("embedded", "planted")
    with pytest.raises(FacerError, match="embedding"):
        train_head(replace(config, store=store))


def without(column, clips=None):
    """Changes a clip's column to NaN; with ``clips`` only of so many clips, one after another."""
    count = iter(range(1000))

    def change(clip):
        features = clip.features.copy()
        if clips is None or next(count) < clips:
            features[:, FEATURE_NAMES.index(column)] = np.nan
        return replace(clip, features=features)

    return change


@pytest.mark.parametrize("missing", ["hold", "zero", "drop"])
def test_a_column_without_any_value_is_refused_by_name(planted, copy_store, tmp_path, missing):
    """Seen: one such column made zeros of every clip, without a word."""
    plain, labels = planted()
    store = FeatureStore.open(copy_store(plain, tmp_path / "nan.zarr", without("au20")))
    sequences = SequenceConfig(("au12", "au20"), missing=missing)
    with pytest.raises(FacerError, match=r"no value of au20 in any of the 24 labelled clips"):
        load_labelled(store, read_labels(labels), sequences)
    assert load_labelled(store, read_labels(labels), SequenceConfig(("au12",)))[0].counts["usable"]


@pytest.mark.parametrize("missing", ["hold", "zero", "drop"])
def test_a_clip_without_the_chosen_columns_counts_as_without_features(
    planted, copy_store, tmp_path, missing
):
    plain, labels = planted()
    path = copy_store(plain, tmp_path / "nan.zarr", without("au20", 3))
    sequences = SequenceConfig(("au12", "au20"), missing=missing)
    fit = FitConfig(HeadConfig(hidden_size=4, dense=4), learning_rate=3e-3, epochs=2)
    train_head(TrainHeadConfig(path, labels, tmp_path / "run", sequences=sequences, fit=fit))
    record = read_run(tmp_path / "run")
    assert (record.counts["usable"], record.counts["no_features"]) == (21, 3)
    found = evaluate(tmp_path / "run", "val")
    assert found.n_filled == 1
    assert found.label_ids[0] == "clip-02"
    np.testing.assert_allclose(found.predictions[0], some(record.train_mean), rtol=1e-5)
    again = predict_store(tmp_path / "run", FeatureStore.open(path), found.label_ids)
    assert again.status == ("no_features", *["ok"] * (len(found.label_ids) - 1))
    np.testing.assert_allclose(again.values, found.predictions, atol=1e-6)


@pytest.mark.parametrize(
    ("subjects", "train", "val", "test", "told"),
    [
        (1, 1, 0, 0, r"\(1 of them: too few for val and test\)"),
        (2, 1, 1, 0, r"\(2 of them: too few for test\)"),
        (3, 2, 1, 0, r"\(3 of them: too few for test\)"),
        (4, 3, 1, 0, r"\(4 of them: too few for test\)"),
        (5, 4, 1, 0, r"\(5 of them: too few for test\)"),
        (6, 4, 1, 1, "subject$"),
        (20, 14, 3, 3, "subject$"),
    ],
)
def test_few_subjects_are_split_into_train_and_val(
    planted, tmp_path, subjects, train, val, test, told
):
    """Seen: of 4 or 5 subjects one was in test and none in val."""
    store, labels = planted()
    rows = [line.split(",") for line in Path(labels).read_text().splitlines()]
    lines = ["clip_id,subject,joy,awe"]
    lines += [f"{r[0]},p{i % subjects},{r[2]},{r[3]}" for i, r in enumerate(rows[1:])]
    other = tmp_path / "subjects.csv"
    other.write_text("\n".join(lines) + "\n")
    labelled, _ = load_labelled(FeatureStore.open(store), read_labels(other), SequenceConfig())
    pairs = set(zip(labelled.subjects, labelled.splits, strict=True))
    counts = [sum(split == name for _, split in pairs) for name in ("train", "val", "test")]
    assert counts == [train, val, test]
    assert re.search(told, labelled.split_rule)
    config = TrainHeadConfig(store, str(other), tmp_path / "run")
    if not val:
        with pytest.raises(FacerError, match=r"split val: found no clip .*1 of them: too few"):
            train_head(config)


def test_the_digest_is_of_what_a_head_reads(config):
    labels, store = read_labels(config.labels), FeatureStore.open(config.store)

    def digest(sequences):
        return features_sha256(load_labelled(store, labels, sequences)[0].sequences)

    assert digest(config.sequences) == digest(config.sequences)
    digests = {digest(SequenceConfig(names)) for names in (("all",), ("va",), ("embedding",))}
    assert len(digests) == 3


def test_sequences_keep_the_embedding_beside_the_columns(config):
    labels, store = read_labels(config.labels), FeatureStore.open(config.store)
    labelled, choice = load_labelled(store, labels, SequenceConfig(("embedding", "va")))
    assert choice.columns == ("valence", "arousal")
    first = labelled.sequences.features[: labelled.sequences.lengths[0]]
    clip = store.read(labelled.sequences.clip_ids[0])
    np.testing.assert_array_equal(first[:, 2:], some(clip.embedding).astype(np.float32))
