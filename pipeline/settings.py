"""Settings of Python's functions and of the commands: same words, defaults and checks.

A keyword is the long option of the command with underscores. Values go into the configs, whose
fields have the defaults and the checks.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from facer.pipeline.features.extract import ExtractRunConfig
from facer.pipeline.intensity.fold_plan import FoldConfig
from facer.pipeline.intensity.train import TrainHeadConfig
from facer.pipeline.runtime.executors import TlsFiles
from facer.stages.features.detect import STARTER, detector_config
from facer.stages.features.extractor import ExtractConfig
from facer.stages.intensity.fit import FitConfig
from facer.stages.intensity.heads import HEADS, HeadConfig
from facer.stages.intensity.sequences import SequenceConfig
from facer.storage import LabelOptions
from facer.storage.errors import FacerError, OptionError
from facer.storage.text.likeness import did_you_mean

Settings = Mapping[str, Any]
"""Values by keyword."""

_ANY = (str, int, float, bool, NoneType)


class UnknownSettingError(OptionError, TypeError):
    """A keyword that a function does not take."""


class Group:
    """Keywords that fill the fields of one config; ``renamed`` are those of another name."""

    def __init__(self, config: type, *same: str, **renamed: str) -> None:
        self.config = config
        self.field_of = {name: name for name in same} | renamed
        hints, by_name = get_type_hints(config), {field.name: field for field in fields(config)}
        self.types = {k: _types(hints[name]) for k, name in self.field_of.items()}
        self.defaults = {k: _default(by_name[name]) for k, name in self.field_of.items()}

    def make(self, settings: Settings, *positional: Any, **others: Any) -> Any:
        """Return the config; ``others`` are fields that no keyword fills."""
        values = {
            field: tuple(words(settings[k])) if tuple in self.types[k] else settings[k]
            for k, field in self.field_of.items()
        }
        return self.config(*positional, **values, **others)


def _types(hint: Any) -> tuple[type, ...]:
    """The types of values that an annotation allows, of literals too."""
    found: list[type] = []
    for one in get_args(hint) if hasattr(hint, "__args__") and not _is_tuple(hint) else (hint,):
        if _is_tuple(one):
            found.append(tuple)
        else:
            found.append(one if isinstance(one, type) else str)
    return tuple(str if kind not in (*_ANY, tuple) else kind for kind in found)


def _is_tuple(hint: Any) -> bool:
    return getattr(hint, "__origin__", None) is tuple


def _default(field: Any) -> Any:
    return field.default_factory() if field.default is MISSING else field.default


_EXTRACT = Group(
    ExtractConfig, "rec", "prefer", "identify", "device", "face", "stride", "detect_every",
    "decoders", "embedding", "batch_size",
)  # fmt: skip
_RUN = Group(
    ExtractRunConfig, "workers", "scheduler", "part_size", "retry_failed", "changed", "gone",
    settle="settle_s",
)  # fmt: skip
_LABELS = Group(
    LabelOptions, "kind", "id_column", "targets", "subject_column", "split_column",
    "missing_values",
)  # fmt: skip
_SEQUENCES = Group(SequenceConfig, "features", "missing", "overlong", t="max_frames")
_HEAD = Group(HeadConfig, "cell", "units", "layers", "dense", "dropout", head="name")
_FIT = Group(
    FitConfig, "loss", "batch_size", "learning_rate", "epochs", "patience", "standardise",
    "calibrate", "seed",
)  # fmt: skip
_TRAIN = Group(TrainHeadConfig, "seeds", "jobs", "device", "threads", "resume")

_DETECTOR: Settings = {"detector": STARTER, "det_size": None, "det_threshold": None}
_TLS: Settings = {"tls_ca_file": None, "tls_cert": None, "tls_key": None}
_FOLDS: Settings = {"folds": None, "by": "auto", "fold_splits": ("train", "val")}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "detector": (str,), "det_size": (int, NoneType), "det_threshold": (float, NoneType),
    "tls_ca_file": (str, NoneType), "tls_cert": (str, NoneType), "tls_key": (str, NoneType),
    "folds": (int, str, NoneType), "by": (str,), "fold_splits": (tuple,), "no_mask": (bool,),
}  # fmt: skip


class Keywords:
    """The keywords of one function, with their defaults and types."""

    def __init__(self, *groups: Group, **others: Any) -> None:
        self.defaults = {k: v for group in groups for k, v in group.defaults.items()} | others
        types = {k: v for group in groups for k, v in group.types.items()}
        self.types = {**types, **{name: _TYPES[name] for name in others}}

    def complete(self, given: Settings) -> dict[str, Any]:
        """Return all settings, checked for their type; FacerError for an unknown keyword."""
        for name in given:
            if name not in self.defaults:
                near = did_you_mean(name, self.defaults)
                raise UnknownSettingError(
                    f"{name}: found no such setting{near}"
                    + ("" if near else f"; expected some of {', '.join(self.defaults)}")
                )
        checked = {name: _checked(name, value, self.types[name]) for name, value in given.items()}
        return {**self.defaults, **checked}

    def signature(self, function: Any) -> Signature:
        """Return a function's signature with the keywords in place of ``**settings``."""
        own = [p for p in _own(function) if p.kind is not Parameter.VAR_KEYWORD]
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in self.defaults.items()
        ]
        return Signature([*own, *more])


