"""The arrays of a part: written by zarr-python, read chunk by chunk.

Reading does not go through zarr-python, whose cost per array (1 to 3 ms, behind one event
loop) would be most of the time of loading a store of 500 parts; the arrays that facer writes
have one fixed layout (docs/store-format.md), and that layout alone is read here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.objects import Objects

CHUNK_BYTES = 2**20
"""Size of an uncompressed chunk that writers aim at."""

_ZSTD_LEVEL = 1
_DTYPES = ("float32", "float64", "float16", "int16", "bool")
_FILL: Mapping[str, object] = {"f": float("nan"), "i": 0, "b": False}

Array = npt.NDArray[Any]


class Rows(NamedTuple):
    """Rows ``start`` to ``stop`` of a stored array and the row of the result they go to."""

    start: int
    stop: int
    target: int


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
    group = zarr.create_group(MemoryStore(objects), zarr_format=3)
    for name, (values, dimensions) in arrays.items():
        array = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=(_chunk_rows(values), *values.shape[1:]),
            compressors=ZstdCodec(level=_ZSTD_LEVEL, checksum=True),
            fill_value=_FILL[values.dtype.kind],
            dimension_names=dimensions,
            config={"write_empty_chunks": True},  # an absent chunk is damage, not emptiness
        )
        if len(values):
            array[...] = values
    return {key: data.to_bytes() for key, data in objects.items() if key != "zarr.json"}


def _chunk_rows(values: Array) -> int:
    """Return rows a chunk: about CHUNK_BYTES, and all chunks nearly equally full."""
    chunks = max(1, round(values.nbytes / CHUNK_BYTES))
    return max(1, -(-len(values) // chunks))


@dataclass(frozen=True)
class StoredArray:
    """One array of a part, split in chunks along its first axis (frames) only."""

    objects: Objects
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_rows: int

    @classmethod
    def open(cls, objects: Objects, key: str) -> StoredArray | None:
        """Return the array under ``key``, or None when there is none.

        Raises FacerError when it is not laid out as docs/store-format.md says.
        """
        data = objects.get(f"{key}/zarr.json")
        if data is None:
            return None
        try:
            meta = json.loads(data)
            shape = tuple(int(size) for size in meta["shape"])
            rows, *rest = meta["chunk_grid"]["configuration"]["chunk_shape"]
            encoding = meta["chunk_key_encoding"]
            bytes_codec, zstd = meta["codecs"]
            expected = (
                meta["zarr_format"] == 3
                and meta["node_type"] == "array"
                and meta["data_type"] in _DTYPES
                and meta["chunk_grid"]["name"] == "regular"
                and tuple(rest) == shape[1:]
                and int(rows) > 0
                and encoding["name"] == "default"
                and encoding.get("configuration", {}).get("separator", "/") == "/"
                and bytes_codec["name"] == "bytes"
                and bytes_codec.get("configuration", {}).get("endian", "little") == "little"
                and zstd["name"] == "zstd"
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _broken(
                objects, key, f"its zarr.json is not that of an array ({error!r})"
            ) from error
        if not expected:
            raise _broken(objects, key, "its layout is not the one of docs/store-format.md")
        return cls(objects, key, shape, np.dtype(meta["data_type"]).newbyteorder("<"), int(rows))

    def read(self, start: int, stop: int) -> Array:
        """Return rows ``start`` to ``stop`` as a new array."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype.newbyteorder("="))
        self.scatter([Rows(start, stop, 0)], out)
        return out

    def scatter(
        self, rows: Iterable[Rows], out: Array, columns: Sequence[int] | None = None
    ) -> None:
        """Copy ranges of rows (of ``columns``, if given) into ``out``; each chunk is read once."""
        pieces: dict[int, list[Rows]] = defaultdict(list)
        for start, stop, target in rows:
            if stop > self.shape[0]:
                raise _broken(
                    self.objects, self.key, f"found {self.shape[0]} rows, expected at least {stop}"
                )
            for index in range(start // self.chunk_rows, -(-stop // self.chunk_rows)):
                low = max(start, index * self.chunk_rows)
                high = min(stop, (index + 1) * self.chunk_rows)
                pieces[index].append(Rows(low, high, target + low - start))
        for index, wanted in pieces.items():
            chunk = self._chunk(index)
            first = index * self.chunk_rows
            for low, high, target in wanted:
                piece = chunk[low - first : high - first]
                out[target : target + high - low] = piece if columns is None else piece[:, columns]

    def _chunk(self, index: int) -> Array:
        from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

        key = "/".join(map(str, (self.key, "c", index, *[0] * (len(self.shape) - 1))))
        data = self.objects.get(key)
        if data is None:
            raise _broken(self.objects, key, "this chunk is missing")
        try:
            raw = Zstd().decode(data)
            return np.frombuffer(raw, self.dtype).reshape(self.chunk_rows, *self.shape[1:])
        except (RuntimeError, ValueError, MemoryError) as error:
            raise _broken(self.objects, key, f"this chunk is damaged ({error})") from error


def _broken(objects: Objects, key: str, what: str) -> FacerError:
    part = "/".join(key.split("/")[:2])
    return FacerError(
        f"{objects.location}/{key}: broken part: {what}; "
        f"delete {objects.location}/{part} and run the same extraction again"
    )
