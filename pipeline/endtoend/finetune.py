"""REC and a head trained end to end on videos, after each was initialised by itself.

OUT/
  finetune.json        the settings of this training
  config.json          as of facer train-head, for the store to be extracted with the new REC;
                       under "finetune" what this training was
  rec.safetensors      the new REC, as extract takes it
  seed-<n>/best.safetensors   the new head, calibrated
  faces.csv            where somebody pointed at a face of the store, for the same extraction
  curve.jsonl          one row an epoch; epoch 0 is the state that was started from
  last.safetensors     where the training stopped, to go on from
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from facer import __version__
from facer.pipeline.endtoend.config import FinetuneConfig, FinetuneRunConfig
from facer.pipeline.endtoend.trainer import FinetuneTrainer
from facer.pipeline.intensity.head_run import HeadRunConfig
from facer.pipeline.intensity.labelled import clips_sha256
from facer.pipeline.intensity.seeds import save_model
from facer.pipeline.runtime.run_folder import RunFolder
from facer.stages.common.training import OnStep
from facer.stages.features.config import STARTER_DETECTOR, DetectorConfig, ExtractConfig
from facer.stages.features.precision import stored_precision
from facer.stages.features.rec.torch_rec import save_rec
from facer.stages.intensity.calibration import fit_calibration
from facer.stages.intensity.fit import scaled_targets
from facer.storage import FeatureStore, Provenance
from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic
from facer.storage.files.weights import weights_sha256
from facer.storage.settings import flat
from facer.storage.study.faces import faces_text, parse_points
from facer.storage.text.typed_json import plain

OnEpoch = Callable[[dict[str, Any]], None]


def settings_of_run(output: Path) -> dict[str, Any]:
    """The settings of an output by name, as ``facer finetune --config OUTPUT`` takes them."""
    record = RunFolder(output, FinetuneRunConfig, _RECORD).read()
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    config = FinetuneConfig(**values, output=output)
    return {**dict(flat(config)), "run": record.run, "video_dir": record.videos}


_RECORD = "finetune.json"


@dataclass(frozen=True)
class FinetuneResult:
    """What a fine-tuning made."""

    output: Path
    rec: Path
    curve: tuple[dict[str, Any], ...]  # epoch, loss (None for epoch 0), val_pearson, best
    rec_change: float  # length of the change of REC's weights over the length of the weights
    notes: tuple[str, ...]  # what to know of the labels
    extract_options: tuple[str, ...]  # of facer extract, which make features with the new REC

    @property
    def best(self) -> dict[str, Any]:
        """The epoch whose weights were kept."""
        return max(self.curve, key=lambda row: float(row["val_pearson"]))


def finetune(
    config: FinetuneConfig, on_epoch: OnEpoch | None = None, on_step: OnStep | None = None
) -> FinetuneResult:
    """Train REC and head together at a small rate; the best epoch on val is kept.

    Memory is bounded by gradient checkpointing over chunks of crops (the gradient is exact) and
    by ``memory_mb`` of crops kept. ``FacerError`` for an output that is there already, another
    REC than the store's, and videos that are not there.
    """
    training = FinetuneTrainer(config)
    folder = RunFolder(config.output, FinetuneRunConfig, _RECORD)
    settings = replace(config.of_run, inputs=training.inputs)
    if config.resume:
        _refuse_another_run(folder, settings)
    folder.claim(settings, config.resume)
    with folder.alone():
        folder.resume(training)
        folder.train(training, on_epoch, on_step, lambda _: folder.write_curve(training.curve))
        _write(training, settings)
    return FinetuneResult(
        output=config.output, rec=config.output / "rec.safetensors", curve=tuple(training.curve),
        rec_change=_change(training.initial, training.best), notes=training.labelled.notes,
        extract_options=(
            "--rec", str(config.output / "rec.safetensors"),
            *_options_like(training.store.provenance),
            *_faces(config.output, training.store),
        ),
    )  # fmt: skip


def _refuse_another_run(folder: RunFolder[FinetuneRunConfig], settings: FinetuneRunConfig) -> None:
    """FacerError for an output of facer 0.1, which has no digests, of another run."""
    before = folder.read() if folder.config_path.is_file() else settings
    if not before.inputs and before.run.resolve() != settings.run.resolve():
        raise FacerError(
            f"{folder.path}: was made with other run (was {before.run}, now {settings.run}); "
            "resume with the same run, or use another folder"
        )


def _options_like(made: Provenance) -> Iterator[str]:
    """Options of ``facer extract`` that bring features as a store's, whatever the REC.

    Those that are as the machine's or facer's usual ones are not named, save for the precision,
    which differs between machines.
    """
    yield from ("--precision", stored_precision(made))
    usual = DetectorConfig(made.detector)
    options = {
        "--detector": (made.detector, STARTER_DETECTOR),
        "--det-size": (made.settings.get("det_size_px"), usual.size_px),
        "--det-threshold": (made.settings.get("det_threshold"), usual.threshold),
        "--detect-every": (
            made.settings.get("detect_every"), ExtractConfig(usual).keyframe_interval
        ),
        "--face": (made.face_policy, "track"),
        "--stride": (made.frame_policy.removeprefix("one of ").partition(" ")[0], "every"),
    }  # fmt: skip
    for option, (found, default) in options.items():
        if found not in (None, default):
            yield from (option, str(found))


def _faces(output: Path, store: FeatureStore) -> Iterator[str]:
    """The option that follows the faces which somebody pointed at, and its file, if any are."""
    found = {r.clip_id: parse_points(r.face_points) for r in store.records if r.face_points}
    if found:
        path = output / "faces.csv"
        write_atomic(path, faces_text(found))
        yield from ("--faces", str(path))


def _write(training: FinetuneTrainer, settings: FinetuneRunConfig) -> None:
    """The new REC, the new head, the curve, and a config that evaluate and predict take."""
    config, model = training.config, training.model
    model.load_weights(training.best)
    rec = config.output / "rec.safetensors"
    start = training.store.provenance
    save_rec(
        rec,
        model.network,
        weak=tuple(training.rec_meta["weak_features"]),
        training={
            "facer_version": __version__,
            "finetuned_from": {"rec": start.rec, "sha256": start.rec_sha256},
            "before": training.rec_meta["training"],
        },
    )
    _calibrate(training)
    epoch = max(row["epoch"] for row in training.curve if row["best"])
    seed = training.head_seed
    save_model(model.head, epoch, config.output / f"seed-{seed}", training.record, seed)
    labels = training.record.labels
    record = replace(
        training.record,
        labels=replace(labels, options=config.reading.over(labels.reading)),
        facer_version=__version__,
        store=str((config.output / "features.zarr").absolute()),
        store_provenance={
            **training.record.store_provenance,
            "rec": rec.stem,
            "rec_sha256": weights_sha256(rec),
        },
        data_sha256=None,  # the new REC's features are not extracted yet
        clips_sha256=clips_sha256(training.labelled.sequences),
        seeds=1,
        finetune=plain(settings),
    )
    RunFolder(config.output, HeadRunConfig).write(record)


def _calibrate(training: FinetuneTrainer) -> None:
    """Bring the head's predictions to the labels' scale on the split that the run chose."""
    head, split = training.model.head, training.record.fit.calibrate
    clips = training.val if split == "val" else training.train
    raw = training.model.predict(training.data, clips, training.config.batch_size)
    if split == "none":
        line = scaled_targets(training.record.fit, training.targets, training.train)[1]
        head.set_calibration(line)
        head.stand_in = line.apply(raw).mean(axis=0)
    else:
        head.set_calibration(fit_calibration(raw, training.targets[clips]))


def _change(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Relative change of REC's weights, ||after - before|| / ||before||."""
    names = [k for k, v in before.items() if k.startswith("network.") and v.dtype.kind == "f"]
    moved = sum(float(np.square(after[k].astype(np.float64) - before[k]).sum()) for k in names)
    length = sum(float(np.square(before[k].astype(np.float64)).sum()) for k in names)
    return float(np.sqrt(moved / length))
