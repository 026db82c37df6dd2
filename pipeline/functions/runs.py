"""What extract, extract-audio and train-head do, for the commands and for Python alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from facer.pipeline.features.extract import ExtractSummary, extract_folder
from facer.pipeline.intensity.folds.train import FoldsResult, train_folds
from facer.pipeline.intensity.train import TrainHeadResult, config_of_run
from facer.pipeline.intensity.train import train_head as train_seeds
from facer.pipeline.runtime.places import Place
from facer.pipeline.runtime.progress import Progress
from facer.pipeline.settings import (
    EXTRACT,
    EXTRACT_AUDIO,
    TRAIN_HEAD,
    extract_audio_config,
    extract_run_config,
    train_head_config,
)
from facer.stages.common.training import OnStep
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.own import import_head
from facer.storage.errors import OptionError, named

Settings = Mapping[str, Any]


def extract_faces(
    video_dir: Place, store: str, settings: Settings, progress: Progress
) -> ExtractSummary:
    """Bring every video of a folder into a store; see :func:`facer.extract`."""
    config = extract_run_config(os.fspath(video_dir), store, EXTRACT.complete(settings))
    return extract_folder(config, progress)


def extract_sound(
    video_dir: Place, store: str, settings: Settings, progress: Progress
) -> ExtractSummary:
    """Bring the sound of every file of a folder into a store; see :func:`facer.extract_audio`."""
    config = extract_audio_config(os.fspath(video_dir), store, EXTRACT_AUDIO.complete(settings))
    return extract_folder(config, progress)


def train(
    store: str, labels: Place, run: Place, settings: Settings,
    on_epoch: Callable[..., None] | None = None, on_note: Callable[[str], None] | None = None,
    on_step: OnStep | None = None,
) -> TrainHeadResult | FoldsResult:  # fmt: skip
    """Train a head; see :func:`facer.train_head`."""
    settings = TRAIN_HEAD.complete(settings)
    config = train_head_config(store, os.fspath(labels), Path(run), settings)
    import_head(config.fit.head.name)
    if config.folds is not None:
        return train_folds(config, on_epoch, on_note)
    return train_seeds(config, on_epoch, on_note, on_step)


def train_again(
    source: Place, run: Place, store: str | None = None, labels: Place | None = None,
    on_epoch: Callable[..., None] | None = None, on_note: Callable[[str], None] | None = None,
    on_step: OnStep | None = None, **settings: Any,
) -> TrainHeadResult | FoldsResult:  # fmt: skip
    """Make a run again elsewhere, with its settings and seeds; see :meth:`facer.Run.again`.

    ``settings``: jobs, device, resume, ``with_`` where joined stores were moved, and ``head`` for a
    run whose head is not facer's: code is imported for whoever names it alone.
    """
    settings = TRAIN_HEAD.complete(settings)
    names = None if labels is None else os.fspath(labels)
    config = config_of_run(Path(source), Path(run), store, names, settings["with_"] or ())
    config = replace(config, **{name: settings[name] for name in ("jobs", "device", "resume")})
    if (own := settings["head"]) not in (HeadConfig().name, config.fit.head.name):
        raise OptionError(f"{named('head')}: found {own}, the run has {config.fit.head.name}")
    import_head(own)
    if config.folds is not None and config.fold is None:
        return train_folds(config, on_epoch, on_note)
    return train_seeds(config, on_epoch, on_note, on_step)
