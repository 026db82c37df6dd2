"""Training of the detector and of its refiner as run folders.

RUN/
  config.json             all settings, and how much material there was
  detector.onnx           the averaged weights, as extract takes them; points.onnx of the refiner
  curve.jsonl             losses, at every 50th step and every checkpoint
  last.safetensors        where the training stopped, to resume from
  teacher.safetensors     the teacher's answers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facer.pipeline.runtime.run_folder import RunFolder
from facer.stages.common.threads import on_threads
from facer.stages.common.training import OnStep
from facer.stages.detection.config import DetectorTrainConfig, RefinerTrainConfig
from facer.stages.detection.data.digests import input_digests
from facer.stages.detection.data.sources import Sources
from facer.stages.detection.export import export_onnx
from facer.stages.detection.fit import DetectorRow, DetectorTrainer, read_sources, summary
from facer.stages.detection.refiner import fit as refiner
from facer.stages.detection.refiner.fit import RefinerRow, RefinerTrainer
from facer.stages.detection.refiner.network import export_points
from facer.stages.detection.refiner.samples import PointsSources
from facer.storage.files.checkpoints import load_checkpoint
from facer.storage.settings import flat
from facer.storage.text.typed_json import from_json, plain

_ON_ONE = on_threads(1, ("cv2",))  # many small images: threads cost more than they give


@dataclass(frozen=True)
class _Material:
    """What a run's ``config.json`` says beside the settings."""

    sources: Mapping[str, Any] = field(default_factory=dict)  # how much material there was
    files: Mapping[str, str] = field(default_factory=dict)  # its digests; older runs have none

    def deciding(self) -> Mapping[str, Any]:
        """All settings, and the digests."""
        return {key: value for key, value in plain(self).items() if key != "sources"}


@dataclass(frozen=True)
class DetectorRunConfig(_Material, DetectorTrainConfig):
    """What ``config.json`` of a detector's run says."""


@dataclass(frozen=True)
class RefinerRunConfig(_Material, RefinerTrainConfig):
    """What ``config.json`` of a refiner's run says."""


def settings_of_run(kind: str, run: Path) -> dict[str, Any]:
    """The settings of a run by name, as ``--config RUN`` takes them; ``detector`` or ``points``."""
    folder = RunFolder(run, DetectorRunConfig if kind == "detector" else RefinerRunConfig)
    return dict(flat(folder.read()))


@dataclass(frozen=True)
class DetectorResult:
    """Files and last losses of a finished training."""

    onnx: Path
    checkpoint: Path
    losses: dict[str, float]


@_ON_ONE
def train_detector(
    config: DetectorTrainConfig, run: Path, on_epoch: Callable[[DetectorRow], None] | None = None,
    on_step: OnStep | None = None, sources: Sources | None = None,
) -> DetectorResult:  # fmt: skip
    """Train the detector in ``run``, or resume the training of the same settings there.

    The state is saved every ``checkpoint_every`` steps; a resumed training's result is that of
    an uninterrupted one. ``sources`` overrides what the paths of ``config`` hold.
    """
    folder = RunFolder(run, DetectorRunConfig)
    files = input_digests(config) if sources is None else {}
    record = DetectorRunConfig(**vars(config), files=files)
    folder.check(record)
    sources = sources or read_sources(config, run / "teacher.safetensors")
    trainer = DetectorTrainer(config, sources)
    folder.claim(replace(record, sources=sources.counts()), resume=True)
    losses: dict[str, float] = {}
    path = run / "detector.onnx"

    def keep(row: DetectorRow) -> None:
        folder.append(row)
        losses.update(row.losses)

    def due(row: DetectorRow) -> bool:
        return row.step % config.checkpoint_every == 0

    with folder.alone():
        folder.resume(trainer, curve=True)
        folder.train(trainer, on_epoch, on_step, keep, due)
        export_onnx(trainer.averaged(), path, summary(config, sources, trainer.seen))
    return DetectorResult(path, folder.last, losses)


@_ON_ONE
def train_points(
    config: RefinerTrainConfig, run: Path, on_epoch: Callable[[RefinerRow], None] | None = None,
    on_step: OnStep | None = None, sources: PointsSources | None = None,
    validation: PointsSources | None = None,
) -> Path:  # fmt: skip
    """Train the refiner in ``run``, or resume there; returns RUN/points.onnx."""
    folder = RunFolder(run, RefinerRunConfig)
    files = input_digests(config) if sources is None else {}
    record = RefinerRunConfig(**vars(config), files=files)
    folder.check(record)
    memory = run / "teacher.safetensors"
    sources = sources or refiner.read_points_sources(config, memory)
    validation = validation or refiner.read_points_sources(config, memory, "val")
    trainer = RefinerTrainer(config, sources, validation)
    if folder.last.exists() and not folder.config_path.exists():  # as facer 0.1 left it
        before = load_checkpoint(folder.last)[1].get("config")
        folder.compare(
            record, from_json(RefinerRunConfig, before, str(folder.last), RefinerRunConfig.COMMAND)
        )
    folder.claim(replace(record, sources=sources.counts()), resume=True)
    path = run / "points.onnx"
    with folder.alone():
        folder.resume(trainer, curve=True)
        folder.train(trainer, on_epoch, on_step, folder.append)
        export_points(trainer.averaged(), path, refiner.summary(config, sources, trainer.seen))
    return path
