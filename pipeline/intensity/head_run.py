"""A head's run: its config, its models read again, its learning curves drawn.

RUN/
  config.json               settings, labels and store with their digests, counts
  curve.png                 learning curves of all seeds
  seed-<n>/
    best.safetensors        the calibrated model of the epoch with the best val score
    last.safetensors        where the training stopped, to resume from
    curve.csv               one row an epoch
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import numpy as np

from facer.pipeline.intensity.config import Cache
from facer.pipeline.intensity.folds.plan import FoldRecord
from facer.pipeline.runtime.run_folder import RunFolder, plain
from facer.pipeline.views.canvas import canvas
from facer.stages.features.rec.network import build_fitting
from facer.stages.intensity.config import (
    MOST_STREAMS,
    FitConfig,
    HeadConfig,
    SequenceConfig,
    StreamsConfig,
)
from facer.stages.intensity.fit import EpochRow
from facer.stages.intensity.heads import HeadShape
from facer.stages.intensity.heads.own import code_sha256
from facer.stages.intensity.model import IntensityModel
from facer.stages.intensity.sequences import FeatureChoice
from facer.storage import LabelOptions
from facer.storage.errors import FacerError, named, one_line
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.files.objects import LocalObjects
from facer.storage.text.typed_json import from_json

_log = logging.getLogger("facer")
_MOST_SEEDS = 100_000
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True)
class RunLabels:
    """The labels of a run."""

    path: str
    kind: str  # as which they were read
    sha256: str
    options: LabelOptions | None = None  # not in the oldest runs
    files: tuple[str, ...] = ()  # names of what was read, in order; older runs do not say

    def __post_init__(self) -> None:
        LabelOptions(kind=self.kind)  # type: ignore[arg-type]  # refuses other kinds

    @property
    def reading(self) -> LabelOptions:
        """How the run read them."""
        return self.options or LabelOptions(kind=self.kind)  # type: ignore[arg-type]


@dataclass(frozen=True)
class HeadRunConfig:
    """What ``config.json`` of a head's run says."""

    COMMAND: ClassVar[str] = "facer train-head"
    OPTIONS: ClassVar[tuple[str, ...]] = (
        *("fit", "sequences", "streams", "cache", "seeds", "threads", "labels options"),
        *("folds folds", "folds by", "folds splits"),
    )

    format: int
    facer_version: str
    store: str
    store_provenance: Mapping[str, Any]  # older runs name fewer things
    labels: RunLabels
    names: tuple[str, ...]  # of the intensities, (E,)
    columns: tuple[str, ...]
    embedding: bool
    sequences: SequenceConfig
    fit: FitConfig
    seeds: int
    counts: Mapping[str, int]
    streams: StreamsConfig = field(default_factory=StreamsConfig)  # other stores, absolute
    stream_provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name
    cache: Cache = "memory"
    threads: int = 1
    split_rule: str = ""
    data_sha256: str | None = None  # None after finetune, whose features are not extracted yet
    folds: FoldRecord | None = None
    fold: int | None = None  # of these, the one that is held out
    splits: Mapping[str, int] | None = None  # labelled clips of each
    train_mean: tuple[float, ...] | None = None  # labels' mean over train; each fold has its own
    clips_sha256: str | None = None  # after finetune
    finetune: Mapping[str, Any] | None = None  # finetune's settings
    head_sha256: str | None = None  # of the file of a head that is not facer's

    def __post_init__(self) -> None:
        if self.train_mean is None and self.folds is None:
            raise FacerError("train_mean: found nothing, expected a list")
        if self.data_sha256 is None and self.finetune is None:
            raise FacerError("data_sha256: found nothing, expected text")
        made = self.store_provenance
        if not {"detector_sha256", "rec_sha256"} <= set(made):
            raise FacerError(f"store_provenance: found {', '.join(made)}, expected digests of both")
        if not isinstance(made.get("settings", {}), Mapping):
            raise FacerError("store_provenance.settings: found no object, expected one")
        if lacking := [name for name in self.streams.places if name not in self.stream_provenance]:
            raise FacerError(f"stream_provenance: found none of {lacking[0]}, expected its digests")
        if not 0 < self.seeds <= _MOST_SEEDS:
            raise FacerError(f"seeds: found {self.seeds:.6g}, expected 1 to {_MOST_SEEDS}")
        if self.train_mean is not None and len(self.train_mean) != len(self.names):
            raise FacerError(
                f"train_mean: found {len(self.train_mean)} numbers, expected {len(self.names)}"
            )

    def deciding(self) -> Mapping[str, Any]:
        """All but what a resumed training may change."""
        free = ("facer_version", "counts")
        alike = replace(self, labels=replace(self.labels, files=()))  # the digest is of them all
        return {key: value for key, value in plain(alike).items() if key not in free}

    @property
    def choice(self) -> FeatureChoice:
        """What the head reads of a store."""
        return FeatureChoice(self.columns, self.embedding)

    def streams_at(self, stores: Sequence[str]) -> StreamsConfig:
        """The run's streams, some of them at other places (NAME=STORE); FacerError for others."""
        moved = StreamsConfig(tuple(stores)).places
        for name in moved:
            if name not in self.streams.places:
                found = ", ".join(self.streams.places) or "no other store"
                raise FacerError(f"{named('with_')} {name}=...: the run reads {found}")
        places = {**self.streams.places, **moved}
        return replace(self.streams, stores=tuple(f"{k}={place}" for k, place in places.items()))

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the first store among those that the head reads."""
        others = tuple(f"{name}." for name in self.streams.places)
        return tuple(name for name in self.columns if not name.startswith(others))

    @property
    def is_whole_of_folds(self) -> bool:
        """Whether this is a run of folds, each of which has a run in it."""
        return self.folds is not None and self.fold is None


def _folder(run: Path) -> RunFolder[HeadRunConfig]:
    return RunFolder(run, HeadRunConfig)


def open_run(run: Path, config: HeadRunConfig, resume: bool) -> None:
    """Write the config of a new run, or compare it with that of the run to resume.

    More seeds than the run has are added to it, with ``resume`` or without. ``FacerError`` for
    a folder that holds a run already, and for other settings or data.
    """
    folder = _folder(run)
    if not folder.config_path.exists():
        folder.write(config)
        return
    more = config.seeds > folder.read().seeds
    if not resume and not more:
        raise FacerError(
            f"{run}: holds a run already; use another -o, --resume to go on with it, or more "
            "--seeds to add to it"
        )
    check_unchanged(run, config)
    if more:
        folder.write(config)


def check_unchanged(run: Path, config: HeadRunConfig) -> None:
    """``FacerError`` unless a run was made with the settings and data of this config.

    The config may have more seeds than the run.
    """
    before = read_run(run)
    check_label_files(run, before.labels, config.labels)
    if config.seeds > before.seeds:
        before = replace(before, seeds=config.seeds)
    advice = "use the same settings and data, or another -o"
    _folder(run).compare(config, before, advice)


def check_label_files(run: Path, made: RunLabels, now: RunLabels) -> None:
    """``FacerError``, by name, when files of a run's labels are gone.

    A single file may have another name now.
    """
    gone = [name for name in made.files if name not in now.files]
    if len(made.files) > 1 and gone and made.sha256 != now.sha256:
        raise FacerError(
            f"{now.path}: found no {', '.join(gone)}, expected the files that {run} was made "
            f"of ({', '.join(made.files)}); put back what is missing"
        )


def check_same_data(run: Path, config: HeadRunConfig) -> None:
    """``FacerError`` unless a config's labels and features are those that ``run`` was made of.

    Where they lie does not matter.
    """
    before, labels = read_run(run), config.labels
    check_label_files(run, before.labels, labels)
    if labels.sha256 != before.labels.sha256:
        raise FacerError(
            f"{labels.path}: changed since {run} was made; expected the same content "
            f"(sha256 {before.labels.sha256[:12]}, found {labels.sha256[:12]})"
        )
    pairs = [(config.store, config.store_provenance, before.store_provenance)]
    pairs += [
        (place, config.stream_provenance[name], before.stream_provenance.get(name, {}))
        for name, place in config.streams.places.items()
    ]
    for place, now, made in pairs:
        for name, found in now.items():
            if found != made.get(name, found):  # older runs name fewer things
                raise FacerError(
                    f"{place}: {name} is {found}, expected {made[name]}, which {run} was "
                    "made with; give the store that it was trained on"
                )
    if config.data_sha256 != before.data_sha256:
        counts = [f"{one.counts['usable']} labelled clips" for one in (config, before)]
        raise FacerError(
            f"{config.store}: clips or features are not those that {run} was made of (found "
            f"{counts[0]}, expected {counts[1]} as they were); give the store as it was then"
        )


def read_run(run: Path) -> HeadRunConfig:
    """The config of a run folder; ``FacerError`` when it is none, or of a newer facer."""
    return _folder(run).read()


def fold_folder(run: Path, fold: int) -> Path:
    """Where a run of folds keeps the training that holds one fold out."""
    return run / f"fold-{fold}"


def absolute_place(path: str) -> str:
    """A path as it is from any folder; URLs stay as they are."""
    return path if "://" in path else str(Path(path).absolute())


def absolute_places(config: StreamsConfig) -> StreamsConfig:
    """Streams with their stores' places as they are from any folder."""
    places = (f"{name}={absolute_place(place)}" for name, place in config.places.items())
    return replace(config, stores=tuple(places))


