"""REC: the same numbers at any batch size, weights that explain themselves, clear refusals."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
import torch

from facer.stages.common.device import resolve_device
from facer.stages.common.onnx import fold_batch_norm
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.architecture import ARCHITECTURES, tensor_shapes
from facer.stages.features.rec.network import build, scale_crops
from facer.stages.features.rec.torch_rec import TorchRec, load_network, save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.schema import FEATURE_NAMES

CROPS = np.random.default_rng(0).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = build("rec-small").eval()
    save_rec(tmp_path / "own.safetensors", network, weak=("valence",), training={"data": "x"})
    return tmp_path / "own.safetensors"


def test_output_is_26_numbers_in_their_ranges(weights):
    features = rec.load(weights, "cpu").predict(CROPS)
    assert features.shape == (5, len(FEATURE_NAMES))
    assert features.dtype == np.float32
    assert np.abs(features[:, :2]).max() <= 1
    np.testing.assert_allclose(features[:, 2:9].sum(1), 1, atol=1e-5)
    assert features[:, 9:].min() >= 0
    assert features[:, 9:].max() <= 1


def test_batch_size_never_changes_a_feature(weights):
    model = rec.load(weights, "cpu")
    together = model.predict(CROPS)
    alone = np.concatenate([model.predict(CROPS[i : i + 1]) for i in range(len(CROPS))])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert model.predict(CROPS[:0]).shape == (0, 26)


def test_the_embedding_follows_the_features(weights):
    plain, model = rec.load(weights, "cpu"), rec.load(weights, "cpu", embedding=True)
    assert (plain.embedding_width, model.embedding_width) == (0, 256)
    both = model.predict(CROPS)
    np.testing.assert_array_equal(both[:, :26], plain.predict(CROPS))
    network, _ = load_network(weights)
    with torch.inference_mode():
        pooled = network.eval().embed(scale_crops(torch.from_numpy(CROPS))).numpy()
    np.testing.assert_allclose(both[:, 26:], pooled, atol=1e-4)
    assert model.predict(CROPS[:0]).shape == (0, 282)


def test_half_precision_of_a_gpu_is_near_single():
    network, _ = load_network(weights_path("rec-small"))
    network = fold_batch_norm(network.eval())
    x = scale_crops(torch.from_numpy(CROPS))
    with torch.inference_mode():
        single = network(x).features()
        half = network.half()(x.half()).features().float()
    assert float((single - half).abs().max()) < 0.01


def test_folding_batch_norm_changes_nothing(weights):
    network, _ = load_network(weights)
    network.eval()
    with torch.inference_mode():
        plain = network(scale_crops(torch.from_numpy(CROPS))).features().numpy()
    np.testing.assert_allclose(rec.load(weights, "cpu").predict(CROPS), plain, atol=1e-4)


def test_header_says_what_the_weights_are(weights):
    _, meta = load_network(weights)
    assert meta["training"] == {"data": "x"}
    assert meta["feature_names"] == list(FEATURE_NAMES)
    assert rec.load(weights, "cpu").weak_features == ("valence",)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_backbone_gives_the_same_outputs(name):
    with torch.inference_mode():
        output = build(name).eval()(torch.zeros(2, 3, 112, 112))
    assert [tuple(part.shape) for part in output] == [(2, 2), (2, 7), (2, 17)]


def test_the_starter_is_in_the_package():
    features = rec.load().predict(CROPS)
    assert np.isfinite(features).all()


def test_the_starter_models_are_small():
    weights = weights_path("rec-small").parent
    assert sum(path.stat().st_size for path in weights.iterdir()) <= 25e6


def test_a_folder_of_train_rec_names_its_weights(tmp_path):
    (tmp_path / "rec.safetensors").touch()
    with pytest.raises(FacerError, match=r"expected its weights: .*rec\.safetensors"):
        weights_path(tmp_path)


def test_wrong_crops_are_refused_with_both_shapes(weights):
    with pytest.raises(FacerError, match=r"found crops uint8 \(5, 64, 64, 3\), expected"):
        rec.load(weights, "cpu").predict(CROPS[:, :64, :64])


def test_a_missing_gpu_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(FacerError, match="0 CUDA devices found"):
        rec.load(device="cuda")


@pytest.mark.parametrize("device", ["gpu", "cpu:x", "mps"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(FacerError, match="device"):
        resolve_device(device)


def test_other_files_are_refused(tmp_path, weights):
    (tmp_path / "x.safetensors").write_text("no")
    with pytest.raises(FacerError, match="cannot be read as a safetensors file"):
        rec.load(tmp_path / "x.safetensors", "cpu")
    (tmp_path / "x.onnx").write_text("no")
    with pytest.raises(FacerError, match="no readable ONNX"):
        rec.load(tmp_path / "x.onnx", "cpu")
    with pytest.raises(FacerError, match="is no file"):
        rec.load("rec-huge", "cpu")


def test_weights_of_another_feature_order_are_refused(tmp_path, weights):
    from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint

    tensors, meta = load_checkpoint(weights)
    meta = json.loads(json.dumps(meta))
    meta["feature_names"].reverse()
    save_checkpoint(tmp_path / "y.safetensors", tensors, meta)
    with pytest.raises(FacerError, match="feature names or their order"):
        rec.load(tmp_path / "y.safetensors", "cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"stem": 60_000},
        {"stem": 10**13},
        {"widths": [60_000, 60_000, 60_000, 60_000]},
        {"units": [10**9, 1, 1, 1]},
        {"units": [-1, 1, 1, 1]},
        {"units": ["2", "3", "5", "2"]},
        {"widths": 5},
        {"height": 3},
    ],
)
def test_a_header_larger_than_its_tensors_allocates_nothing(tmp_path, changes):
    tensors, meta = load_checkpoint(weights_path("rec-small"))
    meta["architecture"] = meta["architecture"] | changes
    save_checkpoint(tmp_path / "rec.safetensors", tensors, meta)
    with pytest.raises(FacerError, match="tensors do not fit its own header") as refused:
        load_network(tmp_path / "rec.safetensors")
    assert "\n" not in str(refused.value)


def test_float32_depends_on_no_other_crop_and_is_near_torch(weights):
    model = rec.load(weights, "cpu", embedding=True)
    crops = np.random.default_rng(1).integers(0, 256, (19, 112, 112, 3), dtype=np.uint8)
    together = model.predict(crops)
    for n in (1, 2, 3, 7, 16, 18):
        np.testing.assert_array_equal(model.predict(crops[:n]), together[:n])
    np.testing.assert_allclose(
        TorchRec(weights, "cpu", embedding=True).predict(crops), together, atol=1e-5
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tensors_are_named_as_the_networks_own(name):
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in build(name).state_dict().items()}
    assert tensor_shapes(ARCHITECTURES[name]) == own


@pytest.mark.parametrize("name", ["rec", "resnet50"])
def test_the_graph_of_every_backbone_is_that_of_torch(tmp_path, name):
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    save_rec(path, build(name).eval(), weak=(), training={})
    np.testing.assert_allclose(
        rec.load(path, "cpu").predict(CROPS), TorchRec(path, "cpu").predict(CROPS), atol=1e-4
    )


def test_float32_on_a_cpu_needs_no_torch():
    code = (
        "import sys; from facer.stages.features.config import ExtractConfig; "
        "from facer.stages.features.extractor import Extractor; "
        "Extractor(ExtractConfig(device='cpu', precision='float32')); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_onnx_file_whose_outputs_have_other_widths_is_refused(tmp_path):
    make = onnx.helper
    nodes = [make.make_node("GlobalAveragePool", ["crops"], ["pooled"])]
    nodes += [make.make_node("Flatten", ["pooled"], [name]) for name in ("va", "expression", "au")]
    outputs = [make.make_tensor_value_info(n, 1, ["b", 3]) for n in ("va", "expression", "au")]
    crops = make.make_tensor_value_info("crops", 1, ["b", 3, 112, 112])
    graph = make.make_graph(nodes, "g", [crops], outputs)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "own.onnx")
    with pytest.raises(FacerError, match=r"found the outputs .*va \('b', 3\) .*; expected va"):
        rec.load(tmp_path / "own.onnx", "cpu")


@pytest.mark.parametrize(("widths", "told"), [((7, 2, 17), r"va \(3, 7\), expected \(3, 2\)"),
                                               ((2, 7, 17), "")])  # fmt: skip
def test_widths_that_no_file_declares_are_looked_at(tmp_path, widths, told):
    """Seen: outputs of 7, 2 and 17 numbers became 26 columns of other names."""
    make, names = onnx.helper, ("va", "expression", "au")
    nodes = [make.make_node("GlobalAveragePool", ["crops"], ["pooled"]),
             make.make_node("Flatten", ["pooled"], ["flat"]),
             make.make_node("MatMul", ["flat", "w"], ["wide"]),
             make.make_node("Softmax", ["wide"], ["all"])]  # fmt: skip
    constants = [onnx.numpy_helper.from_array(np.full((3, 17), 0.1, np.float32), "w")]
    for name, width in zip(names, widths, strict=True):
        constants.append(onnx.numpy_helper.from_array(np.arange(17) < width, f"{name}_kept"))
        nodes.append(make.make_node("Compress", ["all", f"{name}_kept"], [name], axis=1))
    outputs = [make.make_tensor_value_info(name, 1, ["b", "n"]) for name in names]
    crops = make.make_tensor_value_info("crops", 1, ["b", 3, 112, 112])
    graph = make.make_graph(nodes, "g", [crops], outputs, constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "own.onnx")
    if not told:
        assert rec.load(tmp_path / "own.onnx", "cpu").predict(CROPS).shape == (len(CROPS), 26)
        return
    with pytest.raises(FacerError, match=told):
        rec.load(tmp_path / "own.onnx", "cpu")


ENDLESS = (("i", 7), ("go", 9), ("x", 1))  # what a loop goes on with, and its types


def save_plain(
    path, value=0.1, size=(112, 112), batch="b", out=1, inputs=1, weak=None, beside=False,
    noise=False, endless=False, embedding=None,
):  # fmt: skip
    """An ONNX REC whose outputs are ``value`` of every crop, or depend on what is beside it."""
    make = onnx.helper
    nodes = [make.make_node("ReduceMean", ["crops"], ["mean"], axes=[1, 2, 3], keepdims=0)]
    nodes += [make.make_node("Unsqueeze", ["mean", "axis"], ["column"])]
    if beside:
        nodes += [make.make_node("ReduceMin", ["column"], ["all"], axes=[0], keepdims=1)]
        nodes[-2].output[0] = "each"
        nodes[-1].input[0] = "each"
        nodes += [make.make_node("Sub", ["each", "all"], ["column"])]
    if noise:
        nodes[-1] = make.make_node("RandomUniform", [], ["column"], shape=[3, 1])
    if endless:
        loop = make.make_graph(
            [make.make_node("Not", ["never"], ["on"]), make.make_node("Abs", ["x"], ["y"])], "loop",
            [make.make_tensor_value_info(name, kind, []) for name, kind in ENDLESS],
            [make.make_tensor_value_info("on", 9, []), make.make_tensor_value_info("y", 1, [])],
        )  # fmt: skip
        nodes[-1].output[0] = "each"
        nodes += [make.make_node("Loop", ["most", "", "each"], ["column"], body=loop)]
    constants = [onnx.numpy_helper.from_array(np.array([1]), "axis")]
    constants += [onnx.numpy_helper.from_array(np.array(2**62), "most")]
    constants += [onnx.numpy_helper.from_array(np.array(False), "never")]
    outputs = []
    slope = 0.1 if beside or noise else 0.0
    for name, width in (("va", 2), ("expression", 7), ("au", 17)):
        for part, array in (("w", np.full((1, width), slope)), ("b", np.full(width, value))):
            array = array.astype(np.float32)
            constants.append(onnx.numpy_helper.from_array(array, f"{name}_{part}"))
        nodes.append(make.make_node("Gemm", ["column", f"{name}_w", f"{name}_b"], [f"{name}_f"]))
        nodes.append(make.make_node("Cast", [f"{name}_f"], [name], to=out))
        outputs.append(make.make_tensor_value_info(name, out, [batch, width]))
    if embedding is not None:
        outputs.append(make.make_tensor_value_info("embedding", 1, [batch, embedding]))
        constants.append(onnx.numpy_helper.from_array(np.ones((1, embedding), np.float32), "e"))
        nodes.append(make.make_node("MatMul", ["column", "e"], ["embedding"]))
    given = [make.make_tensor_value_info("crops", 1, [batch, 3, *size])]
    given += [make.make_tensor_value_info(f"more{i}", 1, [1]) for i in range(1, inputs)]
    if not inputs:
        given = []
        constants += [onnx.numpy_helper.from_array(np.zeros((3, 3, *size), np.float32), "crops")]
    graph = make.make_graph(nodes, "g", given, outputs, constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    if weak is not None:
        make.set_model_props(model, {"weak_features": weak})
    onnx.save(model, path)


def test_an_onnx_file_within_the_contract_is_taken(tmp_path):
    save_plain(tmp_path / "own.onnx", weak='["au01"]')
    model = rec.load(tmp_path / "own.onnx", "cpu")
    assert model.weak_features == ("au01",)
    np.testing.assert_allclose(model.predict(CROPS), 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"value": np.nan}, "not finite; expected an input"),
        ({"value": np.inf}, "not finite"),
        ({"value": 50.0}, r"valence 50 to 50; expected .*models check"),
        ({"value": -0.5}, "neutral -0.5 to -0.5"),
        ({"value": 0.5}, r"expressions that add up to 3\.5, as without a softmax"),
        ({"size": (224, 224)}, r"invalid dimensions.*\(B, 3, 112, 112\)"),
        ({"batch": 1}, r"invalid dimensions.*of any B"),
        ({"inputs": 2}, r"found 2 inputs \(crops, more1\), expected one"),
        ({"inputs": 0}, r"found 0 inputs \(\), expected one"),
        ({"beside": True}, "beside other crops, or each time"),
        ({"noise": True}, "beside other crops, or each time"),
        ({"embedding": 0}, r"embedding \('b', 0\).*embedding \(B, D\), D at most 4096"),
        ({"embedding": 5000}, r"embedding \('b', 5000\).*D at most 4096"),
        ({"out": 8}, r"tensor\(string\).*expected .*floating point"),
        ({"out": 7}, r"tensor\(int64\).*expected .*floating point"),
        ({"weak": "{"}, "weak_features {, expected a JSON list"),
        ({"weak": "[" * 100_000}, "expected a JSON list"),
        ({"weak": "5"}, "found weak_features 5, expected feature names"),
        ({"weak": "null"}, "expected feature names"),
        ({"weak": '["zzz"]'}, "zzz.*expected feature names"),
    ],
)
def test_an_onnx_file_outside_the_contract_is_refused_when_it_is_opened(tmp_path, options, text):
    save_plain(tmp_path / "own.onnx", **options)
    with pytest.raises(FacerError, match=text):
        rec.load(tmp_path / "own.onnx", "cpu", "embedding" in options)


def test_a_run_without_end_is_ended(tmp_path, monkeypatch):
    save_plain(tmp_path / "own.onnx", endless=True)
    monkeypatch.setattr("facer.stages.common.onnx.TRIAL_S", 0.5)
    with pytest.raises(FacerError, match=r"no end of a run within 0\.5 s"):
        rec.load(tmp_path / "own.onnx", "cpu")


def test_ctrl_c_ends_a_run_without_end(tmp_path):
    save_plain(tmp_path / "own.onnx", endless=True)
    timer = threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        rec.load(tmp_path / "own.onnx", "cpu")


@pytest.mark.parametrize("dropout", [-1, 2.5, "x", True, None])
def test_a_dropout_that_is_no_share_is_refused(tmp_path, weights, dropout):
    tensors, meta = load_checkpoint(weights)
    architecture = {**meta["architecture"], "dropout": dropout}
    save_checkpoint(tmp_path / "x.safetensors", tensors, {**meta, "architecture": architecture})
    with pytest.raises(FacerError, match=r"own header .*dropout"):
        rec.load(tmp_path / "x.safetensors", "cpu")


def test_weights_that_are_not_finite_or_overflow_are_refused(tmp_path, weights):
    tensors, meta = load_checkpoint(weights)
    bad = {**tensors, "au.bias": np.full_like(tensors["au.bias"], np.nan)}
    save_checkpoint(tmp_path / "x.safetensors", bad, meta)
    for bf16 in (False, True):
        with pytest.raises(FacerError, match=r"au\.bias holds numbers that are not finite"):
            rec.load(tmp_path / "x.safetensors", "cpu", bf16=bf16)
    large = {k: v.astype(np.float32) * (1e20 if v.ndim else 1) for k, v in tensors.items()}
    save_checkpoint(tmp_path / "x.safetensors", large, meta)
    with pytest.raises(FacerError, match="three crops give numbers that are not finite"):
        rec.load(tmp_path / "x.safetensors", "cpu")
