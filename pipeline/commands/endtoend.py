"""finetune: REC and head together."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import log_option
from facer.pipeline.endtoend.config import FinetuneConfig
from facer.pipeline.runtime.progress import StepCounter, echo, say
from facer.pipeline.settings import FINETUNE, label_options, make


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder to write: the new REC and the new head.")  # fmt: skip
@with_settings(FINETUNE)
@log_option
def finetune(run: Path, video_dir: Path, output: Path, log: Literal["tensorboard"] | None,
             **settings: Any) -> int:  # fmt: skip
    """Train REC and a head end to end on the videos of the head's store.

    \b
    Example:
      facer finetune runs/first videos/ -o runs/joint
    """
    from facer.pipeline.endtoend.finetune import finetune as tune
    from facer.pipeline.runtime.epoch_log import epoch_log

    config = make(FinetuneConfig, settings, run, video_dir, output, reading=label_options(settings))
    with epoch_log(log, output) as note:

        def told(row: dict[str, Any]) -> None:
            _joint_epoch_line(row, config.epochs)
            note(row)

        result = tune(config, told, StepCounter())
    for text in result.notes:
        say(f"warning: {text}")
    echo(f"{result.output}: epoch {result.best['epoch']} kept, val Pearson "
               f"{result.best['val_pearson']:.4f} (before: {result.curve[0]['val_pearson']:.4f}); "
               f"REC's weights moved by {result.rec_change:.2e} of their length")  # fmt: skip
    echo(f"next: facer extract {video_dir} -o {result.output / 'features.zarr'} "
               f"--rec {result.rec}, then facer evaluate {result.output}")  # fmt: skip
    return 0


def _joint_epoch_line(row: dict[str, Any], epochs: int) -> None:
    loss = "before training" if row["loss"] is None else f"loss {row['loss']:.4f}"
    say(f"epoch {row['epoch']}/{epochs}: {loss}, val Pearson {row['val_pearson']:.4f}")
