"""The last state of a recurrent layer, as in the MuSe challenges' baselines."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Recurrent


class GruLast(Head):
    """Recurrent layers -> state after each clip's last frame -> linear, tanh -> linear.

    In the spirit of the FAU baseline of MuSe-2022 (Christ et al. 2022).
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.recurrent = Recurrent(
            config.cell, shape.features, config.hidden_size, config.layers, config.dropout
        )
        self.output = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.Tanh(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden_size, shape.intensities),
        )

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        states = self.recurrent(batch.features, batch.batch_sizes)
        starts = np.cumsum([0, *batch.batch_sizes[:-1]])
        last = starts[batch.lengths - 1] + np.arange(len(batch.lengths))
        intensities: Tensor = self.output(states[torch.from_numpy(last).to(states.device)])
        return intensities

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        intensities: Tensor = self.output(self.recurrent.clip(x)[-1:])
        return intensities
