"""The seeds of a head's run: their models written and read again, their learning curves.

RUN/seed-<n>/
  best.safetensors        the calibrated model of the epoch with the best val score
  last.safetensors        where the training stopped, to resume from
  curve.csv               one row an epoch
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from facer.pipeline.intensity.head_run import HeadRunConfig, read_run, refuse_folds
from facer.pipeline.runtime.run_folder import OF_ANOTHER
from facer.pipeline.views.canvas import canvas
from facer.stages.features.rec.network import build_fitting
from facer.stages.intensity.config import HeadConfig
from facer.stages.intensity.fit import EpochRow, HeadTrainer
from facer.stages.intensity.heads import HeadShape
from facer.stages.intensity.heads.own import code_sha256
from facer.stages.intensity.model import IntensityModel
from facer.stages.intensity.sequence_config import MOST_STREAMS
from facer.storage.errors import FacerError, one_line
from facer.storage.files.atomic import write_atomic
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.files.csv_table import csv_text
from facer.storage.files.objects import LocalObjects
from facer.storage.text.differing import differing
from facer.storage.text.palette import COLOURS
from facer.storage.text.typed_json import from_json, to_json

_log = logging.getLogger("facer")
MODEL = "best.safetensors"
"""In a seed's folder."""
_DECIDING = ("fit", "data_sha256")  # of an origin; models of before do not say them


def save_model(
    model: IntensityModel, epoch: int, folder: Path, record: HeadRunConfig, seed: int
) -> None:
    """Write ``best.safetensors`` of a run's seed and epoch, as :func:`load_models` reads it."""
    meta = {"head": asdict(model.config), "shape": model.shape._asdict(), "epoch": epoch}
    meta["run"] = origin_of(record, seed)
    if model.stand_in is not None:
        meta["stand_in"] = model.stand_in.tolist()
    save_checkpoint(folder / MODEL, model.arrays(), meta)


def origin_of(record: HeadRunConfig, seed: int) -> dict[str, Any]:
    """What a seed's files say of the training that they come from, beside sizes."""
    return {
        "fit": to_json(record.fit),
        "data_sha256": record.data_sha256,
        "seed": seed,
        "fold": record.fold,
        "names": list(record.names),
        "columns": list(record.columns),
        "calibrate": record.fit.calibrate,
    }


def finish_seed(trainer: HeadTrainer, run: Path, seed: int) -> None:
    """Write the best model of a training, and last its curve: with it, the seed is finished."""
    folder = run / f"seed-{seed}"
    save_model(trainer.best_model(), trainer.best_epoch, folder, read_run(run), seed)
    rows = [asdict(row) for row in trainer.curve]
    write_atomic(folder / "curve.csv", csv_text([rows[0], *(row.values() for row in rows)]))


def seed_folders(run: Path) -> dict[int, Path]:
    """The folder of every seed that a run has begun, in order."""
    names = {path.name.removeprefix("seed-"): path for path in run.glob("seed-*")}
    return dict(sorted((int(n), path) for n, path in names.items() if n.isdecimal()))


def load_models(run: Path) -> dict[int, IntensityModel]:
    """The best model of every finished seed, by seed; FacerError for one of another training."""
    refuse_folds(run)
    record = read_run(run)
    _check_own_head(run, record)
    first, models = record.fit.seed, {}
    for seed, folder in seed_folders(run).items():
        path = folder / MODEL
        if not path.is_file():
            continue
        if record.finetune is None and not first <= seed < first + record.seeds:
            raise FacerError(
                f"{path}: found seed {seed}, expected {first} to {first + record.seeds - 1}, as "
                "config.json there says; move it elsewhere"
            )
        models[seed] = load_model(path, record, seed)
    if not models:
        raise FacerError(f"{run}: no seed has finished; expected seed-0/{MODEL}")
    return models


