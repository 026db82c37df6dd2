"""Stage two as a run folder: train a head on a store, with everything that made it beside it.

RUN/
  config.json               settings, labels and their sha256, store and its provenance, counts
  curve.png                 learning curves of all seeds
  seed-<n>/
    best.safetensors        the calibrated model of the epoch with the best val score
    last.safetensors        where the training stopped, to go on from
    curve.csv               one row an epoch
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch

from facer import __version__
from facer.pipeline.canvas import canvas
from facer.pipeline.cohort import Cohort, labels_sha256, load_cohort
from facer.stages.features.rec import resolve_device
from facer.stages.intensity.batches import DeviceSequences
from facer.stages.intensity.fit import EpochRow, FitConfig, HeadTrainer, Task
from facer.stages.intensity.heads import HeadConfig, HeadShape
from facer.stages.intensity.model import IntensityModel
from facer.stages.intensity.sequences import FeatureChoice, SequenceConfig
from facer.storage import FeatureStore, read_labels
from facer.storage.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.errors import FacerError

_FORMAT = 1
_FREE = ("facer_version", "threads")  # what a resumed training may change
_SAVE_EVERY_S = 20.0  # a checkpoint takes longer than an epoch of a small set
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

OnEpoch = Callable[[int, EpochRow, int], None]
"""Called with seed, the epoch's row and the number of epochs at most."""


