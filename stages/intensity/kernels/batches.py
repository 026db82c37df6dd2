"""Clips of a batch, packed: rows step by step, longest clip first, no padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from facer.stages.intensity.sequences import Rows, Sequences
from facer.storage.schema import I64


@dataclass(frozen=True)
class Batch:
    """Some clips' sequences; clip i of the batch is row ``clips[i]`` of the data.

    ``lengths`` never grows along the batch. ``features`` holds step 0 of every clip, then step
    1 of every clip that has one, and so on, clips in the batch's order (``PackedSequence``'s
    layout); ``batch_sizes`` says how many clips each step has.

    - ``features`` (N, F): float32
    - ``batch_sizes`` (L,): L = the longest length
    - ``clips`` (B,)
    - ``lengths`` (B,)
    - ``filled`` (N, S): bool; see Sequences
    - ``streams`` (S,): columns of each; empty: all are of one
    """

    features: Tensor
    batch_sizes: tuple[int, ...]
    clips: I64
    lengths: I64
    filled: Tensor | None = None
    streams: tuple[int, ...] = ()

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

    def taking(self, frames: Sequence[I64]) -> Batch:
        """Some frames of each clip, ``frames[i]`` of clip i, in this order."""
        starts = np.cumsum([0, *self.batch_sizes[:-1]])
        rows = np.concatenate([starts[own] + clip for clip, own in enumerate(frames)])
        packing = pack(np.cumsum([0, *map(len, frames)]), np.arange(len(frames)))
        places = torch.from_numpy(rows[packing.rows]).to(self.features.device)
        return replace(
            self,
            features=self.features.index_select(0, places),
            batch_sizes=packing.batch_sizes,
            clips=self.clips[packing.clips],
            lengths=packing.lengths,
            filled=None if self.filled is None else self.filled.index_select(0, places),
        )


@dataclass(frozen=True)
class ClipScales:
    """(x - mean) / std of each clip's features; clip i has row ``of[i]`` of both."""

    mean: Tensor  # (S, F) float32
    std: Tensor  # (S, F)
    of: I64  # (C,)


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


def by_column(per_stream: Tensor, streams: tuple[int, ...], columns: int) -> Tensor:
    """Spread what is known of each stream, (..., S), over the streams' columns, (..., F)."""
    widths = torch.tensor(streams or (columns,), device=per_stream.device)
    return per_stream.repeat_interleave(widths, -1)


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
        self.scales: ClipScales | None = None

    def scaled(self, scales: ClipScales | None) -> DeviceSequences:
        """The same sequences with each clip on a scale of its own, in the same memory."""
        other = copy(self)
        other.scales = scales
        return other

    def rows(self, clip: int) -> tuple[Tensor, Tensor | None]:
        """A clip's features (T, F) float32, and where zeros stand for them, (T, F) bool."""
        frames = slice(self.offsets[clip], self.offsets[clip + 1])
        filled = None
        if self.filled is not None:
            filled = by_column(self.filled[frames], self.streams, int(self.features.shape[1]))
        return self._on_scale(self.features[frames].float(), np.array([clip]), filled), filled

    def _on_scale(self, features: Tensor, clips: I64, filled: Tensor | None) -> Tensor:
        """Scale rows (N, F) of clips (N,), or of one (1,); zeros that stand for frames stay."""
        if self.scales is None:
            return features
        of = torch.from_numpy(self.scales.of[clips]).to(features.device)
        features = (features - self.scales.mean[of]) / self.scales.std[of]
        return features if filled is None else features.masked_fill(filled, 0)

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
        if self.scales is not None:
            clip_of = np.concatenate([clips[:n] for n in sizes])
            columns = None
            if filled is not None:
                columns = by_column(filled, self.streams, features.shape[1])
            features = self._on_scale(features, clip_of, columns)
        return Batch(features, sizes, clips, lengths, filled, self.streams)

    def batches(self, clips: I64, batch_size: int) -> Iterator[Batch]:
        """All ``clips`` in batches of similar length, for prediction."""
        order = clips[np.argsort(-self.lengths[clips], kind="stable")]
        for start in range(0, len(order), batch_size):
            yield self.batch(order[start : start + batch_size])
