"""The detector's network: a small residual pyramid with SCRFD's nine outputs.

The layout is that of SCRFD (Guo et al. 2021, "Sample and Computation Redistribution for
Efficient Face Detection", arXiv:2105.04714): strides 8, 16 and 32, two anchors a location, each
with a score, the distances to the four sides of a box and the offsets of five points, in units
of the stride. The body is plain 3x3 convolutions, which CPUs run best, and a block at stride 64
widens what stride 32 sees to faces that fill the frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facer.stages.detection.config import NetworkConfig

STRIDES = (8, 16, 32)
ANCHORS = 2
ANCHOR_SIZES_PX = ((20.0, 36.0), (62.0, 102.0), (160.0, 250.0))
"""Typical face size (geometric mean of box width and height) of each anchor, by stride."""
REFINED = (16, 32)  # strides at which they cost little
KINDS = {"score": 1, "bbox": 4, "kps": 10}
PRIORS = {"score": -4.6, "bbox": 0.5, "kps": 0.0}
"""Predictions before training: score 0.01 (focal loss's prior), half a face to every side."""
OUTPUT_NAMES = tuple(f"{kind}_{stride}" for kind in KINDS for stride in STRIDES)


class ConvNormAct(nn.Sequential):
    """3x3 or 1x1 convolution, batch normalisation, ReLU (unless ``act`` is False)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, act: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if act else []))


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNormAct(width, width)
        self.second = ConvNormAct(width, width, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return F.relu(x + self.second(self.first(x)))


class LevelHead(nn.Module):
    """One level's predictions: (N, C, H, W) to score, bbox, kps of (N, H*W*ANCHORS, 1|4|10).

    Boxes and points of the larger faces get two more convolutions than the score. The score is a
    logit; distances are in strides, scaled by the anchors' typical sizes so that the convolutions
    predict numbers near one.
    """

    def __init__(self, width: int, stride: int, sizes_px: tuple[float, ...]) -> None:
        super().__init__()
        self.trunk = ConvNormAct(width, width)
        self.refine = Residual(width) if stride in REFINED else nn.Identity()
        self.predict = nn.ModuleDict(
            {kind: _prediction(width, size, PRIORS[kind]) for kind, size in KINDS.items()}
        )
        self.anchor_sizes = torch.tensor(sizes_px) / stride

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See the class."""
        x = self.trunk(x)
        places = self.refine(x)
        found = {}
        for kind, size in KINDS.items():
            y = self.predict[kind](x if kind == "score" else places) * self.scale(kind)
            found[kind] = y.permute(0, 2, 3, 1).reshape(x.shape[0], -1, size)
        return found

    def scale(self, kind: str) -> Tensor:
        """Units of a prediction's channels, (C, 1, 1)."""
        sizes = torch.ones_like(self.anchor_sizes) if kind == "score" else self.anchor_sizes
        return sizes.repeat_interleave(KINDS[kind]).reshape(-1, 1, 1)


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """A convolution that halves the size, and so many residual units."""
    down = ConvNormAct(inputs, outputs, stride=2)
    return nn.Sequential(down, *(Residual(outputs) for _ in range(blocks)))


def _prediction(width: int, size: int, prior: float) -> nn.Conv2d:
    conv = nn.Conv2d(width, ANCHORS * size, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.bias, prior)  # type: ignore[arg-type]  # a Conv2d with bias has one
    return conv


class DetectorNet(nn.Module):
    """RGB in [-1, 1], (N, 3, H, W) with H and W multiples of 32, to nine tensors.

    ``forward`` returns score logits, box distances and point offsets by stride 8, 16, 32, in
    that order: (N, A, 1) x 3, (N, A, 4) x 3, (N, A, 10) x 3 with A = 2 * (H / s) * (W / s).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.stem = nn.Sequential(
            ConvNormAct(3, c.stem, stride=2), ConvNormAct(c.stem, c.stride4, stride=2)
        )
        self.down8 = _stage(c.stride4, c.stride8, blocks=1)
        self.down16 = _stage(c.stride8, c.stride16, blocks=3)
        self.down32 = _stage(c.stride16, c.stride32, blocks=2)
        self.context = _stage(c.stride32, c.stride32, blocks=2)
        self.lateral = nn.ModuleList(
            ConvNormAct(width, c.pyramid, kernel=1) for width in (c.stride8, c.stride16, c.stride32)
        )
        self.heads = nn.ModuleList(
            LevelHead(c.pyramid, stride, sizes)
            for stride, sizes in zip(STRIDES, ANCHOR_SIZES_PX, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        c8 = self.down8(self.stem(x))
        c16 = self.down16(c8)
        c32 = self.down32(c16)
        c32 = c32 + upsample(self.context(c32), c32)
        p8, p16, p32 = (lateral(c) for lateral, c in zip(self.lateral, (c8, c16, c32), strict=True))
        p16 = p16 + upsample(p32, p16)
        p8 = p8 + upsample(p16, p8)
        found = [head(p) for head, p in zip(self.heads, (p8, p16, p32), strict=True)]
        return tuple(level[kind] for kind in KINDS for level in found)


def upsample(x: Tensor, like: Tensor) -> Tensor:
    """``x`` doubled by nearest neighbour and cut to the size of ``like`` (an odd size is cut)."""
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return doubled[:, :, : like.shape[2], : like.shape[3]]
