"""Arrays that another program laid out: re-chunked or recompressed, read through zarr-python.

What zarr-python sees are copies of the objects in memory, each of bounded size and looked at
before it is unpacked, so that a stranger's array takes no more memory than it must.
"""

from __future__ import annotations

import itertools
from math import prod
from threading import Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.storage.errors import AbsentError, DamagedError, FacerError, broken
from facer.storage.files.json_files import parse_json
from facer.storage.files.memory import affordable
from facer.storage.files.objects import Objects
from facer.storage.layout.chunks import LIMIT_BYTES, SIZES

_CHUNKS = 1_000_000


def read_whole(
    objects: Objects,
    key: str,
    data: bytes,
    dtype: str,
    shape: tuple[int | None, ...],
    sealed: bool,
) -> npt.NDArray[Any]:
    """Return all values of an array whose ``zarr.json`` is ``data``, as ``dtype``.

    ``sealed``: the caller compares them with a checksum. Raises FacerError when zarr-python does
    not read it or it has another shape or type. That alone is no damage: perhaps a newer zarr
    wrote it.
    """
    where = f"{objects.location}/{key}"
    try:
        meta = parse_json(data)
    except ValueError as error:
        text = f"its zarr.json is not that of an array ({error})"
        raise DamagedError(broken(objects.location, key, text)) from error
    try:
        check_shape(objects.location, key, tuple(meta["shape"]), shape)
        _check(where, meta, dtype)
        copies = _copies(objects, key, meta, sealed or _fills_with_nothing(meta)) | {
            f"{key}/zarr.json": data
        }
        return _read(key, copies, dtype)
    except FacerError:
        raise
    except Exception as error:  # zarr-python and its codecs raise of every kind
        raise FacerError(
            f"{where}: its layout is not the one of docs/store-format.md, and zarr-python does not "
            f"read it ({str(error)[:200] or repr(error)}); facer verify says whether it is "
            "damaged, else read it with the program that wrote it"
        ) from error


def check_shape(
    location: str, key: str, found: tuple[Any, ...], expected: tuple[int | None, ...]
) -> None:
    """Refuse an array that is not as large as its part's records say."""
    fits = len(found) == len(expected) and all(
        type(size) is int and size >= 0 and want in (None, size)
        for size, want in zip(found, expected, strict=True)
    )
    if not fits:
        want = ", ".join("any" if size is None else str(size) for size in expected)
        text = f"found shape {str(found)[:100]}, expected ({want}) as its part's records say"
        raise DamagedError(broken(location, key, text))


def _check(where: str, meta: Any, dtype: str) -> None:
    affordable(where, 8 * prod(meta["shape"]))
    if meta["data_type"] not in (dtype, "int8" if dtype == "bool" else dtype):
        raise ValueError(f"values of type {meta['data_type']!r}, expected {dtype}")


def _fills_with_nothing(meta: Any) -> bool:
    """Whether what a chunk that is not there holds is no measurement: NaN, no face."""
    fill: object = meta["fill_value"]
    return fill == "NaN" if meta["data_type"].startswith("float") else not fill


def _copies(objects: Objects, key: str, meta: Any, may_lack: bool) -> dict[str, bytes]:
    """Return the array's chunks as they are stored, each of them looked at."""
    chunk_shape = meta["chunk_grid"]["configuration"]["chunk_shape"]
    if any(type(size) is not int or size < 1 for size in chunk_shape):
        raise ValueError(f"chunk shape {chunk_shape}")
    counts = [-(-size // step) for size, step in zip(meta["shape"], chunk_shape, strict=True)]
    encoding = meta["chunk_key_encoding"]
    default = encoding["name"] == "default"
    separator = encoding.get("configuration", {}).get("separator", "/" if default else ".")
    if prod(counts) > _CHUNKS:
        raise ValueError(f"{prod(counts)} chunks, expected at most {_CHUNKS}")
    copies = {}
    for place in itertools.product(*map(range, counts)):
        name = separator.join([*(["c"] if default else []), *map(str, place)])
        chunk = objects.get(f"{key}/{name}", LIMIT_BYTES)
        if chunk is None and not may_lack:
            text = "this chunk is missing, and the fill value of its array is a number"
            raise AbsentError(broken(objects.location, f"{key}/{name}", text))
        if chunk is not None:  # else it holds the fill value
            _look(chunk, chunk_shape, meta["codecs"])
            copies[f"{key}/{name}"] = chunk
    return copies


def _look(chunk: bytes, chunk_shape: list[int], codecs: list[dict[str, Any]]) -> None:
    """Raise ValueError for a chunk that would unpack to more than its shape can need."""
    first, *rest = [codec for codec in codecs if codec["name"] != "transpose"]
    if first["name"] == "sharding_indexed":
        _look_into_shard(chunk, chunk_shape, first["configuration"])
        return
    names = [codec["name"] for codec in rest]
    if names[-1:] == ["crc32c"]:
        chunk, names = chunk[:-4], names[:-1]
    if first["name"] != "bytes" or len(names) > 1:
        raise ValueError(f"codecs {first['name']}, {', '.join(names)}")
    size = SIZES[names[0]](chunk) if names else len(chunk)
    if size is None or size > min(LIMIT_BYTES, 8 * prod(chunk_shape)):
        raise ValueError(f"a chunk of {size} bytes, shape {chunk_shape}")


def _look_into_shard(shard: bytes, shard_shape: list[int], configuration: dict[str, Any]) -> None:
    inner = configuration["chunk_shape"]
    names = [codec["name"] for codec in configuration["index_codecs"]]
    if configuration.get("index_location", "end") != "end" or names != ["bytes", "crc32c"]:
        raise ValueError("an unusual index of a shard")
    n = prod(-(-size // step) for size, step in zip(shard_shape, inner, strict=True))
    index = np.frombuffer(shard[-16 * n - 4 : -4], "<u8").reshape(n, 2).tolist()
    for start, size in index:
        if start != 2**64 - 1:
            _look(shard[start : start + size], inner, configuration["codecs"])


def _read(key: str, copies: dict[str, bytes], dtype: str) -> npt.NDArray[Any]:
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    buffer = default_buffer_prototype().buffer
    store = MemoryStore({name: buffer.from_bytes(data) for name, data in copies.items()})
    check_thread()
    array = zarr.open_array(store, path=key, mode="r", zarr_format=3)
    values = np.asarray(array[...])
    return np.ascontiguousarray(values, np.dtype(dtype))  # xarray keeps bool as int8


def check_thread() -> None:
    """RuntimeError where the system refuses a thread: zarr-python would wait for its own."""
    thread = Thread(target=int)
    thread.start()
    thread.join()
