"""Settings of runs of stage two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from facer.pipeline.intensity.ablation.rows import ROW_SETS
from facer.pipeline.runtime.tls import SCHEDULER, TlsFiles
from facer.stages.common.onnx import check_onnx_name
from facer.stages.features.config import ExtractConfig
from facer.stages.intensity.config import FitConfig
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig, stream_setting
from facer.storage.errors import OptionError, named
from facer.storage.labels.challenges import SPLITS, Split
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import DEVICE, Checked, Setting

FoldBy = Literal["auto", "subject", "clip"]
Cache = Literal["memory", "half", "disk"]
CACHE = Setting(
    "Where sequences lie in a training: in memory, there as float16, or as float16 in a file of "
    "TMPDIR that is read as it goes."
)
WITH = stream_setting(
    "Where a joined stream of the run's is now, or another store of it, such as "
    "audio=audio.zarr; repeatable."
)
JOBS = Setting("Processes on this machine.", low=1)
MOST_SEEDS = 100_000
BY = Setting(
    "Scores for each value of a column of the labels too, such as subject.", metavar="COLUMN"
)
SUBJECTS = "subjects"
"""Value of ``folds`` that leaves one subject out at a time."""


@dataclass(frozen=True)
class FoldConfig(Checked):
    """How clips are divided. The test split takes no part, so that it stays unseen."""

    folds: Annotated[
        str,
        Setting(
            "Cross-validate: K folds, or 'subjects' to leave one out at a time.",
            none="no folds",
            metavar="K",
        ),
    ]
    by: Annotated[
        FoldBy, Setting("Divide by subject or clip; auto: by subject where every clip names one.")
    ] = "auto"
    splits: Annotated[
        tuple[str, ...],
        Setting(
            "Splits of the label file that take part; without test, test stays unseen.",
            name="fold_splits",
            choices=SPLITS,
        ),
    ] = ("train", "val")

    def __post_init__(self) -> None:
        if self.folds != SUBJECTS and not (self.folds.isdecimal() and int(self.folds) > 1):
            raise OptionError(
                f"{named('folds')}: found {self.folds!r}, expected a number from 2 on, or "
                f"{SUBJECTS}"
            )
        super().__post_init__()
        if self.folds == SUBJECTS and self.by == "clip":
            raise OptionError(
                f"{named('folds')} {SUBJECTS}: found {named('by')} clip, expected {named('by')} "
                "subject"
            )
        if not self.splits:
            raise OptionError(
                f"{named('fold_splits')}: found none, expected some of {', '.join(SPLITS)}"
            )


@dataclass(frozen=True)
class TrainHeadConfig(Checked):
    """One ``facer train-head``."""

    store: str
    labels: str
    run: Path
    reading: LabelOptions = field(default_factory=LabelOptions)  # how the labels are read
    sequences: SequenceConfig = field(default_factory=SequenceConfig)
    streams: StreamsConfig = field(default_factory=StreamsConfig)  # other stores beside this one
    fit: FitConfig = field(default_factory=FitConfig)
    cache: Annotated[Cache, CACHE] = "memory"
    seeds: Annotated[
        int,
        Setting(
            "Trainings with different seeds, from --seed on; more than a run has are added to it.",
            low=1,
            high=MOST_SEEDS,
        ),
    ] = 1
    jobs: Annotated[
        int, Setting("Seeds trained at a time, in processes; never changes results.", low=1)
    ] = 1
    device: Annotated[str, DEVICE] = "cpu"
    threads: Annotated[
        int,
        Setting(
            "Of torch, in each process; sums round otherwise with another count.", low=1, high=1024
        ),
    ] = 1
    resume: Annotated[bool, Setting("Resume a run that was stopped.")] = False
    repeats: Path | None = None  # a run of which labels and features must be the same
    folds: FoldConfig | None = None  # cross-validate: see facer.pipeline.intensity.folds
    fold: int | None = None  # of these, the one that this run holds out


@dataclass(frozen=True)
class AblateConfig(Checked):
    """One ``facer ablate``."""

    store: str
    labels: str
    output: Path
    rows: Annotated[
        tuple[str, ...],
        Setting(
            f"Some of {', '.join(ROW_SETS)}.",
            choices=ROW_SETS,
        ),
    ] = ("table2", "table3", "heads")
    also: Mapping[str, str] = field(default_factory=dict)  # other stores by name
    reading: LabelOptions = field(default_factory=LabelOptions)  # how the labels are read
    sequences: SequenceConfig = field(default_factory=SequenceConfig)  # what rows change
    streams: StreamsConfig = field(default_factory=StreamsConfig)  # likewise
    fit: FitConfig = field(default_factory=FitConfig)  # likewise
    cache: Annotated[Cache, CACHE] = "memory"
    seeds: Annotated[int, Setting("Trainings of each row.", low=1, high=MOST_SEEDS)] = 3
    jobs: Annotated[int, JOBS] = 1
    scheduler: Annotated[str | None, SCHEDULER] = None
    tls: TlsFiles | None = None  # for a scheduler at tls://
    device: Annotated[str, DEVICE] = "cpu"
    folds: FoldConfig | None = None  # rows are scored out of fold, not on val

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.rows and not self.also:
            raise OptionError(
                f"{named('rows')}: found none, expected at least one of {', '.join(ROW_SETS)}"
            )


@dataclass(frozen=True)
class SweepConfig(Checked):
    """One ``facer sweep``."""

    store: str
    labels: str
    output: Path
    space: Mapping[str, Any]  # values by setting: see facer.pipeline.intensity.sweep.space
    settings: Mapping[str, Any]  # of a training, all of them, which trials change
    trials: Annotated[
        int | None, Setting("Trials drawn at random.", low=1, none="every combination of values")
    ] = None
    sample_seed: Annotated[int, Setting("Of the trials drawn.", low=0)] = 0
    cache: Annotated[Cache, CACHE] = "memory"
    seeds: Annotated[int, Setting("Trainings of each trial.", low=1, high=MOST_SEEDS)] = 1
    jobs: Annotated[int, JOBS] = 1
    scheduler: Annotated[str | None, SCHEDULER] = None
    tls: TlsFiles | None = None  # for a scheduler at tls://
    device: Annotated[str, DEVICE] = "cpu"


@dataclass(frozen=True)
class PredictConfig(Checked):
    """One ``facer predict``."""

    run: Path
    videos: Path  # a video or a folder
    store: Annotated[str | None, Setting("Keep the features there.", none="a temporary store")] = (
        None
    )
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    stores: Annotated[tuple[str, ...], WITH] = ()  # of the same videos, for a run that joins them
    workers: Annotated[
        int | None, Setting("Processes on this machine.", low=1, none="one per core")
    ] = None
    pictures: Annotated[Path | None, Setting("Folder for a picture a clip.")] = None


@dataclass(frozen=True)
class EvaluateConfig(Checked):
    """One ``facer evaluate``."""

    run: Path
    split: Annotated[
        Split | None, Setting("train, val or test; a run of folds has none.", none="val")
    ] = None
    by: Annotated[str | None, BY] = None
    labels: Annotated[str | None, Setting("Other labels than the run's.", none="the run's")] = None
    store: Annotated[
        str | None, Setting("Where the run's store is now, or another one.", none="the run's")
    ] = None
    stores: Annotated[tuple[str, ...], WITH] = ()
    against: Annotated[
        Path | None,
        Setting("Another run to compare with on the same clips (paired bootstrap)."),
    ] = None
    reading: LabelOptions = field(default_factory=LabelOptions)  # the run's, save for what it says


@dataclass(frozen=True)
class FuseConfig(Checked):
    """One ``facer fuse``."""

    runs: tuple[Path, ...]  # two or more
    split: Annotated[
        Split | None, Setting("train, val or test.", none="val, or what the folds hold out")
    ] = None
    weights: Annotated[
        Literal["equal", "val"],
        Setting("The runs' weights: equal, or for each intensity what fits the labels of val."),
    ] = "equal"
    labels: Annotated[str | None, Setting("Other labels than the runs'.", none="the runs'")] = None
    reading: LabelOptions = field(default_factory=LabelOptions)


@dataclass(frozen=True)
class ScoreConfig(Checked):
    """One ``facer score``."""

    predictions: Path
    labels: str
    against: Annotated[
        Path | None, Setting("Another file to compare with on the clips that both predict.")
    ] = None
    split: Annotated[
        Split | None, Setting("train, val or test.", none="each that FILE has a clip of")
    ] = None
    by: Annotated[str | None, BY] = None
    reading: LabelOptions = field(default_factory=LabelOptions)
    prediction_id_column: Annotated[
        str | None,
        Setting(
            "FILE's column of the clips' ids.",
            name="file_id_column",
            none="clip_id, filename, video ...",
            metavar="NAME",
        ),
    ] = None


@dataclass(frozen=True)
class ExportHeadConfig(Checked):
    """One ``facer export-head``."""

    run: Path
    output: Path  # .onnx
    seed: Annotated[int | None, Setting("Which of the run's seeds.", low=0, none="the first")] = (
        None
    )
    rec: Annotated[
        str | None, Setting("Put this REC before the head: from crops to intensities.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_onnx_name(self.output)
