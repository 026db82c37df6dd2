"""What identifies weights: all their bytes, also those that an ONNX file keeps beside itself."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from facer.storage.errors import FacerError
from facer.storage.files.regular import read_regular

_MOST_BYTES = 2 << 30  # of an ONNX model without its external data: protobuf has no larger
_SMALL_BYTES = 1 << 18  # of files that are compared by their content, such as cards
_ONE_FILE = """python -c 'import onnx, sys; onnx.save(onnx.load(sys.argv[1]), "one-file.onnx")'"""


def weights_sha256(path: Path) -> str:
    """Hex digest of weights, whichever their format.

    One file: of its content. An ONNX model with external data: of the digests of the model's
    file and of every file that its tensors lie in, by their names. ``FacerError`` where these are
    not there, or where a name leads out of the model's folder.
    """
    own = file_sha256(path)
    names = external_files(path) if _may_have_others(path) else ()
    if not names:
        return own
    lines = [own, *(f"{name} {file_sha256(path.parent / name)}" for name in names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _may_have_others(path: Path) -> bool:
    """Whether tensors may lie in other files, as those of an ONNX model of any name do."""
    return path.suffix != ".safetensors"


def external_files(path: Path) -> tuple[str, ...]:
    """Names, below the folder of an ONNX model, of the files that its tensors lie in.

    Nothing for a file that is no ONNX model.
    """
    model = read_onnx(path)
    names = sorted({_location(tensor) for tensor in _external_tensors(model)}) if model else []
    for name in names:
        _check(path, name)
    return tuple(names)


def read_onnx(path: Path) -> Any:
    """The ONNX model of a file, without its external data; None for a file that is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(read_regular(path, "an ONNX model", _MOST_BYTES))
    except DecodeError:
        return None
    return model if model.graph.node or model.graph.output else None


def _external_tensors(message: Any) -> Iterator[Any]:
    """Every tensor with external data, wherever in a model it stands."""
    if message.DESCRIPTOR.name == "TensorProto":
        if message.data_location == message.EXTERNAL or message.external_data:
            yield message
        return
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE:
            continue
        for part in value if hasattr(value, "__len__") else (value,):
            yield from _external_tensors(part)


def _location(tensor: Any) -> str:
    found = {entry.key: entry.value for entry in tensor.external_data}
    return str(found.get("location", ""))


def _check(path: Path, name: str) -> None:
    """``FacerError`` unless a file of external data is there, in the model's folder."""
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    target = path.parent / name.replace("\0", "")
    folders = {path.parent.resolve(), path.resolve().parent}  # a model may be a link itself
    inside = any(target.resolve().is_relative_to(folder) for folder in folders)
    if ".." in parts or PureWindowsPath(name).anchor or not inside:
        raise FacerError(
            f"{path}: its tensors lie in {name!r}, expected files in the model's own folder; where "
            f"you trust it: {_ONE_FILE} {shlex.quote(str(path))}"
        )
    if "\0" in name or not target.is_file():
        raise FacerError(
            f"{path}: its tensors lie in {name!r} beside it, which is not there; put it back"
        )


def weights_state(path: Path) -> str:
    """What changes when a card or weights are written to, without reading weights again.

    "" where there is no such file.
    """
    own = _state(path)
    if not own or not _may_have_others(path):
        return own
    others = _external_files(path, own)
    return "\n".join([own, *(_state(path.parent / name) for name in others)])


def _state(path: Path) -> str:
    try:
        found = path.stat()
        if found.st_size <= _SMALL_BYTES:
            return file_sha256(path)
    except OSError:
        return ""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


@lru_cache(maxsize=16)
def _external_files(path: Path, _: str) -> tuple[str, ...]:
    """As :func:`external_files`; read once for each state of the model."""
    return external_files(path)


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
