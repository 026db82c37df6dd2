"""Streams that read each other, as audio-visual entries of the ERI challenges had it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.attention import (
    Attention,
    StreamTokens,
    TransformerLayer,
    check_width,
    masked_mean,
)
from facer.stages.intensity.heads.base import HeadShape, PaddedHead


class CrossAttention(PaddedHead):
    """``layers`` times: each stream attends to the others, then to itself; means side by side.

    A stream's frames become tokens of ``hidden_size``; what they read of the others is added to
    them before a transformer layer of the stream's own. One stream alone reads itself. In the
    spirit of USTC-AC at ABAW5, whose streams meet in attention across modalities.
    """

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        hidden_size, streams = config.hidden_size, len(shape.widths)
        check_width(config.name, hidden_size)
        self.tokens = StreamTokens(shape.widths, hidden_size)
        self.layers = nn.ModuleList(
            _Exchange(streams, hidden_size, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(hidden_size * streams)
        self.output = nn.Linear(hidden_size * streams, shape.intensities)

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """See :class:`PaddedHead`."""
        streams = self.tokens(x)
        for layer in self.layers:
            streams = layer(streams, mask)
        means = torch.cat([masked_mean(own, mask) for own in streams], 1)
        intensities: Tensor = self.output(self.norm(means))
        return intensities


class _Exchange(nn.Module):
    """Tokens of S streams, (B, L, W) each, which read those of the others and then their own."""

    def __init__(self, streams: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.cross = nn.ModuleList(Attention(hidden_size, dropout) for _ in range(streams))
        self.inner = nn.ModuleList(TransformerLayer(hidden_size, dropout) for _ in range(streams))

    def forward(self, streams: list[Tensor], mask: Tensor) -> list[Tensor]:
        """See the class; ``mask`` (B, L) is of every stream."""
        there = mask.repeat(1, max(1, len(streams) - 1))
        found = []
        for place, (cross, inner) in enumerate(zip(self.cross, self.inner, strict=True)):
            others = streams[:place] + streams[place + 1 :] or streams
            read = streams[place] + cross(streams[place], torch.cat(others, 1), there)
            found.append(inner(read, mask))
        return found
