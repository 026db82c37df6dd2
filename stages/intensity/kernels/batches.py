"""Clips of a batch, packed: rows step by step, longest clip first, no padding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from facer.stages.intensity.sequences import I64, Rows, Sequences


@dataclass(frozen=True)
class Batch:
    """Some clips' sequences; clip i of the batch is row ``clips[i]`` of the data.

    ``lengths`` never grows along the batch. ``features`` holds step 0 of every clip, then step
    1 of every clip that has one, and so on, clips in the batch's order (``PackedSequence``'s
    layout); ``batch_sizes`` says how many clips each step has.
    """

    features: Tensor  # (N, F) float32
    batch_sizes: tuple[int, ...]  # (L,), L = the longest length
    clips: I64  # (B,)
    lengths: I64  # (B,)
    filled: Tensor | None = None  # (N, S) bool; see Sequences
    streams: tuple[int, ...] = ()  # (S,) columns of each; empty: all are of one

    def padded(self) -> tuple[Tensor, Tensor]:
        """Features (B, L, F), zeros after a clip's end, and where they are true, (B, L) bool."""
        steps, clips = len(self.batch_sizes), len(self.clips)
        device = self.features.device
        lengths = torch.from_numpy(self.lengths).to(device)
        mask = torch.arange(steps, device=device)[:, None] < lengths
        out = self.features.new_zeros(steps, clips, self.features.shape[1])
        out[mask] = self.features
        return out.transpose(0, 1), mask.t()

    def extended(self, steps: int) -> Batch:
        """The same clips, each continued by zeros to ``steps`` frames."""
        features, _ = self.padded()
        clips = len(self.clips)
        out = features.new_zeros(steps, clips, features.shape[2])
        out[: len(self.batch_sizes)] = features.transpose(0, 1)
        return replace(
            self,
            features=out.flatten(0, 1),
            batch_sizes=(clips,) * steps,
            lengths=np.full(clips, steps, np.int64),
            filled=None,
        )


@dataclass(frozen=True)
class Packing:
    """Where the rows of a batch lie in the data, and the rest of :class:`Batch`."""

    rows: I64  # (N,)
    batch_sizes: tuple[int, ...]
    clips: I64
    lengths: I64


def pack(offsets: I64, clips: I64) -> Packing:
    """Pack the clips with these indices, longest first (of equal ones, in the given order)."""
    lengths = np.diff(offsets)[clips]
    order = np.argsort(-lengths, kind="stable")
    clips, lengths = clips[order], lengths[order]
    steps = np.arange(lengths[0])
    mask = steps[:, None] < lengths
    rows = (offsets[clips] + steps[:, None])[mask]
    return Packing(rows, tuple(mask.sum(1).tolist()), clips, lengths)


def split_batches(clips: I64, batch_size: int, least: int) -> list[I64]:
    """The clips, in their order, in batches of equal size, or one less; none below ``least``.

    A batch may be larger than ``batch_size`` where one would be below ``least`` otherwise.
    """
    count = min(-(-len(clips) // batch_size), max(1, len(clips) // least))
    return np.array_split(clips, count)


class StoredRows:
    """A matrix (N, F) that is not in memory, of which rows come to a device as float32."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self.shape, self.device = rows.shape, device
        self._rows = rows

    def __getitem__(self, rows: slice) -> Tensor:
        """Read rows ``start`` to ``stop``."""
        return torch.from_numpy(np.array(self._rows[rows])).to(self.device).float()

    def packed(self, offsets: I64, packing: Packing) -> Tensor:
        """Read a batch's clips, each at once, and give their rows step by step."""
        spans = (slice(*offsets[clip : clip + 2]) for clip in packing.clips)
        read = torch.from_numpy(np.concatenate([self._rows[span] for span in spans]))
        own = np.concatenate([[0], np.cumsum(packing.lengths)])
        rows = pack(own, np.arange(len(packing.clips))).rows
        packed = read.to(self.device)[torch.from_numpy(rows).to(self.device)]
        return packed.float()


class DeviceSequences:
    """The whole cache as one tensor on a device, where batches are gathered.

    A cache that lies in a file stays there: a batch's clips are read as it is made.
    """

    def __init__(self, sequences: Sequences, device: torch.device) -> None:
        rows = sequences.features
        self.features: Tensor | StoredRows  # (N, F) float32 or float16
        if isinstance(rows, np.ndarray):
            self.features = torch.from_numpy(rows).to(device)
        else:
            self.features = StoredRows(rows, device)
        self.streams = sequences.streams
        self.offsets = sequences.offsets
        self.lengths = sequences.lengths
        filled = sequences.filled
        self.filled = None if filled is None else torch.from_numpy(filled).to(device)

    def batch(self, clips: I64) -> Batch:
        """The clips with these indices, longest first (of equal ones, in the given order)."""
        packing = pack(self.offsets, clips)
        places = torch.from_numpy(packing.rows).to(self.features.device, non_blocking=True)
        if isinstance(self.features, StoredRows):
            features = self.features.packed(self.offsets, packing)
        else:
            features = self.features.index_select(0, places).float()
        filled = None if self.filled is None else self.filled.index_select(0, places)
        sizes, clips, lengths = packing.batch_sizes, packing.clips, packing.lengths
        return Batch(features, sizes, clips, lengths, filled, self.streams)

    def batches(self, clips: I64, batch_size: int) -> Iterator[Batch]:
        """All ``clips`` in batches of similar length, for prediction."""
        order = clips[np.argsort(-self.lengths[clips], kind="stable")]
        for start in range(0, len(order), batch_size):
            yield self.batch(order[start : start + batch_size])