def _check_own_head(run: Path, record: HeadRunConfig) -> None:
    """Warn where the code of a head that is not facer's has changed.

    FacerError where it is not imported: the user must name it.
    """
    name = record.fit.head.name
    if code_sha256(name) != record.head_sha256:
        _log.warning("%s: the file of %s has changed since the training", run, name)


def load_model(path: Path, record: HeadRunConfig, seed: int) -> IntensityModel:
    """A seed's model, ``path`` its file; FacerError for one of another training, or of none."""
    arrays, meta = load_checkpoint(path)
    try:
        config = from_json(HeadConfig, meta["head"], path.name, HeadRunConfig.COMMAND)
        streams = tuple(meta["shape"].get("streams", ()))  # models of one do not name it
        shape = HeadShape(**{**meta["shape"], "streams": streams})
        sizes = (*shape[:3], *shape.streams[:MOST_STREAMS], config.layers)
        fits = all(type(size) is int and 0 < size < 2**31 for size in sizes)
        if not fits or (shape.streams and sum(sizes[3:-1]) != shape.features):
            raise ValueError(f"sizes {str(shape)[:200]}")
        make = partial(IntensityModel, config, shape)
        model = build_fitting(make, config.layers, arrays)
        model.load_arrays(arrays)
        if "stand_in" in meta:
            model.stand_in = np.array(meta["stand_in"], np.float32).reshape(shape.intensities)
            arrays["stand_in"] = model.stand_in
        if wrong := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
            raise ValueError(f"{wrong[0]}: numbers that are not finite")
        origin = dict(meta.get("run", {}))
    except (*OF_ANOTHER, FacerError) as error:
        reason = one_line(error)
        raise FacerError(f"{path}: found no head that facer wrote ({reason})") from error
    _check_origin(path, model, origin, record, seed)
    return model


def _check_origin(
    path: Path, model: IntensityModel, origin: dict[str, Any], record: HeadRunConfig, seed: int
) -> None:
    """FacerError for the model of another training than its run says; older ones tell less."""
    if model.stand_in is not None:
        origin.setdefault("calibrate", "none")
    shape, head, wanted = model.shape, asdict(model.config), asdict(record.fit.head)
    pairs = [(name, head[name], wanted[name]) for name in wanted]
    pairs += [
        ("number of intensities", shape.intensities, len(record.names)),
        ("t", shape.max_frames, record.sequences.max_frames),
    ]
    width = record.provenance().settings.get("embedding") if record.embedding else 0
    if type(width) is int:
        pairs.append(("number of columns", shape.features, len(record.columns) + width))
    expected = origin_of(record, seed)
    ours = [name for name in expected if name not in _DECIDING]
    pairs += [(name, origin.get(name, expected[name]), expected[name]) for name in ours]
    for name, found, right in pairs:
        if found != right:
            raise FacerError(
                f"{path}: found the model of another training ({name}: {str(found)[:80]}), "
                f"expected {str(right)[:80]} as {path.parents[1] / 'config.json'} says; put the "
                "run's own files there"
            )
    made, now = ({k: v for k, v in one.items() if k in _DECIDING} for one in (origin, expected))
    if other := differing(made, now, HeadRunConfig.OPTIONS, known=True):
        raise FacerError(
            f"{path}: found the model of another training, made with other {other}; put the run's "
            "own files there"
        )


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
            colour = COLOURS[place % len(COLOURS)]
            epochs = [row.epoch for row in rows]
            left.plot(epochs, [row.val_pearson for row in rows], color=colour, label=f"seed {seed}")
            best = [row for row in rows if row.best][-1]
            left.plot([best.epoch], [best.val_pearson], "o", color=colour)
            right.plot(epochs, [row.train_loss for row in rows], color=colour)
        left.set(xlabel="epoch", ylabel="val Pearson (dot: best)")
        right.set(xlabel="epoch", ylabel="training loss")
        if len(curves) > 1:
            left.legend(frameon=False, fontsize=8)
