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
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from facer import __version__
from facer.pipeline.affect.config import TrainRecConfig
from facer.pipeline.runtime.run_folder import FORMAT, RunFolder
from facer.pipeline.views.canvas import canvas
from facer.stages.affect.config import RecFitConfig
from facer.stages.affect.datasets.aligned import Aligner, AlignReport
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError, weak_features
from facer.stages.affect.datasets.specs import DataSpec, held_out_videos, parse_spec, read_spec
from facer.stages.affect.fit import CropReport, RecTrainer
from facer.stages.common.device import resolve_device
from facer.stages.common.training import OnStep
from facer.stages.features.rec.torch_rec import save_rec
from facer.stages.features.rec.weights import weights_path
from facer.storage.errors import FacerError
from facer.storage.files.weights import file_sha256, weights_sha256
from facer.storage.settings import flat
from facer.storage.text.typed_json import to_json

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_CCC = "mean CCC"
_SPLITS = ("train", "val")
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
    config: TrainRecConfig,
    on_epoch: OnEpoch | None = None,
    on_align: AlignReport | None = None,
    on_teaching: CropReport | None = None,
    on_step: OnStep | None = None,
) -> TrainRecResult:
    """Train REC on all data together; ``resume`` goes on where a stopped run ended.

    On a CPU a resumed training equals an uninterrupted one bit for bit. ``FacerError`` for a
    run folder that is there already, data that cannot be read, and a resumed run whose data or
    settings changed.
    """
    for spec in (*config.data, *config.validation):
        parse_spec(spec)  # what no file could make right comes first
    folder = RunFolder(config.run, RecRunConfig)
    folder.refuse_occupied(config.resume)
    fit = replace(config.fit, device=str(resolve_device(config.fit.device)))
    aligner = Aligner(config.align, report=on_align)
    validation = [  # first: without one, the long reading of the train splits is for nothing
        (spec, _every_nth(_read_val(spec, aligner), config.val_limit))
        for spec in config.validation or config.data
    ]
    names = Counter(data.name for _, data in validation)
    validation = [  # two databases of one kind have one name
        (spec, data if names[data.name] == 1 else replace(data, name=spec))
        for spec, data in validation
    ]
    held_out = held_out_videos(map(parse_spec, (*config.data, *config.validation)))
    train = [
        (spec, read_spec(parse_spec(spec), "train", aligner, held_out)) for spec in config.data
    ]
    sets = [_summary(spec, "train", data) for spec, data in train]
    sets += [_summary(spec, "val", data) for spec, data in validation]
    trainer = RecTrainer(fit, [data for _, data in train], [data for _, data in validation])
    record = _record(config, fit, sets, aligner)
    folder.claim(record, config.resume)
    folder.resume(trainer)
    trainer.ask_teachers(on_teaching)
    rec = config.run / "rec.safetensors"
    weak = weak_features(trainer.train)

    def keep(row: dict[str, Any]) -> None:
        folder.append(row)
        training = {"epoch": trainer.epochs_done, **record.provenance()}
        save_rec(rec, trainer.averaged(), weak=weak, training=training)
        _draw_curve(config.run / "curve.png", folder.read_curve())

    folder.train(trainer, on_epoch, on_step, keep)
    return TrainRecResult(
        run=config.run,
        rec=rec,
        sets=tuple(sets),
        weak_features=weak,
        epochs=trainer.epochs_done,
        last=folder.read_curve()[-1],
    )


