"""Functions of models and of this machine: REC, the detector, weights, bench, demo."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from facer.pipeline import models as carried
from facer.pipeline.affect.config import EvaluateRecConfig, TrainRecConfig
from facer.pipeline.affect.evaluate import evaluate_rec as evaluate_weights
from facer.pipeline.affect.train import TrainRecResult
from facer.pipeline.affect.train import train_rec as train
from facer.pipeline.cards.check import check_card
from facer.pipeline.cards.fetch import fetch
from facer.pipeline.cards.listing import list_cards
from facer.pipeline.demo import DemoResult, run_demo
from facer.pipeline.detection import train as detection
from facer.pipeline.detection.train import DetectorResult
from facer.pipeline.features.config import BenchConfig
from facer.pipeline.features.timing.bench import Bench
from facer.pipeline.features.timing.bench import bench as measure
from facer.pipeline.functions.keywords import keywords, places
from facer.pipeline.runtime.epochs import both, detector_step, head_epoch, points_step, rec_epoch
from facer.pipeline.runtime.places import Place
from facer.pipeline.runtime.progress import CountReporter, StepCounter, progress_bar
from facer.pipeline.settings.commands import (
    BENCH,
    EVALUATE_DETECTOR,
    EVALUATE_REC,
    MODEL_ACTIONS,
    TRAIN_DETECTOR,
    TRAIN_POINTS,
    TRAIN_REC,
)
from facer.pipeline.settings.configs import align_config
from facer.pipeline.settings.table import make, plain_value
from facer.stages.affect.config import AugmentConfig, LossWeights, RecFitConfig
from facer.stages.detection.config import DetectorTrainConfig, EvaluationConfig, RefinerTrainConfig
from facer.stages.detection.evaluate import DetectorEvaluation
from facer.stages.detection.evaluate import evaluate as evaluate_detections
from facer.stages.features.config import STARTER_DETECTOR, STARTER_REC
from facer.stages.features.detect import model_path
from facer.stages.features.rec.cards.card import bundled_cards
from facer.stages.features.rec.export import export_onnx
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import OptionError, named
from facer.storage.text.likeness import check_choice

Config = TypeVar("Config", LossWeights, AugmentConfig)


@keywords(TRAIN_REC)
def train_rec(
    run: Place, *, weights: LossWeights | Mapping[str, float] | None = None,
    augmentation: AugmentConfig | Mapping[str, float] | None = None,
    progress: bool = False, on_epoch: Callable[..., None] | None = None, **settings: Any,
) -> TrainRecResult:  # fmt: skip
    """Train REC on labelled faces; several databases are trained on together.

    ``data`` is such as ``["affectnet:AffectNet"]``. The weights are at ``.rec``, which
    :func:`facer.extract` takes as ``rec``. ``weights`` are of loss terms (``{"dm": 0.5}``),
    ``augmentation`` ranges and chances by name (``{"tint": 0.5}``). ``on_epoch(row)`` is called
    after each epoch with its row of the learning curve. Raises FacerError for data that cannot be
    read.
    """
    settings_of_fit = make(
        RecFitConfig, settings, loss=_numbers("weights", LossWeights(), weights),
        augment=_numbers("augmentation", AugmentConfig(), augmentation),
    )  # fmt: skip
    config = make(
        TrainRecConfig, settings, run=Path(run), fit=settings_of_fit, align=align_config(settings)
    )
    if not progress:
        return train(config, on_epoch)
    return train(config, both(rec_epoch(settings_of_fit.epochs), on_epoch),
                 CountReporter("images aligned"),
                 CountReporter("crops answered by the teachers"), StepCounter())  # fmt: skip


def _numbers(name: str, defaults: Config, given: Config | Mapping[str, float] | None) -> Config:
    """``defaults`` with the numbers of a mapping; another object of their class as it is."""
    if given is None or isinstance(given, type(defaults)):
        return given or defaults
    known, found = vars(defaults), plain_value(given)
    if not isinstance(found, Mapping):
        raise OptionError(f"{named(name)}: found {found!r}, expected numbers by name")
    numbers = {one: plain_value(value) for one, value in found.items()}
    for one, value in numbers.items():
        check_choice(named(name), one, known)
        if isinstance(value, bool) or not isinstance(value, int | type(known[one])):
            raise OptionError(f"{named(name)} {one}: found {value!r}, expected a number")
    return replace(defaults, **numbers)


@keywords(EVALUATE_REC)
def evaluate_rec(
    rec: Place = STARTER_REC, *, progress: bool = False, **settings: Any
) -> dict[str, Any]:
    """Score REC weights on labelled faces: expressions, action units, valence and arousal.

    ``data`` is such as ``"pack:FILE.h5"``, ``split`` train or val. Returns what ``facer
    evaluate-rec --json`` prints; None where nothing is labelled.
    """
    config = make(EvaluateRecConfig, settings, os.fspath(rec), align=align_config(settings))
    if not progress:
        return evaluate_weights(config)
    return evaluate_weights(config, CountReporter("crops scored"), CountReporter("images aligned"))


@places
def export_rec(rec: Place, output: Place) -> float:
    """Write REC weights as ONNX, and return how far the file is from torch, at most.

    Raises FacerError for weights that are not there.
    """
    return export_onnx(weights_path(os.fspath(rec)), Path(output))


@keywords(TRAIN_DETECTOR)
def train_detector(
    run: Place, *, progress: bool = False, on_epoch: Callable[..., None] | None = None,
    **settings: Any,
) -> DetectorResult:  # fmt: skip
    """Train facer's face detector; ``.onnx`` is what :func:`facer.extract` takes as ``detector``.

    The same call again resumes it; ``on_epoch(row)`` is called with each row of the curve.
    """
    told = (both(detector_step, on_epoch), StepCounter("steps")) if progress else (on_epoch, None)
    return detection.train_detector(make(DetectorTrainConfig, settings), Path(run), *told)


@keywords(TRAIN_POINTS)
def train_points(
    run: Place, *, progress: bool = False, on_epoch: Callable[..., None] | None = None,
    **settings: Any,
) -> Path:  # fmt: skip
    """Train the points model that follows facer-det, and return its ONNX file.

    The same call again resumes it; ``on_epoch(row)`` is called with each row of the curve.
    """
    told = (both(points_step, on_epoch), StepCounter("steps")) if progress else (on_epoch, None)
    return detection.train_points(make(RefinerTrainConfig, settings), Path(run), *told)


@keywords(EVALUATE_DETECTOR)
def evaluate_detector(detector: Place = STARTER_DETECTOR, **settings: Any) -> DetectorEvaluation:
    """Measure a detector on faces of people, a teacher's faces and scenes.

    ``.tables`` are in Markdown, ``.to_json()`` is what ``facer evaluate-detector --json`` prints.
    """
    return evaluate_detections(make(EvaluationConfig, settings, os.fspath(detector)))


def models(
    action: str = "list", name: str | None = None, *, accept_licence: bool = False,
    write_golden: bool = False,
) -> Any:  # fmt: skip
    """Return the models that facer carries and the cards of public ones; check or fetch one.

    ``list``: a tuple of models with their digests, then cards. ``verify``: a tuple of models, each
    loaded and run; ``.problem`` says what is wrong. ``check``: what each column of the card
    ``name`` did on pictures of faces, and its ``.problems``; ``write_golden`` records what it says
    of one of them, for later checks. ``fetch``: where the weights of a card
    are now, whose licence is to be accepted, or the path of an insightface pack. Raises OptionError
    for another action, an unknown name, and where ``check`` or ``fetch`` has none.
    """
    check_choice("action", action, MODEL_ACTIONS)
    if name is None and action in ("check", "fetch"):
        pack = ", or an insightface pack, such as buffalo_l" if action == "fetch" else ""
        raise OptionError(f"{action}: found no name, expected a model card or its path{pack}")
    if action == "check":
        return check_card(str(name), write_golden=write_golden)
    if action == "fetch":
        if not str(name).endswith(".toml") and name not in bundled_cards():
            return model_path(f"insightface:{name}")
        return fetch(str(name), accept_licence=accept_licence)
    if action == "verify":
        return carried.verify_models(name)
    cards = {card.name: card for card in list_cards()}
    if name in cards:
        return (cards[name],)
    return (*carried.shipped_models(name, cards), *(() if name else cards.values()))


@keywords(BENCH)
def bench(video: Place | None = None, **settings: Any) -> Bench:
    """Measure extraction on this machine's CPU step by step, and how long it would take.

    Without ``video``, a typical one of ``folder`` is measured, or a clip that facer makes.
    """
    return measure(make(BenchConfig, settings, None if video is None else Path(video)))


@places
def demo(folder: Place = "facer-demo", *, progress: bool = False) -> DemoResult:
    """Run the whole of facer on small clips made from photographs, offline, in about two minutes.

    Raises FacerError for a folder that holds something.
    """
    with progress_bar(progress) as to:
        return run_demo(Path(folder), to, on_epoch=head_epoch if progress else None)
