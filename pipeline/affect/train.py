"""Training of REC as a run folder: labelled data named by specs, everything that made it kept.

RUN/
  config.json          data with counts and notes, all settings, facer's version
  rec.safetensors      the averaged weights after the last epoch, as extract takes them
  last.safetensors     where the training stopped, to go on from
  curve.jsonl          one row an epoch: losses, and the metrics of every validation set
  curve.png            the same as a picture
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from facer import __version__
from facer.pipeline.affect.config import TrainRecConfig
from facer.pipeline.affect.curve import draw_curve
from facer.pipeline.runtime.run_folder import FORMAT, RunFolder
from facer.stages.affect.config import RecFitConfig
from facer.stages.affect.datasets.aligned import Aligner
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError, weak_features
from facer.stages.affect.datasets.specs import DataSpec, held_out_videos, parse_spec, read_spec
from facer.stages.affect.fit import RecTrainer
from facer.stages.common.device import resolve_device
from facer.stages.common.training import OnStep
from facer.stages.features.rec.torch_rec import save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.weights import file_sha256, weights_sha256
from facer.storage.schema import FEATURE_NAMES, OnCount
from facer.storage.settings import flat
from facer.storage.text.typed_json import to_json

_log = logging.getLogger("facer")

_SPLITS = ("train", "val")
_MOST_DIGESTED = 20_000  # crops of a set, which take seconds to read
OnEpoch = Callable[[dict[str, Any]], None]
"""Called with the epoch's row of the curve."""

_FREE = ("device", "workers")  # settings that a resumed training may change


@dataclass(frozen=True)
class SetRecord:
    """One set that was trained on or scored."""

    spec: str
    split: str
    n: int
    labelled: Mapping[str, int]  # crops with labels of each kind
    va_is_weak: bool
    labels_sha256: str
    notes: tuple[str, ...]  # what was left out
    crops_sha256: str | None = None  # older runs do not say


@dataclass(frozen=True)
class RecRunConfig:
    """What ``config.json`` says."""

    COMMAND: ClassVar[str] = "facer train-rec"
    OPTIONS: ClassVar[tuple[str, ...]] = ("fit", "val_limit")

    format: int
    facer_version: str
    sets: tuple[SetRecord, ...]
    fit: RecFitConfig
    start_sha256: str = ""
    teachers_sha256: tuple[str, ...] = ()
    unit_files_sha256: tuple[str, ...] = ()
    detector: Mapping[str, Any] = field(default_factory=dict)
    aligned_by: str = ""
    torch: str = ""
    threads: int = 1
    val_limit: int = 10_000

    def deciding(self) -> Mapping[str, Any]:
        """Settings and data."""
        sets = [to_json(one) for one in self.sets]
        keys = ("start_sha256", "teachers_sha256", "unit_files_sha256", "detector", "aligned_by")
        return {
            "fit": _decisive(self.fit),
            "sets": {split: [s.spec for s in self.sets if s.split == split] for split in _SPLITS},
            "set": {f"{one['spec']} {one['split']}": one for one in sets},
            **{key: to_json(getattr(self, key)) for key in (*keys, "val_limit")},
        }

    def provenance(self) -> dict[str, Any]:
        """What the weights say about their making: no folders and file names of this machine."""
        keys = ("split", "n", "labelled", "labels_sha256")
        sets = [
            {
                "data": one.spec.partition(":")[0] + ":" + Path(one.spec).name,
                **{key: to_json(getattr(one, key)) for key in keys},
            }
            for one in self.sets
            if one.split == "train"
        ]
        fit = _decisive(self.fit)
        fit["start"] = Path(fit["start"]).name
        fit["teachers"] = [Path(teacher).name for teacher in fit["teachers"]]
        fit["unit_geometry"] = Path(fit["unit_geometry"]).name
        fit["meshes"] = [Path(path).name for path in fit["meshes"]]
        names = ("facer_version", "start_sha256", "teachers_sha256", "unit_files_sha256")
        known = {name: to_json(getattr(self, name)) for name in names}
        return {**known, "sets": sets, "fit": fit}


