"""Commands of the detector and its refiner: train-detector, train-points, evaluate-detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from facer.pipeline.commands.shared import POSITIVE, SEED, Finite, log_option, with_options
from facer.pipeline.runtime.progress import StepCounter, echo, say

_PEOPLE_OPTIONS = (
    click.option("--people", type=click.Path(path_type=Path),
                 help="Folder of photographs of people with faces.csv; some sources are left out."),
    click.option("--people-clips", type=click.Path(path_type=Path),
                 help="Folder of clips of people with faces.csv and frames.csv."),
)  # fmt: skip


@click.command("train-detector")
@click.option(
    "--faces",
    required=True,
    type=click.Path(path_type=Path),
    help="HDF5 of photographs with five points each (jpeg, points_px, split).",
)
@click.option(
    "--scenes",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of photographs without faces.",
)
@click.option(
    "--clips",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of videos whose frames the teacher labels.",
)
@click.option(
    "--teacher",
    required=True,
    type=click.Path(path_type=Path),
    help="A detector in insightface's RetinaFace layout (ONNX).",
)
@click.option(
    "-o",
    "--output",
    "run",
    required=True,
    type=click.Path(path_type=Path),
    help="Run folder to write; the same command again goes on with it.",
)
@with_options(_PEOPLE_OPTIONS)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    help="Weights to begin with: a checkpoint, or a detector.onnx that facer wrote.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=7000, show_default=True, help="Optimiser steps."
)
@click.option(
    "--learning-rate", type=POSITIVE, default=2.5e-3, show_default=True, help="The largest."
)
@click.option("--bf16", is_flag=True, help="Compute products in bfloat16.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
@log_option
def train_detector(run: Path, log: Literal["tensorboard"] | None, **options: Any) -> int:
    """Train facer's face detector; writes RUN/detector.onnx, which extract takes as --detector.

    \b
    Example:
      facer train-detector --faces faces.h5 --scenes scenes/ --clips videos/ \\
        --teacher retinaface.onnx -o runs/detector
    """
    from facer.pipeline.detection.train import train_detector as train
    from facer.pipeline.runtime.epoch_log import epoch_log
    from facer.stages.detection.config import DetectorTrainConfig

    with epoch_log(log, run) as note:

        def told(row: Any) -> None:
            say(f"step {row.step}/{row.steps}: loss {row.losses['total']:.4f}")
            note(row)

        result = train(DetectorTrainConfig(**options), run, told, StepCounter("steps"))
    echo(f"detector: {result.onnx}")
    echo(
        f"next: facer evaluate-detector {result.onnx} --teacher {options['teacher']} "
        "--clips OTHER_VIDEOS/"
    )
    return 0


_POINTS_OPTIONS = (
    click.option("--faces", required=True, type=click.Path(path_type=Path),
                 help="HDF5 of photographs with five points each (jpeg, points_px, split)."),
    click.option("--crops", required=True, multiple=True, type=click.Path(path_type=Path),
                 help="Packs of aligned crops (jpeg, points, split); repeatable."),
    click.option("--scenes", required=True, type=click.Path(path_type=Path),
                 help="Folder of photographs without faces."),
    click.option("--clips", required=True, type=click.Path(path_type=Path),
                 help="Folder of videos whose frames the teacher labels."),
    click.option("--teacher", required=True, type=click.Path(path_type=Path),
                 help="A detector in insightface's RetinaFace layout (ONNX)."),
    click.option("-o", "--output", "run", required=True, type=click.Path(path_type=Path),
                 help="Run folder to write; the same command again goes on with it."),
    click.option("--start", type=click.Path(path_type=Path),
                 help="Weights to begin with: a points.onnx that facer wrote."),
    click.option("--detector", type=click.Path(path_type=Path),
                 help="The detector.onnx whose right and wrong guesses are learnt from as well."),
    click.option("--steps", type=click.IntRange(1), default=9000, show_default=True,
                 help="Optimiser steps."),
    click.option("--learning-rate", type=POSITIVE, default=2e-3, show_default=True,
                 help="The largest."),
    click.option("--bf16", is_flag=True, help="Compute products in bfloat16."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random."),
)  # fmt: skip


@click.command("train-points")
@with_options(_POINTS_OPTIONS)
@with_options(_PEOPLE_OPTIONS)
@log_option
def train_points(run: Path, log: Literal["tensorboard"] | None, **options: Any) -> int:
    """Train the points model that follows facer-det; writes RUN/points.onnx.

    \b
    Example:
      facer train-points --faces faces.h5 --crops crops.h5 --scenes scenes/ \\
        --clips videos/ --teacher retinaface.onnx -o runs/points
    """
    from facer.pipeline.detection.train import train_points as train
    from facer.pipeline.runtime.epoch_log import epoch_log
    from facer.stages.detection.refiner.fit import RefinerTrainConfig

    with epoch_log(log, run) as note:

        def told(row: Any) -> None:
            say(f"step {row.step}/{row.steps}: loss {row.loss:.4f}; held-out faces: points off by "
                f"{row.val_error:.1%} of the eyes' distance")  # fmt: skip
            note(row)

        path = train(RefinerTrainConfig(**options), run, told, StepCounter("steps"))
    echo(f"points model: {path}")
    return 0


_EVALUATE_DETECTOR_OPTIONS = (
    click.option("--people", type=click.Path(path_type=Path),
                 help="Folder of photographs of people with faces.csv: what is found, by pose, "
                      "size and light."),
    click.option("--people-clips", type=click.Path(path_type=Path),
                 help="Folder of clips of people with faces.csv and frames.csv: the same."),
    click.option("--split", default="val", show_default=True,
                 type=click.Choice(["train", "tune", "val"]), help="Which of their sources."),
    click.option("--scenes", type=click.Path(path_type=Path),
                 help="Folder of photographs without faces; those kept from training are used."),
    click.option("--clips", type=click.Path(path_type=Path),
                 help="Folder of videos whose frames the teacher labels."),
    click.option("--teacher", type=click.Path(path_type=Path),
                 help="The detector whose faces are to be found (RetinaFace layout, ONNX)."),
    click.option("--threshold", type=Finite(0, 1),
                 help="Score from which on it is a face. [default: the detector's own]"),
)  # fmt: skip


@click.command("evaluate-detector")
@click.argument("detector", default="facer-det")
@with_options(_EVALUATE_DETECTOR_OPTIONS)
def evaluate_detector(detector: str, **options: Any) -> int:
    """Measure a detector: faces of people at every pose, a teacher's faces, false faces.

    \b
    Example:
      facer evaluate-detector facer-det --people photographs/ --scenes scenes/
      facer evaluate-detector facer-det --teacher retinaface.onnx --clips videos/
    """
    from facer.stages.detection.evaluate import EvaluationConfig, evaluate

    for table in evaluate(EvaluationConfig(detector, **options)):
        echo(table + "\n")
    return 0
