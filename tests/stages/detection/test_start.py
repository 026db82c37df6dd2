"""An exported model becomes a network that answers the same and can be trained on."""

import os
from pathlib import Path

import onnx
import pytest
import torch

from facer.stages.detection.config import NetworkConfig
from facer.stages.detection.export import export_onnx
from facer.stages.detection.network import DetectorNet
from facer.stages.detection.refiner.network import PointsNet, export_points
from facer.stages.detection.start import read_weights, start_detector, start_network
from facer.storage.errors import FacerError

SMALL = NetworkConfig(4, 8, 8, 8, 8, 8)


def worn(net: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """The network with normalisations that are not those of a fresh one."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    net.train()(images)
    return net.eval()


def test_a_detector_goes_on_where_its_file_ended(tmp_path: Path) -> None:
    images = torch.randn(4, 3, 64, 96)
    net = worn(DetectorNet(SMALL), images)
    export_onnx(net, tmp_path / "detector.onnx", {})  # type: ignore[arg-type]
    again = DetectorNet(SMALL)
    start_detector(again, tmp_path / "detector.onnx", images)
    with torch.no_grad():
        for a, b in zip(net(images), again.eval()(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        for a, b in zip(net(images), again.train()(images), strict=True):
            torch.testing.assert_close(a, b, atol=0.1, rtol=0.1)


def test_units_that_the_file_lacks_start_as_identities(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 64, 64)
    net = DetectorNet(SMALL).eval()
    del net.down16[3], net.down32[2], net.context[2]
    export_onnx(net, tmp_path / "detector.onnx", {})
    deeper = DetectorNet(SMALL)
    start_detector(deeper, tmp_path / "detector.onnx", images)
    with torch.no_grad():
        for a, b in zip(net(images), deeper.eval()(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_points_model_goes_on_where_its_file_ended(tmp_path: Path) -> None:
    images = torch.randn(8, 3, 64, 64)
    net = worn(PointsNet(), images)
    path = tmp_path / "points.onnx"
    export_points(net, path, {})  # type: ignore[arg-type]
    again = PointsNet()
    start_network(again, read_weights(path), images, path)
    with torch.no_grad():
        for a, b in zip(net(images), again.eval()(images), strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.onnx"
    export_points(PointsNet().eval(), path, {})
    with pytest.raises(FacerError, match="expected a file of this network"):
        start_detector(DetectorNet(SMALL), path, torch.randn(1, 3, 64, 64))
    export_onnx(DetectorNet(NetworkConfig(8, 8, 8, 8, 8, 8)).eval(), path, {})
    with pytest.raises(FacerError, match="not of this network"):
        start_detector(DetectorNet(SMALL), path, torch.randn(1, 3, 64, 64))
    model = onnx.load(path)
    for one in model.graph.initializer:  # as in a file that facer did not write
        one.name = one.name.removeprefix("net.")
    onnx.save(model, path)
    with pytest.raises(FacerError, match=r"found no stem.0.0.weight, expected a file of this"):
        start_detector(DetectorNet(SMALL), path, torch.randn(1, 3, 64, 64))
    path.write_bytes(b"nothing")
    with pytest.raises(FacerError, match="found no ONNX model"):
        read_weights(path)


def test_only_a_model_of_one_regular_file_is_started_from(tmp_path: Path) -> None:
    path = tmp_path / "detector.onnx"
    export_onnx(DetectorNet(SMALL).eval(), path, {})
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w", size_threshold=0)
    with pytest.raises(FacerError, match="its tensors lie in other files"):
        read_weights(path)
    path.write_text("<html>")
    with pytest.raises(FacerError, match="found no ONNX model"):
        read_weights(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FacerError, match="a pipe"):
        read_weights(path)


def test_weights_that_are_not_finite_are_no_start(tmp_path: Path) -> None:
    """Seen: told as a loss of nan, with the advice to lower the learning rate."""
    net = DetectorNet(SMALL).eval()
    net.stem[0][0].weight.data[0] = float("nan")  # type: ignore[index]
    export_onnx(net, tmp_path / "detector.onnx", {})
    with pytest.raises(
        FacerError, match=r"numbers in stem.* that are not finite, expected trained"
    ):
        read_weights(tmp_path / "detector.onnx")
