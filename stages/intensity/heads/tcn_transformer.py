"""Temporal convolutions, then a transformer, as several ERI challenge entries had it."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.attention import (
    TransformerLayer,
    check_width,
    masked_mean,
    positions,
)
from facer.stages.intensity.heads.base import HeadShape, PaddedHead

_KERNEL = 5
_STRIDE = 2
_CONVOLUTIONS = 2


class TcnTransformer(PaddedHead):
    """Two strided convolutions (a quarter of the frames) -> ``layers`` of attention -> mean.

    In the spirit of HFUT-CVers and USTC-IAT-United at ABAW5. Steps after a clip's end are zero
    before every convolution and masked in attention and mean, so padding changes nothing.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        check_width(config.name, hidden_size)
        widths = (shape.features, *[hidden_size] * _CONVOLUTIONS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, _KERNEL, _STRIDE, _KERNEL // 2) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(_CONVOLUTIONS))
        self.layers = nn.ModuleList(
            TransformerLayer(hidden_size, config.dropout) for _ in range(config.layers)
        )
        self.output = nn.Sequential(
            nn.LayerNorm(hidden_size), nn.Linear(hidden_size, shape.intensities)
        )

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """See :class:`PaddedHead`."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            mask = mask[:, ::_STRIDE]
            x = torch.where(mask[:, :, None], F.gelu(x), 0.0)
        x = x + positions(x)
        for layer in self.layers:
            x = layer(x, mask)
        intensities: Tensor = self.output(masked_mean(x, mask))
        return intensities
