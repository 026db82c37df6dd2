"""Commands that score: evaluate, fuse, score."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    PATH,
    STDOUT,
    json_option,
    labels_option,
    print_json,
    print_rest,
)
from facer.pipeline.runtime.progress import echo, warn
from facer.pipeline.settings.commands import EVALUATE, FUSE, SCORE
from facer.storage.labels.options import KINDS

if TYPE_CHECKING:
    from facer.pipeline.intensity.scoring.compare import RunComparison
    from facer.pipeline.intensity.scoring.evaluation import Evaluation
    from facer.stages.intensity.statistics.groups import Groups
    from facer.stages.intensity.statistics.intervals import Comparison, Interval

_GROUPS_SHOWN = 30


def _predictions_options(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Where predictions are written, and in what form."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--no-brackets", is_flag=True,
                         help="Write 10000, not [10000], in eri and muse."),
            click.option("--format", "form", type=click.Choice(KINDS), default="plain",
                         show_default=True, help="Of the csv."),
            click.option("--predictions", type=PATH, help=text),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


@click.command()
@click.argument("run", type=PATH)
@with_settings(EVALUATE)
@_predictions_options("Write predictions as csv; - for stdout, instead of the scores.")
@json_option
def evaluate(
    run: Path, predictions: Path | None, form: Any, no_brackets: bool, as_json: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Score a run: Pearson, Spearman, CCC, MSE and MAE per emotion, with n.

    Labels are read as the run's were; options on columns change that.

    \b
    Examples:
      facer evaluate runs/first --split val --predictions val.csv --format eri
      facer evaluate runs/first --split test --by Country
      facer evaluate runs/folds --against runs/other-folds
    """
    from facer.pipeline.functions.heads import evaluate as evaluate_run
    from facer.pipeline.intensity.scoring.compare import RunComparison

    _refuse_two_results(as_json, predictions)
    result = evaluate_run(run, **settings)
    found = result.first if isinstance(result, RunComparison) else result
    if predictions is not None:
        found.write(predictions, form, not no_brackets)
    if predictions == STDOUT:
        _warn_of(found)
        return
    if as_json:
        print_json(result)
        return
    print_evaluation(found)
    if isinstance(result, RunComparison):
        _print_runs(result, settings["against"])
    if predictions is not None:
        echo(f"predictions of {len(found.label_ids)} clips: {predictions}")


def _refuse_two_results(as_json: bool, predictions: Path | None) -> None:
    if as_json and predictions == STDOUT:
        raise click.UsageError("--predictions - and --json: stdout takes one of them")


def _print_runs(both: RunComparison, against: Path | None) -> None:
    """Print how much better one run is than another, and on which seeds of each."""
    ours, theirs = (", ".join(map(str, s)) for s in (both.first_seeds, both.second_seeds))
    _print_comparison(
        f"mean Pearson of the mean prediction of seed(s) {ours}, less that of {against} "
        f"(seed(s) {theirs})",
        both.pearson,
    )
    if both.first.n_seeds != both.second.n_seeds:
        warn(
            f"compared on {len(both.first_seeds)} seed(s) of each, because the runs "
            f"have {both.first.n_seeds} and {both.second.n_seeds}"
        )


def command_line(run: Path, *words: object) -> str:
    """A command to type, with the class of the run's head where that is not facer's."""
    from facer.pipeline.intensity.head_run import read_run
    from facer.stages.intensity.heads.own import is_own

    head = read_run(run).fit.head.name
    return shlex.join(["facer", *map(str, words), *["--head", head] * is_own(head)])


def print_evaluation(found: Evaluation) -> None:
    """Print the scores of a run on a split."""
    echo(
        f"split {found.split}: {len(found.label_ids)} clips, {found.n_filled} of them without "
        f"features (predicted by the training mean), {found.n_seeds} seed(s)"
    )
    _print_figures(found)


def _print_figures(found: Evaluation) -> None:
    """Print the scores, if there are labels, and what to know of them or of the predictions."""
    _print_scores_of(found)
    _warn_of(found)


def _warn_of(found: Evaluation) -> None:
    for warning in found.warnings:
        warn(warning)


def _print_scores_of(found: Evaluation) -> None:
    from facer.stages.intensity.metrics import METRICS

    if found.ensemble is None or found.intervals is None or found.ensemble_intervals is None:
        echo("no labels in this split: nothing to score")
        return
    width = max(len(name) for name in (*found.names, "mean"))
    _print_header(width)
    for one in found.emotions:
        _print_scores(f"{one.name:{width}}", [*one.values.values()], one.n, one.interval)
    means = [found.mean(metric) for metric in METRICS]
    _print_scores(f"{'mean':{width}}", means, found.n_scored, found.intervals.mean)
    spread = ""
    of = "scores"
    if len(found.seeds) > 1:
        of = f"mean of {len(found.seeds)} seeds' scores"
        spread = f"; standard deviation of the mean Pearson over seeds: " \
                 f"{found.std('pearson'):.4f}"  # fmt: skip
    method = found.intervals.method
    how = "without intervals" if method == "none" else f"with {method} intervals"
    echo(f"{of}, {how} by {found.intervals.unit}, n = {found.intervals.n_units}{spread}")
    if len(found.seeds) > 1:
        rho, interval = found.ensemble.mean("pearson"), found.ensemble_intervals.mean
        if interval is not None:
            echo(f"mean of the seeds' predictions: Pearson {rho:z.4f}, 95 % interval "
                       f"{interval.low:z.4f} to {interval.high:z.4f}")  # fmt: skip
    for groups in filter(None, (found.folds, found.by)):
        _print_groups(groups)


