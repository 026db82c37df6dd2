"""What the heads with attention share."""

from __future__ import annotations

import torch
from torch import Tensor

HEADS_OF_ATTENTION = 4


def positions(steps: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids of the step (steps, width), as in Vaswani et al. 2017."""
    step = torch.arange(steps, device=like.device, dtype=like.dtype)[:, None]
    index = torch.arange(0, width, 2, device=like.device, dtype=like.dtype)
    angle = step / 10_000 ** (index / width)
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :width]


def masked_mean(x: Tensor, there: Tensor) -> Tensor:
    """Mean over the true steps: (B, L, W), (B, L) bool -> (B, W)."""
    weight = there[:, :, None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1)
