from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import ExportHeadConfig, TrainHeadConfig
from facer.pipeline.intensity.export import export_head
from facer.pipeline.intensity.seeds import load_models
from facer.pipeline.intensity.train import train_head
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.network import build
from facer.stages.features.rec.torch_rec import save_rec
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.kernels.batches import DeviceSequences
from facer.stages.intensity.model import predict
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.stages.intensity.sequences import Sequences
from facer.storage import FEATURE_NAMES, FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.weights import weights_sha256

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)


@pytest.fixture
def config(planted, tmp_path):
    store, labels = planted()
    sequences = SequenceConfig(("au", "valence"), max_frames=24)
    return TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=FAST)


def session_of(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_the_file_predicts_what_the_run_predicts(config, tmp_path):
    train_head(config)
    result = export_head(ExportHeadConfig(config.run, tmp_path / "head.onnx"))
    assert result.lengths == (1, 7, 12, 24)
    assert result.difference < 1e-5
    found = evaluate(config.run, "test")
    store = FeatureStore.open(config.store)
    columns = [FEATURE_NAMES.index(n) for n in FEATURE_NAMES if n.startswith("au")] + [0]
    session = session_of(result.path)
    for clip, expected in zip(found.label_ids, found.predictions, strict=True):
        features = store.read(clip).features[:, columns]
        (intensities,) = session.run(None, {"features": features})
        np.testing.assert_allclose(intensities, expected, atol=1e-5)


def test_rec_and_head_in_one_file(config, tmp_path):
    train_head(replace(config, sequences=SequenceConfig(max_frames=24)))
    torch.manual_seed(0)
    weights = tmp_path / "rec.safetensors"
    save_rec(weights, build("rec-small"), weak=(), training={})
    path = tmp_path / "both.onnx"
    export = ExportHeadConfig(config.run, path, rec=str(weights))
    with pytest.raises(FacerError, match=f"expected {'r' * 64}"):
        export_head(export)
    assert not path.exists()
    record = config.run / "config.json"
    record.write_text(record.read_text().replace("r" * 64, weights_sha256(weights)))
    result = export_head(export)
    assert result.inputs == "crops (T, 3, 112, 112)"
    model = load_models(config.run)[0]
    session = session_of(path)
    assert [output.name for output in session.get_outputs()] == ["intensities"]
    for frames in (1, 5, 24):
        crops = np.random.default_rng(0).integers(0, 256, (frames, 112, 112, 3), np.uint8)
        features = rec.load(str(weights), "cpu").predict(crops)
        data = DeviceSequences(
            Sequences(features, np.array([0, frames]), ("x",)), torch.device("cpu")
        )
        x = (crops.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32)
        (found,) = session.run(["intensities"], {"crops": x})
        np.testing.assert_allclose(found, predict(model, data, np.array([0]))[0], atol=1e-4)


def test_what_cannot_be_exported_is_refused(config, tmp_path):
    train_head(config)
    with pytest.raises(FacerError, match=r"ends in \.onnx"):
        ExportHeadConfig(config.run, tmp_path / "head.pt")
    with pytest.raises(FacerError, match="seed 7: found seeds 0"):
        export_head(ExportHeadConfig(config.run, tmp_path / "h.onnx", seed=7))
