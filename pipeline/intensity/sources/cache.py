"""Where the sequences of many clips lie while a head is trained: in memory, or in a file."""

from __future__ import annotations

import os
import tempfile
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.pipeline.intensity.config import Cache
from facer.stages.intensity.sequences import Rows, Sequences
from facer.storage.errors import FacerError, named, one_line
from facer.storage.files.memory import affordable

_HALF = np.dtype(np.float16)
_BLOCK_ROWS = 1 << 12


class HalfFile:
    """A matrix (N, F) of float16 in a nameless file of TMPDIR, which is gone with the process."""

    def __init__(self, columns: int) -> None:
        self.shape = (0, columns)
        self._file = tempfile.TemporaryFile(prefix="facer-")  # noqa: SIM115 - closed with self
        weakref.finalize(self, self._file.close)

    def append(self, rows: npt.NDArray[np.float16]) -> None:
        """Write rows after the others; FacerError where there is no room."""
        try:
            self._file.write(np.ascontiguousarray(rows).data)
            self._file.flush()
        except OSError as error:
            raise FacerError(
                f"{tempfile.gettempdir()}: cannot be written to ({one_line(error)}); "
                f"{named('cache')} disk needs 2 bytes a value; set TMPDIR to a place with room"
            ) from error
        self.shape = (self.shape[0] + len(rows), self.shape[1])

    def __getitem__(self, rows: slice) -> npt.NDArray[np.float16]:
        """Read rows ``start`` to ``stop``."""
        start, stop, _ = rows.indices(self.shape[0])
        size = self.shape[1] * _HALF.itemsize
        data = os.pread(self._file.fileno(), max(0, stop - start) * size, start * size)
        return np.frombuffer(data, _HALF).reshape(-1, self.shape[1])


class SequenceCache:
    """Takes the sequences of some clips after another, and gives those of all."""

    def __init__(self, kind: Cache, columns: int, most_rows: int, where: str) -> None:
        self._kind, self._blocks = kind, list[Sequences]()
        self._file = HalfFile(columns) if kind == "disk" else None
        self._rows = 0
        if self._file is None:
            dtype = np.dtype(np.float32) if kind == "memory" else _HALF
            advice = f"use {named('cache')} disk, or half"
            affordable(where, most_rows * columns * dtype.itemsize, advice)
            self._matrix = np.empty((most_rows, columns), dtype)  # unused rows take no memory

    def add(self, block: Sequences) -> None:
        """Add clips; FacerError for values that float16 does not have."""
        rows: npt.NDArray[Any] = np.asarray(block.features[:])
        if self._kind != "memory":
            with np.errstate(over="ignore"):
                rows = rows.astype(_HALF)
            if not np.isfinite(rows).all():
                raise FacerError(
                    f"{named('cache')} {self._kind}: found values of more than 65,504, which "
                    f"float16 does not have; use {named('cache')} memory"
                )
        if self._file is not None:
            self._file.append(rows)
        else:
            self._matrix[self._rows : self._rows + len(rows)] = rows
        self._rows += len(rows)
        self._blocks.append(replace(block, features=np.empty((0, rows.shape[1]))))

    def whole(self) -> Sequences:
        """All clips that were added, in their order."""
        blocks = self._blocks
        lengths = np.concatenate([block.lengths for block in blocks])
        filled = [block.filled for block in blocks if block.filled is not None]
        features: Rows = self._matrix[: self._rows] if self._file is None else self._file
        return Sequences(
            features=features,
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            clip_ids=tuple(clip for block in blocks for clip in block.clip_ids),
            missing_frames=sum(block.missing_frames for block in blocks),
            overlong=tuple(clip for block in blocks for clip in block.overlong),
            empty=tuple(clip for block in blocks for clip in block.empty),
            filled=np.concatenate(filled) if filled else None,
            streams=blocks[0].streams,
        )


def row_blocks(rows: Rows) -> Any:
    """Yield a matrix some rows at a time."""
    for start in range(0, rows.shape[0], _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]