def read_curve(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's curve, one an epoch."""
    return RunFolder(run, RecRunConfig).read_curve()


def _read_val(spec: str, aligner: Aligner) -> AffectSet:
    try:
        return read_spec(parse_spec(spec), "val", aligner)
    except NoSplitError as error:
        raise FacerError(f"{error}; name another set to score with --val KIND:PATH") from error


def _every_nth(data: AffectSet, limit: int) -> AffectSet:
    """At most ``limit`` crops, evenly spaced; a note says when that is not all."""
    if len(data) <= limit:
        return data
    rows = np.linspace(0, len(data) - 1, limit).astype(np.int64)
    text = f"{data.name}: {limit} of {len(data)} crops are scored, evenly spaced"
    return replace(data.take(rows), notes=(*data.notes, text))


def _summary(spec: str, split: str, data: AffectSet) -> SetRecord:
    """One set for config.json: what it is, how much of it there is, what was left out."""
    labelled = {
        name: int(np.isfinite(getattr(data, name)).any(axis=1).sum())
        for name in ("expression", "va", "au")
    }
    digest = hashlib.sha256()
    for values in (data.indices, data.expression, data.va, data.au, data.au_trust):
        digest.update(np.ascontiguousarray(np.nan_to_num(values, nan=-9)).tobytes())
    return SetRecord(
        spec=str(_absolute(parse_spec(spec))),
        split=split,
        n=len(data),
        labelled=labelled,
        va_is_weak=data.va_is_weak,
        labels_sha256=digest.hexdigest(),
        notes=tuple(data.notes),
    )


def _absolute(spec: DataSpec) -> DataSpec:
    return replace(spec, path=spec.path.absolute())


def _record(
    config: TrainRecConfig, fit: RecFitConfig, sets: Sequence[SetRecord], aligner: Aligner
) -> RecRunConfig:
    """What config.json says."""
    unit_files = [Path(path) for path in (fit.unit_geometry, *fit.meshes) if path]
    return RecRunConfig(
        format=FORMAT,
        facer_version=__version__,
        sets=tuple(sets),
        fit=fit,
        start_sha256=weights_sha256(weights_path(fit.start)) if fit.start else "",
        teachers_sha256=tuple(weights_sha256(weights_path(one)) for one in fit.teachers),
        unit_files_sha256=tuple(map(file_sha256, unit_files)),
        detector=config.align.detector.in_use(),
        aligned_by=aligner.digest,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        val_limit=config.val_limit,
    )


def _draw_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Losses on the left; accuracy, mean AUC and mean CCC of every validation set on the right."""
    epochs = [row["epoch"] for row in rows]
    with canvas(path, (10, 4), "REC", "losses of training; metrics on validation") as sheet:
        left, right = sheet.subplots(
            1, 2, gridspec_kw={"top": 0.8, "bottom": 0.14, "left": 0.07, "right": 0.73}
        )
        for colour, name in zip(_COLOURS, rows[-1]["loss"], strict=False):
            left.plot(epochs, [row["loss"][name] for row in rows], ".-", color=colour, label=name)
        for place, last in enumerate(rows[-1]["val"]):
            style = _STYLES[place % len(_STYLES)]
            for colour, (name, take) in zip(_COLOURS, _HEADLINES.items(), strict=False):
                values = [take(row["val"][place]) for row in rows]
                if any(value is not None for value in values):
                    shown = [np.nan if value is None else value for value in values]
                    label = f"{last['data']}: {name}{_derived(last, name)}"
                    right.plot(epochs, shown, f".{style}", color=colour, label=label)
        for axis in (left, right):
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
        right.set_ylim(top=1)
        left.legend(frameon=False, fontsize=8)
        right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _derived(scores: dict[str, Any], headline: str) -> str:
    """What to add to a headline whose labels come from the expressions."""
    weak = headline == _CCC and any(e["weak"] for e in scores["va"].values() if e is not None)
    return " (derived)" if weak else ""


def _accuracy(scores: dict[str, Any]) -> float | None:
    found = scores["expression"]
    return None if found is None else float(found["accuracy"])


def _mean(entries: dict[str, Any], metric: str) -> float | None:
    values = [e[metric] for e in entries.values() if e is not None and e[metric] is not None]
    return float(np.mean(values)) if values else None


_HEADLINES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "accuracy": _accuracy,
    "mean AU AUC": lambda scores: _mean(scores["au"], "auc"),
    _CCC: lambda scores: _mean(scores["va"], "ccc"),
}