def save_model(model: IntensityModel, epoch: int, folder: Path) -> None:
    """Write a seed's ``best.safetensors`` of this epoch, as :func:`load_models` reads it."""
    meta = {"head": asdict(model.config), "shape": model.shape._asdict(), "epoch": epoch}
    if model.stand_in is not None:
        meta["stand_in"] = model.stand_in.tolist()
    save_checkpoint(folder / "best.safetensors", model.arrays(), meta)


def refuse_folds(run: Path) -> None:
    """``FacerError`` for a run of folds: none of its models is for clips other than its own."""
    if read_run(run).is_whole_of_folds:
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
    _check_own_head(run)
    models = {}
    for seed, folder in seed_folders(run).items():
        path = folder / "best.safetensors"
        if path.is_file():
            models[seed] = _load_model(path)
    if not models:
        raise FacerError(f"{run}: no seed has finished; expected seed-0/best.safetensors")
    return models


def _check_own_head(run: Path) -> None:
    """Warn where the code of a head that is not facer's has changed.

    FacerError where it is not imported: the user must name it.
    """
    record = read_run(run)
    name = record.fit.head.name
    if code_sha256(name) != record.head_sha256:
        _log.warning("%s: the file of %s has changed since the training", run, name)


def _load_model(path: Path) -> IntensityModel:
    arrays, meta = load_checkpoint(path)
    try:
        config = from_json(HeadConfig, meta["head"], path.name, HeadRunConfig.COMMAND)
        shape = _shape(meta["shape"])
        sizes = (*shape[:3], *shape.streams[:MOST_STREAMS], config.layers)
        fits = all(type(size) is int and 0 < size < 2**31 for size in sizes)
        if not fits or (shape.streams and sum(sizes[3:-1]) != shape.features):
            raise ValueError(f"sizes {str(shape)[:200]}")
        make = partial(IntensityModel, config, shape)
        model = build_fitting(make, config.layers, arrays)
        model.load_arrays(arrays)
        if "stand_in" in meta:
            model.stand_in = np.array(meta["stand_in"], np.float32)
    except (RuntimeError, ValueError, TypeError, KeyError, OverflowError, FacerError) as error:
        reason = one_line(error)
        raise FacerError(f"{path}: found no head that facer wrote ({reason})") from error
    return model


def _shape(values: Mapping[str, Any]) -> HeadShape:
    """A model's shape; models of one stream do not name it."""
    return HeadShape(**{**values, "streams": tuple(values.get("streams", ()))})


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
        raise FacerError(f"{path}: found no curve that facer wrote ({one_line(error)})") from error
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