def _print_header(width: int) -> None:
    echo(f"{'':{width}}  pearson  spearm.      ccc      mse      mae     n   95 % of pearson")


def _print_groups(groups: Groups) -> None:
    """Mean scores of each group, and their mean and spread over the groups."""
    from facer.stages.intensity.metrics import METRICS
    from facer.stages.intensity.statistics.groups import LEAST_LABELLED

    shown = groups.scores[:_GROUPS_SHOWN]
    width = max(len("deviation"), *(len(one.group or "(none)") for one in shown))
    echo(f"by {groups.column}, the mean over intensities:")
    _print_header(width)
    for one in shown:
        values = [one.mean(metric) for metric in METRICS]
        _print_scores(f"{one.group or '(none)':{width}}", values, one.n, one.interval)
    print_rest(len(groups.scores) - len(shown))
    defined = len(groups.values("pearson"))
    _print_scores(f"{'mean':{width}}", [groups.mean(m) for m in METRICS], None, None)
    _print_scores(f"{'deviation':{width}}", [groups.std(m) for m in METRICS], None, None)
    echo(
        f"mean and standard deviation over the groups in which a figure is defined: Pearson in "
        f"{defined} of {len(groups.scores)}; a correlation needs {LEAST_LABELLED} clips with labels"
    )


def _print_scores(
    title: str, values: Sequence[float], n: int | None, interval: Interval | None
) -> None:
    """A line of figures and the interval of the first; - where one is not defined."""
    cells = "  ".join(f"{'-':>7}" if value != value else f"{value:z7.4f}" for value in values)
    between = "" if interval is None else f"{interval.low:z7.4f} to {interval.high:z7.4f}"
    count = "" if n is None else n
    echo(f"{title}  {cells}  {count:>4}   {between}".rstrip())


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN ...",
                type=PATH)  # fmt: skip
@with_settings(FUSE)
@_predictions_options("Write the fused predictions as csv; - for stdout, instead of the scores.")
@json_option
def fuse(
    runs: tuple[Path, ...], predictions: Path | None, form: Any, no_brackets: bool, as_json: bool,
    **settings: Any,
) -> None:  # fmt: skip
    """Fuse runs late: average their predictions on the same clips, and score that.

    \b
    Examples:
      facer fuse runs/face runs/sound --split test
      facer fuse runs/face runs/sound --weights val --split test --predictions fused.csv
    """
    from facer.pipeline.functions.heads import fuse as fuse_runs

    _refuse_two_results(as_json, predictions)
    found = fuse_runs(runs, **settings)
    scores = found.fusion
    if predictions is not None:
        scores.write(predictions, form, not no_brackets)
    if predictions == STDOUT:
        _warn_of(scores)
        return
    if as_json:
        print_json(found)
        return
    width = max(len(str(run)) for run in runs)
    echo(f"weights ({found.weights_from}):{'':{max(1, width - 14)}}  {'  '.join(scores.names)}")
    for run, weights in zip(runs, found.weights.tolist(), strict=True):
        named = zip(weights, scores.names, strict=True)
        cells = "  ".join(f"{weight:{len(name)}.2f}" for weight, name in named)
        echo(f"  {run!s:{width}}  {cells}")
    print_evaluation(scores)
    for run, gain, p in zip(runs, found.gains, found.p_holm, strict=True):
        if gain is None:
            continue
        _print_comparison(f"mean Pearson of the fusion, less that of {run}", gain)
        if p is not None:
            echo(f"  p = {p:.3f} by Holm's correction for {len(runs)} runs")
    if predictions is not None:
        echo(f"predictions of {len(scores.label_ids)} clips: {predictions}")


@click.command()
@click.argument("file", type=PATH)
@labels_option()
@with_settings(SCORE)
@json_option
def score(file: Path, labels: str, as_json: bool, **settings: Any) -> None:
    """Score any file of predictions: a row a clip, a column for each intensity of the labels.

    Ids join the labels as labels join a store. Labelled clips without a prediction are counted.

    \b
    Examples:
      facer score theirs.csv --labels labels.csv --split test
      facer score ours.csv --labels labels.csv --against theirs.csv --by subject
    """
    from facer.pipeline.functions.heads import score as score_file

    found = score_file(file, labels, **settings)
    if as_json:
        print_json(found)
        return
    for one in filter(None, (found.file, found.against)):
        echo(f"{one.path}: {one.scores.n_scored} labelled clips scored, split "
                   f"{one.scores.split}; {len(one.missing)} without a prediction, "
                   f"{len(one.without_label)} predictions without a label")  # fmt: skip
        for warning in one.warnings:
            warn(warning)
        _print_figures(one.scores)
    if found.pearson is not None:
        _print_comparison(
            f"mean Pearson of {file}, less that of {settings['against']}", found.pearson
        )


def _print_comparison(title: str, gain: Comparison) -> None:
    found = f"{title}: {gain.difference:+z.4f}"
    if gain.interval is None or gain.p_value is None:
        echo(f"{found} ({gain.drawn})")
        return
    echo(
        f"{found}, 95 % interval {gain.interval.low:+z.4f} to {gain.interval.high:+z.4f} "
        f"(by {gain.unit}, n = {gain.n_units}{gain.narrow}, p = {gain.p_value:.3f})"
    )
