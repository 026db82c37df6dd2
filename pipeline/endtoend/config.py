"""Settings of fine-tuning REC and a head together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from facer.stages.intensity.config import LEAST_CLIPS
from facer.storage.errors import OptionError, named
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import DEVICE, MOST_SEED, Setting, check
from facer.storage.text.typed_json import plain

LEAST = max(LEAST_CLIPS.values())
"""Clips of a step."""


@dataclass(frozen=True)
class FinetuneRunConfig:
    """What decides the result of one ``facer finetune``: what ``finetune.json`` says."""

    COMMAND: ClassVar[str] = "facer finetune"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        "rec", "epochs", "learning_rate", "batch_size", "chunk", "seed", "reading",
    )  # fmt: skip

    run: Path  # of train-head: the head, its store and its labels
    videos: Path  # the folder that the store was extracted from
    rec: Annotated[
        str, Setting("The weights that the run's store was extracted with.", metavar="NAME")
    ] = "rec-small"
    epochs: Annotated[int, Setting("Epochs.", low=1)] = 5
    learning_rate: Annotated[
        float, Setting("Of both Adams; the paper's, end to end.", low=0, low_open=True)
    ] = 1e-5
    batch_size: Annotated[int, Setting("Clips per step.", low=1)] = 4
    chunk: Annotated[int, Setting("Crops whose activations are in memory at a time.", low=1)] = 32
    seed: Annotated[int, Setting("Of the order of the clips.", low=0, high=MOST_SEED)] = 0
    reading: LabelOptions = field(default_factory=LabelOptions)  # other than the run's
    inputs: Mapping[str, str] = field(default_factory=dict)  # their digests; older ones have none

    def __post_init__(self) -> None:
        check(self)
        if self.batch_size < LEAST:
            raise OptionError(
                f"{named('batch_size')}: found {self.batch_size}, expected {LEAST} or more "
                "for a correlation, which two clips do not have"
            )

    def deciding(self) -> Mapping[str, Any]:
        """All but the names of what its digests and the videos' sizes tell."""
        return {k: v for k, v in plain(self).items() if k not in ("run", "videos", "rec")}


@dataclass(frozen=True)
class FinetuneConfig(FinetuneRunConfig):
    """One ``facer finetune``."""

    output: Path = field(kw_only=True)
    memory_mb: Annotated[
        int, Setting("Of crops kept between epochs; more are decoded again.", low=1)
    ] = 2048
    device: Annotated[str, DEVICE] = "auto"
    resume: Annotated[bool, Setting("Resume an output that was stopped.")] = False

    @property
    def of_run(self) -> FinetuneRunConfig:
        """What of it decides the result, as it is from any folder."""
        from facer.pipeline.features.kinds import absolute_model

        names = (one.name for one in fields(FinetuneRunConfig))
        record = FinetuneRunConfig(**{name: getattr(self, name) for name in names})
        return replace(
            record, run=record.run.absolute(), videos=record.videos.absolute(),
            rec=absolute_model(record.rec),
        )  # fmt: skip
