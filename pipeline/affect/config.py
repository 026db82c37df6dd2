"""Settings of runs of REC's training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from facer.stages.affect.config import AlignConfig, RecFitConfig
from facer.storage.errors import OptionError, named
from facer.storage.settings import DEVICE, Checked, Setting, check


@dataclass(frozen=True)
class TrainRecConfig:
    """One ``facer train-rec``."""

    data: Annotated[
        tuple[str, ...],
        Setting(
            "affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5, whose train splits are "
            "trained on; repeatable.",
            metavar="KIND:PATH",
            repeated=True,
        ),
    ]
    run: Path
    validation: Annotated[tuple[str, ...], Setting(
        "Sets whose val split is scored each epoch.",
        name="val", none="those of --data", metavar="KIND:PATH", repeated=True,
    )] = ()  # fmt: skip
    fit: RecFitConfig = field(default_factory=RecFitConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    val_limit: Annotated[int, Setting(
        "Crops of a val set that are scored each epoch, evenly spaced.", low=1,
    )] = 10_000  # fmt: skip
    resume: Annotated[bool, Setting("Resume a run that was stopped.")] = False

    @property
    def specs(self) -> tuple[str, ...]:
        """The sets whose val splits are scored."""
        return self.validation or self.data

    def __post_init__(self) -> None:
        check(self)
        if not self.data:
            raise OptionError(
                f"{named('data')}: found none, expected at least one, such as pack:FILE.h5"
            )


@dataclass(frozen=True)
class EvaluateRecConfig(Checked):
    """One ``facer evaluate-rec``."""

    rec: str  # by name or path
    data: Annotated[str, Setting(
        "affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5.", metavar="KIND:PATH",
    )]  # fmt: skip
    split: Annotated[Literal["train", "val"], Setting("Which split is scored.")] = "val"
    pictures: Annotated[Path | None, Setting("Folder for confusion.png and action-units.png.")] = (
        None
    )
    unit_geometry: Annotated[str | None, Setting(
        "Displacements of action units (npz): does each output rise on faces moved by its " "unit?",
        metavar="FILE",
    )] = None  # fmt: skip
    meshes: Annotated[tuple[str, ...], Setting(
        "Face meshes of the pack's crops (HDF5), for --unit-geometry.",
        metavar="FILE", repeated=True,
    )] = ()  # fmt: skip
    by_group: Annotated[
        bool, Setting("Also by skin tone, turn of the head, sharpness and light.")
    ] = False
    groups: Annotated[Path | None, Setting(
        "Also by the columns of a table (csv), such as sex and age_group; its column image names "
        "the pack's row, from 0, or the database's file.",
        metavar="FILE",
    )] = None  # fmt: skip
    device: Annotated[str, DEVICE] = "auto"
    align: AlignConfig = field(default_factory=AlignConfig)
