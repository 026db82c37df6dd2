"""Settings of commands and of Python's functions, from the configs that declare them.

A table is the settings of several configs under their names: keywords of Python's functions, and
options of commands with dashes for underscores.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from facer.pipeline.affect.config import EvaluateRecConfig, TrainRecConfig
from facer.pipeline.endtoend.config import FinetuneConfig
from facer.pipeline.features.config import (
    BenchConfig,
    CompactConfig,
    ExtractRunConfig,
    FacesFile,
    HealthConfig,
    VerifyConfig,
)
from facer.pipeline.intensity.config import (
    AblateConfig,
    EvaluateConfig,
    ExportHeadConfig,
    FoldConfig,
    FuseConfig,
    PredictConfig,
    ScoreConfig,
    SweepConfig,
    TrainHeadConfig,
)
from facer.pipeline.runtime.tls import TlsFiles
from facer.pipeline.summary.config import CompareConfig
from facer.pipeline.views.figure.config import FigureConfig
from facer.pipeline.views.report.config import ReportConfig
from facer.pipeline.views.view.config import ViewConfig
from facer.stages.affect.config import AlignConfig, RecFitConfig
from facer.stages.detection.config import DetectorTrainConfig, EvaluationConfig, RefinerTrainConfig
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import DetectorConfig, ExtractConfig
from facer.stages.intensity.config import (
    AugmentConfig,
    FitConfig,
    HeadConfig,
    OptimiserConfig,
    OwnHeadConfig,
    SequenceConfig,
    StreamsConfig,
)
from facer.stages.summary.config import SummaryConfig
from facer.storage.errors import OptionError, named
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import Declared, declared, flat
from facer.storage.text.likeness import did_you_mean

Settings = Mapping[str, Any]
"""Values by name."""

Config = TypeVar("Config")


class UnknownSettingError(OptionError, TypeError):
    """A keyword that a function does not take."""


class Table:
    """The settings of some configs by name."""

    def __init__(self, *configs: type) -> None:
        self.configs = configs
        self.declared: dict[str, Declared] = {}
        for config in configs:
            self.declared |= declared(config)

    def __contains__(self, name: object) -> bool:
        return name in self.declared

    @property
    def defaults(self) -> dict[str, Any]:
        """The value of each setting that is not given; None where a config needs one."""
        return {k: None if d.value is MISSING else d.value for k, d in self.declared.items()}

    def complete(self, given: Settings) -> dict[str, Any]:
        """Return all settings, checked for their type; OptionError for an unknown one."""
        for name in given:
            if name not in self.declared:
                near = did_you_mean(name, self.declared)
                raise UnknownSettingError(
                    f"{named(name)}: found no such setting{near}"
                    + ("" if near else f"; expected some of {', '.join(self.declared)}")
                )
        checked = {name: _checked(self.declared[name], value) for name, value in given.items()}
        return {**self.defaults, **checked}

    def signature(self, function: Any) -> Signature:
        """Return a function's signature with the settings in place of ``**settings``."""
        own = Signature.from_callable(function).parameters
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=value)
            for name, value in self.defaults.items()
            if name not in own
        ]
        kept = (p for p in own.values() if p.kind is not Parameter.VAR_KEYWORD)
        return Signature([*kept, *more])


def make(config: type[Config], settings: Settings, *positional: Any, **others: Any) -> Config:
    """Return a config of its settings among ``settings``; ``others`` are its other fields."""
    values = {
        one.field: (not value if one.setting.inverted else value)
        for name, one in declared(config).items()
        if name in settings
        for value in [_value(one, settings[name])]
    }
    return config(*positional, **{**values, **others})


def _value(one: Declared, value: Any) -> Any:
    """A value as the config has it: words of a text that stands for several."""
    if one.setting.read is not None:
        return one.setting.read(value)
    if tuple in one.types:
        several = value if one.setting.repeated and not isinstance(value, str) else words(value)
        return tuple(map(one.items, several))
    return Path(value) if Path in one.types and str not in one.types and value else value