def settings_of_run(run: Path) -> dict[str, Any]:
    """The settings of a run by name, as ``facer train-rec --config RUN`` takes them."""
    record = RunFolder(run, RecRunConfig).read()
    specs = {split: [one.spec for one in record.sets if one.split == split] for split in _SPLITS}
    detector = {_DETECTOR[name]: v for name, v in record.detector.items() if name in _DETECTOR}
    loss, augment = vars(record.fit.loss), vars(record.fit.augment)
    return {
        **dict(flat(record.fit)), **detector, "data": specs["train"], "val": specs["val"],
        "val_limit": record.val_limit,
        "weights": [f"{name}={value}" for name, value in loss.items()],
        "augment": [f"{name}={value}" for name, value in augment.items()],
    }  # fmt: skip


_DETECTOR = {"model": "detector", "size_px": "det_size", "threshold": "det_threshold"}


def _decisive(fit: RecFitConfig) -> dict[str, Any]:
    return {key: value for key, value in to_json(fit).items() if key not in _FREE}


@dataclass(frozen=True)
class TrainRecResult:
    """What a training made."""

    run: Path
    rec: Path  # the weights
    sets: tuple[SetRecord, ...]
    weak_features: tuple[str, ...]
    epochs: int
    last: dict[str, Any]  # the last epoch's row of the curve


def train_rec(
    config: TrainRecConfig, on_epoch: OnEpoch | None = None, on_align: OnCount | None = None,
    on_teaching: OnCount | None = None, on_step: OnStep | None = None,
) -> TrainRecResult:  # fmt: skip
    """Train REC on all data together; ``resume`` goes on where a stopped run ended.

    On a CPU a resumed training equals an uninterrupted one bit for bit. ``FacerError`` for a
    run folder that is there already, data that cannot be read, and a resumed run whose data or
    settings changed.
    """
    specs = [parse_spec(spec) for spec in (*config.data, *config.validation)]
    _refuse_twice(specs[: len(config.data)])
    folder = RunFolder(config.run, RecRunConfig)
    folder.refuse_occupied(config.resume)
    fit = replace(config.fit, device=str(resolve_device(config.fit.device)))
    aligner = Aligner(config.align, report=on_align)
    validation = _read_validation(config, aligner)  # first: without one, all reading is in vain
    held_out = held_out_videos(specs)
    train = [read_spec(parse_spec(spec), "train", aligner, held_out) for spec in config.data]
    weak = weak_features(train, fit.loss, taught=bool(fit.teachers))
    if len(weak) == len(FEATURE_NAMES) and not fit.unit_geometry:
        raise FacerError(
            f"train-rec: found no label to learn from in {', '.join(config.data)}, expected one of "
            "any kind whose term of the loss has a weight above 0"
        )
    trainer = RecTrainer(fit, train, validation)
    sets = _sets(config, train, validation)
    record = _record(config, fit, sets, aligner)
    folder.claim(record, config.resume)
    rec = config.run / "rec.safetensors"

    def save() -> None:
        training = {"epoch": trainer.epochs_done, **record.provenance()}
        save_rec(rec, trainer.averaged(), weak=weak, training=training)
        draw_curve(config.run / "curve.png", folder.read_curve())

    def keep(row: dict[str, Any]) -> None:
        folder.append(row)
        save()

    with folder.alone():
        folder.resume(trainer, curve=True)
        trainer.ask_teachers(on_teaching)
        if trainer.finished:  # what it made may be gone since
            save()
        folder.train(trainer, on_epoch, on_step, keep)
    return TrainRecResult(
        run=config.run, rec=rec, sets=sets, weak_features=weak, epochs=trainer.epochs_done,
        last=folder.read_curve()[-1],
    )  # fmt: skip


def _refuse_twice(specs: Sequence[DataSpec]) -> None:
    """One database given twice would weigh as two, and is none the less."""
    places = [(spec.kind, spec.path.resolve()) for spec in specs]
    for spec, place in zip(specs, places, strict=True):
        if places.count(place) > 1:
            raise OptionError(f"{named('data')}: found {spec} twice, expected each set once")


