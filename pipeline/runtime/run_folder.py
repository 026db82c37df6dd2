"""A head's run folder: opened, compared with the run it continues or repeats, read again.

RUN/
  config.json               settings, labels and store with their digests, counts
  curve.png                 learning curves of all seeds
  seed-<n>/
    best.safetensors        the calibrated model of the epoch with the best val score
    last.safetensors        where the training stopped, to go on from
    curve.csv               one row an epoch
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np

from facer.pipeline.views.canvas import canvas
from facer.stages.features.rec.network import build_fitting
from facer.stages.intensity.fit import EpochRow, FitConfig
from facer.stages.intensity.heads import HeadConfig, HeadShape
from facer.stages.intensity.model import IntensityModel
from facer.stages.intensity.sequences import SequenceConfig
from facer.storage import LabelOptions
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError
from facer.storage.files.objects import LocalObjects, write_atomic
from facer.storage.layout.documents import read_json_object
from facer.storage.text.differing import differing

FORMAT = 1
_LARGEST = 3e38  # of a label, which is a float32
_MOST_SEEDS = 100_000
_Config = TypeVar("_Config")
_FREE = ("facer_version", "counts")  # what a resumed training may change
_OPTIONS = (
    *("fit", "sequences", "seeds", "threads", "labels options"),
    *("folds folds", "folds by", "folds splits"),
)
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def open_run(run: Path, record: Mapping[str, Any], resume: bool) -> None:
    """Write the config of a new run, or compare it with that of the run to go on with.

    More seeds than the run has are added to it, with ``resume`` or without. ``FacerError`` for
    a folder that holds a run already, and for other settings or data.
    """
    if not (run / "config.json").exists():
        _write_config(run, record)
        return
    more = record["seeds"] > read_run(run)["seeds"]
    if not resume and not more:
        raise FacerError(
            f"{run}: holds a run already; use another -o, --resume to go on with it, or more "
            "--seeds to add to it"
        )
    check_unchanged(run, record)
    if more:
        _write_config(run, record)


def _write_config(run: Path, record: Mapping[str, Any]) -> None:
    write_atomic(run / "config.json", json.dumps(record, indent=1) + "\n")


def check_unchanged(run: Path, record: Mapping[str, Any]) -> None:
    """``FacerError`` unless a run was made with the settings and data of this config.

    The config may have more seeds than the run.
    """
    before, plain = read_run(run), json.loads(json.dumps(record))
    check_label_files(run, before["labels"], plain["labels"])
    for one in (before, plain):
        one["labels"].pop("files", None)  # which older runs lack; the digest is of them all
    free = (*_FREE, *(("seeds",) if plain["seeds"] > before["seeds"] else ()))
    then, now = ({k: v for k, v in one.items() if k not in free} for one in (before, plain))
    if changed := differing(then, now, _OPTIONS):
        raise FacerError(
            f"{run}: was made with other {changed}; use the same settings and data, or another -o"
        )


def check_label_files(run: Path, made: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """``FacerError``, by name, when files of a run's labels are gone.

    Both are what a config says of labels. A single file may have another name now.
    """
    files = made.get("files", ())
    gone = [str(name) for name in files if name not in now["files"]]
    if len(files) > 1 and gone and made["sha256"] != now["sha256"]:
        raise FacerError(
            f"{now['path']}: found no {', '.join(gone)}, expected the files that {run} was made "
            f"of ({', '.join(map(str, files))}); put back what is missing"
        )


def check_same_data(run: Path, record: Mapping[str, Any]) -> None:
    """``FacerError`` unless a config's labels and features are those that ``run`` was made of.

    Where they lie does not matter.
    """
    before, labels = read_run(run), record["labels"]
    check_label_files(run, before["labels"], labels)
    if labels["sha256"] != before["labels"]["sha256"]:
        raise FacerError(
            f"{labels['path']}: changed since {run} was made; expected the same content "
            f"(sha256 {before['labels']['sha256'][:12]}, found {labels['sha256'][:12]})"
        )
    made = before["store_provenance"]
    for name, found in json.loads(json.dumps(record["store_provenance"])).items():
        if found != made.get(name, found):  # older runs name fewer things
            raise FacerError(
                f"{record['store']}: {name} is {found}, expected {made[name]}, which {run} was "
                "made with; give the store that it was trained on"
            )
    if record["data_sha256"] != before["data_sha256"]:
        counts = [f"{r['counts']['usable']} labelled clips" for r in (record, before)]
        raise FacerError(
            f"{record['store']}: clips or features are not those that {run} was made of (found "
            f"{counts[0]}, expected {counts[1]} as they were); give the store as it was then"
        )


def fold_folder(run: Path, fold: int) -> Path:
    """Where a run of folds keeps the training that holds one fold out."""
    return run / f"fold-{fold}"


def absolute_place(path: str) -> str:
    """A path as it is from any folder; URLs stay as they are."""
    return path if "://" in path else str(Path(path).absolute())


def read_run(run: Path) -> dict[str, Any]:
    """The config of a run folder; ``FacerError`` when it is none, or of a newer facer."""
    path = run / "config.json"
    if not path.is_file():
        raise FacerError(f"{run}: found no config.json, expected a folder of facer train-head")
    record = read_json_object(path)
    if type(record.get("format")) is not int:
        raise FacerError(f"{path}: found no format, expected the config of facer train-head")
    if record["format"] > FORMAT:
        made = str(record.get("facer_version"))[:40]
        raise FacerError(f"{run}: made by a newer facer ({made}); update facer")
    for key, kind in _KINDS.items():
        value = record.get(key)
        if value is None and _ABSENT.get(key) in record:
            continue
        if type(value) is not kind:
            raise FacerError(
                f"{path}: {key}: found {str(value)[:80]!r}, expected {_JSON_NAMES[kind]}; "
                "this is not a config that facer train-head wrote"
            )
    try:
        _check_within(record)
    except (LookupError, TypeError, ValueError, ArithmeticError, FacerError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FacerError(f"{path}: not a config that facer train-head wrote ({reason})") from error
    return record


def _check_within(record: Mapping[str, Any]) -> None:
    """Raise ValueError, KeyError, TypeError or FacerError for values that no run has."""
    labels = record["labels"]
    texts = [labels[key] for key in ("path", "kind", "sha256")]
    texts += [*record["names"], *record["columns"], *labels.get("files", [])]
    provenance, fit = record["store_provenance"], record["fit"]
    texts += [record["store"], *(v for k, v in provenance.items() if k != "settings")]
    texts += [provenance[key] for key in ("detector_sha256", "rec_sha256")]
    dict(provenance.get("settings", {}))
    texts += [fit["calibrate"], fit["loss"]]
    if odd := [text for text in texts if type(text) is not str or "\0" in text]:
        raise ValueError(f"found {str(odd[0])[:40]!r}, expected text")
    LabelOptions.of_run(labels)
    sequences_of(record)
    fit_of(record)
    means = record.get("train_mean") or []
    if not all(type(mean) in (int, float) and abs(mean) < _LARGEST for mean in means):
        raise ValueError(f"train_mean {str(means)[:40]}, expected numbers")
    if means and len(means) != len(record["names"]):
        raise ValueError(f"{len(means)} train_mean for {len(record['names'])} names")
    if not 0 < record["seeds"] <= _MOST_SEEDS:
        raise ValueError(f"seeds {record['seeds']:.6g}, expected 1 to {_MOST_SEEDS}")
    if "folds" in record:
        fold, folds = record["fold"], record["folds"]
        texts = [folds[key] for key in ("folds", "by", "sha256")]
        if not (fold is None or type(fold) is int) or {*map(type, texts)} != {str}:
            raise ValueError(f"fold {str(fold)[:40]} of {str(folds)[:80]}")


def fit_of(record: Mapping[str, Any]) -> FitConfig:
    """How a run was trained."""
    return made(FitConfig, record["fit"])


def made(config: type[_Config], values: Any) -> _Config:
    """Settings from the JSON that a config was written as.

    Raises ValueError or TypeError for names that are no settings and values of other types.
    """
    given = dict(values)
    for one in fields(config):  # type: ignore[arg-type]  # a bound for dataclasses has no name
        if one.name not in given:
            continue  # an older run, which had no choice
        value = given[one.name]
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if is_dataclass(default):
            given[one.name] = made(type(default), value)
        elif isinstance(default, tuple):
            given[one.name] = value = tuple(value)
            if not all(type(text) is str for text in value):
                raise ValueError(f"{one.name}: found {str(value)[:40]}, expected texts")
        elif not _is_like(value, default):
            raise ValueError(f"{one.name}: found {str(value)[:40]!r}, expected {default!r} or such")
    return config(**given)


def _is_like(value: object, default: object) -> bool:
    """Whether a value is of its default's type; None stands for text or a number."""
    if default is None:
        return value is None or type(value) in (str, int, float)
    return type(value) in ((int, float) if type(default) is float else (type(default),))


