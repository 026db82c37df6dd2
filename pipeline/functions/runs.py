"""Functions of runs of heads: train_head, open_run; and what train-head and Run.again share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from facer.pipeline.functions.keywords import keywords, places
from facer.pipeline.intensity.folds.train import FoldsResult, train_folds
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.run import Run
from facer.pipeline.intensity.train import TrainHeadResult, config_of_run
from facer.pipeline.intensity.train import train_head as train_seeds
from facer.pipeline.runtime.epochs import both, training_epoch
from facer.pipeline.runtime.places import Place, place_of
from facer.pipeline.runtime.progress import log
from facer.pipeline.settings.commands import TRAIN_AGAIN, TRAIN_HEAD
from facer.pipeline.settings.configs import train_head_config
from facer.pipeline.settings.table import Settings, make
from facer.stages.common.training import OnStep
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.heads.own import import_head
from facer.stages.intensity.sequence_config import StreamsConfig
from facer.storage import FeatureStore
from facer.storage.errors import OptionError, named


@keywords(TRAIN_HEAD)
def train_head(
    store: FeatureStore | Place, labels: Place, run: Place, *, progress: bool = False,
    on_epoch: Callable[..., None] | None = None, **settings: Any,
) -> Run:  # fmt: skip
    """Train a head on a store, as ``facer train-head``, and return its run.

    Keywords are the command's options with underscores, such as ``seeds=3``, ``features="va,au"``
    or ``folds=5``; the defaults are the paper's. ``progress=True`` tells on stderr how it goes.
    ``on_epoch(seed, row, epochs)`` is called after each epoch with its row of the learning curve
    (``row.epoch``, ``row.train_loss``, ``row.val_pearson`` ...) and the number of epochs at most;
    with ``folds`` it is ``on_epoch(fold, seed, row, epochs)``, and with ``jobs`` of 2 or more it
    is called once a seed. What it raises stops the training, which ``resume=True`` goes on with.
    Raises FacerError for a wrong setting, a folder that holds a run already (``resume=True`` goes
    on with it) and where nothing can be learnt.
    """
    train(
        place_of(store) or "", labels, run, settings,
        both(training_epoch if progress else None, on_epoch), log if progress else None,
    )  # fmt: skip
    return Run(run)


@places
def open_run(path: Place) -> Run:
    """Open a run folder; FacerError when it is none."""
    read_run(Path(path))
    return Run(path)


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
    run whose head is not facer's: code is imported for whoever names it alone. OptionError for
    others, which are the run's own.
    """
    settings = TRAIN_AGAIN.complete(settings)
    names = None if labels is None else os.fspath(labels)
    streams = make(StreamsConfig, settings).stores
    config = config_of_run(Path(source), Path(run), store, names, streams)
    config = replace(config, **{name: settings[name] for name in ("jobs", "device", "resume")})
    if (own := settings["head"]) not in (HeadConfig().name, config.fit.head.name):
        raise OptionError(f"{named('head')}: found {own}, the run has {config.fit.head.name}")
    import_head(own)
    if config.folds is not None and config.fold is None:
        return train_folds(config, on_epoch, on_note)
    return train_seeds(config, on_epoch, on_note, on_step)
