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
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facer import __version__
from facer.pipeline.views.canvas import canvas
from facer.stages.affect.datasets.aligned import AlignConfig, Aligner, AlignReport
from facer.stages.affect.datasets.samples import AffectSet, NoSplitError, weak_features
from facer.stages.affect.datasets.specs import DataSpec, held_out_videos, parse_spec, read_spec
from facer.stages.affect.fit import CropReport, EpochReport, RecFitConfig, RecTrainer, StepReport
from facer.stages.features.rec.loading import resolve_device, weights_path
from facer.storage.errors import FacerError, OptionError
from facer.storage.files.objects import LocalObjects
from facer.storage.files.weights import file_sha256, weights_sha256
from facer.storage.layout.documents import read_json_lines, read_json_object
from facer.storage.text.differing import differing

_FORMAT = 1
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", ":", "-.")
_CCC = "mean CCC"
_SPLITS = ("train", "val")
_FREE = ("device", "workers")  # settings that a resumed training may change


@dataclass(frozen=True)
class TrainRecConfig:
    """One ``facer train-rec``."""

    data: tuple[str, ...]  # specs; their train splits are trained on
    run: Path
    validation: tuple[str, ...] = ()  # specs; their val splits are scored; empty: those of data
    fit: RecFitConfig = field(default_factory=RecFitConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    val_limit: int = 10_000  # crops of a validation set that are scored each epoch
    resume: bool = False

    def __post_init__(self) -> None:
        if not self.data:
            raise OptionError("--data: found none, expected at least one, such as pack:FILE.h5")
        if self.val_limit < 1:
            raise OptionError(f"--val-limit: found {self.val_limit}, expected 1 or more")
        for text in (*self.data, *self.validation):
            parse_spec(text)


@dataclass(frozen=True)
class TrainRecResult:
    """What a training made."""

    run: Path
    rec: Path  # the weights
    sets: tuple[dict[str, Any], ...]  # as in config.json: spec, split, n, labels, notes ...
    weak_features: tuple[str, ...]
    epochs: int
    last: dict[str, Any]  # the last epoch's row of the curve


def train_rec(
    config: TrainRecConfig,
    on_epoch: EpochReport | None = None,
    on_align: AlignReport | None = None,
    on_teaching: CropReport | None = None,
    on_step: StepReport | None = None,
) -> TrainRecResult:
    """Train REC on all data together; ``resume`` goes on where a stopped run ended.

    On a CPU a resumed training equals an uninterrupted one bit for bit. ``FacerError`` for a
    run folder that is there already, data that cannot be read, and a resumed run whose data or
    settings changed.
    """
    _refuse_existing(config)
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
    record = _record(config, fit, sets, aligner)
    trainer = RecTrainer(fit, [data for _, data in train], config.run, _provenance(record))
    _open_run(config, record)
    if (config.run / "last.safetensors").exists():
        trainer.resume()
        _draw_curve(config.run / "curve.png", read_curve(config.run))  # the stop may have cut it
    else:
        (config.run / "curve.jsonl").unlink(missing_ok=True)  # of a first epoch cut short
    scored = [data for _, data in validation]
    trainer.fit(scored, _then_draw(config.run, on_epoch), on_teaching, on_step)
    return TrainRecResult(
        run=config.run,
        rec=config.run / "rec.safetensors",
        sets=tuple(sets),
        weak_features=weak_features(trainer.train),
        epochs=trainer.epoch,
        last=read_curve(config.run)[-1],
    )


def read_curve(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's curve, one an epoch."""
    return read_json_lines(run / "curve.jsonl")


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


def _summary(spec: str, split: str, data: AffectSet) -> dict[str, Any]:
    """One set for config.json: what it is, how much of it there is, what was left out."""
    labelled = {
        name: int(np.isfinite(getattr(data, name)).any(axis=1).sum())
        for name in ("expression", "va", "au")
    }
    digest = hashlib.sha256()
    for values in (data.indices, data.expression, data.va, data.au, data.au_trust):
        digest.update(np.ascontiguousarray(np.nan_to_num(values, nan=-9)).tobytes())
    return {
        "spec": str(_absolute(parse_spec(spec))),
        "split": split,
        "n": len(data),
        "labelled": labelled,
        "va_is_weak": data.va_is_weak,
        "labels_sha256": digest.hexdigest(),
        "notes": list(data.notes),
    }


def _absolute(spec: DataSpec) -> DataSpec:
    return replace(spec, path=spec.path.absolute())


def _record(
    config: TrainRecConfig, fit: RecFitConfig, sets: Sequence[dict[str, Any]], aligner: Aligner
) -> dict[str, Any]:
    """What config.json says, as it reads back."""
    record = {
        "format": _FORMAT,
        "facer_version": __version__,
        "sets": list(sets),
        "fit": asdict(fit),
        "start_sha256": weights_sha256(weights_path(fit.start)) if fit.start else "",
        "teachers_sha256": [weights_sha256(weights_path(teacher)) for teacher in fit.teachers],
        "unit_files_sha256": [
            file_sha256(Path(path)) for path in (fit.unit_geometry, *fit.meshes) if path
        ],
        "detector": asdict(config.align.detector),
        "aligned_by": aligner.digest,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "val_limit": config.val_limit,
    }
    return dict(json.loads(json.dumps(record)))


def _provenance(record: dict[str, Any]) -> dict[str, Any]:
    """What the weights say about their making: no folders and file names of this machine."""
    sets = [
        {
            "data": one["spec"].partition(":")[0] + ":" + Path(one["spec"]).name,
            **{key: one[key] for key in ("split", "n", "labelled", "labels_sha256")},
        }
        for one in record["sets"]
        if one["split"] == "train"
    ]
    fit = {k: v for k, v in record["fit"].items() if k not in _FREE}
    fit["start"] = Path(fit["start"]).name
    fit["teachers"] = [Path(teacher).name for teacher in fit["teachers"]]
    fit["unit_geometry"] = Path(fit["unit_geometry"]).name
    fit["meshes"] = [Path(path).name for path in fit["meshes"]]
    keys = ("facer_version", "start_sha256", "teachers_sha256", "unit_files_sha256")
    known = {key: record[key] for key in keys}
    return {**known, "sets": sets, "fit": fit}


def _refuse_existing(config: TrainRecConfig) -> None:
    if config.run.exists() and not config.run.is_dir():
        raise FacerError(f"{config.run}: is a file, expected the name of a new folder")
    if config.resume or not config.run.is_dir() or not any(config.run.iterdir()):
        return
    raise FacerError(
        f"{config.run}: is there already and not empty; use another -o, or --resume to go on"
    )


def _open_run(config: TrainRecConfig, record: dict[str, Any]) -> None:
    """Write config.json, or compare it with the one of the run that is resumed."""
    path = config.run / "config.json"
    if not path.is_file():
        LocalObjects(config.run).put(path.name, (json.dumps(record, indent=1) + "\n").encode())
        return
    before = read_json_object(path)
    changed = differing(_decisive(before), _decisive(record), ("fit", "val_limit"))
    if changed:
        raise FacerError(
            f"{config.run}: was made with other {changed}; resume with the same data and settings, "
            "or use another -o"
        )


def _decisive(record: dict[str, Any]) -> dict[str, Any]:
    """What of a record decides the result."""
    sets = record.get("sets", [])
    keys = ("start_sha256", "teachers_sha256", "unit_files_sha256", "detector", "aligned_by")
    return {
        "fit": {key: value for key, value in record.get("fit", {}).items() if key not in _FREE},
        "sets": {split: [s["spec"] for s in sets if s["split"] == split] for split in _SPLITS},
        "set": {f"{one['spec']} {one['split']}": one for one in sets},
        **{key: record.get(key) for key in (*keys, "val_limit")},
    }


def _then_draw(run: Path, on_epoch: EpochReport | None) -> Callable[[dict[str, Any]], None]:
    def report(row: dict[str, Any]) -> None:
        _draw_curve(run / "curve.png", read_curve(run))
        if on_epoch is not None:
            on_epoch(row)

    return report


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
