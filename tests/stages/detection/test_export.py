from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from facer.stages.detection.config import NetworkConfig
from facer.stages.detection.export import export_onnx
from facer.stages.detection.network import OUTPUT_NAMES, DetectorNet
from tests.support import some

SMALL = NetworkConfig(4, 4, 8, 8, 8, 8)


def random_net(seed: int = 0) -> DetectorNet:
    torch.manual_seed(seed)
    net = DetectorNet(SMALL)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(some(module.running_mean))
            nn.init.uniform_(some(module.running_var), 0.5, 2)
    return net.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectorNet, Path]:
    net, path = random_net(), tmp_path_factory.mktemp("onnx") / "net.onnx"
    export_onnx(net, path, {"name": "random", "classes": ["face"], "threshold": 0.5})
    return net, path


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 96, 160), (2, 224, 32)])
def test_file_equals_the_network(
    exported: tuple[DetectorNet, Path], shape: tuple[int, int, int]
) -> None:
    net, path = exported
    images = torch.randn(shape[0], 3, *shape[1:])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"image": images.numpy()})
    with torch.no_grad():
        wanted = list(net(images))
    wanted[:3] = [torch.sigmoid(logits) for logits in wanted[:3]]
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=2e-5)


def test_file_says_what_it_is(exported: tuple[DetectorNet, Path]) -> None:
    model = onnx.load(str(exported[1]))
    assert [output.name for output in model.graph.output] == list(OUTPUT_NAMES)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == {"name": "random", "classes": '["face"]', "threshold": "0.5"}
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)


def test_insightface_runs_the_file(exported: tuple[DetectorNet, Path]) -> None:
    from insightface.model_zoo import get_model

    model = get_model(str(exported[1]), providers=["CPUExecutionProvider"])
    model.prepare(ctx_id=-1, input_size=(160, 96), det_thresh=0.0)
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3)).astype(np.uint8)
    boxes, points = model.detect(image)
    assert model.batched
    assert boxes.shape == (len(points), 5)
    assert points.shape == (len(boxes), 5, 2)
    blob = cv2.dnn.blobFromImage(
        np.pad(image, ((0, 6), (0, 0), (0, 0))), 1 / 128, (160, 96), (127.5,) * 3, swapRB=True
    )
    with torch.no_grad():
        logits = torch.cat(exported[0](torch.from_numpy(blob))[:3], dim=1)
    assert boxes[:, 4].max() == pytest.approx(torch.sigmoid(logits.max()).item(), abs=1e-5)


def test_default_network_is_small() -> None:
    assert (
        4 * sum(p.numel() for p in DetectorNet(NetworkConfig()).parameters()) < 6e6
    )  # bytes of the file
