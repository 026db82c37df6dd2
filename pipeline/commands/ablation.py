"""ablate: many trainings on one cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import (
    FOLD_OPTIONS,
    INPUT_OPTIONS,
    LABEL_OPTIONS,
    SCHEDULER_OPTIONS,
    label_reading,
    refuse_without_folds,
    tls_files,
)
from facer.pipeline.commands.shared import EXIT_SOME_FAILED, json_option, say_notes, with_options
from facer.pipeline.runtime.progress import echo, say


@click.command()
@click.argument("store")
@click.option("--labels", required=True, help="Label file or folder.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the rows' runs and the tables.",
)
@click.option(
    "--rows",
    default="table2,table3,heads",
    show_default=True,
    help="Groups of rows, joined by commas.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=STORE",
    help="Another store for rows that need one, such as resnet50=other.zarr.",
)
@with_options(LABEL_OPTIONS)
@click.option("--seeds", default=3, show_default=True, help="Trainings of each row.")
@click.option("--epochs", type=int, help="At most. [default: 30, more for small sets]")
@click.option("--jobs", default=1, show_default=True, help="Processes on this machine.")
@with_options(SCHEDULER_OPTIONS)
@with_options(INPUT_OPTIONS)
@with_options(FOLD_OPTIONS)
@json_option
def ablate(
    store: str,
    labels: str,
    output: Path,
    rows: str,
    also: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    jobs: int,
    scheduler: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Train the rows of the paper's tables on one store; resumable row by row.

    The paper's figures (Hume-Reaction, val) stand beside ours, marked as the paper's.

    \b
    Examples:
      facer ablate features.zarr --labels labels.csv -o ablation --rows table2 --seeds 5
      facer ablate features.zarr --labels labels.csv -o folds --rows table2 --folds 5
    """
    from facer.pipeline.intensity.ablation.ablate import AblateConfig
    from facer.pipeline.intensity.ablation.ablate import ablate as run_rows
    from facer.pipeline.intensity.ablation.report import as_markdown
    from facer.pipeline.settings import fold_config
    from facer.stages.intensity.fit import FitConfig
    from facer.stages.intensity.sequences import SequenceConfig

    refuse_without_folds(options)
    config = AblateConfig(
        store,
        labels,
        output,
        tuple(name.strip() for name in rows.split(",") if name.strip()),
        dict(_pair(text) for text in also),
        label_reading(options),
        sequences=SequenceConfig(
            missing=options["missing"],
            max_frames=options["t"],
            min_quality=options["min_quality"],
        ),
        fit=FitConfig(
            epochs=epochs,
            learning_rate=options["learning_rate"],
            standardise=options["standardise"],
        ),
        seeds=seeds,
        jobs=jobs,
        scheduler=scheduler,
        tls=tls_files(options),
        device=options["device"],
        folds=fold_config(options),
    )
    table = run_rows(config, lambda title, done, n: say(f"{done}/{n} rows done: {title}"), say)
    say_notes(table.notes)
    if as_json:
        echo(json.dumps(table.to_json()))
    else:
        echo(as_markdown(table))
        echo(f"also as csv, md and png: {output}")
    return EXIT_SOME_FAILED if table.failed else 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, store = text.partition("=")
    if not (name and equals and store):
        raise click.UsageError(f"--also: found {text!r}, expected NAME=STORE")
    return name, store
