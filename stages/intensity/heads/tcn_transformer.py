"""Temporal convolutions, then a transformer, as several ERI challenge entries had it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from facer.stages.intensity.batches import Batch
from facer.stages.intensity.heads.attention import HEADS_OF_ATTENTION, masked_mean, positions
from facer.stages.intensity.heads.base import Head, HeadConfig, HeadShape
from facer.storage.errors import FacerError

_KERNEL = 5
_STRIDE = 2
_CONVOLUTIONS = 2


class TcnTransformer(Head):
    """Two strided convolutions (a quarter of the frames) -> ``layers`` of attention -> mean.

    In the spirit of HFUT-CVers and USTC-IAT-United at ABAW5. Steps after a clip's end are zero
    before every convolution and masked in attention and mean, so padding changes nothing.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        units = config.units
        if units % HEADS_OF_ATTENTION:
            raise FacerError(
                f"--units {units}: expected a multiple of {HEADS_OF_ATTENTION} for tcn-transformer"
            )
        widths = (shape.features, *[units] * _CONVOLUTIONS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, _KERNEL, _STRIDE, _KERNEL // 2) for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(units) for _ in range(_CONVOLUTIONS))
        layer = nn.TransformerEncoderLayer(
            units,
            HEADS_OF_ATTENTION,
            2 * units,
            config.dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(units), enable_nested_tensor=False
        )
        self.output = nn.Linear(units, shape.intensities)

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        x, there = batch.padded()
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            there = there[:, ::_STRIDE]
            x = torch.where(there[:, :, None], nn.functional.gelu(x), 0.0)
        x = x + positions(x.shape[1], x.shape[2], x)
        x = self.encoder(x, src_key_padding_mask=~there)
        intensities: Tensor = self.output(masked_mean(x, there))
        return intensities