EXTRACT = Table(DetectorConfig, ExtractConfig, ExtractRunConfig, FacesFile, TlsFiles)
EXTRACT_AUDIO = Table(AudioConfig, ExtractRunConfig, TlsFiles)
VERIFY = Table(VerifyConfig)
HEALTH = Table(HealthConfig)
COMPACT = Table(CompactConfig)
BENCH = Table(BenchConfig)
CHECK = Table(LabelOptions, SequenceConfig)
DATASET = Table(LabelOptions, SequenceConfig, StreamsConfig)
_DATA = (LabelOptions, FoldConfig, SequenceConfig, StreamsConfig)
_FIT = (FitConfig, OptimiserConfig, AugmentConfig)
TRAIN_HEAD = Table(*_DATA, HeadConfig, *_FIT, TrainHeadConfig)
TRAIN_AGAIN = Table()
"""What may be said of a run that is made again; all else is as the run has it."""
for _own in ("jobs", "device", "resume", "with_", "head"):
    TRAIN_AGAIN.declared[_own] = TRAIN_HEAD.declared[_own]
SWEPT = Table(SequenceConfig, StreamsConfig, HeadConfig, *_FIT)
"""What a sweep may try; a trial's seeds are those of the sweep, and its stores the same."""
for _same in ("seed", "with_"):
    del SWEPT.declared[_same]
SWEEP = Table(*_DATA, HeadConfig, *_FIT, SweepConfig, TlsFiles)
ABLATE = Table(*_DATA, *_FIT, AblateConfig, TlsFiles)
EVALUATE = Table(LabelOptions, EvaluateConfig, OwnHeadConfig)
PREDICT = Table(DetectorConfig, ExtractConfig, PredictConfig, OwnHeadConfig)
SCORE = Table(LabelOptions, ScoreConfig)
FUSE = Table(LabelOptions, FuseConfig)
SUMMARISE = Table(SummaryConfig)
COMPARE = Table(CompareConfig)
FIGURE = Table(FigureConfig)
EXPORT_HEAD = Table(ExportHeadConfig, OwnHeadConfig)
REPORT = Table(LabelOptions, ReportConfig, OwnHeadConfig)
VIEW = Table(ViewConfig)
"""With those of a summary that an eye sees."""
for _own in ("windows", "baseline", "thresholds"):
    VIEW.declared[_own] = SUMMARISE.declared[_own]
FINETUNE = Table(LabelOptions, FinetuneConfig, OwnHeadConfig)
TRAIN_REC = Table(RecFitConfig, TrainRecConfig, AlignConfig, DetectorConfig)
EVALUATE_REC = Table(EvaluateRecConfig, AlignConfig, DetectorConfig)
TRAIN_DETECTOR = Table(DetectorTrainConfig)
TRAIN_POINTS = Table(RefinerTrainConfig)
EVALUATE_DETECTOR = Table(EvaluationConfig)
MODEL_ACTIONS = ("list", "check", "fetch", "verify")
"""What ``facer models`` does."""


def align_config(settings: Settings) -> AlignConfig:
    """Return how photographs are aligned; from all of AlignConfig and DetectorConfig."""
    return make(AlignConfig, settings, detector=make(DetectorConfig, settings))


def extract_config(settings: Settings) -> ExtractConfig:
    """Return which models, faces and frames; from all of DetectorConfig and ExtractConfig."""
    return make(ExtractConfig, settings, make(DetectorConfig, settings))


def extract_run_config(
    video_dir: str | os.PathLike[str], store: str, table: Table, settings: Settings
) -> ExtractRunConfig:
    """Return a whole extraction, of faces or sound; settings of the table that says which."""
    settings, video_dir = table.complete(settings), os.fspath(video_dir)
    models = make(AudioConfig, settings) if table is EXTRACT_AUDIO else extract_config(settings)
    return make(
        ExtractRunConfig, settings, video_dir, store, extract=models, tls=make(TlsFiles, settings),
        faces=make(FacesFile, settings).faces,
    )  # fmt: skip


def label_options(settings: Settings) -> LabelOptions:
    """Return how labels are read; from all of LabelOptions."""
    return make(LabelOptions, settings)


def train_head_config(store: str, labels: str, run: Path, settings: Settings) -> TrainHeadConfig:
    """Return a whole training; from all of :data:`TRAIN_HEAD`."""
    head = make(HeadConfig, settings)
    if head.unused:
        names = (named("no_mask" if name == "routed" else name) for name in head.unused)
        raise OptionError(f"{named('head')} {head.name} takes no {', '.join(names)}")
    return make(
        TrainHeadConfig, settings, store, labels, run, reading=label_options(settings),
        sequences=make(SequenceConfig, settings), streams=streams_config(settings),
        fit=fit_config(settings, head), folds=fold_config(settings),
    )  # fmt: skip


