"""The two kinds of stage one, faces and sound: which models, which files, which decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from facer.pipeline.features.guarded.guard import GuardedAudio, GuardedReader
from facer.stages.common.device import resolve_device
from facer.stages.features.audio.config import AudioConfig
from facer.stages.features.config import ExtractConfig, Precision
from facer.stages.features.extraction import Extraction
from facer.stages.features.precision import native_bf16, stored_precision
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError
from facer.storage.files.weights import weights_state

Models: TypeAlias = ExtractConfig | AudioConfig
"""Everything that decides a clip's features."""


class AnyExtractor(Protocol):
    """Models loaded once; files in, features out, in order."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features."""
        ...

    @property
    def weak_features(self) -> tuple[str, ...]:
        """Those that were learnt from weak labels."""
        ...

    @property
    def provenance(self) -> Provenance:
        """What a store of these features records."""
        ...

    def run(
        self, paths: Sequence[Path], on_frames: Callable[[int], None] | None, opener: Any, /
    ) -> Iterator[Extraction]:
        """Extract files, results in their order."""
        ...


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
        from facer.stages.features.rec.loading import files_of

        recs = (path for name in models.recs for path in files_of(name))
        paths = [Path(models.detector.model), *recs]
    return tuple((str(path), weights_state(path)) for path in paths)


def opener(models: Models) -> Any:
    """What opens a file of theirs in the guarded process."""
    return GuardedAudio if isinstance(models, AudioConfig) else GuardedReader


def on_gpu(models: Models) -> bool:
    """Whether they run on a GPU here."""
    of_cpu = isinstance(models, AudioConfig) and not models.learnt
    return not of_cpu and resolve_device(models.device).type == "cuda"


def settled(models: Models, store: str, cluster: bool, note: Callable[[str], None]) -> Models:
    """Models as every process of a run loads them: files by their paths, ``auto`` decided.

    ``cluster`` says that other hosts do it. ``FacerError`` for a device that this machine lacks
    and needs.
    """
    if isinstance(models, AudioConfig):
        models = replace(models, features=_absolute(models.features))
    else:
        detector = replace(models.detector, model=_absolute(models.detector.model))
        models = replace(models, rec=tuple(map(_absolute, models.recs)), detector=detector)
    if not cluster and resolve_device(models.device).type == "cpu":
        models = replace(models, device="cpu")
    if isinstance(models, AudioConfig):
        return models
    return replace(models, precision=_precision(models, store, note))


def _absolute(model: str) -> str:
    """The path of a file of weights, as it is from any folder; a name stays a name."""
    is_file = model.endswith((".onnx", ".safetensors", ".toml")) and Path(model).is_file()
    return str(Path(model).absolute()) if is_file else model


def _precision(models: ExtractConfig, store: str, note: Callable[[str], None]) -> Precision:
    """What ``auto`` means: what the store was made in, or for a new one what is fastest here."""
    device = str(resolve_device("auto")) if models.device == "auto" else models.device
    native = native_bf16(device)
    made: FeatureStore | None = None
    with suppress(FacerError):  # there is none, or opening it again says what is wrong with it
        made = FeatureStore.open(store)
    precision = models.precision
    if precision == "auto" and made is not None:
        precision = stored_precision(made.provenance)
    elif precision == "auto":
        precision = "bf16" if native else "float32"
        if not native:
            note(f"{store}: in float32, as this machine has no fast bfloat16 (a CPU with AMX does)")
    if precision == "bf16" and not native:
        note(f"{store}: in bfloat16, which this machine has to emulate: slower than float32")
    return precision
