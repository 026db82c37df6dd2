"""A few learnt latents that read the whole clip (Jaegle et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.attention import (
    Attention,
    StreamTokens,
    TransformerLayer,
    check_width,
    positions,
)
from facer.stages.intensity.heads.base import HeadShape, PaddedHead

_LATENTS = 16


class Perceiver(PaddedHead):
    """Latents (16, hidden_size) attend to all frames, then to each other; their mean is read.

    With several streams each frame of each is a token, which a learnt vector of its stream marks.

    ``layers`` times cross-attention and a transformer layer, each with weights of its own. Cost
    grows linearly with a clip's length. In the spirit of NISL-2023 at ABAW5.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        hidden_size = config.hidden_size
        check_width(config.name, hidden_size)
        self.tokens: StreamTokens | None = None
        if len(shape.widths) == 1:
            self.embed = nn.Linear(shape.features, hidden_size)
        self.latents = nn.Parameter(torch.randn(_LATENTS, hidden_size) * 0.02)
        if len(shape.widths) == 1:
            self.norm = nn.LayerNorm(hidden_size)
        else:
            self.tokens = StreamTokens(shape.widths, hidden_size)
            self.marks = nn.Parameter(torch.randn(len(shape.widths), hidden_size) * 0.02)
        self.cross = nn.ModuleList(
            Attention(hidden_size, config.dropout) for _ in range(config.layers)
        )
        self.inner = nn.ModuleList(
            TransformerLayer(hidden_size, config.dropout) for _ in range(config.layers)
        )
        self.output = nn.Linear(hidden_size, shape.intensities)

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """See :class:`PaddedHead`."""
        if self.tokens is None:
            x = self.embed(x)
            x = self.norm(x + positions(x))
        else:
            pairs = zip(self.tokens(x), self.marks, strict=True)
            x, mask = torch.cat([y + mark for y, mark in pairs], 1), mask.repeat(1, len(self.marks))
        latents = self.latents.expand(x.shape[0], -1, -1)
        for cross, inner in zip(self.cross, self.inner, strict=True):
            latents = inner(latents + cross(latents, x, mask))
        intensities: Tensor = self.output(latents.mean(1))
        return intensities
