"""The arrays of a part: written by zarr-python, read chunk by chunk.

Reading does not go through zarr-python, whose cost per array (1 to 3 ms, behind one event
loop) would be most of the time of loading a store of 500 parts; the arrays that facer writes
have one fixed layout (docs/store-format.md). An array that another program laid out otherwise
is read through zarr-python, whole (``relaid``).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.storage.errors import AbsentError, DamagedError, FacerError, broken
from facer.storage.files.json_files import parse_json
from facer.storage.files.memory import affordable
from facer.storage.files.objects import Objects
from facer.storage.layout.chunks import LIMIT_BYTES, unpack_zstd
from facer.storage.layout.relaid import check_shape, check_thread, read_whole
from facer.storage.schema import U8

CHUNK_BYTES = 2**20
"""Size of an uncompressed chunk that writers aim at."""

_ZSTD_LEVEL = 1
_FILL: Mapping[str, object] = {"f": float("nan"), "i": 0, "b": False}

Array = npt.NDArray[Any]


class Rows(NamedTuple):
    """Rows ``start`` to ``stop`` of a stored array and the row of the result they go to."""

    start: int
    stop: int
    target: int


class Seal(NamedTuple):
    """What a part's records say about one of its arrays."""

    crc32: int  # of the values, little endian, in order of rows
    metadata: str  # sha256 of the array's zarr.json as it was written


class Expected(NamedTuple):
    """What an array must be."""

    shape: tuple[int | None, ...]  # None: any number of columns
    dtype: str
    seal: Seal | None = None  # None in a part of version 1


def encode_arrays(
    arrays: Mapping[str, tuple[Array, tuple[str, ...]]],
) -> dict[str, bytes]:
    """Return the Zarr v3 objects of several arrays, keyed relative to their group.

    ``arrays`` maps a name to (values, dimension names). The group's own ``zarr.json`` is not
    among the objects: its writer commits the part.
    """
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    check_thread()
    group = zarr.create_group(MemoryStore(objects), zarr_format=3)
    for name, (values, dimensions) in arrays.items():
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(_chunk_rows(values.shape, values.itemsize), *values.shape[1:]),
            compressors=ZstdCodec(level=_ZSTD_LEVEL, checksum=True),
            fill_value=_FILL[values.dtype.kind],
            dimension_names=dimensions,
            config={"write_empty_chunks": True},  # an absent chunk is damage, not emptiness
        )
        if len(values):
            array[...] = values
    return {key: data.to_bytes() for key, data in objects.items() if key != "zarr.json"}


