"""REC's networks: residual units with batch normalisation, three outputs from one pooled space.

Kollias et al. 2023 (FaceRNET): the affect Representation Extractor Component maps a 112x112
face in [-1, 1] to valence-arousal (tanh), 7 expressions (softmax) and 17 action units
(sigmoid). The residual unit is that of He et al. 2016, "Deep residual learning for image
recognition".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn

from facer.stages.common.training import seeded
from facer.stages.features.rec.architecture import ARCHITECTURES, HEADS, Architecture
from facer.storage.files.checkpoints import check_layers, check_shapes

Module = TypeVar("Module", bound=nn.Module)


class RecOutput(NamedTuple):
    """Raw outputs for B crops: va (B, 2) in [-1, 1], expression (B, 7) and au (B, 17) logits."""

    va: Tensor
    expression: Tensor
    au: Tensor

    def features(self) -> Tensor:
        """(B, 26) float in the order of ``FEATURE_NAMES``: va, probabilities, probabilities."""
        return torch.cat([self.va, self.expression.softmax(1), self.au.sigmoid()], dim=1)


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class ResidualUnit(nn.Module):
    """``relu(body(x) + skip(x))``; the skip is 1x1 where size or channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            inner = outputs // 4
            self.body = nn.Sequential(
                *_conv_bn(inputs, inner, 1),
                nn.ReLU(inplace=True),
                *_conv_bn(inner, inner, 3, stride),
                nn.ReLU(inplace=True),
                *_conv_bn(inner, outputs, 1),
            )
        else:
            self.body = nn.Sequential(
                *_conv_bn(inputs, outputs, 3, stride),
                nn.ReLU(inplace=True),
                *_conv_bn(outputs, outputs, 3),
            )
        same = inputs == outputs and stride == 1
        self.skip: nn.Module = nn.Identity() if same else _conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.skip(x))


class RecNet(nn.Module):
    """A REC network: (B, 3, 112, 112) in [-1, 1] -> :class:`RecOutput`."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        stem: list[nn.Module] = [*_conv_bn(3, architecture.stem, 3, 2), nn.ReLU(inplace=True)]
        if architecture.pool_stem:
            stem.append(nn.MaxPool2d(3, 2, padding=1))
        self.stem = nn.Sequential(*stem)
        units: list[nn.Module] = []
        channels = architecture.stem
        for stage, (width, count) in enumerate(
            zip(architecture.widths, architecture.units, strict=True)
        ):
            for index in range(count):
                first_stays = architecture.pool_stem and stage == 0
                stride = 2 if index == 0 and not first_stays else 1
                units.append(ResidualUnit(channels, width, stride, architecture.bottleneck))
                channels = width
        self.units = nn.Sequential(*units)
        self.dropout = nn.Dropout(architecture.dropout)
        self.va = nn.Linear(channels, HEADS["va"])
        self.expression = nn.Linear(channels, HEADS["expression"])
        self.au = nn.Linear(channels, HEADS["au"])

    def maps(self, x: Tensor) -> Tensor:
        """The last unit's maps: (B, 3, H, W) -> (B, D, H / 16, W / 16) or so."""
        return cast(Tensor, self.units(self.stem(x)))

    def embed(self, x: Tensor) -> Tensor:
        """The pooled space: (B, 3, H, W) -> (B, D), before dropout."""
        return pooled(self.maps(x))

    def outputs(self, embedding: Tensor) -> RecOutput:
        """All three outputs from the same pooled space (B, D)."""
        return RecOutput(
            torch.tanh(self.va(embedding)), self.expression(embedding), self.au(embedding)
        )

    def forward(self, x: Tensor) -> RecOutput:
        """(B, 3, H, W) in [-1, 1] -> :class:`RecOutput`."""
        return self.outputs(self.dropout(self.embed(x)))


def pooled(maps: Tensor) -> Tensor:
    """The mean of maps (B, D, H, W) over their places: (B, D)."""
    return maps.mean(dim=(2, 3))


def grow_depth(network: RecNet, architecture: Architecture) -> RecNet:
    """The same function with the units that ``architecture`` has more (:func:`deepens`).

    They come last in their stage and start as identities: the scale of their last normalisation
    is zero, and what enters them is not negative (Chen et al. 2016, "Net2Net").
    """
    deep = RecNet(architecture)
    for name, child in network.named_children():
        if name != "units":
            getattr(deep, name).load_state_dict(child.state_dict())
    old, new = iter(network.units), iter(deep.units)
    for had, has in zip(network.architecture.units, architecture.units, strict=True):
        for _ in range(had):
            next(new).load_state_dict(next(old).state_dict())
        for _ in range(has - had):
            last = cast(ResidualUnit, next(new)).body[-1]
            nn.init.zeros_(cast(nn.BatchNorm2d, last).weight)
    return deep


def build(name: str) -> RecNet:
    """A freshly initialised network of :data:`ARCHITECTURES`."""
    return RecNet(ARCHITECTURES[name])


def build_fitting(
    make: Callable[[], Module], layers: int, tensors: Mapping[str, npt.NDArray[Any]]
) -> Module:
    """A network for tensors from a file, made when it is known to take no more than they do.

    ``layers`` is how many layers the file says there are. ValueError for tensors of other
    names or shapes than the network's.
    """
    check_layers(layers, tensors)
    with torch.device("meta"):  # shapes alone, no memory
        expected = {name: tuple(value.shape) for name, value in make().state_dict().items()}
    check_shapes(expected, tensors)
    with seeded():
        return make()


def scale_crops(crops: Tensor) -> Tensor:
    """RGB uint8 (B, 112, 112, 3) -> float32 (B, 3, 112, 112) in [-1, 1], channels last."""
    return crops.permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1.0)
