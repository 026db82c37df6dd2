"""Shipped weights are verified by running them; a broken file is named."""

import hashlib
import shutil

import numpy as np
import pytest

from facer.pipeline import models as carried
from facer.pipeline.functions.models import models
from facer.pipeline.models import shipped_models, verify_models
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from tests.support import told

FILES = ("detector.onnx", "points.onnx", "rec-small.safetensors")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package's weights, which takes their place."""
    folder = shutil.copytree(carried.SHIPPED, tmp_path / "weights")
    monkeypatch.setattr(carried, "SHIPPED", folder)
    return folder


def problems():
    return {model.path.name: model.problem for model in verify_models()}


def test_the_shipped_weights_work_and_their_digests_are_those_of_the_files():
    assert problems() == dict.fromkeys(FILES, "")
    for model in shipped_models():
        assert model.sha256 == hashlib.sha256(model.path.read_bytes()).hexdigest()
        assert model.problem == ""


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_the_others_still_work(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = problems()
    assert found.pop(name)
    assert set(found.values()) == {""}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    found = {model.path.name: model for model in verify_models()}
    assert "No such file" in found[name].problem
    assert found[name].sha256 == ""
    assert [m.path.name for m in shipped_models() if m.problem] == [name]


def test_weights_that_are_not_finite_are_found(copy):
    tensors, meta = load_checkpoint(copy / FILES[2])
    broken = {
        name: np.full_like(values, np.nan) if values.dtype.kind == "f" else values
        for name, values in tensors.items()
    }
    save_checkpoint(copy / FILES[2], broken, meta)
    assert "au.bias holds numbers that are not finite" in problems()[FILES[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vrify",), "action: found 'vrify', expected one of list, check, fetch, verify"),
        (("check",), "check: found no name, expected a model card or its path"),
        (("fetch",), "fetch: found no name, .*insightface pack"),
        (("verify", "none"), "found 'none', expected one of"),
        (("list", "opengraphu"), "opengraphau, .*; did you mean 'opengraphau'"),
    ],
)
def test_wrong_words_are_refused(arguments, message, capsys):
    with pytest.raises(FacerError, match=message):
        models(*arguments)
    told(capsys, "models", *arguments, code=2)


def test_a_detector_that_finds_nothing_is_found(copy):
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(copy / FILES[0]))
    for weights in model.graph.initializer:
        values = numpy_helper.to_array(weights)
        if values.dtype.kind == "f":
            weights.CopyFrom(numpy_helper.from_array(np.zeros_like(values), weights.name))
    onnx.save(model, str(copy / FILES[0]))
    assert "faces in an image of one" in problems()[FILES[0]]