def _read_validation(config: TrainRecConfig, aligner: Aligner) -> list[AffectSet]:
    """The val split of each set, at most ``val_limit`` crops of it, under names of their own."""
    found = [_every_nth(_read_val(spec, aligner), config.val_limit) for spec in config.specs]
    names = Counter(data.name for data in found)
    return [  # two databases of one kind have one name
        data if names[data.name] == 1 else replace(data, name=spec)
        for spec, data in zip(config.specs, found, strict=True)
    ]


def _read_val(spec: str, aligner: Aligner) -> AffectSet:
    try:
        return read_spec(parse_spec(spec), "val", aligner)
    except NoSplitError as error:
        raise FacerError(
            f"{error.marked}; name another set to score with {named('val')} KIND:PATH"
        ) from error


def _every_nth(data: AffectSet, limit: int) -> AffectSet:
    """At most ``limit`` crops, evenly spaced; a note says when that is not all."""
    if len(data) <= limit:
        return data
    rows = np.linspace(0, len(data) - 1, limit).astype(np.int64)
    text = f"{data.name}: {limit} of {len(data)} crops are scored, evenly spaced"
    return replace(data.take(rows), notes=(*data.notes, text))


def _sets(
    config: TrainRecConfig, train: Sequence[AffectSet], validation: Sequence[AffectSet]
) -> tuple[SetRecord, ...]:
    """What is trained on and what is scored."""
    seen: set[bytes] = set()
    found: list[SetRecord] = []
    for spec, data in zip(config.data, train, strict=True):
        total, digests = _crop_digests(data)
        seen.update(digests)
        found.append(_summary(spec, "train", data, total))
    for spec, data in zip(config.specs, validation, strict=True):
        total, digests = _crop_digests(data)
        if known := sum(digest in seen for digest in digests):
            _log.warning(
                "%s: %d of %d crops of val are in train too, pixel for pixel; scores on them "
                "flatter", spec, known, len(digests),
            )  # fmt: skip
        found.append(_summary(spec, "val", data, total))
    return tuple(found)


def _summary(spec: str, split: str, data: AffectSet, crops_sha256: str) -> SetRecord:
    """One set for config.json: what it is, how much of it there is, what was left out."""
    labelled = {
        name: int(np.isfinite(getattr(data, name)).any(axis=1).sum())
        for name in ("expression", "va", "au")
    }
    digest = hashlib.sha256()
    for values in (data.indices, data.expression, data.va, data.au, data.au_trust):
        digest.update(np.ascontiguousarray(np.nan_to_num(values, nan=-9)).tobytes())
    parsed = parse_spec(spec)
    return SetRecord(
        spec=str(replace(parsed, path=parsed.path.absolute())), split=split, n=len(data),
        labelled=labelled, va_is_weak=data.va_is_weak, labels_sha256=digest.hexdigest(),
        notes=tuple(data.notes), crops_sha256=crops_sha256,
    )  # fmt: skip


def _crop_digests(data: AffectSet) -> tuple[str, list[bytes]]:
    """Digests of the crops, of all together and of each; of ``_MOST_DIGESTED``, evenly spaced,
    where there are more.
    """
    together, each = hashlib.sha256(), []
    for row in np.linspace(0, len(data) - 1, min(len(data), _MOST_DIGESTED)).astype(np.int64):
        crop = data.crop(int(row)).tobytes()
        together.update(crop)
        each.append(hashlib.sha256(crop).digest())
    return together.hexdigest(), each


def _record(
    config: TrainRecConfig, fit: RecFitConfig, sets: tuple[SetRecord, ...], aligner: Aligner
) -> RecRunConfig:
    """What config.json says."""
    unit_files = [Path(path) for path in (fit.unit_geometry, *fit.meshes) if path]
    return RecRunConfig(
        format=FORMAT, facer_version=__version__, sets=sets, fit=fit,
        start_sha256=weights_sha256(weights_path(fit.start)) if fit.start else "",
        teachers_sha256=tuple(weights_sha256(weights_path(one)) for one in fit.teachers),
        unit_files_sha256=tuple(map(file_sha256, unit_files)),
        detector=config.align.detector.in_use(), aligned_by=aligner.digest,
        torch=torch.__version__, threads=torch.get_num_threads(), val_limit=config.val_limit,
    )  # fmt: skip
