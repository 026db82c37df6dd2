"""FaceRNET's head: GRU -> Mask with routing by true length -> dense -> intensities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Recurrent
from facer.stages.intensity.kernels.routed_dense import routed_dense


class FaceRNet(Head):
    """Kollias et al. 2023, section "RNN component".

    Frame features -> recurrent layers of ``hidden_size`` -> outputs of all t steps side by side,
    those at steps >= length zero -> dense layer of ``dense`` neurons -> one output per emotion.
    Without ``routed`` there is no Mask: clips are continued by zero frames to t, the recurrent
    layer runs over them and every dense weight is used and updated.

    The paper does not say, and this implementation chooses: ReLU after the dense layer; a
    linear output layer (the Pearson loss does not see scale); torch's initial weights, uniform
    within 1 / sqrt(t * hidden_size) for the dense layer; dropout, off by default, between recurrent
    layers and after the dense one.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.recurrent = Recurrent(
            config.cell, shape.features, config.hidden_size, config.layers, config.dropout
        )
        bound = 1 / math.sqrt(shape.max_frames * config.hidden_size)
        weight = torch.empty(shape.max_frames, config.hidden_size, config.dense)
        self.dense_weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.dense_bias = nn.Parameter(torch.empty(config.dense).uniform_(-bound, bound))
        self.output = nn.Linear(config.dense, shape.intensities)

    @property
    def routed_weight(self) -> nn.Parameter | None:
        """See :class:`Head`."""
        return self.dense_weight

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        if not self.config.routed:
            batch = batch.extended(self.shape.max_frames)
        states = self.recurrent(batch.features, batch.batch_sizes)
        hidden = routed_dense(states, self.dense_weight, batch.batch_sizes) + self.dense_bias
        hidden = nn.functional.dropout(hidden.relu(), self.config.dropout, self.training)
        intensities: Tensor = self.output(hidden)
        return intensities

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        if not self.config.routed:
            x = nn.functional.pad(x, (0, 0, 0, self.shape.max_frames - x.shape[0]))
        states = self.recurrent.clip(x).unsqueeze(1)
        hidden = torch.matmul(states, self.dense_weight[: x.shape[0]]).sum(0) + self.dense_bias
        intensities: Tensor = self.output(hidden.relu())
        return intensities

    def routed_steps(self, batch: Batch) -> int:
        """See :class:`Head`."""
        return len(batch.batch_sizes) if self.config.routed else self.shape.max_frames