@dataclass(frozen=True)
class TrainHeadConfig:
    """One ``facer train-head``."""

    store: str
    labels: str
    run: Path
    kind: Any = "auto"  # of the labels
    sequences: SequenceConfig = field(default_factory=SequenceConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    seeds: int = 1  # fit.seed, fit.seed + 1, ...
    device: str = "cpu"
    threads: int | None = None  # of torch; numbers are the same for the same count
    resume: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise FacerError(f"--threads: found {self.threads}, expected 1 or more")
        if self.seeds < 1:
            raise FacerError(f"--seeds: found {self.seeds}, expected 1 or more")


@dataclass(frozen=True)
class SeedResult:
    """What one seed came to, on the val split."""

    seed: int
    best_epoch: int
    epochs: int
    val_pearson: float


@dataclass(frozen=True)
class TrainHeadResult:
    """What a training made."""

    run: Path
    names: tuple[str, ...]
    split_rule: str
    n_train: int
    n_val: int
    counts: dict[str, int]
    seeds: tuple[SeedResult, ...]

    @property
    def val_pearson(self) -> float:
        """Mean over seeds of the best mean Pearson on val."""
        return float(np.mean([seed.val_pearson for seed in self.seeds]))


def train_head(config: TrainHeadConfig, on_epoch: OnEpoch | None = None) -> TrainHeadResult:
    """Train the seeds of a run one after another; ``resume`` goes on where one stopped.

    ``FacerError`` for a run folder that is there already, and where nothing can be learnt.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = resolve_device(config.device)
    store = FeatureStore.open(config.store)
    labels = read_labels(config.labels, config.kind)
    cohort, choice = load_cohort(store, labels, config.sequences)
    task = _task(cohort)
    data = DeviceSequences(cohort.sequences, device)
    trainers = {  # all made before anything is written: what is wrong is told first
        seed: HeadTrainer(replace(config.fit, seed=seed), data, task, config.sequences.max_frames)
        for seed in range(config.fit.seed, config.fit.seed + config.seeds)
    }
    _open_run(config, _describe(config, store, labels.kind, cohort, choice))
    results, curves = [], {}
    for seed, trainer in trainers.items():
        _train_seed(trainer, config.run / f"seed-{seed}", seed, on_epoch)
        best = max(row.val_pearson for row in trainer.curve)
        results.append(SeedResult(seed, trainer.best_epoch, len(trainer.curve), best))
        curves[seed] = list(trainer.curve)
    _draw_curves(config.run / "curve.png", curves)
    return TrainHeadResult(
        run=config.run,
        names=cohort.names,
        split_rule=cohort.split_rule,
        n_train=len(task.train),
        n_val=len(task.val),
        counts=cohort.counts,
        seeds=tuple(results),
    )


def _task(cohort: Cohort) -> Task:
    """Targets in the order of the sequences, and the sequences of train and val."""
    rows = np.flatnonzero(cohort.sequence_of >= 0)
    targets = np.full((len(rows), len(cohort.names)), np.nan, np.float32)
    targets[cohort.sequence_of[rows]] = cohort.targets[rows]
    labelled = np.atleast_1d(np.isfinite(targets).any(axis=1))

    def clips(split: str) -> Any:
        chosen = cohort.sequence_of[cohort.rows(split)]
        chosen = chosen[chosen >= 0]
        return chosen[labelled[chosen]]

    return Task(cohort.names, targets, clips("train"), clips("val"))


def _describe(
    config: TrainHeadConfig, store: FeatureStore, kind: str, cohort: Cohort, choice: FeatureChoice
) -> dict[str, Any]:
    train = cohort.targets[cohort.rows("train")]
    return {
        "format": _FORMAT,
        "facer_version": __version__,
        "store": str(Path(config.store).absolute()) if "://" not in config.store else config.store,
        "store_provenance": _json(store.provenance),
        "labels": {
            "path": str(Path(config.labels).absolute()),
            "kind": kind,
            "sha256": labels_sha256(config.labels),
        },
        "names": list(cohort.names),
        "columns": list(choice.columns),
        "embedding": choice.embedding,
        "sequences": asdict(config.sequences),
        "fit": asdict(config.fit),
        "seeds": config.seeds,
        "threads": torch.get_num_threads(),
        "split_rule": cohort.split_rule,
        "splits": {split: len(cohort.rows(split)) for split in ("train", "val", "test")},
        "counts": cohort.counts,
        "train_mean": [float(value) for value in np.nanmean(train, axis=0)],
    }


def _json(provenance: Any) -> dict[str, Any]:
    return {**vars(provenance), "settings": dict(provenance.settings)}


def _open_run(config: TrainHeadConfig, record: dict[str, Any]) -> None:
    path = config.run / "config.json"
    if path.exists():
        if not config.resume:
            raise FacerError(
                f"{config.run}: holds a run already; use another -o, or --resume to go on with it"
            )
        before = json.loads(path.read_text())
        plain = _plain(record)
        changed = [key for key in plain if key not in _FREE and before.get(key) != plain[key]]
        if changed:
            raise FacerError(
                f"{config.run}: was made with other {', '.join(changed)}; "
                "resume with the same settings or use another -o"
            )
        return
    try:
        config.run.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise FacerError(f"{config.run}: cannot be written ({error.strerror})") from error


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """As it reads back from JSON."""
    return dict(json.loads(json.dumps(record)))


def _train_seed(trainer: HeadTrainer, folder: Path, seed: int, on_epoch: OnEpoch | None) -> None:
    last = folder / "last.safetensors"
    if last.exists():
        trainer.load_state(*load_checkpoint(last))
    saved = monotonic()
    while not trainer.finished:
        row = trainer.run_epoch()
        if trainer.finished or monotonic() - saved > _SAVE_EVERY_S:
            save_checkpoint(last, *trainer.state())
            saved = monotonic()
        if on_epoch is not None:
            on_epoch(seed, row, trainer.epochs)
    model = trainer.best_model()
    shape = model.shape._asdict()
    save_checkpoint(
        folder / "best.safetensors",
        model.arrays(),
        {"head": asdict(model.config), "shape": shape, "epoch": trainer.best_epoch},
    )
    with (folder / "curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(trainer.curve[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in trainer.curve)


def _draw_curves(path: Path, curves: Mapping[int, list[EpochRow]]) -> None:
    with canvas(
        path, (8, 3.6), "Learning curves", "mean Pearson on val, and training loss"
    ) as sheet:
        left, right = sheet.subplots(1, 2, gridspec_kw={"top": 0.78, "bottom": 0.16})
        for place, (seed, rows) in enumerate(curves.items()):
            colour = _COLOURS[place % len(_COLOURS)]
            epochs = [row.epoch for row in rows]
            left.plot(epochs, [row.val_pearson for row in rows], color=colour, label=f"seed {seed}")
            best = max(rows, key=lambda row: row.val_pearson)
            left.plot([best.epoch], [best.val_pearson], "o", color=colour)
            right.plot(epochs, [row.train_loss for row in rows], color=colour)
        left.set(xlabel="epoch", ylabel="val Pearson (dot: best)")
        right.set(xlabel="epoch", ylabel="training loss")
        if len(curves) > 1:
            left.legend(frameon=False, fontsize=8)


def read_run(run: Path) -> dict[str, Any]:
    """The config of a run folder; ``FacerError`` when it is none, or of a newer facer."""
    path = run / "config.json"
    if not path.is_file():
        raise FacerError(f"{run}: found no config.json, expected a folder of facer train-head")
    try:
        record = dict(json.loads(path.read_text()))
    except ValueError as error:
        raise FacerError(f"{path}: not JSON ({error})") from error
    if record.get("format", 0) > _FORMAT:
        raise FacerError(f"{run}: made by a newer facer ({record['facer_version']}); update facer")
    return record


def config_of_run(run: Path, new_run: Path) -> TrainHeadConfig:
    """The config that makes a run again elsewhere; ``FacerError`` when its inputs changed."""
    record = read_run(run)
    store, labels = record["store"], record["labels"]
    if labels_sha256(labels["path"]) != labels["sha256"]:
        raise FacerError(f"{labels['path']}: changed since {run} was made; expected the same file")
    if _json(FeatureStore.open(store).provenance) != record["store_provenance"]:
        raise FacerError(f"{store}: has other provenance than when {run} was made")
    fit = dict(record["fit"])
    fit["head"] = HeadConfig(**fit["head"])
    return TrainHeadConfig(
        store=store,
        labels=labels["path"],
        run=new_run,
        kind=labels["kind"],
        sequences=sequences_of(record),
        fit=FitConfig(**fit),
        seeds=record["seeds"],
        threads=record["threads"],
    )


def sequences_of(record: Mapping[str, Any]) -> SequenceConfig:
    """How a run reads a clip's features."""
    values = dict(record["sequences"])
    return SequenceConfig(**{**values, "features": tuple(values["features"])})


def load_models(run: Path) -> dict[int, IntensityModel]:
    """The best model of every finished seed, by seed."""
    models = {}
    for folder in sorted(run.glob("seed-*"), key=lambda p: int(p.name.removeprefix("seed-"))):
        path = folder / "best.safetensors"
        if path.is_file():
            arrays, meta = load_checkpoint(path)
            model = IntensityModel(HeadConfig(**meta["head"]), HeadShape(**meta["shape"]))
            model.load_arrays(arrays)
            models[int(folder.name.removeprefix("seed-"))] = model
    if not models:
        raise FacerError(f"{run}: no seed has finished; expected seed-0/best.safetensors")
    return models
