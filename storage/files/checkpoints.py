"""Weights and training states: safetensors with a JSON header; never pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from facer.storage.errors import FacerError, one_line
from facer.storage.files.atomic import write_atomic
from facer.storage.files.json_files import parse_json
from facer.storage.files.memory import affordable
from facer.storage.files.objects import DOCUMENT_BYTES

_META = "facer"


def save_checkpoint(
    path: str | Path, tensors: Mapping[str, np.ndarray[Any, Any]], meta: Mapping[str, Any]
) -> None:
    """Write arrays and a JSON header; the file appears whole or not at all.

    An existing file is replaced. Raises FacerError when the file cannot be written.
    """
    path = Path(path)
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    header = {_META: json.dumps(dict(meta))}
    write_atomic(path, save(arrays, metadata=header))


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Return the arrays and header of a file of :func:`save_checkpoint`.

    Raises FacerError when there is no such file, or it is another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FacerError(f"{path}: found no such file, expected a checkpoint (.safetensors)")
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header = (file.metadata() or {}).get(_META)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError, MemoryError) as error:
        raise FacerError(
            f"{path}: cannot be read as a safetensors file: {one_line(error)}"
        ) from error
    try:
        meta = parse_json(header or "")
    except ValueError:
        meta = None
    if not isinstance(meta, dict):
        raise FacerError(f"{path}: found no facer header, expected a file that facer wrote")
    return tensors, meta


def _check_header(path: Path) -> None:
    """Refuse a header that is larger than the file or than any of facer's."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            there = path.stat().st_size - 8
    except OSError as error:
        raise FacerError(f"{path}: cannot be read: {one_line(error)}") from error
    affordable(str(path), there)
    if size > min(there, DOCUMENT_BYTES):
        raise FacerError(
            f"{path}: cannot be read as a safetensors file: found a header of {size} bytes, "
            f"expected at most {max(0, min(there, DOCUMENT_BYTES))}"
        )


def check_layers(count: int, tensors: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """ValueError where a file's header says of more layers than it holds tensors."""
    if count > len(tensors):
        raise ValueError(f"{count} layers, {len(tensors)} tensors")


def check_shapes(
    expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, np.ndarray[Any, Any]]
) -> None:
    """ValueError where a file's tensors have other names or shapes than its header says."""
    found = {name: tensor.shape for name, tensor in tensors.items()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise ValueError(
            f"tensor {name[:80]}: found shape {found.get(name)}, its header says "
            f"{expected.get(name)}; {len(wrong)} tensors differ"
        )
