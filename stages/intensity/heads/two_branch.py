"""A FaceRNET branch for each stream: recurrent layers of its own, then one Mask and one dense."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import HeadShape
from facer.stages.intensity.heads.facernet import MaskedHead
from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Recurrent


class TwoBranch(MaskedHead):
    """Each stream -> its recurrent layers of ``hidden_size``; their states of all t steps -> dense.

    The states of S streams stand side by side (S * hidden_size a step) before the Mask. With one
    stream it is FaceRNET.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.widths = list(shape.widths)
        self.branches = nn.ModuleList(
            Recurrent(config.cell, width, config.hidden_size, config.layers, config.dropout)
            for width in self.widths
        )
        self.add_dense(config, shape, len(self.widths) * config.hidden_size)

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        parts = torch.split(batch.features, self.widths, 1)
        pairs = zip(self.branches, parts, strict=True)
        states = torch.cat([branch(x.contiguous(), batch.batch_sizes) for branch, x in pairs], 1)
        return self.read(states, batch.batch_sizes)

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        parts = torch.split(x, self.widths, 1)
        pairs = zip(cast(Iterable[Recurrent], self.branches), parts, strict=True)
        return self.read_clip(torch.cat([branch.clip(part) for branch, part in pairs], 1))
