"""Mean, deviation, minimum and maximum over time, then a small network: order does not count."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.base import HeadShape, PaddedHead

_EPSILON = 1e-8


class StatsMlp(PaddedHead):
    """Pooled statistics (4 F) -> ``layers`` hidden layers of ``hidden_size`` -> intensities."""

    def __init__(self, config: HeadConfig, shape: HeadShape) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        width = 4 * shape.features
        for _ in range(config.layers):
            modules += [nn.Linear(width, config.hidden_size), nn.ReLU(), nn.Dropout(config.dropout)]
            width = config.hidden_size
        self.layers = nn.Sequential(*modules, nn.Linear(width, shape.intensities))

    def read(self, x: Tensor, mask: Tensor) -> Tensor:
        """See :class:`PaddedHead`."""
        intensities: Tensor = self.layers(pooled(x, mask))
        return intensities


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Statistics over a clip's true frames: (B, L, F), (B, L) -> (B, 4 F)."""
    mask = mask[:, :, None]
    count = mask.sum(1)
    mean = x.sum(1) / count
    variance = torch.where(mask, (x - mean[:, None]).square(), 0.0).sum(1) / count
    low = torch.where(mask, x, torch.inf).amin(1)
    high = torch.where(mask, x, -torch.inf).amax(1)
    return torch.cat([mean, (variance + _EPSILON).sqrt(), low, high], 1)
