"""The card's format: what is read, what is refused and how; the network behind it."""

import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.cards.card import CARDS, bundled_cards, read_card
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError
from tests import toys


@pytest.fixture
def values(tmp_path):
    """What a good card says, and a function that writes another beside its network."""
    path = toys.toy_card(tmp_path, "toy", ["au12", "happiness", "contempt"])
    good = tomllib.loads(path.read_text())
    return good, lambda changed: toys.write_card(tmp_path / "changed.toml", changed)


def merged(good, table, changes):
    base = good[table][0] if isinstance(good[table], list) else good[table]
    new = {**base, **changes}
    return {**good, table: [new] if isinstance(good[table], list) else new}


@pytest.mark.parametrize("name", bundled_cards())
def test_the_packages_cards_are_read_and_say_where_weights_come_from(name):
    card = read_card(CARDS / f"{name}.toml")
    assert card.name == name
    assert card.file.licence
    assert card.file.training
    assert card.file.url or card.file.export
    assert weights_path(name) == CARDS / f"{name}.toml"


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("file", {"name": "../toy.onnx"}, "file: name: found '../toy.onnx'"),
        ("file", {"name": "toy.pt"}, "expected the name of an .onnx file"),
        ("file", {"sha256": "abc"}, "sha256: found 'abc'"),
        ("file", {"url": "file:///etc/passwd"}, "url: found 'file:"),
        ("file", {"licence": 3}, "file: licence: found '3', expected text"),
        ("input", {"size_px": 64.5}, "size_px: found '64.5', expected a whole number"),
        ("input", {"colour": "RGB"}, "colour: found 'RGB', expected rgb, bgr, grey"),
        ("input", {"mean": [0.5, 0.5]}, "mean: found"),
        ("input", {"std": [0.0]}, "std: found"),
        ("input", {"mean": [123.0, 116.0, 103.0]}, "mean: found .*expected at most 1, a white"),
        (
            "input",
            {"scale": 1.0, "std": [0.229]},
            r"std: .*makes pixels up to \d{4}, exp",
        ),
        ("input", {"scale": 0}, "scale: found 0.0"),
        ("input", {"sise_px": 64}, "no such key as 'sise_px'; did you mean 'size_px'?"),
        ("input", {"batch": -1}, "batch: found -1"),
        ("crop", {"size_px": 64}, r"crop: size_px: expected it in \[input\] alone"),
        ("crop", {"margin": 100}, "margin: found 100"),
        ("output", {"activation": "relu"}, "activation: found 'relu'"),
        ("output", {"columns": ["AU12", "a", "b"]}, "columns: found 'AU12'"),
        ("output", {"columns": ["a", "a", "b"]}, "found the column 'a' twice"),
        ("output", {"columns": []}, "expected names of columns, or embedding"),
        ("output", {"drop": ["contempt"]}, "drop: expected activation = 'softmax'"),
        ("output", {"activation": "softmax", "drop": ["x"]}, "drop: found 'x'"),
        ("output", {"slice": [0, 2]}, "found 2 numbers for 3 columns"),
        ("output", {"slice": [2, 1]}, "slice: found"),
        ("output", {"clip": [1, 0]}, "clip: found"),
        ("output", {"columns": ["", ""]}, "columns: found none that is kept"),
        ("output", {"columns": ["clip_id", "valid"]}, "'clip_id', which means something else"),
        ("output", {"columns": ["glück", "x"]}, "columns: found 'glück'"),
        ("output", {"columns": ["c"] * 2000}, "found 2000 values, expected 1024 at most"),
        ("output", {"scale": 1e300}, "scale: found 1e"),
        ("input", {"std": [1e-40]}, "std: found"),
        ("input", {"mean": [1e300]}, "mean: found"),
        ("input", {"size_px": 10**30}, "size_px: found 1000"),
        ("crop", {"kind": "five-point", "template_px": [[1.0, 1.0]] * 5}, "expected points apart"),
        ("file", {"name": "/etc/x.onnx"}, "file: name: found '/etc/x.onnx'"),
        ("file", {"git_blob": "abc"}, "git_blob: found 'abc'"),
    ],
)
def test_a_card_that_breaks_the_format_says_which_key(values, table, changes, message):
    good, write = values
    with pytest.raises(FacerError, match=message):
        read_card(write(merged(good, table, changes)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found format None"),
        ("format = 'facer-card-2'", "found format 'facer-card-2'; update facer"),
        ("format = 'facer-card-1'", "name: found none, expected one"),
        ("format = ", "no readable TOML"),
        ("a = 1\n" * 100000, "larger than"),
        ("x = " + "[" * 5000, "no readable TOML"),
    ],
)
def test_what_is_no_card_is_refused(tmp_path, text, message):
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(FacerError, match=message):
        read_card(path)


