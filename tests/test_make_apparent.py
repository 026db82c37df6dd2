"""The recipe of apparent sex and age: weights in tf.js's layout, the network, and its table."""

import json
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from tests.support import script

RECIPE = Path(__file__).parents[1] / "docs" / "make_apparent.py"
QUANTIZED = {"dtype": "uint8", "scale": 0.01, "min": -1.2}


def separable(name, inputs, outputs):
    return {
        f"{name}/depthwise_filter": (3, 3, inputs, 1),
        f"{name}/pointwise_filter": (1, 1, inputs, outputs), f"{name}/bias": (outputs,),
    }  # fmt: skip


def reduction(name, inputs, outputs):
    return {
        **separable(f"{name}/separable_conv0", inputs, outputs),
        **separable(f"{name}/separable_conv1", outputs, outputs),
        f"{name}/expansion_conv/filters": (1, 1, inputs, outputs),
        f"{name}/expansion_conv/bias": (outputs,),
    }


SHAPES = {
    "entry_flow/conv_in/filters": (3, 3, 3, 32), "entry_flow/conv_in/bias": (32,),
    **reduction("entry_flow/reduction_block_0", 32, 64),
    **reduction("entry_flow/reduction_block_1", 64, 128),
    **{key: shape for block in range(2) for number in range(3) for key, shape in separable(
        f"middle_flow/main_block_{block}/separable_conv{number}", 128, 128).items()},
    **reduction("exit_flow/reduction_block", 128, 256),
    **separable("exit_flow/separable_conv", 256, 512),
    "fc/age/weights": (512, 1), "fc/age/bias": (1,),
    "fc/gender/weights": (512, 2), "fc/gender/bias": (2,),
}  # fmt: skip


@pytest.fixture(scope="module")
def recipe():
    return script(RECIPE)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Made-up weights, the same on every machine; one array in bytes, the others in floats."""
    folder = tmp_path_factory.mktemp("model")
    entries: list[dict[str, object]] = []
    data = b""
    for name, shape in SHAPES.items():
        count = int(np.prod(shape))
        wave = np.sin(np.arange(count) * 1.7 + len(entries))
        entries.append({"name": name, "shape": list(shape), "dtype": "float32"})
        if name == "entry_flow/conv_in/filters":
            entries[-1]["quantization"] = QUANTIZED
            data += np.round(120 + 100 * wave).astype(np.uint8).tobytes()
        else:
            fan_in = 1 if len(shape) == 1 else count / shape[-1] if shape[-1] > 1 else 9
            data += (wave * (2 / fan_in) ** 0.5).astype("<f4").tobytes()
    manifest = [{"weights": entries, "paths": ["weights.bin"]}]
    (folder / "age_gender_model-weights_manifest.json").write_text(json.dumps(manifest))
    (folder / "weights.bin").write_bytes(data)
    return folder


def waves():
    """Two pictures (2, 112, 112, 3)."""
    x, y, channel, number = np.meshgrid(*map(np.arange, (112, 112, 3, 2)), indexing="ij")
    values = 127 + 120 * np.sin(x * 0.11 + y * (0.07 + 0.1 * number) + channel)
    return values.transpose(3, 0, 1, 2).round().astype(np.uint8)


@pytest.fixture
def pack(tmp_path):
    """Five crops of four people, one of them in a film, and one of val."""
    path = tmp_path / "pack.h5"
    with h5py.File(path, "w") as file:
        jpegs = file.create_dataset("jpeg", (5,), h5py.vlen_dtype(np.uint8))
        for row in range(5):
            crop = waves()[row % 2, :, ::-1]
            jpegs[row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
        file["person"] = ["John_A", "John_A", "Mary_B", "Mary_C", "Mary_D"]
        file["split"] = ["train"] * 4 + ["val"]
        file["source"] = ["muxspace-lfw"] * 3 + ["muxspace-film"] + ["muxspace-lfw"]
        file["expression_votes"] = np.eye(7, dtype=np.uint8)[[0] * 5]
        file["expression_label"] = np.zeros(5, np.int8)
        file["au"] = np.full((5, 17), np.nan, np.float16)
    return path


def test_the_network_answers_as_face_api_does(recipe, model):
    weights = recipe.read_weights(model)
    assert {name: tuple(value.shape) for name, value in weights.items()} == SHAPES
    p_male, age = recipe.AgeGenderNet(weights).predict(waves())
    # of AgeGenderNet.forward of @vladmandic/face-api 1.7.15 with these weights
    np.testing.assert_allclose(p_male, [0.7474194, 0.7347522], atol=1e-5)
    np.testing.assert_allclose(age, [79.317406, 79.597710], atol=1e-3)


def test_what_crop_and_mirror_do_not_agree_on_is_not_told(recipe):
    p_male = np.array([[0.9, 0.8], [0.1, 0.2], [0.99, 0.45], [0.7, 0.8]])
    assert recipe.told_sex(p_male) == ["male", "female", "", ""]
    age = np.array([[-2, 19.9], [20, 39], [39, 41], [59.9, 60], [60, 99]])
    assert recipe.told_age(age) == ["0 to 19", "20 to 39", "", "", "60 and more"]


def run(recipe, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["make_apparent.py", *map(str, arguments)])
    recipe.main()


@pytest.mark.parametrize(("split", "images"), [("train", "0123"), ("val", "4")])
def test_a_row_is_written_for_every_crop(recipe, model, pack, tmp_path, monkeypatch, split, images):
    table = tmp_path / "told.csv"
    run(recipe, monkeypatch, model, pack, table, "--split", split)
    header, *rows = table.read_text().splitlines()
    assert header == "image,sex,age_group,p_male,age"
    assert [row.split(",")[0] for row in rows] == list(images)
    assert all(row.split(",")[1] in ("male", "") for row in rows)


def test_first_names_are_compared_once_a_person(recipe, model, pack, monkeypatch, capsys):
    run(recipe, monkeypatch, model, pack, "--check", "--split", "train")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line[0] != " "] == list(recipe.FRAMINGS)
    assert lines[1].startswith("  all, named female: ")
    assert [line.rpartition(" ")[2] for line in lines[1:4]] == ["1", "1", "2"]
