"""ablate, sweep: many trainings on one cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.heads.scores import command_line
from facer.pipeline.commands.options import refuse_code_of_file, with_settings
from facer.pipeline.commands.shared import (
    EXIT_SOME_FAILED,
    PATH,
    json_option,
    labels_option,
    print_json,
)
from facer.pipeline.runtime.progress import echo, log, note_lines
from facer.pipeline.settings.commands import ABLATE, SWEEP


@click.command()
@click.argument("store")
@labels_option()
@click.option("-o", "--output", required=True, type=PATH,
              help="Folder for the rows' runs and the tables.")  # fmt: skip
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=STORE",
    help="Another store for rows that need one, such as resnet50=other.zarr.",
)
@with_settings(ABLATE)
@json_option
def ablate(
    store: str, labels: str, output: Path, also: tuple[str, ...], as_json: bool, **settings: Any
) -> int:
    """Train the rows of the paper's tables on one store; resumable row by row.

    The paper's figures (Hume-Reaction, val) stand beside ours, marked as the paper's.

    \b
    Examples:
      facer ablate features.zarr --labels labels.csv -o ablation --rows table2 --seeds 5
      facer ablate features.zarr --labels labels.csv -o folds --rows table2 --folds 5
      facer ablate features.zarr --labels labels.csv -o out --rows table1 --with audio=audio.zarr
    """
    from facer.pipeline.functions.heads import ablate as run_rows
    from facer.pipeline.intensity.ablation.report import as_markdown

    others = dict(_pair(text) for text in also)
    if len(others) < len(also):
        raise click.UsageError("--also: found a name twice, expected a name of its own for each")
    table = run_rows(store, labels, output, also=others, progress=True, **settings)
    _print_table(table, as_json, as_markdown(table), f"also as csv, md and png: {output}")
    return EXIT_SOME_FAILED if table.failed else 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, store = text.partition("=")
    if not (name and equals and store):
        raise click.UsageError(f"--also: found {text!r}, expected NAME=STORE")
    return name, store


@click.command()
@click.argument("store")
@labels_option()
@click.option("-o", "--output", required=True, type=PATH,
              help="Folder for the trials' runs and the table.")  # fmt: skip
@click.option(
    "--set",
    multiple=True,
    metavar="NAME=A,B",
    help="A setting of train-head and the values to try: A,B or, with --trials, LOW..HIGH or "
    "log:LOW..HIGH; + joins the words of one value, as in features=va+au.",
)
@with_settings(SWEEP)
@json_option
def sweep(
    store: str, labels: str, output: Path, set: tuple[str, ...], as_json: bool, **settings: Any
) -> int:
    """Try settings of a head's training, and choose by val; resumable trial by trial.

    Other options are settings of all trials. Test is never looked at.

    \b
    Examples:
      facer sweep features.zarr --labels labels.csv -o sweep --set learning_rate=1e-4,1e-3 --set hidden_size=64,128
      facer sweep features.zarr --labels labels.csv -o sweep --set learning_rate=log:1e-5..1e-2 --trials 20
    """  # noqa: E501
    from facer.pipeline.functions.heads import sweep as run_trials
    from facer.pipeline.intensity.sweep.table import as_markdown

    refuse_code_of_file("set", set)
    table = run_trials(store, labels, output, set=set, progress=True, **settings)
    best = output / "rows" / table.best.id
    following = ["evaluate", best, "--split", "test"]
    if table.split != "val":  # folds have no model for clips of test
        following = ["train-head", store, "--labels", labels, "-o", "RUN",
                     "--config", output / "best.toml"]  # fmt: skip
    _print_table(
        table,
        as_json,
        as_markdown(table),
        f"also as csv, json and png, and best.toml: {output}",
        f"the best of {len(table.rows)} on {table.split}: its score flatters; "
        f"next: {command_line(best, *following)}",
    )
    return EXIT_SOME_FAILED if table.failed else 0


def _print_table(table: Any, as_json: bool, *lines: str) -> None:
    for line in note_lines(table.notes):
        log(line)
    if as_json:
        print_json(table)
    else:
        echo("\n".join(lines))
