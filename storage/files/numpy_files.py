"""NumPy's npy and npz files: no pickles, and no more unpacked than a small table needs."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.files.regular import read_regular

LIMIT_BYTES = 1 << 26
"""Of a file, and of what it unpacks to."""

_NPY_MAGIC = b"\x93NUMPY"
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, MemoryError),
    *(NotImplementedError, RuntimeError),  # another compression, a password
)


def read_npy(path: Path, expected: str) -> npt.NDArray[Any]:
    """Return the array of an npy file; ``FacerError`` for anything else than ``expected``."""
    data = read_regular(path, expected, LIMIT_BYTES)
    try:
        return _parse(data)
    except _DAMAGE as error:
        raise FacerError(f"{path}: cannot be read ({error}), expected {expected}") from error


def read_npz(path: Path, names: Iterable[str], expected: str) -> dict[str, npt.NDArray[Any]]:
    """Return the named arrays of an npz file; ``FacerError`` where one is not there."""
    data = read_regular(path, expected, LIMIT_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.getinfo(f"{name}.npy") for name in names}
            unpacked = sum(member.file_size for member in members.values())
            if unpacked > LIMIT_BYTES:
                raise ValueError(f"{unpacked} bytes unpacked, at most {LIMIT_BYTES} are read")
            return {name: _parse(archive.read(member)) for name, member in members.items()}
    except _DAMAGE as error:
        raise FacerError(f"{path}: cannot be read ({error}), expected {expected}") from error


def _parse(data: bytes) -> npt.NDArray[Any]:
    if not data.startswith(_NPY_MAGIC):
        raise ValueError("no array of NumPy")
    values: npt.NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return values
