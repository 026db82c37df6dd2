from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint


def test_arrays_and_header_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "best.safetensors"
    tensors = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(7)}
    save_checkpoint(path, tensors, {"epoch": 3, "names": ["a", "b"], "rate": 1e-4})
    found, meta = load_checkpoint(path)
    assert meta == {"epoch": 3, "names": ["a", "b"], "rate": 1e-4}
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in tensors.items()}
    assert found["w"].dtype == np.float32


def test_saving_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    for epoch in range(2):
        save_checkpoint(path, {"w": np.zeros(3)}, {"epoch": epoch})
    assert load_checkpoint(path)[1] == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64])
def test_another_file_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FacerError, match=r"x\.safetensors: cannot be read as a safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize("metadata", [None, {"facer": "[1]"}, {"facer": "{"}, {"other": "{}"}])
def test_weights_of_another_program_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"w": np.zeros(1)}, path, metadata=metadata)
    with pytest.raises(FacerError, match="no facer header"):
        load_checkpoint(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FacerError, match="found no such file"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((2**40).to_bytes(8, "little") + b"{}", "found a header of 1099511627776 bytes"),
        (b"\x08", "found a header of 8 bytes, expected at most 0"),
        ((10**6).to_bytes(8, "little") + b"[" * 10**6, "cannot be read as a safetensors file"),
    ],
)
def test_headers_of_strangers(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(FacerError, match=message) as refused:
        load_checkpoint(tmp_path / "a.safetensors")
    assert "\n" not in str(refused.value)
