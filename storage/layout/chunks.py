"""Compressed chunks, unpacked only when they are as large as they must be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from facer.storage.schema import U8

LIMIT_BYTES = 256 * 2**20
"""Size of the largest chunk that is unpacked."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SIZE_BYTES = (0, 2, 4, 8)  # by the two highest bits of the frame header descriptor


def unpack_zstd(data: bytes, out: U8) -> None:
    """Fill ``out`` with a zstd frame's bytes; ValueError when it says or holds more or fewer."""
    from numcodecs.zstd import decompress

    if zstd_size(data) != len(out):
        raise ValueError(f"found {zstd_size(data)} bytes, expected {len(out)}")
    try:
        decompress(data, out)
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def zstd_size(data: bytes) -> int | None:
    """Return what a zstd frame's header says of its content's size (RFC 8878, 3.1.1.1)."""
    if len(data) < 6 or data[:4] != _ZSTD_MAGIC:
        raise ValueError("no zstd frame")
    descriptor = data[4]
    if descriptor & 0x18:  # reserved or unused: no encoder sets them
        raise ValueError("no zstd frame of this version")
    single = bool(descriptor & 0x20)
    width = _SIZE_BYTES[descriptor >> 6] or int(single)
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    field = data[start : start + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)


def _zstd_size(data: bytes) -> int | None:
    size = zstd_size(data)
    if size is not None and size <= LIMIT_BYTES:
        unpack_zstd(data, np.empty(size, np.uint8))  # refuses frames after the first
    return size


def _gzip_size(data: bytes) -> int | None:
    size = 0
    while data and size <= LIMIT_BYTES:  # members one after another
        member = zlib.decompressobj(wbits=31)
        size += len(member.decompress(data, LIMIT_BYTES + 1))
        data = member.unused_data
    return size


def _blosc_size(data: bytes) -> int | None:
    return int.from_bytes(data[4:8], "little") if len(data) >= 16 else None


SIZES: Mapping[str, Callable[[bytes], int | None]] = MappingProxyType(
    {"zstd": _zstd_size, "gzip": _gzip_size, "blosc": _blosc_size}
)
"""How large a chunk will be, by codec; ValueError or None when it does not tell."""
