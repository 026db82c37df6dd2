"""Temporal convolutions and a transformer for each stream, as dual-branch challenge entries had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape, everywhere
from facer.stages.intensity.heads.tcn_transformer import TcnTransformer
from facer.stages.intensity.kernels.batches import Batch


class TcnBranches(Head):
    """A :class:`TcnTransformer` for each stream, to ``hidden_size`` numbers; side by side, linear.

    In the spirit of USTC-IAT-United at ABAW5, with ``modality_dropout``.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        size = config.hidden_size
        self.widths = list(shape.widths)
        self.branches = nn.ModuleList(
            TcnTransformer(config, HeadShape(width, size, shape.max_frames))
            for width in self.widths
        )
        self.output = nn.Sequential(
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(size * len(self.widths), shape.intensities),
        )

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        return self._read(*batch.padded())

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self._read(x[None], everywhere(x))

    def _read(self, x: Tensor, mask: Tensor) -> Tensor:
        """Padded features (B, L, F) and where they are true (B, L) -> (B, E)."""
        branches = cast(Iterable[TcnTransformer], self.branches)
        pairs = zip(branches, torch.split(x, self.widths, 2), strict=True)
        intensities: Tensor = self.output(torch.cat([b.read(y, mask) for b, y in pairs], 1))
        return intensities
