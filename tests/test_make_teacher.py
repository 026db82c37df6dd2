"""The recipe of REC's teacher, from a file in dlib's layout to what ``--teacher`` takes."""

import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch

from facer.stages.features.rec import loading as rec
from tests.support import script

RECIPE = Path(__file__).parents[1] / "docs" / "make_teacher.py"


@pytest.fixture(scope="module")
def recipe():
    return script(RECIPE)


@pytest.fixture
def dlib_file(recipe, tmp_path):
    """Random weights in the layout of dlib's file, and the scale and kernel of every layer."""
    rng = np.random.default_rng(0)
    parts, layers = [], []
    for number, (conv, _) in enumerate(recipe.FaceNet().layers()):
        channels, inputs = conv.weight.shape[0], 3 if number == 0 else conv.weight.shape[1]
        side = conv.kernel_size[0]
        kernel = rng.normal(0, 1 / (side * inputs**0.5), (channels, inputs, side, side))
        bias, scale, offset = rng.normal(0, 0.1, (3, channels))
        layers.append([part.astype(np.float32) for part in (kernel, bias, scale + 1, offset)])
        for name, numbers in (
            (b"con_4", (*kernel.ravel(), *bias)),
            (b"affine_", (*(scale + 1), *offset)),
        ):
            size = len(numbers).to_bytes((len(numbers).bit_length() + 7) // 8, "little")
            header = bytes([1, 2, len(size), *size, 1, 1, 1, 1, 1, 1])
            parts += [b"\x05" + name, b"\x01\x01", header, np.array(numbers, "<f4").tobytes()]
    path = tmp_path / "dlib.dat"
    path.write_bytes(b"".join(parts))
    return path, layers


@pytest.fixture
def pack(tmp_path):
    """64 grey crops with votes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "pack.h5"
    with h5py.File(path, "w") as file:
        jpegs = file.create_dataset("jpeg", (64,), h5py.vlen_dtype(np.uint8))
        for row in range(64):
            crop = rng.integers(0, 256, (112, 112), dtype=np.uint8)
            jpegs[row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
        votes = rng.integers(0, 10, (64, 7)).astype(np.uint8)
        file["split"] = ["train"] * 64
        file["expression_votes"] = votes
        file["expression_label"] = votes.argmax(1).astype(np.int8)
        file["au"] = np.full((64, 17), np.nan, np.float16)
    return path


def test_a_teacher_starts_as_the_network_of_the_file(recipe, dlib_file):
    path, layers = dlib_file
    network = recipe.FaceNet()
    faces = torch.randint(0, 256, (2, 1, 128, 128)).float()
    recipe.load_dlib(network, path, [faces])
    kernel, bias, scale, offset = layers[0]
    x = ((faces - recipe.GREY_MEAN) / 256).expand(-1, 3, -1, -1)  # as dlib has it, in colour
    expected = torch.nn.functional.conv2d(
        x, torch.from_numpy(kernel), torch.from_numpy(bias), stride=2
    )
    expected = expected * torch.from_numpy(scale)[:, None, None]
    expected = expected + torch.from_numpy(offset)[:, None, None]
    with torch.inference_mode():
        found = network.eval().n0(network.c0(x[:, :1]))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_what_the_recipe_writes_is_a_rec(recipe, dlib_file, pack, tmp_path, monkeypatch):
    out = tmp_path / "teacher.onnx"
    command = ["make_teacher.py", str(pack), str(dlib_file[0]), str(out), "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", command)
    recipe.main()
    crops = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    found = rec.load(out, "cpu").predict(crops)
    np.testing.assert_allclose(found[:, 2:9].sum(1), 1, atol=1e-5)
    assert not found[:, :2].any()
    assert not found[:, 9:].any()


def test_exported_window_is_the_one_of_training(recipe):
    network, window = recipe.FaceNet().eval(), recipe.Window(0.75, 6.0)
    crops = torch.randint(0, 256, (2, 112, 112), dtype=torch.uint8)
    rgb = crops[:, None].expand(-1, 3, -1, -1) / 127.5 - 1
    with torch.inference_mode():
        expected = network(window.plain(crops)).softmax(1)
        found = recipe.Teacher(network, window)(rgb)[1]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
