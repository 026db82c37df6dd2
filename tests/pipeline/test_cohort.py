"""Labels and features joined, the embedding included."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from facer.pipeline.cohort import features_sha256, load_cohort
from facer.pipeline.evaluate import evaluate, predict_store
from facer.pipeline.export_head import ExportHeadConfig, export_head
from facer.pipeline.heads import TrainHeadConfig, train_head
from facer.pipeline.run_folder import read_run
from facer.stages.intensity.fit import FitConfig
from facer.stages.intensity.heads import HeadConfig
from facer.stages.intensity.sequences import SequenceConfig
from facer.storage import FEATURE_NAMES, FeatureStore, read_labels
from facer.storage.errors import FacerError

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
    head = HeadConfig(units=16, dense=8)
    fit = FitConfig(head, learning_rate=3e-3, epochs=12, standardise=True)
    return TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=fit)


def test_a_head_learns_from_the_embedding(config, tmp_path):
    assert train_head(config).n_columns == 5
    found = evaluate(config.run, "test")
    assert found.mean("pearson") > 0.8
    store = FeatureStore.open(config.store)
    again = predict_store(config.run, store, found.label_ids)
    np.testing.assert_allclose(again.values, found.predictions, atol=1e-6)
    assert read_run(config.run)["embedding"] is True
    exported = export_head(ExportHeadConfig(config.run, tmp_path / "head.onnx"))
    clip = store.read(found.label_ids[0])
    x = np.hstack([clip.features[:, :1], clip.embedding.astype(np.float32)])
    (values,) = onnxruntime.InferenceSession(str(exported.path)).run(None, {"features": x})
    np.testing.assert_allclose(values, found.predictions[0], atol=1e-5)


def test_a_store_without_embedding_says_what_to_do(config):
    store = config.store.replace("embedded", "planted")
    with pytest.raises(FacerError, match="embedding"):
        train_head(replace(config, store=store))


def test_the_digest_is_of_what_a_head_reads(config):
    labels, store = read_labels(config.labels), FeatureStore.open(config.store)

    def digest(sequences):
        return features_sha256(load_cohort(store, labels, sequences)[0].sequences)

    assert digest(config.sequences) == digest(config.sequences)
    digests = {digest(SequenceConfig(names)) for names in (("all",), ("va",), ("embedding",))}
    assert len(digests) == 3


def test_sequences_keep_the_embedding_beside_the_columns(config):
    labels, store = read_labels(config.labels), FeatureStore.open(config.store)
    cohort, choice = load_cohort(store, labels, SequenceConfig(("embedding", "va")))
    assert choice.columns == ("valence", "arousal")
    first = cohort.sequences.features[: cohort.sequences.lengths[0]]
    clip = store.read(cohort.sequences.clip_ids[0])
    np.testing.assert_array_equal(first[:, 2:], clip.embedding.astype(np.float32))