_JSON_NAMES = {
    str: "text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
}
_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("store", "data_sha256"), str),
    **dict.fromkeys(("store_provenance", "labels", "sequences", "fit", "counts"), dict),
    **dict.fromkeys(("names", "columns", "train_mean"), list),
    "embedding": bool,
    "seeds": int,
}

_ABSENT: Mapping[str, str] = {"train_mean": "folds", "data_sha256": "finetune"}
"""Keys that a run with another key has not: every fold has its own mean, crops no features."""


def sequences_of(record: Mapping[str, Any]) -> SequenceConfig:
    """How a run reads a clip's features."""
    return made(SequenceConfig, record["sequences"])


def save_model(model: IntensityModel, epoch: int, folder: Path) -> None:
    """Write a seed's ``best.safetensors`` of this epoch, as :func:`load_models` reads it."""
    meta = {"head": asdict(model.config), "shape": model.shape._asdict(), "epoch": epoch}
    if model.stand_in is not None:
        meta["stand_in"] = model.stand_in.tolist()
    save_checkpoint(folder / "best.safetensors", model.arrays(), meta)


def refuse_folds(run: Path) -> None:
    """``FacerError`` for a run of folds: none of its models is for clips other than its own."""
    record = read_run(run)
    if "folds" in record and record["fold"] is None:
        raise FacerError(
            f"{run}: holds the folds of a cross-validation, whose models are for their held-out "
            "clips; train a model for other clips without --folds"
        )


