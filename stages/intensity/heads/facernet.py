"""FaceRNET's head: GRU -> Mask with routing by true length -> dense -> intensities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import Head, HeadShape
from facer.stages.intensity.kernels.batches import Batch
from facer.stages.intensity.kernels.recurrent import Recurrent
from facer.stages.intensity.kernels.routed_dense import routed_dense


class MaskedHead(Head):
    """Base of heads with FaceRNET's end: states of all t steps -> Mask -> dense -> output.

    The states stand side by side, those at steps >= length are zero, and a dense layer of
    ``config.dense`` neurons, with routing by true length, and one output per emotion follow.
    """

    def add_dense(self, config: HeadConfig, shape: HeadShape, width: int) -> None:
        """Make the layers after the Mask, for states of ``width``; the others come before."""
        self.dropout = config.dropout
        bound = 1 / math.sqrt(shape.max_frames * width)
        weight = torch.empty(shape.max_frames, width, config.dense)
        self.dense_weight = nn.Parameter(weight.uniform_(-bound, bound))
        self.dense_bias = nn.Parameter(torch.empty(config.dense).uniform_(-bound, bound))
        self.output = nn.Linear(config.dense, shape.intensities)

    @property
    def routed_weight(self) -> nn.Parameter | None:
        """See :class:`Head`."""
        return self.dense_weight

    def read(self, states: Tensor, batch_sizes: Sequence[int]) -> Tensor:
        """Packed states (N, W) -> (B, E)."""
        hidden = routed_dense(states, self.dense_weight, batch_sizes) + self.dense_bias
        intensities: Tensor = self.output(F.dropout(hidden.relu(), self.dropout, self.training))
        return intensities

    def read_clip(self, states: Tensor) -> Tensor:
        """States of one clip (T, W) -> (1, E), in operations that ONNX has."""
        dense_weight = self.dense_weight[: states.shape[0]]
        hidden = torch.matmul(states.unsqueeze(1), dense_weight).sum(0) + self.dense_bias
        intensities: Tensor = self.output(hidden.relu())
        return intensities


class FaceRNet(MaskedHead):
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
        self.add_dense(config, shape, config.hidden_size)

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        if not self.config.routed:
            batch = batch.extended(self.shape.max_frames)
        return self.read(self.recurrent(batch.features, batch.batch_sizes), batch.batch_sizes)

    def clip(self, x: Tensor) -> Tensor:
        """See :class:`Head`."""
        if not self.config.routed:
            x = F.pad(x, (0, 0, 0, self.shape.max_frames - x.shape[0]))
        return self.read_clip(self.recurrent.clip(x))

    def routed_steps(self, batch: Batch) -> int:
        """See :class:`Head`."""
        return len(batch.batch_sizes) if self.config.routed else self.shape.max_frames