def fit_config(settings: Settings, head: HeadConfig) -> FitConfig:
    """Return how a head is trained."""
    return make(
        FitConfig, settings, head, optimiser=make(OptimiserConfig, settings),
        augmentation=make(AugmentConfig, settings),
    )  # fmt: skip


def ablate_config(store: str, labels: str, output: Path, settings: Settings) -> AblateConfig:
    """Return a whole ablation; from all of :data:`ABLATE`, and ``also``."""
    return make(
        AblateConfig, settings, store, labels, output, also=settings.get("also", {}),
        reading=label_options(settings), sequences=make(SequenceConfig, settings),
        streams=streams_config(settings), fit=fit_config(settings, HeadConfig()),
        folds=fold_config(settings), tls=make(TlsFiles, settings),
    )  # fmt: skip


def sweep_config(
    store: str, labels: str, output: Path, space: Mapping[str, Any], settings: Settings
) -> SweepConfig:
    """Return a whole sweep; from all of :data:`SWEEP`."""
    own = (*declared(SweepConfig), *declared(TlsFiles))
    training = {name: value for name, value in settings.items() if name not in own}
    train_head_config(store, labels, output, training)  # what is wrong in all trials is told here
    return make(
        SweepConfig, settings, store, labels, output, space, training, tls=make(TlsFiles, settings)
    )


def streams_config(settings: Settings) -> StreamsConfig:
    """Return which other stores are joined, and how; OptionError for a way of joining none."""
    config = make(StreamsConfig, settings)
    if not config.stores and config != StreamsConfig():
        changed = [k for k, v in flat(config) if v != dict(flat(StreamsConfig()))[k]]
        raise OptionError(f"{named(changed[0])}: expected {named('with_')} beside it")
    return config


def fold_config(settings: Settings) -> FoldConfig | None:
    """Return how clips are divided; None where they are not."""
    if settings["folds"] is None:
        for name, one in declared(FoldConfig).items():
            if name != "folds" and _value(one, settings[name]) != one.value:
                raise OptionError(f"{named(name)}: expected {named('folds')} beside it")
        return None
    return make(FoldConfig, {**settings, "folds": str(settings["folds"])})


def words(value: str | Sequence[object] | None) -> list[str]:
    """Return the words of ``"A, B"``, or those of a sequence; none for None."""
    parts = (value or "").split(",") if isinstance(value, str | NoneType) else map(str, value)
    return [word.strip() for word in parts if word.strip()]


def _checked(one: Declared, value: Any) -> Any:
    """Return a value as one of a setting's types: numpy's numbers and paths are taken too."""
    if one.setting.read is not None:  # which tells what is wrong
        return value
    types = one.types
    if str in types or Path in types:
        value = getattr(value, "path", value)  # of a store or a run that is open
    optional = NoneType in types or one.value in (None, MISSING, ())
    if (value is None and optional) or (isinstance(value, bool) and bool in types):
        return value
    if isinstance(value, os.PathLike) and (str in types or Path in types):
        return os.fspath(value)
    if tuple in types and (isinstance(value, str) or _is_words(value)):
        return value
    if tuple in types and isinstance(value, Mapping):  # NAME=STORE, as the option has it
        return [f"{name}={getattr(one, 'path', one)}" for name, one in value.items()]
    if isinstance(value, str) and (str in types or Path in types):
        return value
    if not isinstance(value, bool | str):
        if (int in types or one.name == "folds") and hasattr(value, "__index__"):
            return operator.index(value)
        if float in types and hasattr(value, "__float__"):
            return float(value)
    kinds = " or ".join(dict.fromkeys(_KIND_NAMES.get(kind, kind.__name__) for kind in types))
    raise OptionError(f"{named(one.name)}: found {value!r}, expected {kinds}")


def _is_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(v, str | int | float | Path) for v in value
    )


_KIND_NAMES: Mapping[type, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "text",
    tuple: "a list of words", NoneType: "None",
}  # fmt: skip