def _chunk_rows(shape: Sequence[int], item_bytes: int) -> int:
    """Return rows a chunk: about CHUNK_BYTES, and all chunks nearly equally full."""
    chunks = max(1, round(prod(shape) * item_bytes / CHUNK_BYTES))
    return max(1, -(-shape[0] // chunks))


def seal(values: Array, metadata: bytes) -> Seal:
    """Return the seal of an array's values and its ``zarr.json``."""
    return Seal(zlib.crc32(value_bytes(values)), hashlib.sha256(metadata).hexdigest())


def check_values(location: str, key: str, crc32: int, expected: Seal | None) -> None:
    """Refuse the values of an array, by their crc32, where they are not those of its seal."""
    if expected is not None and crc32 != expected.crc32:
        text = "its values are not those that were written (crc32)"
        raise DamagedError(broken(location, key, text))


def value_bytes(values: Array) -> memoryview:
    """Return what the checksum of an array is over: its values, little endian, row by row."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


@dataclass(frozen=True)
class StoredArray:
    """One array of a part, split in chunks along its first axis (frames) only."""

    objects: Objects
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int
    values: Array | None = None  # all of it, where another program laid it out

    @classmethod
    def open(cls, objects: Objects, key: str, expected: Expected) -> StoredArray | None:
        """Return the array under ``key``, or None when there is none.

        Raises FacerError when it cannot be read as zarr, and DamagedError when it is proved
        not to be what was written.
        """
        data = objects.get(f"{key}/zarr.json")
        if data is None:
            return None
        own = expected.seal is None or hashlib.sha256(data).hexdigest() == expected.seal.metadata
        try:
            layout = _own_layout(parse_json(data)) if own else None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if expected.seal is not None or isinstance(error, ValueError):
                text = f"its zarr.json is not that of an array ({error!r})"
                raise DamagedError(broken(objects.location, key, text)) from error
            layout = None
        if layout is not None and layout.dtype == expected.dtype:
            check_shape(objects.location, key, layout.shape, expected.shape)
            row_bytes = prod(layout.shape[1:]) * layout.dtype.itemsize
            if layout.chunk_rows * row_bytes > LIMIT_BYTES:
                raise FacerError(
                    f"{objects.location}/{key}: found chunks of {layout.chunk_rows} rows, "
                    f"expected at most {LIMIT_BYTES} bytes a chunk"
                )
            return cls(objects, key, *layout)
        return cls._relaid(objects, key, data, expected)

    @classmethod
    def _relaid(cls, objects: Objects, key: str, data: bytes, expected: Expected) -> StoredArray:
        sealed = expected.seal is not None
        values = read_whole(objects, key, data, expected.dtype, expected.shape, sealed)
        check_values(objects.location, key, zlib.crc32(value_bytes(values)), expected.seal)
        return cls(objects, key, values.shape, values.dtype, max(1, len(values)), values)

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``start`` to ``stop`` as a new array."""
        shape = (stop - start, *self.shape[1:])
        affordable(f"{self.objects.location}/{self.key}", prod(shape) * self.dtype.itemsize)
        out = np.empty(shape, self.dtype.newbyteorder("="))
        self.scatter([Rows(start, stop, 0)], out)
        return out

    def scatter(
        self, rows: Iterable[Rows], out: Array, columns: Sequence[int] | None = None
    ) -> None:
        """Copy ranges of rows (of ``columns``, if given) into ``out``; each chunk is read once."""
        pieces: dict[int, list[Rows]] = defaultdict(list)
        for start, stop, target in rows:
            for index in range(start // self.chunk_rows, -(-stop // self.chunk_rows)):
                low = max(start, index * self.chunk_rows)
                high = min(stop, (index + 1) * self.chunk_rows)
                pieces[index].append(Rows(low, high, target + low - start))
        for index, wanted in pieces.items():
            chunk = self.chunk(index)
            first = index * self.chunk_rows
            for low, high, target in wanted:
                piece = chunk[low - first : high - first]
                out[target : target + high - low] = piece if columns is None else piece[:, columns]

    @property
    def row_bytes(self) -> int:
        """Bytes of the values of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Bytes of an unpacked chunk."""
        return self.chunk_rows * self.row_bytes

    def chunks(self) -> Iterator[tuple[int, int, int]]:
        """Yield (index, first row, row after the last) of each chunk that holds rows."""
        for index in range(-(-self.shape[0] // self.chunk_rows)):
            first = index * self.chunk_rows
            yield index, first, min(first + self.chunk_rows, self.shape[0])

    def chunk(self, index: int, out: U8 | None = None) -> Array:
        """Return one chunk, (``chunk_rows``, ...); DamagedError when it is not what was written.

        It lies in ``out``, of at least ``chunk_bytes``, where that is given: for whoever reads
        many chunks, since new memory for each takes as long as unpacking it.
        """
        if self.values is not None:
            return self.values
        key = "/".join(map(str, (self.key, "c", index, *[0] * (len(self.shape) - 1))))
        size = self.chunk_bytes
        data = self.objects.get(key, size + size // 64 + 4096)  # zstd adds less than that
        if data is None:
            raise AbsentError(broken(self.objects.location, key, "this chunk is missing"))
        try:
            raw = (np.empty(size, np.uint8) if out is None else out)[:size]
            unpack_zstd(data, raw)
            return raw.view(self.dtype).reshape(self.chunk_rows, *self.shape[1:])
        except ValueError as error:
            text = f"this chunk is damaged ({error})"
            raise DamagedError(broken(self.objects.location, key, text)) from error


def own_array(objects: Objects, key: str, expected: Expected) -> StoredArray | None:
    """Return an array as facer must have laid it out, whatever its ``zarr.json`` says.

    None where that cannot be told: its columns are not known.
    """
    shape = tuple(size for size in expected.shape if size is not None)
    if len(shape) < len(expected.shape):
        return None
    dtype = np.dtype(expected.dtype).newbyteorder("<")
    return StoredArray(objects, key, shape, dtype, _chunk_rows(shape, dtype.itemsize))


class _Layout(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int


_DTYPES = ("float32", "float64", "float16", "int16", "bool")


def _own_layout(meta: Any) -> _Layout | None:
    """Return the layout of docs/store-format.md, None when it is another one."""
    shape = tuple(meta["shape"])
    rows, *rest = meta["chunk_grid"]["configuration"]["chunk_shape"]
    if any(type(size) is not int or size < 0 for size in (*shape, rows)):
        raise ValueError(f"shape {shape}")
    encoding = meta["chunk_key_encoding"]
    codecs = meta["codecs"]
    ours = (
        meta["zarr_format"] == 3
        and meta["node_type"] == "array"
        and meta["data_type"] in _DTYPES
        and meta["chunk_grid"]["name"] == "regular"
        and tuple(rest) == shape[1:]
        and rows > 0
        and encoding["name"] == "default"
        and encoding.get("configuration", {}).get("separator", "/") == "/"
        and [codec["name"] for codec in codecs] == ["bytes", "zstd"]
        and codecs[0].get("configuration", {}).get("endian", "little") == "little"
    )
    if not ours:
        return None
    return _Layout(shape, np.dtype(meta["data_type"]).newbyteorder("<"), rows)
