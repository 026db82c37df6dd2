"""npy and npz files of anybody: an array, or one line."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facer.storage import FacerError
from facer.storage.files.numpy_files import read_npy, read_npz


def header(shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, fields)
    return out.getvalue()


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    return out.getvalue()


def whole() -> bytes:
    return zipped(header((3,)) + np.arange(3.0).tobytes())


def test_what_numpy_wrote_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(3), y=np.array(["a"]))
    assert read_npy(tmp_path / "a.npy", "numbers").tolist() == [0, 1, 2]
    found = read_npz(tmp_path / "a.npz", ("x", "y"), "numbers")
    assert (found["x"].tolist(), found["y"].tolist()) == ([0, 1, 2], ["a"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a zip file"),
        (whole()[:-10], "not a zip file"),
        (whole().replace(b"x.npy", b"y.npy"), "no item named"),
        (whole()[:50] + b"\xff\xff" + whole()[52:], "cannot be read"),
        (header((3,)), "not a zip file"),
        (zipped(header((10**15,))), "Unable to allocate"),
        (zipped(header((2**24,)) + bytes(2**27)), "bytes unpacked, at most"),
        (zipped(b"no array"), "no array of NumPy"),
    ],
)  # fmt: skip
def test_what_is_no_npz_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(FacerError, match=message) as refused:
        read_npz(tmp_path / "a.npz", ("x",), "displacements")
    assert str(refused.value).endswith("expected displacements")


@pytest.mark.parametrize("data", [whole(), header((10**15,)), b""])
def test_what_is_no_npy_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(FacerError, match=r"a\.npy: cannot be read .*, expected a label"):
        read_npy(tmp_path / "a.npy", "a label")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(FacerError, match="a pipe"):
        read_npy(tmp_path / "a.npy", "a label")