def seed_folders(run: Path) -> dict[int, Path]:
    """The folder of every seed that a run has begun, in order."""
    names = {path.name.removeprefix("seed-"): path for path in run.glob("seed-*")}
    return dict(sorted((int(n), path) for n, path in names.items() if n.isdecimal()))


def load_models(run: Path) -> dict[int, IntensityModel]:
    """The best model of every finished seed, by seed."""
    refuse_folds(run)
    models = {}
    for seed, folder in seed_folders(run).items():
        path = folder / "best.safetensors"
        if path.is_file():
            models[seed] = _load_model(path)
    if not models:
        raise FacerError(f"{run}: no seed has finished; expected seed-0/best.safetensors")
    return models


def _load_model(path: Path) -> IntensityModel:
    arrays, meta = load_checkpoint(path)
    try:
        config, shape = HeadConfig(**meta["head"]), HeadShape(**meta["shape"])
        if not all(type(size) is int and 0 < size < 2**31 for size in (*shape, config.layers)):
            raise ValueError(f"sizes {str(shape)[:200]}")
        make = partial(IntensityModel, config, shape)
        model = build_fitting(make, config.layers, arrays)
        model.load_arrays(arrays)
        if "stand_in" in meta:
            model.stand_in = np.array(meta["stand_in"], np.float32)
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError, FacerError) as error:
        reason = " ".join(str(error).split())[:300]
        raise FacerError(f"{path}: found no head that facer wrote ({reason})") from error
    return model


def read_curve(path: Path) -> list[EpochRow]:
    """The rows of a finished seed's ``curve.csv``; none where it has not finished.

    ``FacerError`` for a file that is none.
    """
    data = LocalObjects(path.parent).get(path.name)
    if data is None:
        return []
    types = get_type_hints(EpochRow)
    try:
        rows = [
            EpochRow(**{k: v == "True" if types[k] is bool else types[k](float(v))
                        for k, v in row.items()})
            for row in csv.DictReader(io.StringIO(data.decode(), newline=""))
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise FacerError(f"{path}: found no curve that facer wrote ({error})") from error
    if rows and not any(row.best for row in rows):
        raise FacerError(f"{path}: found no curve that facer wrote (no epoch is the best)")
    return rows


def draw_curves(path: Path, curves: Mapping[int, list[EpochRow]]) -> None:
    """Draw the learning curves of some seeds."""
    with canvas(
        path, (8, 3.6), "Learning curves", "mean Pearson on val, and training loss"
    ) as sheet:
        left, right = sheet.subplots(1, 2, gridspec_kw={"top": 0.78, "bottom": 0.16})
        for place, (seed, rows) in enumerate(curves.items()):
            colour = _COLOURS[place % len(_COLOURS)]
            epochs = [row.epoch for row in rows]
            left.plot(epochs, [row.val_pearson for row in rows], color=colour, label=f"seed {seed}")
            best = [row for row in rows if row.best][-1]
            left.plot([best.epoch], [best.val_pearson], "o", color=colour)
            right.plot(epochs, [row.train_loss for row in rows], color=colour)
        left.set(xlabel="epoch", ylabel="val Pearson (dot: best)")
        right.set(xlabel="epoch", ylabel="training loss")
        if len(curves) > 1:
            left.legend(frameon=False, fontsize=8)
