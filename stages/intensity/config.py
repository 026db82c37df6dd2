"""Settings of stage two: which head, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Annotated, Literal, get_args

from facer.storage.errors import OptionError, named
from facer.storage.settings import SEED, Checked, Setting

Cell = Literal["gru", "lstm"]
LossName = Literal["pearson", "mse", "ccc"]
CalibrateOn = Literal["train", "val", "none"]
Normalise = Literal["none", "subject"]
ScheduleName = Literal["constant", "cosine"]
HeadName = Literal[
    "facernet",
    "gru-last",
    "tcn-transformer",
    "perceiver",
    "stats-mlp",
    "two-branch",
    "tcn-branches",
    "cross-attention",
]

HEAD_NAMES: tuple[str, ...] = get_args(HeadName)
_OWN_HEAD = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"

LEAST_CLIPS: Mapping[str, int] = MappingProxyType({"pearson": 3, "mse": 1, "ccc": 3})
"""Clips that a batch needs: rho of two is always 1 or -1, and has no gradient."""

_ONLY_OF = {
    "cell": ("facernet", "gru-last", "two-branch"),
    "dense": ("facernet", "two-branch"),
    "routed": ("facernet",),
}


def share(text: str, name: str = "", none: str = "") -> Setting:
    """A setting of a share of less than all, in [0, 1)."""
    return Setting(text, name=name, none=none, low=0, high=1, high_open=True)


@dataclass(frozen=True)
class HeadConfig(Checked):
    """Which head, and its size. The defaults are the paper's FaceRNET.

    A head uses what it knows; what it does not is in :attr:`unused`.
    """

    name: Annotated[
        str,
        Setting(
            "The paper's, one in the spirit of its peers, or a class of your own.",
            name="head",
            pattern="|".join((*HEAD_NAMES, _OWN_HEAD)),
            words=f"one of {', '.join(HEAD_NAMES)}, or package.module:Class",
            metavar="|".join((*HEAD_NAMES, "MODULE:CLASS")),
            code=True,
        ),
    ] = "facernet"
    cell: Annotated[Cell, Setting("Of the recurrent layer.")] = "gru"
    hidden_size: Annotated[int, Setting("Width of the recurrent layer.", low=1)] = field(
        default=128, metadata={"was": "units"}
    )
    layers: Annotated[int, Setting("Recurrent layers.", low=1, high=64)] = 1
    dense: Annotated[int, Setting("Width of the dense layer.", low=1)] = 32
    routed: Annotated[
        bool, Setting("Leave Mask and routing out.", name="no_mask", inverted=True)
    ] = True
    dropout: Annotated[float, share("Within the head.")] = 0.0
    modality_dropout: Annotated[
        float, share("Chance that a clip's stream is left out of a step (zeros); one always stays.")
    ] = 0.0

    @property
    def unused(self) -> tuple[str, ...]:
        """Fields that differ from their defaults but mean nothing to this head."""
        if ":" in self.name:  # a head of one's own may read them all
            return ()
        return tuple(
            field.name
            for field in fields(self)
            if self.name not in _ONLY_OF.get(field.name, (self.name,))
            if getattr(self, field.name) != field.default
        )


@dataclass(frozen=True)
class OwnHeadConfig(Checked):
    """The code that a run's head may need; what a run folder says is never imported for that."""

    head: Annotated[
        str | None,
        Setting(
            "Import the class of a run's head that is not facer's, as train-head was given it.",
            pattern=_OWN_HEAD,
            words="package.module:Class",
            metavar="MODULE:CLASS",
            none="none",
            code=True,
        ),
    ] = None


@dataclass(frozen=True)
class OptimiserConfig(Checked):
    """What may be added to the paper's plain Adam; by default nothing is."""

    weight_decay: Annotated[
        float, Setting("Decoupled, as in AdamW; biases and norms have none.", low=0)
    ] = 0.0
    warm_up: Annotated[float, Setting("Epochs in which the learning rate rises.", low=0)] = 0.0
    schedule: Annotated[
        ScheduleName, Setting("Of the learning rate, to the last of the epochs at most.")
    ] = "constant"
    clip_norm: Annotated[
        float | None,
        Setting("Norm to which larger gradients are scaled.", low=0, low_open=True, none="any"),
    ] = None
    ema_decay: Annotated[
        float | None,
        share(
            "Of a moving average of weights, which is validated and kept.",
            none="the weights themselves",
        ),
    ] = None


@dataclass(frozen=True)
class AugmentConfig(Checked):
    """Random changes to the sequences that are trained on, and to no others."""

    crop: Annotated[
        float,
        Setting(
            "Least share of a clip's time that is kept.",
            name="augment_crop",
            low=0,
            high=1,
            low_open=True,
        ),
    ] = 1.0
    stretch: Annotated[
        float,
        Setting("Clips are slower or faster by up to this share.", name="augment_stretch", low=0),
    ] = 0.0
    drop: Annotated[
        float,
        share(
            "Share of frames replaced by the frame before, as if no face were found.",
            name="augment_drop",
        ),
    ] = 0.0
    noise: Annotated[
        float, Setting("Of each column, in its standard deviations.", name="augment_noise", low=0)
    ] = 0.0


@dataclass(frozen=True)
class FitConfig(Checked):
    """Everything that decides a training, beside its data. The defaults are the paper's."""

    head: HeadConfig = field(default_factory=HeadConfig)
    loss: Annotated[LossName, Setting("What is minimised: 1 - correlation, or an error.")] = (
        "pearson"
    )
    batch_size: Annotated[int, Setting("Clips per step.", low=1)] = 4
    learning_rate: Annotated[float, Setting("Of Adam.", low=0, low_open=True)] = 1e-4
    epochs: Annotated[
        int | None, Setting("At most.", low=1, none="30, more for sets of fewer than 267 clips")
    ] = None
    patience: Annotated[
        int | None,
        Setting("Epochs without a better val score.", low=1, none="a third of the epochs"),
    ] = None
    standardise: Annotated[
        bool, Setting("Bring features to mean 0 and std 1 over the training frames.")
    ] = False
    normalise: Annotated[
        Normalise,
        Setting("subject: bring each person's features to mean 0 and std 1, without labels."),
    ] = "none"
    scale_labels: Annotated[
        bool, Setting("Train mse and ccc on labels of mean 0 and std 1; pearson sees no scale.")
    ] = False
    calibrate: Annotated[
        CalibrateOn, Setting("Split whose labels set the scale of predictions.")
    ] = "train"
    seed: Annotated[int, SEED] = 0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < (least := LEAST_CLIPS[self.loss]):
            raise OptionError(
                f"{named('batch_size')}: found {self.batch_size}, expected {least} or more for a "
                f"correlation ({named('loss')} {self.loss}), which two clips do not have; use a "
                f"larger batch or {named('loss')} mse"
            )
        if self.epochs is not None and self.optimiser.warm_up >= self.epochs:
            raise OptionError(
                f"{named('warm_up')}: found {self.optimiser.warm_up:g}, expected fewer than the "
                f"{self.epochs} {named('epochs')}"
            )
