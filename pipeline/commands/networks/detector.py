"""Commands of the detector and its refiner: train-detector, train-points, evaluate-detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import OfRun, with_settings
from facer.pipeline.commands.shared import PATH, json_option, log_option, print_json
from facer.pipeline.runtime.epoch_log import LogKind, epoch_log
from facer.pipeline.runtime.progress import echo
from facer.pipeline.settings.commands import EVALUATE_DETECTOR, TRAIN_DETECTOR, TRAIN_POINTS

output_option = click.option(
    "-o", "--output", "run", required=True, type=PATH,
    help="Run folder to write; the same command again resumes it.",
)  # fmt: skip


def _settings_of(kind: str) -> OfRun:
    """The settings of a run of the detector or of its points model."""

    def read(run: Path) -> Mapping[str, Any]:
        from facer.pipeline.detection.train import settings_of_run

        return settings_of_run(kind, run)

    return read


@click.command("train-detector")
@output_option
@with_settings(TRAIN_DETECTOR, of_run=_settings_of("detector"))
@log_option
@json_option
def train_detector(run: Path, log_to: LogKind | None, as_json: bool, **settings: Any) -> None:
    """Train facer's face detector; writes RUN/detector.onnx, which extract takes as --detector.

    \b
    Example:
      facer train-detector --faces faces.h5 --scenes scenes/ --clips videos/ \\
        --teacher retinaface.onnx -o runs/detector
    """
    from facer.pipeline.functions.models import train_detector as train

    with epoch_log(log_to, run) as note:
        result = train(run, progress=True, on_epoch=note, **settings)
    if as_json:
        print_json(result)
        return
    echo(f"detector: {result.onnx}")
    echo(
        f"next: facer evaluate-detector {result.onnx} --teacher {settings['teacher']} "
        "--clips OTHER_VIDEOS/"
    )


@click.command("train-points")
@output_option
@with_settings(TRAIN_POINTS, of_run=_settings_of("points"))
@log_option
@json_option
def train_points(run: Path, log_to: LogKind | None, as_json: bool, **settings: Any) -> None:
    """Train the points model that follows facer-det; writes RUN/points.onnx.

    \b
    Example:
      facer train-points --faces faces.h5 --crops crops.h5 --scenes scenes/ \\
        --clips videos/ --teacher retinaface.onnx -o runs/points
    """
    from facer.pipeline.functions.models import train_points as train

    with epoch_log(log_to, run) as note:
        path = train(run, progress=True, on_epoch=note, **settings)
    if as_json:
        print_json({"onnx": path})
    else:
        echo(f"points model: {path}")


@click.command("evaluate-detector")
@click.argument("detector", default="facer-det")
@with_settings(EVALUATE_DETECTOR)
@json_option
def evaluate_detector(detector: str, as_json: bool, **settings: Any) -> None:
    """Measure a detector: faces of people at every pose, a teacher's faces, false faces.

    DETECTOR is facer-det, where none is given, insightface:PACK, or the path of an ONNX file.

    \b
    Example:
      facer evaluate-detector facer-det --people photographs/ --scenes scenes/
      facer evaluate-detector facer-det --teacher retinaface.onnx --clips videos/
    """
    from facer.pipeline.functions.models import evaluate_detector as measure

    found = measure(detector, **settings)
    if as_json:
        print_json(found)
        return
    for table in found.tables:
        echo(table + "\n")
