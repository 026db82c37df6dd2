"""A few learnt latents that read the whole clip (Jaegle et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facer.stages.intensity.batches import Batch
from facer.stages.intensity.heads.attention import HEADS_OF_ATTENTION, positions
from facer.stages.intensity.heads.base import Head, HeadConfig, HeadShape
from facer.storage.errors import FacerError

_LATENTS = 16


class Perceiver(Head):
    """Latents (16, units) attend to all frames, then to each other; their mean is read.

    ``layers`` times cross-attention and a transformer layer, each with weights of its own. Cost
    grows linearly with a clip's length. In the spirit of NISL-2023 at ABAW5.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        units = config.units
        if units % HEADS_OF_ATTENTION:
            raise FacerError(
                f"--units {units}: expected a multiple of {HEADS_OF_ATTENTION} for perceiver"
            )
        self.embed = nn.Linear(shape.features, units)
        self.latents = nn.Parameter(torch.randn(_LATENTS, units) * 0.02)
        self.norm = nn.LayerNorm(units)
        self.cross = nn.ModuleList(
            nn.MultiheadAttention(units, HEADS_OF_ATTENTION, config.dropout, batch_first=True)
            for _ in range(config.layers)
        )
        self.inner = nn.ModuleList(
            nn.TransformerEncoderLayer(
                units,
                HEADS_OF_ATTENTION,
                2 * units,
                config.dropout,
                "gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.output = nn.Linear(units, shape.intensities)

    def forward(self, batch: Batch) -> Tensor:
        """See :class:`Head`."""
        x, there = batch.padded()
        x = self.embed(x)
        x = self.norm(x + positions(x.shape[1], x.shape[2], x))
        latents = self.latents.expand(len(x), -1, -1)
        for cross, inner in zip(self.cross, self.inner, strict=True):
            read, _ = cross(latents, x, x, key_padding_mask=~there, need_weights=False)
            latents = inner(latents + read)
        intensities: Tensor = self.output(latents.mean(1))
        return intensities
