"""A FaceRNET branch for each stream: recurrent layers of its own, then one Mask and one dense."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Recurrent
from facer.stages.intensity.kernels.routed_dense import routed_dense


class TwoBranch(Head):
    """Each stream -> its recurrent layers of ``hidden_size``; their states of all t steps -> dense.

    The states of S streams stand side by side (S * hidden_size a step), those at steps >= length
    are zero, and a dense layer and the output follow as in :class:`FaceRNet`, whose routing by
    true length it shares. With one stream it is FaceRNET.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.widths = config, list(shape.widths)
        self.branches = nn.ModuleList(
            Recurrent(config.cell, width, config.hidden_size, config.layers, config.dropout)
            for width in self.widths
        )
        side_by_side = len(self.widths) * config.hidden_size
        bound = 1 / math.sqrt(shape.max_frames * side_by_side)
        weight = torch.empty(shape.max_frames, side_by_side, config.dense)
        self.dense_weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.dense_bias = nn.Parameter(torch.empty(config.dense).uniform_(-bound, bound))
        self.output = nn.Linear(config.dense, shape.intensities)

    @property
    def routed_weight(self) -> nn.Parameter | None:
        """See :class:`Head`."""
        return self.dense_weight

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        parts = torch.split(batch.features, self.widths, 1)
        pairs = zip(self.branches, parts, strict=True)
        states = torch.cat([branch(x.contiguous(), batch.batch_sizes) for branch, x in pairs], 1)
        hidden = routed_dense(states, self.dense_weight, batch.batch_sizes) + self.dense_bias
        hidden = nn.functional.dropout(hidden.relu(), self.config.dropout, self.training)
        intensities: Tensor = self.output(hidden)
        return intensities

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        parts = torch.split(x, self.widths, 1)
        pairs = zip(cast(Iterable[Recurrent], self.branches), parts, strict=True)
        states = torch.cat([branch.clip(part) for branch, part in pairs], 1).unsqueeze(1)
        hidden = torch.matmul(states, self.dense_weight[: x.shape[0]]).sum(0) + self.dense_bias
        intensities: Tensor = self.output(hidden.relu())
        return intensities
