"""Whole configs, made of the settings of a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facer.pipeline.features.config import ExtractRunConfig, FacesFile
from facer.pipeline.intensity.config import AblateConfig, FoldConfig, SweepConfig, TrainHeadConfig
from facer.pipeline.runtime.tls import TlsFiles
from facer.pipeline.settings.commands import EXTRACT_AUDIO
from facer.pipeline.settings.table import Settings, Table, make, value_of
from facer.stages.affect.config import AlignConfig
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import DetectorConfig, ExtractConfig
from facer.stages.intensity.config import AugmentConfig, FitConfig, HeadConfig, OptimiserConfig
from facer.stages.intensity.sequence_config import SequenceConfig, StreamsConfig
from facer.storage.errors import OptionError, named
from facer.storage.labels.options import LabelOptions
from facer.storage.settings import declared, flat


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
    """Return a whole training; from all of :data:`.commands.TRAIN_HEAD`."""
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
    """Return a whole ablation; from all of :data:`.commands.ABLATE`, and ``also``."""
    return make(
        AblateConfig, settings, store, labels, output, also=settings.get("also", {}),
        reading=label_options(settings), sequences=make(SequenceConfig, settings),
        streams=streams_config(settings), fit=fit_config(settings, HeadConfig()),
        folds=fold_config(settings), tls=make(TlsFiles, settings),
    )  # fmt: skip


def sweep_config(
    store: str, labels: str, output: Path, space: Mapping[str, Any], settings: Settings
) -> SweepConfig:
    """Return a whole sweep; from all of :data:`.commands.SWEEP`."""
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
            if name != "folds" and value_of(one, settings[name]) != one.value:
                raise OptionError(f"{named(name)}: expected {named('folds')} beside it")
        return None
    return make(FoldConfig, {**settings, "folds": str(settings["folds"])})
