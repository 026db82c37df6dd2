"""The weights that the package carries: what they are, and whether they work here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from facer.stages.features import detect
from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align
from facer.stages.features.config import STARTER_DETECTOR, STARTER_REC, DetectorConfig
from facer.stages.features.rec import loading as rec
from facer.stages.features.refine import KeypointRefiner
from facer.stages.synthesis.plan import SynthesisConfig, plan_clips
from facer.stages.synthesis.render import render
from facer.storage.errors import FacerError, OptionError, one_line
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import U8
from facer.storage.text.likeness import did_you_mean

SHIPPED = Path(str(files("facer.stages.features") / "weights"))
"""The folder of the package's weights."""


@dataclass(frozen=True)
class ModelFile:
    """One file of weights."""

    name: str  # as options call it
    path: Path
    sha256: str  # "" when it cannot be read
    problem: str = ""  # "" when nothing is wrong with it


def shipped_models(name: str | None = None, others: Iterable[str] = ()) -> tuple[ModelFile, ...]:
    """The package's models with their digests; nothing is loaded.

    ``name``: only the model of that name, with what belongs to it; ``OptionError`` for none, which
    names ``others`` that could have been given too.
    """
    return tuple(_described(one, SHIPPED / _MODELS[one][0]) for one in _named(name, others))


def verify_models(name: str | None = None) -> tuple[ModelFile, ...]:
    """The same, after each model was loaded and run on a made-up image of a face.

    A model whose file is missing or damaged, or whose outputs make no sense, comes with its
    problem.
    """
    found = {one: _MODELS[one] for one in _named(name)}
    return tuple(_verified(one, SHIPPED / file, run) for one, (file, run) in found.items())


def _named(name: str | None, others: Iterable[str] = ()) -> tuple[str, ...]:
    chosen = tuple(one for one in _MODELS if name in (None, one) or one.startswith(f"{name} "))
    if not chosen:
        known = [*_MODELS, *others]
        near = did_you_mean(name, known)
        raise OptionError(f"models: found {name!r}, expected one of {', '.join(known)}{near}")
    return chosen


def _described(name: str, path: Path) -> ModelFile:
    try:
        return ModelFile(name, path, weights_sha256(path))
    except OSError as error:
        return ModelFile(name, path, "", f"cannot be read ({one_line(error)})")


def _verified(name: str, path: Path, run: Callable[[Path], None]) -> ModelFile:
    found = _described(name, path)
    if found.problem:
        return found
    try:
        run(path)
    except Exception as error:  # noqa: BLE001 - whatever damaged weights raise is the finding
        return ModelFile(name, path, found.sha256, one_line(error))
    return found


@lru_cache(maxsize=1)
def _face() -> U8:
    """An image of one face, (288, 384, 3)."""
    (plan,) = plan_clips(SynthesisConfig(n_clips=1))
    return next(iter(render(plan)))


def _run_detector(path: Path) -> None:
    config = DetectorConfig(str(path))
    (faces,) = detect.load(config).detect([_face()])
    if len(faces.score) != 1:
        raise FacerError(f"found {len(faces.score)} faces in an image of one")
    _expect_finite(*faces)


def _run_points(path: Path) -> None:
    guess = ARCFACE_TEMPLATE_PX[None] + np.float32(100)
    (points,), (score,) = KeypointRefiner(path).refine([_face()], [guess])
    _expect_finite(points, score)


def _run_rec(path: Path) -> None:
    crops = align(_face(), ARCFACE_TEMPLATE_PX[None] + np.float32(100))
    _expect_finite(rec.load(path, "cpu").predict(crops))


def _expect_finite(*outputs: object) -> None:
    if not all(np.isfinite(np.asarray(values)).all() for values in outputs):
        raise FacerError("gives numbers that are not finite")


_MODELS: dict[str, tuple[str, Callable[[Path], None]]] = {
    STARTER_DETECTOR: ("detector.onnx", _run_detector),
    f"{STARTER_DETECTOR} points": ("points.onnx", _run_points),
    STARTER_REC: (f"{STARTER_REC}.safetensors", _run_rec),
}
