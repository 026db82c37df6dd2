"""bfloat16: near float32, and the same whatever is computed together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facer.stages.common.onnx import fold_batch_norm
from facer.stages.features import detect, precision
from facer.stages.features.bf16 import TorchGraph
from facer.stages.features.config import DetectorConfig, ExtractConfig
from facer.stages.features.precision import native_bf16
from facer.stages.features.rec import loading
from facer.stages.features.rec.architecture import Architecture
from facer.stages.features.rec.network import RecNet
from facer.stages.features.rec.torch_rec import Bf16Maps
from facer.stages.features.refine import KeypointRefiner
from facer.storage.errors import FacerError


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (7, 112, 112, 3), np.uint8)


def test_rec_is_near_float32_and_does_not_depend_on_the_batch(crops):
    exact = loading.load(device="cpu", embedding=True).predict(crops)
    rec = loading.load(device="cpu", embedding=True, bf16=True)
    found = rec.predict(crops)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact)[:, :26].max() < 0.05
    np.testing.assert_allclose(found[:, 26:], exact[:, 26:], atol=0.1, rtol=0.1)
    apart = [rec.predict(some) for some in (crops[:3], crops[3:4], crops[4:])]
    np.testing.assert_array_equal(np.concatenate(apart), found)


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("pool", [False, True])
def test_every_kind_of_network_has_the_same_maps(crops, bottleneck, pool):
    torch.manual_seed(0)
    shape = Architecture(8, (16, 32), (2, 1), bottleneck=bottleneck, pool_stem=pool)
    network = fold_batch_norm(RecNet(shape).eval())
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected, found = network.maps(x), Bf16Maps(network)(x).float()
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)


def test_the_detector_sees_the_same_faces(face_frames):
    images = [*face_frames(5), face_frames(1)[0][:200, :260], np.zeros((64, 96, 3), np.uint8)]
    exact, detector = (detect.load(DetectorConfig(bf16=bf16)) for bf16 in (False, True))
    found = detector.detect(images)
    for a, b in zip(exact.detect(images), found, strict=True):
        assert len(a.score) == len(b.score)
        np.testing.assert_allclose(a.bbox_px, b.bbox_px, atol=2)
        np.testing.assert_allclose(a.keypoints_px, b.keypoints_px, atol=1)
    for image, together in zip(images, found, strict=True):
        (alone,) = detector.detect([image])
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_operator_that_is_not_known_is_named(tmp_path: Path):
    nodes = [onnx.helper.make_node("Softsign", ["x"], ["y"])]
    values = [onnx.helper.make_tensor_value_info(n, 1, ["n", 3, 8, 8]) for n in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "own.onnx")
    with pytest.raises(FacerError, match=r"own\.onnx: found the operator Softsign.*float32"):
        TorchGraph(tmp_path / "own.onnx", np.zeros(256))


def test_the_refiner_is_near_float32_and_does_not_depend_on_the_batch(face_frames):
    images = face_frames(9)
    guesses = [faces.keypoints_px + 3 for faces in detect.load(DetectorConfig()).detect(images)]
    exact, refiner = (KeypointRefiner(bf16=bf16) for bf16 in (False, True))
    found = refiner.refine(images, guesses)
    for a, b, sure, other in zip(*exact.refine(images, guesses), *found, strict=True):
        np.testing.assert_allclose(a, sure, atol=0.3)
        np.testing.assert_allclose(b, other, atol=0.02)
    apart = [refiner.refine([i], [g]) for i, g in zip(images, guesses, strict=True)]
    for row, (points, certain) in enumerate(apart):
        np.testing.assert_array_equal(points[0], found[0][row])
        np.testing.assert_array_equal(certain[0], found[1][row])


@pytest.mark.parametrize("isa", ["SSE41", "AVX2", "AVX512_CORE", "avx512_core_bf16"])
def test_what_onednn_may_not_use_is_not_native(monkeypatch, tmp_path, isa):
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n")
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    assert native_bf16("cpu")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert not native_bf16("cpu")
    assert native_bf16("cuda:1")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    assert native_bf16("cpu")


def test_an_unknown_precision_is_refused():
    with pytest.raises(FacerError, match="precision: found 'half', expected one of auto"):
        ExtractConfig(precision="half")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("isa", "native"), [("AVX2", False), ("AVX512_CORE", False), ("AVX512_CORE_BF16", True),
                        ("AVX512_CORE_FP16", True), ("ALL", True), ("", True)],
)  # fmt: skip
def test_avx512_bf16_of_amd_is_native(monkeypatch, tmp_path, isa, native):
    (tmp_path / "cpuinfo").write_text("vendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16\n")
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    assert native_bf16("cpu") == native


@pytest.mark.parametrize("system", ["Linux", "another"])
def test_a_cpu_without_amx_is_not_native(monkeypatch, tmp_path, system):
    if system == "Linux":
        said = "vendor_id\t: GenuineIntel\nflags\t\t: avx2 avx512_bf16\n"
        (tmp_path / "cpuinfo").write_text(said)
    monkeypatch.setattr(precision, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert not native_bf16("cpu")
