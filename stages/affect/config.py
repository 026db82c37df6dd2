"""Settings of REC's training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from facer.stages.features.config import DetectorConfig
from facer.storage.errors import OptionError, named
from facer.storage.settings import DEVICE, SEED, Setting, check

Coupling = Literal["paper", "shares", "off"]
Backbone = Literal["rec", "rec-small", "resnet50"]

SIDE_PX = 112
LARGEST_SMALL_PX = 80  # that low resolution goes up to


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term; the paper's sum is all ones."""

    ccc: float = 1.0
    cce: float = 1.0
    bce: float = 1.0
    dm: float = 1.0
    dm_labelled: float = 1.0  # of L_DM on units that carry a label themselves, relative to dm
    pair: float = 1.0  # of L_pair, where pairs of one face are given

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise OptionError(f"loss weight {name}: found {value}, expected 0 or more")


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the augmentation; probabilities in [0, 1], angles in degrees, sizes in pixels."""

    flip: float = 0.5
    rotate_deg: float = 10.0
    scale: float = 0.12
    shift_px: float = 5.0
    tint: float = 0.7  # of grey crops
    grey: float = 0.3  # of coloured crops
    low_resolution: float = 0.3
    smallest_px: int = 28  # face size that low resolution goes down to
    blur: float = 0.15
    noise: float = 0.3
    jpeg: float = 0.2
    erase: float = 0.2
    background: float = 0.8  # chance that the area outside the source image is painted

    def __post_init__(self) -> None:
        if not 1 <= self.smallest_px < LARGEST_SMALL_PX:
            raise OptionError(
                f"augment smallest_px: found {self.smallest_px}, expected 1 to "
                f"{LARGEST_SMALL_PX - 1}"
            )
        largest = {"rotate_deg": 180, "scale": 0.9, "shift_px": SIDE_PX}
        for name, value in vars(self).items():
            if name != "smallest_px" and not 0 <= value <= largest.get(name, 1):
                raise OptionError(
                    f"augment {name}: found {value}, expected 0 to {largest.get(name, 1)}"
                )


@dataclass(frozen=True)
class RecFitConfig:
    """Everything that decides a REC training, beside its data."""

    backbone: Annotated[Backbone, Setting("Architecture.")] = "rec-small"
    start: Annotated[str, Setting(
        "Begin with these weights: rec-small or a .safetensors file.", metavar="REC",
    )] = ""  # fmt: skip
    epochs: Annotated[int, Setting("Epochs.", low=1)] = 20
    batch_size: Annotated[int, Setting("Crops per step.", low=1)] = 64
    learning_rate: Annotated[float, Setting("The highest one.", low=0, low_open=True)] = 1.5e-3
    weight_decay: Annotated[
        float, Setting("Of AdamW, on weights of more than one axis.", low=0)
    ] = 0.05
    coupling: Annotated[
        Coupling, Setting("Which units go with which expression, by Du et al. 2014.")
    ] = "paper"
    loss: LossWeights = field(default_factory=LossWeights)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    class_balance: Annotated[float, Setting(
        "0 natural frequencies of the classes, 1 all equally often.", low=0, high=1,
    )] = 0.5  # fmt: skip
    database_balance: Annotated[float, Setting("The same for databases.", low=0, high=1)] = 0.5
    teachers: Annotated[tuple[str, ...], Setting(
        "A REC, .onnx too, to learn expressions from; repeatable: their mean.",
        name="teacher", metavar="REC", repeated=True,
    )] = ()  # fmt: skip
    distillation_weight: Annotated[float, Setting(
        "Its part of the expressions' target, beside the labels.", low=0, high=1,
    )] = field(default=0.7, metadata={"was": "teacher_share"})  # fmt: skip
    unit_geometry: Annotated[str, Setting(
        "Displacements of action units (npz): teach units by warped pairs.", metavar="FILE",
    )] = ""  # fmt: skip
    meshes: Annotated[tuple[str, ...], Setting(
        "Face meshes of a pack's crops (HDF5), for --unit-geometry; repeatable.",
        metavar="FILE", repeated=True,
    )] = ()  # fmt: skip
    unit_pairs: Annotated[int, Setting("Warped pairs per step.", low=1)] = 32
    mixup: Annotated[float, Setting(
        "Blend pairs of crops and labels by Beta(A, A), such as 0.2; 0: no.", low=0, metavar="A",
    )] = 0.0  # fmt: skip
    low_res_fraction: Annotated[float, Setting(
        "Share of the epochs trained on 80 px instead of 112, which is faster.", low=0, high=1,
    )] = field(default=0.5, metadata={"was": "small_epochs"})  # fmt: skip
    small_px: int = 80
    ema_decay: Annotated[float, Setting(
        "Decay of the averaged weights, which are kept.", low=0, high=1, high_open=True,
    )] = field(default=0.998, metadata={"was": "average"})  # fmt: skip
    seed: Annotated[int, SEED] = 0
    device: Annotated[str, DEVICE] = "auto"
    bf16: Annotated[
        bool, Setting("bfloat16 products on the CPU too: twice as fast where it knows them.")
    ] = False
    workers: Annotated[
        int, Setting("Processes that read and augment; never changes results.", low=0)
    ] = 0

    def __post_init__(self) -> None:
        check(self)
        if bool(self.unit_geometry) != bool(self.meshes):
            raise OptionError(
                f"{named('unit_geometry')} and {named('meshes')}: found one of the two, expected "
                "both or none"
            )


@dataclass(frozen=True)
class AlignConfig:
    """How photographs are aligned and where the crops are kept."""

    cache: Annotated[Path | None, Setting(
        "Folder for aligned crops.", none="~/.cache/facer/crops",
    )] = None  # fmt: skip
    detector: DetectorConfig = field(default_factory=DetectorConfig)
