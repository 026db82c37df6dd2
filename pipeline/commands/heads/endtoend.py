"""finetune: REC and head together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import PATH, json_option, log_option, print_json
from facer.pipeline.runtime.epoch_log import LogKind, epoch_log
from facer.pipeline.runtime.progress import echo, warn
from facer.pipeline.settings.commands import FINETUNE


def _settings_of_run(output: Path) -> dict[str, Any]:
    from facer.pipeline.endtoend.finetune import settings_of_run

    return settings_of_run(output)


@click.command()
@click.argument("run", type=PATH)
@click.argument("video_dir", type=PATH)
@click.option("-o", "--output", required=True, type=PATH,
              help="Folder to write: the new REC and the new head.")  # fmt: skip
@with_settings(FINETUNE, of_run=_settings_of_run)
@log_option
@json_option
def finetune(run: Path, video_dir: Path, output: Path, log_to: LogKind | None,
             as_json: bool, **settings: Any) -> None:  # fmt: skip
    """Train REC and a head end to end on the videos of the head's store.

    \b
    Example:
      facer finetune runs/first videos/ -o runs/joint
    """
    from facer.pipeline.functions.heads import finetune as tune

    with epoch_log(log_to, output) as note:
        result = tune(run, video_dir, output, progress=True, on_epoch=note, **settings)
    for text in result.notes:
        warn(text)
    if as_json:
        print_json(result)
        return
    echo(f"{result.output}: epoch {result.best['epoch']} kept, val Pearson "
               f"{result.best['val_pearson']:.4f} (before: {result.curve[0]['val_pearson']:.4f}); "
               f"REC's weights moved by {result.rec_change:.2e} of their length")  # fmt: skip
    extract = ["facer", "extract", str(video_dir), "-o", str(result.output / "features.zarr")]
    echo(f"next: {shlex.join([*extract, *result.extract_options])}, then facer evaluate "
               f"{shlex.quote(str(result.output))}")  # fmt: skip
