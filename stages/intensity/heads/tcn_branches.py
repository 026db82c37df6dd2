"""Temporal convolutions and a transformer for each stream, as dual-branch challenge entries had."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import HeadShape, PaddedHead
from facer.stages.intensity.heads.tcn_transformer import TcnTransformer


class TcnBranches(PaddedHead):
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

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """See :class:`PaddedHead`."""
        branches = cast(Iterable[TcnTransformer], self.branches)
        pairs = zip(branches, torch.split(x, self.widths, 2), strict=True)
        intensities: Tensor = self.output(torch.cat([b.read(y, mask) for b, y in pairs], 1))
        return intensities
