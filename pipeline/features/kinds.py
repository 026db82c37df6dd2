"""The two kinds of stage one, faces and sound: which models, which files, which decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from facer.pipeline.features.guarded.guard import GuardedAudio, GuardedReader
from facer.stages.common import device
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import ExtractConfig, Precision
from facer.stages.features.precision import native_bf16
from facer.storage.files.weights import weights_state

if TYPE_CHECKING:
    from facer.stages.features.audio.extractor import AudioExtractor
    from facer.stages.features.extractor import Extractor

Models: TypeAlias = ExtractConfig | AudioConfig
"""Everything that decides a clip's features."""


AnyExtractor: TypeAlias = "Extractor | AudioExtractor"
"""Models loaded once; files in, features out, in order."""


def make_extractor(models: Models) -> AnyExtractor:
    """Load models; ``FacerError`` for those that are not there."""
    if isinstance(models, AudioConfig):
        from facer.stages.features.audio.extractor import AudioExtractor

        return AudioExtractor(models)
    from facer.stages.features.extractor import Extractor

    return Extractor(models)


def model_files(models: Models) -> tuple[tuple[str, str], ...]:
    """Path and state of every file that the models are made of: another one when it was changed."""
    if isinstance(models, AudioConfig):
        paths = [Path(models.features)] if models.learnt else []
        if models.learnt:
            from facer.stages.features.audio.card import read_audio_card

            paths.append(paths[0].parent / read_audio_card(paths[0]).file.name)
    else:
        from facer.stages.features.rec.weights import files_of

        recs = (path for name in models.recs for path in files_of(name))
        paths = [Path(models.detector.model), *recs]
    return tuple((str(path), weights_state(path)) for path in paths)


def opener(models: Models) -> Any:
    """What opens a file of theirs in the guarded process."""
    return GuardedAudio if isinstance(models, AudioConfig) else GuardedReader


def on_gpu(models: Models) -> bool:
    """Whether they run on a GPU here."""
    of_cpu = isinstance(models, AudioConfig) and not models.learnt
    return not of_cpu and device.on_gpu(models.device)


def located(models: Models, *, cluster: bool) -> Models:
    """Models as every process of a run loads them, their files by their paths.

    ``cluster`` says that other hosts do it. ``FacerError`` for a device that this machine lacks
    and needs.
    """
    if isinstance(models, AudioConfig):
        models = replace(models, features=absolute_model(models.features))
    else:
        detector = replace(models.detector, model=absolute_model(models.detector.model))
        models = replace(models, rec=tuple(map(absolute_model, models.recs)), detector=detector)
    if cluster or device.on_gpu(models.device):
        return models
    return replace(models, device="cpu")


def absolute_model(model: str) -> str:
    """The path of a file of weights, as it is from any folder; a name stays a name."""
    is_file = model.endswith((".onnx", ".safetensors", ".toml")) and Path(model).is_file()
    return str(Path(model).absolute()) if is_file else model


def decided(models: Models, made: Precision | None) -> tuple[Models, bool]:
    """Models whose precision is ``auto`` no more, and whether bfloat16 is native here.

    ``made``: what the store was made in, which stays; None for a new one, which is made in what is
    fastest here.
    """
    if isinstance(models, AudioConfig):
        return models, True
    native = native_bf16(device.device_name(models.device))
    precision = models.precision
    if precision == "auto":
        # for the detector alone it would gain little
        fast = native and len(always_float32(models)) < len(models.recs)
        precision = made or ("bf16" if fast else "float32")
    return replace(models, precision=precision), native


def always_float32(models: ExtractConfig) -> list[str]:
    """Names of the networks that run in float32 whatever the precision."""
    from facer.stages.features.rec.weights import takes_bf16

    return [Path(name).stem for name in models.recs if not takes_bf16(name)]
