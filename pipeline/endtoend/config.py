"""Settings of fine-tuning REC and a head together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from facer.stages.intensity.config import LEAST_CLIPS
from facer.storage.errors import OptionError, named
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import DEVICE, Setting, check

_LEAST_CLIPS = max(LEAST_CLIPS.values())


@dataclass(frozen=True)
class FinetuneConfig:
    """One ``facer finetune``."""

    run: Path  # of train-head: the head, its store and its labels
    videos: Path  # the folder that the store was extracted from
    output: Path
    rec: Annotated[
        str, Setting("The weights that the run's store was extracted with.", metavar="NAME")
    ] = "rec-small"
    epochs: Annotated[int, Setting("Epochs.", low=1)] = 5
    learning_rate: Annotated[
        float, Setting("Of both Adams; the paper's, end to end.", low=0, low_open=True)
    ] = 1e-5
    batch_size: Annotated[int, Setting("Clips per step.", low=1)] = 4
    chunk: Annotated[int, Setting("Crops whose activations are in memory at a time.", low=1)] = 32
    memory_mb: Annotated[
        int, Setting("Of crops kept between epochs; more are decoded again.", low=1)
    ] = 2048
    seed: Annotated[int, Setting("Of the order of the clips.", low=0)] = 0
    device: Annotated[str, DEVICE] = "auto"
    resume: Annotated[bool, Setting("Resume an output that was stopped.")] = False
    reading: LabelOptions = field(default_factory=LabelOptions)  # other than the run's

    def __post_init__(self) -> None:
        check(self)
        if self.batch_size < _LEAST_CLIPS:
            raise OptionError(
                f"{named('batch_size')}: found {self.batch_size}, expected {_LEAST_CLIPS} or more "
                "for a correlation, which two clips do not have"
            )
