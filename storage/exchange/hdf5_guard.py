"""Strangers' HDF5 files: nothing outside the file is read, nothing large unpacked from little."""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from facer.storage.errors import FacerError
from facer.storage.files.memory import affordable
from facer.storage.layout.chunks import LIMIT_BYTES

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000
_PLAIN = (_SHUFFLE, _FLETCHER32)
_RATIO = {_DEFLATE: 1100, _LZF: 270}  # bytes that one stored byte becomes at most
_DEEPEST = 100
_KINDS = "fiub"  # numbers and truth values


def refuse_links_out(path: Path, file: Any) -> None:
    """Refuse a file with links to other files, so that soft links stay in it, or of groups in
    groups without end, each of which takes as long to find as it lies deep.
    """

    def look(name: bytes, info: Any) -> bool | None:
        if info.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            found.append(name.decode("utf-8", "replace"))
        return True if name.count(b"/") >= _DEEPEST else None

    found: list[str] = []
    if file.id.links.visit(look, info=True):
        raise FacerError(f"{path}: found groups in groups, expected at most {_DEEPEST} deep")
    if found:
        raise FacerError(
            f"{path}: found {found[0][:80]!r}, a link to another file, expected one file that "
            "holds everything; copy what it leads to into the file (h5repack)"
        )


def refuse_values_elsewhere(path: Path, dataset: Any) -> str:
    """Refuse what is no dataset, or is in other files (external storage, virtual); its place."""
    where = f"{path}: {getattr(dataset, 'name', None)!r}"
    if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
        raise FacerError(f"{where}: found no array, expected a dataset")
    if dataset.external or dataset.is_virtual:
        raise FacerError(
            f"{where}: found a dataset whose values are in other files, expected one file that "
            "holds everything; copy them into the file (h5repack)"
        )
    return where


def read_dataset(path: Path, dataset: Any) -> npt.NDArray[Any]:
    """Return a dataset's numbers.

    FacerError for one that is in other files (external storage, virtual), for one larger than
    what is stored of it can be, and for filters other than gzip, lzf, shuffle and fletcher32.
    """
    where = refuse_values_elsewhere(path, dataset)
    if dataset.dtype.kind not in _KINDS:
        raise FacerError(f"{where}: found values of type {dataset.dtype}, expected numbers")
    size = prod(dataset.shape) * dataset.dtype.itemsize
    filters = _filters(where, dataset)
    ratio = max((_RATIO[code] for code in filters if code in _RATIO), default=1)
    stored = dataset.id.get_storage_size()
    if size > stored * ratio + 2**16:
        raise FacerError(
            f"{where}: found shape {dataset.shape} of which {stored} bytes are stored, expected "
            "an array that is all there"
        )
    affordable(where, 2 * size)
    if filters:
        _check_chunks(where, dataset, filters)
    values: npt.NDArray[Any] = np.asarray(dataset[...])
    return values


def _filters(where: str, dataset: Any) -> list[int]:
    properties = dataset.id.get_create_plist()
    codes = [properties.get_filter(index)[0] for index in range(properties.get_nfilters())]
    compressors = [code for code in codes if code not in _PLAIN]
    if len(compressors) > 1 or not set(compressors) <= set(_RATIO):
        raise FacerError(
            f"{where}: found the filters {codes}, expected at most one of gzip and lzf; write the "
            "file again with gzip (h5repack -f GZIP=1)"
        )
    return codes


def _check_chunks(where: str, dataset: Any, filters: list[int]) -> None:
    """Refuse chunks that unpack to more than a chunk, before HDF5 unpacks them."""
    size = prod(dataset.chunks) * dataset.dtype.itemsize
    if size > LIMIT_BYTES:
        raise FacerError(f"{where}: found chunks of {size} bytes, expected at most {LIMIT_BYTES}")
    for index in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(index)
        if info.size * max(_RATIO.get(code, 1) for code in filters) <= 4 * size:
            continue
        skipped, data = dataset.id.read_direct_chunk(info.chunk_offset)
        if _unpacked_size(bytes(data), filters, skipped, size) > size:
            raise FacerError(f"{where}: found a chunk that unpacks to more than its {size} bytes")


def _unpacked_size(data: bytes, filters: list[int], skipped: int, limit: int) -> int:
    used = [code for place, code in enumerate(filters) if not skipped >> place & 1]
    if used[-1:] == [_FLETCHER32]:
        data = data[:-4]
    if _DEFLATE in used:
        return len(zlib.decompressobj().decompress(data, limit + 1))
    if _LZF in used:  # it says no size, but takes at least a byte for 264
        return len(data) if len(data) > 2 * limit + 4096 else 0
    return len(data)
