"""Dimensions of REC's networks, and the tensors that each is made of; nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from facer.storage.errors import FacerError
from facer.storage.schema import AU_NAMES, EXPRESSIONS, VALENCE_AROUSAL


@dataclass(frozen=True)
class Architecture:
    """Dimensions of a REC network; saved with its weights."""

    stem: int  # channels after the first convolution
    widths: tuple[int, ...]  # output channels of each stage; every stage halves the resolution
    units: tuple[int, ...]  # residual units in each stage
    bottleneck: bool = False
    pool_stem: bool = False  # 3x3 max pooling after the stem; the first stage then keeps its size
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.units):
            raise FacerError(
                f"architecture: {len(self.widths)} widths and {len(self.units)} unit counts, "
                "expected one of each per stage"
            )


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "rec": Architecture(64, (64, 128, 256, 512), (2, 2, 2, 2), pool_stem=True),
        "rec-small": Architecture(16, (32, 64, 128, 256), (2, 3, 5, 2)),
        "resnet50": Architecture(
            64, (256, 512, 1024, 2048), (3, 4, 6, 3), bottleneck=True, pool_stem=True
        ),
    }
)
"""``rec``: the paper's kind. ``rec-small``: the starter. ``resnet50``: the ablation's row."""

HEADS: Mapping[str, int] = MappingProxyType(
    {"va": len(VALENCE_AROUSAL), "expression": len(EXPRESSIONS), "au": len(AU_NAMES)}
)
"""The outputs and their widths, each a linear layer on the pooled space."""


class ConvLayer(NamedTuple):
    """A convolution without bias and the batch normalisation after it, padded to keep the size."""

    name: str  # of the convolution's tensors
    norm: str  # of the normalisation's
    inputs: int
    outputs: int
    kernel: int
    stride: int


class UnitLayers(NamedTuple):
    """A residual unit: ReLUs stand between the layers of its body, and after the sum."""

    body: tuple[ConvLayer, ...]
    skip: ConvLayer | None  # None where the input itself is added


def stem_layer(architecture: Architecture) -> ConvLayer:
    """The first layer, from RGB."""
    return ConvLayer("stem.0", "stem.1", 3, architecture.stem, 3, 2)


def unit_layers(architecture: Architecture) -> Iterator[UnitLayers]:
    """The residual units in order."""
    number, channels = 0, architecture.stem
    for stage, (width, count) in enumerate(
        zip(architecture.widths, architecture.units, strict=True)
    ):
        for index in range(count):
            stays = index > 0 or (architecture.pool_stem and stage == 0)
            yield _unit(f"units.{number}", channels, width, 1 if stays else 2, architecture)
            number, channels = number + 1, width


def _unit(
    name: str, inputs: int, outputs: int, stride: int, architecture: Architecture
) -> UnitLayers:
    inner = outputs // 4
    shapes = (  # inputs, outputs, kernel, stride
        ((inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1))
        if architecture.bottleneck
        else ((inputs, outputs, 3, stride), (outputs, outputs, 3, 1))
    )
    body = tuple(
        ConvLayer(f"{name}.body.{3 * i}", f"{name}.body.{3 * i + 1}", *shape)
        for i, shape in enumerate(shapes)
    )
    if inputs == outputs and stride == 1:
        return UnitLayers(body, None)
    skip = ConvLayer(f"{name}.skip.0", f"{name}.skip.1", inputs, outputs, 1, stride)
    return UnitLayers(body, skip)


def tensor_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's tensors, as its weights file holds them."""
    shapes: dict[str, tuple[int, ...]] = {}
    layers = [stem_layer(architecture)]
    for unit in unit_layers(architecture):
        layers += [*unit.body, *([unit.skip] if unit.skip else [])]
    for layer in layers:
        shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer.norm}.{part}"] = (layer.outputs,)
        shapes[f"{layer.norm}.num_batches_tracked"] = ()
    for head, width in HEADS.items():
        shapes[f"{head}.weight"] = (width, layers[-1].outputs)
        shapes[f"{head}.bias"] = (width,)
    return shapes


def deepens(shallow: Architecture, deep: Architecture) -> bool:
    """Whether ``deep`` is ``shallow`` with more units in some stages."""
    if len(shallow.units) != len(deep.units):
        return False
    more = all(a <= b for a, b in zip(shallow.units, deep.units, strict=True))
    return more and replace(shallow, units=deep.units, dropout=deep.dropout) == deep


def architecture_from_json(values: Mapping[str, Any]) -> Architecture:
    """Inverse of ``asdict``; ValueError for values that are none of a network."""
    fields = dict(values)
    fields["widths"] = tuple(fields["widths"])
    fields["units"] = tuple(fields["units"])
    architecture = Architecture(**fields)
    sizes = (architecture.stem, *architecture.widths, *architecture.units)
    if any(type(size) is not int or not 0 < size < 2**16 for size in sizes):
        raise ValueError(f"sizes {str(sizes)[:80]}")
    if type(architecture.dropout) not in (int, float) or not 0 <= architecture.dropout <= 1:
        raise ValueError(f"dropout {str(architecture.dropout)[:80]}, expected 0 to 1")
    return architecture