def test_a_card_with_the_mark_of_utf8_is_read(values):
    good, write = values
    path = write(good)
    expected = read_card(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_card(path) == expected


def test_only_regular_files_are_cards(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(FacerError, match="pipe"):
        read_card(tmp_path / "pipe.toml")


def test_a_card_without_outputs_is_refused(values):
    good, write = values
    with pytest.raises(FacerError, match="output: found none"):
        read_card(write(good | {"output": []}))


MEANS = [
    helper.make_node("Cast", ["input"], ["f"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["f"], ["means"], axes=[2, 3], keepdims=0),
]


def save_network(path, nodes, inputs=("input",), kind=TensorProto.FLOAT, out=TensorProto.FLOAT):
    """A network whose three numbers are made of the means of an image's channels."""
    graph = helper.make_graph(
        [*MEANS, *nodes], "odd",
        [helper.make_tensor_value_info(name, kind, ["b", 3, 64, 64]) for name in inputs],
        [helper.make_tensor_value_info("out", out, ["b", 3])],
        [numpy_helper.from_array(np.float32(np.nan), "nan")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())


AS_THEY_ARE = [helper.make_node("Identity", ["means"], ["out"])]


@pytest.mark.parametrize(
    ("nodes", "options", "message"),
    [
        ([helper.make_node("Mul", ["means", "nan"], ["out"])], {}, "that are not finite"),
        (
            [
                helper.make_node("ReduceMean", ["means"], ["all"], axes=[0], keepdims=1),
                helper.make_node("Sub", ["means", "all"], ["out"]),
            ],
            {}, "other numbers of the same crop beside other crops",
        ),
        ([helper.make_node("RandomNormalLike", ["means"], ["out"])], {}, "or each time"),
        (
            [helper.make_node("Cast", ["means"], ["out"], to=TensorProto.INT64)],
            {"out": TensorProto.INT64}, "found int64 .*, expected floating point",
        ),
        ([helper.make_node("Transpose", ["means"], ["out"])], {}, r"found float32 \(3, 2\)"),
        (AS_THEY_ARE, {"kind": TensorProto.UINT8}, r"takes tensor\(uint8\)"),
        (AS_THEY_ARE, {"inputs": ("input", "more")}, r"2 inputs \(input, more\), expected one"),
        (AS_THEY_ARE, {"inputs": ("input", *map(str, range(30)))}, r"31 .* \(.*, 18\), expected"),
        ([helper.make_node("Nonsense", ["means"], ["out"])], {}, "no readable ONNX model"),
    ],
)  # fmt: skip
def test_an_odd_network_is_refused_when_it_is_loaded(values, tmp_path, nodes, options, message):
    good, write = values
    good = merged(good, "input", {"tensor": "input"})
    save_network(tmp_path / "toy.onnx", nodes, **options)
    with pytest.raises(FacerError, match=message):
        rec.load(write(good), "cpu")


@pytest.mark.parametrize(
    ("kind", "precision"), [(TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64")]
)
def test_a_network_of_another_precision_is_fed_in_it(values, tmp_path, kind, precision):
    good, write = values
    crops = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    path = write(merged(good, "output", {"activation": "none"}))
    save_network(tmp_path / "toy.onnx", AS_THEY_ARE)
    expected = rec.load(path, "cpu").predict(crops)
    save_network(tmp_path / "toy.onnx", AS_THEY_ARE, kind=kind)
    found = rec.load(path, "cpu")
    assert found.precision == precision
    np.testing.assert_allclose(found.predict(crops), expected, atol=2e-3)


def test_prose_does_not_change_a_cards_digest_and_facts_do(values):
    good, write = values
    first = read_card(write(good)).sha256
    assert read_card(write(merged(good, "file", {"notes": "more"}))).sha256 == first
    assert read_card(write(merged(good, "input", {"colour": "bgr"}))).sha256 != first
    assert read_card(write(merged(good, "crop", {"margin": 1.1}))).sha256 != first


def test_activations_dropped_classes_scale_and_clip(values):
    good, write = values
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    x = ((crops / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).astype("f4")
    z = toys.Toy(3, {"out": 3}, seed=3).numbers(x, "out").astype(float)
    e = np.exp(z)

    def predict(**changes):
        return rec.load(write(merged(good, "output", changes)), "cpu").predict(crops)

    for changes, expected in (
        ({"activation": "none"}, z),
        ({"activation": "sigmoid"}, 1 / (1 + np.exp(-z))),
        ({"activation": "tanh", "scale": 2.0}, 2 * np.tanh(z)),
        ({"activation": "softmax"}, e / e.sum(1, keepdims=True)),
        ({"activation": "softmax", "drop": ["contempt"]}, e[:, :2] / e[:, :2].sum(1)[:, None]),
        ({"activation": "none", "scale": 5.0, "clip": [-1, 2]}, np.clip(5 * z, -1, 2)),
        ({"activation": "none", "columns": ["a", "", "b"]}, z[:, [0, 2]]),
        ({"activation": "none", "columns": ["a", "b"], "slice": [1, 3]}, z[:, 1:]),
    ):
        np.testing.assert_allclose(predict(**changes), expected, atol=2e-5, err_msg=str(changes))


def test_a_fixed_batch_gives_the_same_numbers(tmp_path):
    crops = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    card = toys.toy_card(tmp_path, "toy", ["au12"])
    free = rec.load(card, "cpu").predict(crops)
    toys.Toy(3, {"out": 1}, seed=3).save(tmp_path / "toy.onnx", 64, batch=3)
    values = tomllib.loads(card.read_text())
    toys.write_card(card, merged(values, "input", {"batch": 3}))
    fixed = rec.load(card, "cpu")
    np.testing.assert_allclose(fixed.predict(crops), free, atol=1e-6)
    assert fixed.predict(crops[:0]).shape == (0, 1)


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("input", {"size_px": 96}, "does not take"),
        ("input", {"layout": "nhwc"}, "does not take"),
        ("input", {"tensor": "data"}, "the network has input"),
        ("output", {"tensor": "logits"}, "the network has out"),
        ("output", {"columns": ["a"]}, "found 3 numbers, the card names 1 columns"),
        ("output", {"columns": ["a"], "slice": [5, 6]}, "from 5 to 6"),
        ("file", {"sha256": "0" * 64}, "expected 0000"),
        ("file", {"name": "other.onnx"}, "other.onnx are not there"),
    ],
)
def test_a_card_that_does_not_fit_its_network_says_so_when_it_is_loaded(
    values, table, changes, message
):
    good, write = values
    with pytest.raises(FacerError, match=message):
        rec.load(write(merged(good, table, changes)), "cpu")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mine.pt", "from PROJECT import NETWORK"),
        ("OpenGprahAU-ResNet50_first_stage.pth", "import torch, model.ANFL as A"),
        ("affectnet-8-model_best.PTH", "pyramid_trans_expr2"),
        ("x.pkl", "torch.onnx.export"),
    ],
)
def test_pickled_checkpoints_are_refused_with_the_command_that_exports_them(
    tmp_path, name, command
):
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(FacerError, match="facer opens none") as found:
        rec.load(tmp_path / name, "cpu")
    assert command in str(found.value)


def test_trainings_take_no_card(tmp_path):
    with pytest.raises(FacerError, match="a model card; expected rec-small"):
        rec.load_own(toys.toy_card(tmp_path, "toy", ["au12"]), "cpu")


def test_a_softmax_of_probabilities_is_refused(values, tmp_path):
    """Seen: seven expressions lay between 0.12 and 0.3 without a word."""
    good, write = values
    model = onnx.load(str(tmp_path / "toy.onnx"))
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Softmax", ["raw"], ["out"]))
    onnx.save(model, str(tmp_path / "toy.onnx"))
    path = str(write(merged(good, "output", {"activation": "softmax"})))
    with pytest.raises(FacerError, match=r"add up to 1 already; set activation = \"none\" in "):
        rec.load(path, "cpu")
    assert rec.load(str(write(merged(good, "output", {"activation": "none"}))), "cpu").columns


@pytest.mark.parametrize("columns", [["au12"], ["happiness", "sadness"], ["valence", "arousal"]])
def test_numbers_far_from_what_their_names_mean_are_refused_before_an_extraction(tmp_path, columns):
    changes = {"output": [{"columns": columns, "activation": "none", "scale": 30.0}]}
    path = str(toys.toy_card(tmp_path, "toy", columns, **changes))
    with pytest.raises(FacerError, match=rf"give {columns[0]} .*lacks an activation, scale or"):
        rec.load_all([path], "cpu")
    assert rec.load(path, "cpu").columns == tuple(columns)  # for facer models check
    free = {"output": [{"columns": ["gaze"], "activation": "none", "scale": 30.0}]}
    assert rec.load_all([str(toys.toy_card(tmp_path, "toy", ["gaze"], **free))], "cpu")
