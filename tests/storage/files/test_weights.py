"""Weights are all their bytes, and none of another folder's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facer.stages.features.config import DetectorConfig
from facer.stages.features.detect import load
from facer.stages.features.rec.loading import load as load_rec
from facer.stages.features.refine import KeypointRefiner
from facer.storage.errors import FacerError
from facer.storage.files.weights import external_files, read_onnx, weights_sha256, weights_state


def tensor(name: str, location: str | None = None) -> onnx.TensorProto:
    made = numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    if location is not None:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value=location)
    return made


def model(
    path: Path, *initializers: onnx.TensorProto, nodes: tuple[onnx.NodeProto, ...] = ()
) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    add = helper.make_node("Add", ["x", initializers[0].name if initializers else "x"], ["y"])
    graph = helper.make_graph([add, *nodes], "g", [value], [out], list(initializers))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def test_one_file_is_its_content(tmp_path: Path) -> None:
    for path in (model(tmp_path / "a.onnx", tensor("w")), tmp_path / "b.safetensors"):
        path.touch()
        assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_external_data_is_part_of_the_digest(tmp_path: Path) -> None:
    path = model(tmp_path / "a.onnx", tensor("w", "a.data"), tensor("v", "more/b.data"))
    (tmp_path / "more").mkdir()
    files = (tmp_path / "a.data", tmp_path / "more" / "b.data")
    for file in files:
        file.write_bytes(bytes(16))
    digests = {weights_sha256(path)}
    for file in (path, *files):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1  # a single bit
        kept, _ = file.read_bytes(), file.write_bytes(data)
        digests.add(weights_sha256(path))
        file.write_bytes(kept)
    assert len(digests) == 4
    assert weights_sha256(path) in digests
    (tmp_path / "a.data").unlink()
    with pytest.raises(FacerError, match=r"a\.onnx: its tensors lie in 'a\.data' beside it, which"):
        weights_sha256(path)


@pytest.mark.parametrize("name", ["a.onnx", "a.ONNX"])
def test_the_state_of_weights_changes_with_their_external_data(tmp_path: Path, name: str) -> None:
    path = model(tmp_path / name, tensor("w", "a.data"))
    (tmp_path / "a.data").write_bytes(bytes(16))
    before = weights_sha256(path), weights_state(path)
    (tmp_path / "a.data").write_bytes(bytes(15) + b"1")
    after = weights_sha256(path), weights_state(path)
    assert all(one != other for one, other in zip(before, after, strict=True))


def wherever(kind: str, location: str) -> dict[str, Any]:
    """External data in an initializer, an attribute, a subgraph and a sparse one."""
    if kind == "initializer":
        return {"initializers": [tensor("w", location)]}
    if kind == "attribute":
        nodes = [helper.make_node("Constant", [], ["c"], value=tensor("c", location))]
    else:
        inner = helper.make_graph([], "inner", [], [], [tensor("c", location)])
        nodes = [helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner)]
    return {"initializers": [tensor("w")], "nodes": nodes}


@pytest.mark.parametrize("kind", ["initializer", "attribute", "subgraph"])
def test_external_data_is_found_wherever_it_stands(tmp_path: Path, kind: str) -> None:
    (tmp_path / "d").write_bytes(bytes(16))
    made = wherever(kind, "d")
    path = model(tmp_path / "a.onnx", *made["initializers"], nodes=tuple(made.get("nodes", ())))
    assert external_files(path) == ("d",)


def test_external_data_of_a_model_without_nodes_is_found(tmp_path: Path) -> None:
    path = model(tmp_path / "a.onnx", tensor("x", "d"))
    (tmp_path / "d").write_bytes(bytes(16))
    found = onnx.load(path, load_external_data=False)
    del found.graph.node[:]
    path.write_bytes(found.SerializeToString())
    assert external_files(path) == ("d",)


LEAVING = ["../secret", "/etc/hostname", "a/../../secret", "link", "", "..\\secret", "C:\\secret"]


@pytest.mark.parametrize("location", LEAVING)
def test_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    path = model(tmp_path / "models" / "a.onnx", tensor("w", location))
    (path.parent / "a").mkdir()
    (path.parent / "link").symlink_to(tmp_path / "secret")
    for refuses in (
        weights_sha256,
        KeypointRefiner,
        lambda p: load_rec(p, "cpu"),
        lambda p: load(DetectorConfig(str(p))),
    ):
        with pytest.raises(FacerError, match=r"expected files in the model's own folder|not there"):
            refuses(path)


def test_a_model_that_is_itself_a_link_has_its_data_beside_either(tmp_path: Path) -> None:
    """As in a cache of blobs, where every file of a model is a link."""
    blob = model(tmp_path / "blobs" / "1", tensor("w", "a.data"))
    (tmp_path / "blobs" / "2").write_bytes(bytes(16))
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "a.onnx").symlink_to(blob)
    (tmp_path / "snapshot" / "a.data").symlink_to(tmp_path / "blobs" / "2")
    assert external_files(tmp_path / "snapshot" / "a.onnx") == ("a.data",)


@pytest.mark.parametrize("content", [b"", b"text, no model", bytes(100), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_model_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(content)
    assert read_onnx(path) is None
    assert weights_sha256(path) == hashlib.sha256(content).hexdigest()
    with pytest.raises(FacerError, match=r"a\.onnx is no ONNX model; expected a detector"):
        load(DetectorConfig(str(path)))


def test_a_model_that_is_no_detector_is_called_a_model(tmp_path: Path) -> None:
    path = model(tmp_path / "a.onnx", tensor("w"))
    with pytest.raises(FacerError, match=r"a\.onnx is an ONNX model"):
        load(DetectorConfig(str(path)))


@pytest.mark.parametrize("pack", ["../../etc", "/etc", "", ".", "a/b", "a\\b"])
def test_a_pack_is_a_name(pack: str) -> None:
    with pytest.raises(FacerError, match=r"expected the name of a pack"):
        load(DetectorConfig(f"insightface:{pack}"))
