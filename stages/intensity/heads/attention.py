"""What the heads with attention share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facer.storage.errors import OptionError, named

_HEADS = 4
_WIDER = 2  # of the layer between two attentions


def check_width(name: str, hidden_size: int) -> None:
    """Refuse a width that the attention's heads cannot share."""
    if hidden_size % _HEADS:
        raise OptionError(
            f"{named('hidden_size')}: found {hidden_size}, expected a multiple of "
            f"{_HEADS} for {name}"
        )


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (
            nn.Linear(hidden_size, hidden_size) for _ in range(4)
        )
        self.dropout = dropout

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Read ``memory`` (B, L, W), where ``mask`` (B, L), for each of ``x`` (B, M, W)."""
        mask = None if mask is None else mask[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        query, key = _split(self.query(x)), _split(self.key(memory))
        value = _split(self.value(memory))
        read = F.scaled_dot_product_attention(query, key, value, mask, dropout)
        output: Tensor = self.output(read.transpose(1, 2).flatten(2))
        return output


def _split(x: Tensor) -> Tensor:
    """(B, L, W) -> (B, heads, L, W / heads)."""
    return x.reshape(x.shape[0], -1, _HEADS, x.shape[2] // _HEADS).transpose(1, 2)


class TransformerLayer(nn.Module):
    """x + attention, then x + two dense layers, each after layer normalisation."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm, self.dense_norm = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.attention = Attention(hidden_size, dropout)
        self.dense = nn.Sequential(
            nn.Linear(hidden_size, _WIDER * hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(_WIDER * hidden_size, hidden_size),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, W) -> (B, L, W); steps outside ``mask`` (B, L) are not read."""
        normal = self.attention_norm(x)
        x = x + self.dropout(self.attention(normal, normal, mask))
        output: Tensor = x + self.dropout(self.dense(self.dense_norm(x)))
        return output


class StreamTokens(nn.Module):
    """Frames of each stream as tokens: (B, L, F) -> S of (B, L, W), with their times in them."""

    def __init__(self, widths: Sequence[int], hidden_size: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.embed = nn.ModuleList(nn.Linear(width, hidden_size) for width in widths)
        self.norm = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        """See the class."""
        parts = zip(torch.split(x, self.widths, 2), self.embed, self.norm, strict=True)
        embedded = ((embed(part), norm) for part, embed, norm in parts)
        return [norm(y + positions(y)) for y, norm in embedded]


def positions(x: Tensor) -> Tensor:
    """Sinusoids of the step (L, W) for x (B, L, W), as in Vaswani et al. 2017."""
    step = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None]
    index = torch.arange(0, x.shape[2], 2, device=x.device, dtype=x.dtype)
    angle = step / 10_000 ** (index / x.shape[2])
    return torch.cat([angle.sin(), angle.cos()], 1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the true steps: (B, L, W), (B, L) bool -> (B, W)."""
    weight = mask[:, :, None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)