def _own(function: Any) -> Sequence[Parameter]:
    return tuple(Signature.from_callable(function).parameters.values())


EXTRACT_MODELS = Keywords(_EXTRACT, **_DETECTOR)
EXTRACT = Keywords(_EXTRACT, _RUN, **_DETECTOR, **_TLS)
LABELS = Keywords(_LABELS)
DATASET = Keywords(_LABELS, _SEQUENCES)
TRAIN_HEAD = Keywords(_LABELS, _SEQUENCES, _HEAD, _FIT, _TRAIN, no_mask=False, **_FOLDS)


def extract_config(settings: Settings) -> ExtractConfig:
    """Return which models, faces and frames; from all of :data:`EXTRACT_MODELS`."""
    detector = detector_config(*(settings[name] for name in _DETECTOR))
    config: ExtractConfig = _EXTRACT.make(settings, detector)
    return config


def extract_run_config(video_dir: Path | str, store: str, settings: Settings) -> ExtractRunConfig:
    """Return a whole extraction; from all of :data:`EXTRACT`."""
    tls = TlsFiles(*(None if settings[k] is None else Path(settings[k]) for k in _TLS))
    config: ExtractRunConfig = _RUN.make(
        settings, video_dir, store, extract=extract_config(settings), tls=tls
    )
    return config


def label_options(settings: Settings) -> LabelOptions:
    """Return how labels are read; from all of :data:`LABELS`."""
    options: LabelOptions = _LABELS.make(settings)
    return options


def sequence_config(settings: Settings) -> SequenceConfig:
    """Return how features become sequences."""
    config: SequenceConfig = _SEQUENCES.make(settings)
    return config


def train_head_config(store: str, labels: str, run: Path, settings: Settings) -> TrainHeadConfig:
    """Return a whole training; from all of :data:`TRAIN_HEAD`."""
    head: HeadConfig = _HEAD.make(settings, routed=not settings["no_mask"])
    if head.name not in HEADS:
        raise OptionError(f"--head: found {head.name!r}, expected one of {', '.join(HEADS)}")
    if head.unused:
        names = ("--no-mask" if name == "routed" else f"--{name}" for name in head.unused)
        raise OptionError(f"--head {head.name} takes no {', '.join(names)}")
    config: TrainHeadConfig = _TRAIN.make(
        settings, store, labels, run, reading=label_options(settings),
        sequences=sequence_config(settings), fit=_FIT.make(settings, head),
        folds=fold_config(settings),
    )  # fmt: skip
    return config


def fold_config(settings: Settings) -> FoldConfig | None:
    """Return how clips are divided; None where they are not."""
    if settings["folds"] is None:
        for name in ("by", "fold_splits"):
            if settings[name] != _FOLDS[name] and tuple(words(settings[name])) != _FOLDS[name]:
                raise OptionError(f"--{name.replace('_', '-')}: expected --folds beside it")
        return None
    splits = tuple(words(settings["fold_splits"]))
    return FoldConfig(str(settings["folds"]), settings["by"], splits)


def words(value: str | Sequence[object] | None) -> list[str]:
    """Return the words of ``"A, B"``, or those of a sequence; none for None."""
    parts = (value or "").split(",") if isinstance(value, str | NoneType) else map(str, value)
    return [word.strip() for word in parts if word.strip()]


def _checked(name: str, value: Any, types: tuple[type, ...]) -> Any:
    """Return a value as one of some types: whole numbers of numpy and paths are taken too."""
    if (value is None and NoneType in types) or (isinstance(value, bool) and bool in types):
        return value
    if isinstance(value, os.PathLike) and str in types:
        return os.fspath(value)
    if tuple in types and (isinstance(value, str) or _is_words(value)):
        return value
    if isinstance(value, str) and str in types:
        return value
    if not isinstance(value, bool | str):
        if int in types and hasattr(value, "__index__"):
            return operator.index(value)
        if float in types and hasattr(value, "__float__"):
            return float(value)
    kinds = " or ".join(dict.fromkeys(_KIND_NAMES[kind] for kind in types))
    raise OptionError(f"--{name.replace('_', '-')}: found {value!r}, expected {kinds}")


def _is_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value)


_KIND_NAMES: Mapping[type, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "text",
    tuple: "a list of words", NoneType: "None",
}  # fmt: skip

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")


@contextmanager
def errors_in_python() -> Iterator[None]:
    """Errors of settings name the keyword, ``seeds``, where they named the option, ``--seeds``."""
    try:
        yield
    except FacerError as error:
        error.args = (in_python(str(error), everywhere=isinstance(error, OptionError)),)
        raise


def in_python(message: str, everywhere: bool = True) -> str:
    """Return a message with keywords in place of options.

    ``everywhere``, or only at its beginning: other parts may tell of a command to run.

    >>> in_python("--batch-size: found 0, expected 1 or more; or --loss mse")
    'batch_size: found 0, expected 1 or more; or loss mse'
    >>> in_python("--split dev: no such rows; see facer check --labels", everywhere=False)
    'split dev: no such rows; see facer check --labels'
    """

    def keyword(found: re.Match[str]) -> str:
        return found[1].replace("-", "_") if everywhere or found.start() == 0 else found[0]

    return _OPTION.sub(keyword, message)
