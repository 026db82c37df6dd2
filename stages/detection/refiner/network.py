"""The network of the points model, and its ONNX file."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from facer.stages.common.onnx import fold_batch_norm, to_onnx
from facer.stages.features.rec.network import ResidualUnit
from facer.stages.features.refine import POINTS_PX
from facer.storage.files.atomic import write_atomic

_WIDTHS = (16, 32, 64, 96)
_HIDDEN = 128


class PointsNet(nn.Module):
    """(N, 3, 64, 64) in [-1, 1] -> offsets (N, 5, 2) in distances between the eyes, and the logit
    (N,) of a face being there. Residual units (He et al. 2016) down to 4x4, then all positions
    into one dense layer, since places are what is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        first = _WIDTHS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        pairs = pairwise(_WIDTHS)
        self.units = nn.Sequential(*(ResidualUnit(a, b, 2, False) for a, b in pairs))
        side = POINTS_PX // 2 ** len(_WIDTHS)
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(_WIDTHS[-1] * side * side, _HIDDEN), nn.ReLU(inplace=True)
        )
        self.points = nn.Linear(_HIDDEN, 10)
        self.face = nn.Linear(_HIDDEN, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        hidden = self.dense(self.units(self.stem(images)))
        return self.points(hidden).reshape(-1, 5, 2), self.face(hidden)[:, 0]


class _Exported(nn.Module):
    def __init__(self, net: PointsNet) -> None:
        super().__init__()
        self.net = fold_batch_norm(copy.deepcopy(net).eval())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        points, logit = self.net(images)
        return points, torch.sigmoid(logit)


def export_points(net: PointsNet, path: Path, about: Mapping[str, str]) -> None:
    """Write the file that :class:`facer.stages.features.refine.KeypointRefiner` reads."""
    names = ("points", "face")
    axes = {name: {0: "batch"} for name in ("image", *names)}
    example = torch.zeros(2, 3, POINTS_PX, POINTS_PX)
    model = to_onnx(_Exported(net).eval(), example, ("image", names), axes, about)
    write_atomic(path, model.SerializeToString())
