"""REC as ONNX: the same numbers, names and metadata; nothing written when they differ."""

import json

import numpy as np
import onnx
import pytest
import torch

from facer.stages.features.rec import export as rec_onnx
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.network import build
from facer.stages.features.rec.torch_rec import save_rec
from facer.storage.errors import FacerError
from facer.storage.schema import FEATURE_NAMES

CROPS = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("rec") / "own.safetensors"
    save_rec(path, build("rec-small").eval(), weak=("au11",), training={"data": "x"})
    return path


@pytest.fixture(scope="module")
def exported(weights):
    path = weights.with_suffix(".onnx")
    assert rec_onnx.export_onnx(weights, path) < 1e-4
    return path


def test_extract_takes_the_file_and_gets_the_same_features(weights, exported):
    model = rec.load(exported, "cpu")
    assert model.weak_features == ("au11",)
    for n in (5, 1):
        expected = rec.load(weights, "cpu").predict(CROPS[:n])
        np.testing.assert_allclose(model.predict(CROPS[:n]), expected, atol=1e-4)


def test_the_embedding_comes_through_the_file(weights, exported):
    model = rec.load(exported, "cpu", embedding=True)
    expected = rec.load(weights, "cpu", embedding=True).predict(CROPS)
    assert model.embedding_width == 256
    np.testing.assert_allclose(model.predict(CROPS), expected, atol=1e-4)


def test_inputs_outputs_and_metadata_have_names(exported):
    model = onnx.load(str(exported))
    assert [i.name for i in model.graph.input] == ["crops"]
    assert [o.name for o in model.graph.output] == ["va", "expression", "au", "embedding"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    meta = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert meta["feature_names"] == list(FEATURE_NAMES)
    assert meta["weak_features"] == ["au11"]
    assert meta["training"] == {"data": "x"}


def test_a_model_that_differs_is_not_written(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(rec_onnx, "difference_from_torch", lambda model, data: float("nan"))
    with pytest.raises(FacerError, match="differs from torch by nan, expected at most"):
        rec_onnx.export_onnx(weights, tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_wrong_files_are_refused(weights, tmp_path):
    with pytest.raises(FacerError, match=r"ends in \.onnx"):
        rec_onnx.export_onnx(weights, tmp_path / "x.pt")
    with pytest.raises(FacerError, match="no such file"):
        rec_onnx.export_onnx(tmp_path / "none.safetensors", tmp_path / "x.onnx")
    with pytest.raises(FacerError, match=r"card.toml: found a model card, expected weights of"):
        rec_onnx.export_onnx(tmp_path / "card.toml", tmp_path / "x.onnx")
    with pytest.raises(FacerError, match=r"net.onnx: found an ONNX file, expected weights of"):
        rec_onnx.export_onnx(tmp_path / "net.onnx", tmp_path / "x.onnx")
    with pytest.raises(FacerError, match="found a URL, expected a place on this machine"):
        rec_onnx.export_onnx(weights, "s3://bucket/x.onnx")


def test_any_output_that_is_no_number_is_a_difference(weights, exported, monkeypatch):
    """Seen: told only where the first output has it."""

    class Session:
        def run(self, names, inputs):
            shapes = dict(zip(names, (2, 7, 17, 256), strict=True))
            return [
                np.full((5, width), np.nan if name == "au" else 0, np.float32)
                for name, width in shapes.items()
            ]

    monkeypatch.setattr(rec_onnx, "open_session", lambda data: Session())
    zeros = [torch.zeros(5, width) for width in (2, 7, 17, 256)]
    assert np.isnan(rec_onnx.difference_from_torch(lambda _: zeros, b""))  # type: ignore[arg-type]
