"""Commands of heads: train-head, predict, export-head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.heads.scores import command_line, print_evaluation
from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    EXIT_SOME_FAILED,
    PATH,
    STDOUT,
    json_option,
    labels_option,
    log_option,
    print_json,
    print_list,
)
from facer.pipeline.runtime.epoch_log import LogKind, epoch_log
from facer.pipeline.runtime.epochs import training_epoch
from facer.pipeline.runtime.progress import StepCounter, echo, log
from facer.pipeline.settings.commands import EXPORT_HEAD, PREDICT, TRAIN_AGAIN, TRAIN_HEAD
from facer.storage.settings import flat


def _settings_of_run(run: Path) -> dict[str, Any]:
    from facer.pipeline.intensity.train import config_of_run

    config = config_of_run(run, run)
    return {"store": config.store, "labels": config.labels, **dict(flat(config))}


if TYPE_CHECKING:
    from facer.pipeline.intensity.folds.train import FoldsResult
    from facer.pipeline.intensity.train import TrainHeadResult


@click.command("train-head")
@click.argument("store", required=False)
@labels_option(required=False)
@click.option("-o", "--output", "run", required=True, type=PATH, help="Run folder to write.")
@click.option("--from", "source", metavar="RUN", type=PATH,
              help="Make a run again, with its settings and seeds; STORE, --labels and --with "
              "where these were moved.")  # fmt: skip
@with_settings(TRAIN_HEAD, of_run=_settings_of_run)
@log_option
@json_option
def train_head(store: str | None, labels: str | None, run: Path, source: Path | None,
               log_to: LogKind | None, as_json: bool,
               **options: Any) -> None:  # fmt: skip
    """Train a head on a store; the paper's settings are the defaults.

    \b
    Examples:
      facer train-head features.zarr --labels labels.csv -o runs/first --seeds 3
      facer train-head --from runs/first -o runs/again
      facer train-head features.zarr --labels labels.csv -o runs/folds --folds 5 --by subject
      facer train-head features.zarr --labels labels.csv -o runs/both --with audio=audio.zarr
    """
    from facer.pipeline.functions.runs import train, train_again
    from facer.pipeline.intensity.folds.train import FoldsResult

    if source is not None:
        _refuse_options_beside_from(click.get_current_context())
        options = {name: options[name] for name in TRAIN_AGAIN.declared}
    elif store is None or labels is None:
        raise click.UsageError("expected STORE and --labels, or --from RUN")
    with epoch_log(log_to, run) as note:

        def told(*epoch: Any) -> None:
            training_epoch(*epoch)
            *where, row, _ = epoch
            names = ("fold", "seed")[-len(where) :]
            note(row, "/".join(f"{name}-{n}" for name, n in zip(names, where, strict=True)))

        report = (told, log, StepCounter())
        if source is not None:
            result = train_again(source, run, store, labels, *report, **options)
        else:
            result = train(str(store), str(labels), run, options, *report)
    if isinstance(result, FoldsResult):
        _print_folds(result, as_json)
    else:
        _print_training(result, as_json)


def _print_training(result: TrainHeadResult, as_json: bool) -> None:
    told = (lambda _: None) if as_json else echo  # under --json there is one object alone
    counts = result.counts
    told(
        f"{result.run}: {result.n_train} clips trained on, {result.n_val} to validate, "
        f"{result.n_columns} columns read; labels read as {result.label_kind}; splits: "
        f"{result.split_rule}"
    )
    told(
        f"labels without a clip {counts['labels_without_clip']}, ambiguous ids "
        f"{counts['ambiguous_ids']}, clips without a label "
        f"{counts['clips_without_label']}, failed {counts['failed']}, without a face "
        f"or sound {counts['no_face']}, without the chosen features {counts['no_features']}, "
        f"over {result.max_frames} frames {counts['overlong']}"
        + (f", without some stream {counts['no_stream']}" if counts["no_stream"] else "")
    )
    for seed in result.seeds:
        told(f"seed {seed.seed}: val Pearson {seed.val_pearson:.4f} in epoch "
                   f"{seed.best_epoch} of {seed.epochs} (n = {result.n_val})")  # fmt: skip
        if seed.val_pearson == 0:
            log(f"warning: seed {seed.seed}: one and the same prediction for all of val, scored 0")
    if result.not_defined:
        log(f"warning: all labels of {', '.join(result.not_defined)} in val are one value: Pearson "
            "is not defined there, and left out of the mean")  # fmt: skip
    if result.val_pearson != result.val_pearson:
        log("warning: no val Pearson is defined; the epoch with the lowest val MSE was kept")
    if (deviation := result.val_deviation) is not None:
        told(f"mean of {len(result.seeds)} seeds: {result.val_pearson:.4f}, standard "
                   f"deviation {deviation:.4f}")  # fmt: skip
    told(f"next: {command_line(result.run, 'evaluate', result.run, '--split', 'val')}")
    if as_json:
        print_json(result)


def _print_folds(result: FoldsResult, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    echo(f"{result.run}: {result.rule}")
    print_evaluation(result.scores)
    echo(f"predictions of {len(result.scores.label_ids)} clips: {result.predictions}")
    echo(f"next: {command_line(result.run, 'evaluate', result.run)}")


def _refuse_options_beside_from(context: click.Context) -> None:
    typed = click.core.ParameterSource.COMMANDLINE
    given = [
        parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name in TRAIN_HEAD and parameter.name not in TRAIN_AGAIN
        if context.get_parameter_source(str(parameter.name)) is typed
    ]
    if given:
        raise click.UsageError(
            f"--from takes all settings from the run; found also {', '.join(given)}", context
        )


@click.command()
@click.argument("run", type=PATH)
@click.argument("videos", type=PATH)
@click.option("-o", "--output", type=PATH,
              help="Write a plain csv; - for stdout, instead of the table.")  # fmt: skip
@with_settings(PREDICT)
@json_option
def predict(run: Path, videos: Path, output: Path | None, as_json: bool, **settings: Any) -> int:
    """Predict the intensities of a video, or of a folder of videos.

    \b
    Example:
      facer predict runs/first new-videos/ -o predictions.csv --pictures look/
    """
    from facer.pipeline.functions.heads import predict as predict_videos
    from facer.pipeline.intensity.predict import STAND_IN
    from facer.storage.labels.predictions import refuse_other_file, write_predictions

    if as_json and output == STDOUT:
        raise click.UsageError("-o - and --json: stdout takes one of them")
    if output is not None:
        refuse_other_file(output)
    found = predict_videos(run, videos, progress=True, **settings)
    code = EXIT_SOME_FAILED if found.failed else 0
    if output is not None:
        write_predictions(
            output, "plain", found.clip_ids, found.names, found.values, status=found.status
        )
    if output == STDOUT:
        return code
    if as_json:
        print_json(found)
        return code
    width = max(len(clip) for clip in found.clip_ids)
    widths = [max(len(name), 6) for name in found.names]
    header = "  ".join(f"{name:>{w}}" for name, w in zip(found.names, widths, strict=True))
    echo(f"{'':{width}}  {header}")
    for clip, values, status in zip(found.clip_ids, found.values, found.status, strict=True):
        cells = "  ".join(f"{v:z{w}.3f}" for v, w in zip(values, widths, strict=True))
        note = "" if status == "ok" else f"  ({STAND_IN[status]})"
        echo(f"{clip:{width}}  {cells}{note}")
    print_list("failed", [f"{clip}: {reason}" for clip, reason in found.failed.items()])
    if output is not None:
        echo(f"predictions of {len(found.clip_ids)} clips: {output}")
    return code


@click.command("export-head")
@click.argument("run", type=PATH)
@click.argument("output", type=PATH)
@with_settings(EXPORT_HEAD)
@json_option
def export_head(run: Path, output: Path, as_json: bool, **settings: Any) -> None:
    """Write the head of a run as ONNX, alone or with REC, checked against torch.

    \b
    Example:
      facer export-head runs/first head.onnx
      facer export-head runs/first whole.onnx --rec rec-small
    """
    from facer.pipeline.functions.heads import export_head as export_run

    result = export_run(run, output, **settings)
    if as_json:
        print_json(result)
        return
    echo(
        f"{result.path}: seed {result.seed}, input {result.inputs}; differs from torch by at most "
        f"{result.difference:.1e} on clips of {', '.join(map(str, result.lengths))} frames"
    )
