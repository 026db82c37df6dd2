"""The command line: options become a config and one call into ``facer.pipeline``.

Results go to stdout, progress and messages to stderr. Exit codes: 0 all is there, 1 a problem
the message explains, 2 wrong usage, 3 some clips failed, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facer import __version__
from facer.pipeline.progress import Counter, say, shown
from facer.storage.errors import FacerError

if TYPE_CHECKING:
    from facer.pipeline.evaluate import Evaluation
    from facer.pipeline.extract import ExtractSummary

EXIT_PROBLEM, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 130
_LISTED = 10  # names printed of a longer list
_NOTE_CHARACTERS = 300  # of a note on what was left out

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command, turn problems into one line and an exit code."""
    # ffmpeg's and OpenCV's own complaints about odd files are answered by facer's records
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = facer.main(arguments, prog_name="facer", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        say("interrupted; run it again to go on (trainings with --resume)")
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        say(f"{error.format_message().rstrip('.')}; see {_help_of(error)}")
        code = EXIT_USAGE
    except (FacerError, BrokenPipeError, PermissionError) as error:
        if debug:
            raise
        say(str(error))
        code = EXIT_PROBLEM
    sys.exit(code if isinstance(code, int) else 0)


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else 'facer'} --help"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="facer")
@click.option("--debug", is_flag=True, help="Show the traceback of a problem.")
def facer(debug: bool) -> None:
    """Cached facial affect features, and light heads trained on them.

    Stage one, once per video:   facer extract VIDEO_DIR -o features.zarr

    Stage two, in minutes:       facer train-head features.zarr --labels labels.csv -o run
    """
    del debug  # taken out by main, so that it works wherever it stands


_EXTRACT_OPTIONS = (
    click.option("--detector", default="facer-det", show_default=True, metavar="NAME",
                 help="facer-det, insightface:PACK (such as insightface:buffalo_l) or an ONNX "
                 "file in insightface's RetinaFace or SCRFD layout."),
    click.option("--det-size", default=None, type=int, metavar="PX",
                 help="Longer side that the detector sees. [default: 320 for facer-det, else 640]"),
    click.option("--det-threshold", default=None, type=float,
                 help="Score from which on it is a face. [default: 0.5]"),
    click.option("--rec", default="rec-small", show_default=True, metavar="NAME",
                 help="rec-small, or the path of .safetensors or .onnx weights."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option("--face", default="track", show_default=True,
                 help="Which face of a frame counts: track (the one that dominates the clip), "
                 "largest, central, or all (one sequence a person: clip_id#0, clip_id#1 ...)."),
    click.option("--stride", default=1, show_default=True, help="Keep every Nth frame."),
    click.option("--detect-every", default=None, type=int, metavar="N",
                 help="The detector looks at every Nth frame, and wherever faces cannot be "
                 "followed; points are measured on all. [default: 4 for facer-det, else 1]"),
    click.option("--decoders", type=int, metavar="N",
                 help="Videos that each process decodes at once. [default: 1; on a GPU one per "
                 "core, at most 8]"),
    click.option("--embedding", is_flag=True,
                 help="Also store REC's pooled space, for heads on --features embedding."),
    click.option("--batch-size", default=32, show_default=True,
                 help="Frames per run of the models; never changes results."),
)  # fmt: skip


def _options(options: Sequence[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command several options, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _extract_config(options: dict[str, Any]) -> Any:
    from facer.stages.features.detect import detector_config
    from facer.stages.features.extract import ExtractConfig

    detector = detector_config(options["detector"], options["det_size"], options["det_threshold"])
    names = ("rec", "device", "face", "stride", "detect_every", "decoders", "embedding",
             "batch_size")  # fmt: skip
    return ExtractConfig(detector, **{name: options[name] for name in names})


@facer.command()
@click.argument("video_dir")
@click.option("-o", "--output", "store", default="features.zarr", show_default=True,
              help="The store: a folder, or an fsspec URL such as s3://bucket/a.zarr.")  # fmt: skip
@click.option("--workers", type=int,
              help="Processes here. [default: one per core; one per GPU, if any]")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, such as tcp://host:8786.")
@click.option("--part-size", default=32, show_default=True, help="Clips per unit of work.")
@click.option("--retry-failed", is_flag=True, help="Also try clips again that failed before.")
@click.option("--changed", default="keep", show_default=True,
              help="Videos whose content is not what was extracted: keep their features and say "
              "how many there are, re-extract, or error.")  # fmt: skip
@_options(_EXTRACT_OPTIONS)
def extract(video_dir: str, store: str, workers: int | None, scheduler: str | None, part_size: int,
            retry_failed: bool, changed: Any, **options: Any) -> int:  # fmt: skip
    """Turn a folder of videos into a store of per-frame features.

    VIDEO_DIR is a folder, one video, or an fsspec URL of either. The same command again does
    only what is missing. Exit code 3 when some clips failed.

    \b
    Examples:
      facer extract videos/ -o features.zarr --workers 8
      facer extract s3://bucket/videos -o s3://bucket/features.zarr --scheduler tcp://host:8786
    """
    from facer.pipeline.extract import ExtractRunConfig, extract_folder

    config = ExtractRunConfig(
        video_dir, store, _extract_config(options), workers, scheduler, part_size, retry_failed,
        changed,
    )  # fmt: skip
    with shown() as progress:
        summary = extract_folder(config, progress)
    _print_summary(summary)
    if summary.missing:
        say(f"{len(summary.missing)} clips have no record ({', '.join(summary.missing[:3])} ...): "
            "a worker wrote elsewhere; run the same command again")  # fmt: skip
        return EXIT_PROBLEM
    return EXIT_SOME_FAILED if summary.failed else 0


def _print_summary(summary: ExtractSummary) -> None:
    counts = {s: sum(r.status == s for r in summary.records) for s in ("ok", "no_face", "failed")}
    frames = sum(r.n_frames for r in summary.records)
    faces = sum(r.n_valid for r in summary.records)
    several = len(summary.records) > summary.n_clips  # under --face all
    click.echo(
        f"{summary.store}: {counts['ok']} {'sequences' if several else 'clips'} with a face, "
        f"{counts['no_face']} without, {counts['failed']} failed, of {summary.n_clips}"
        f"{' clips' if several else ''}; {frames} frames, {faces / max(frames, 1):.1%} with a face"
    )
    if summary.n_done_before:
        click.echo(f"{summary.n_done_before} of them were there already")
    if summary.new_frames:
        rate = summary.new_frames / summary.seconds
        click.echo(f"{summary.new_frames} frames in {summary.seconds:.0f} s, {rate:.0f} frames/s")
    _list("failed", [f"{r.clip_id}: {r.reason}" for r in summary.failed])


def _list(title: str, lines: Sequence[str], limit: int = 1000) -> None:
    if lines:
        click.echo(f"{title} ({len(lines)}):")
        for line in lines[:limit]:
            click.echo(f"  {line}")
        if len(lines) > limit:
            click.echo(f"  ... and {len(lines) - limit} more (--json lists all)")


@facer.command()
@click.argument("store")
@_json_option
def status(store: str, as_json: bool) -> int:
    """Say what a store holds: clips, frames, faces, failures with their reasons.

    \b
    Example:
      facer status features.zarr
    """
    from facer.pipeline.status import store_status
    from facer.storage import FeatureStore

    found = store_status(FeatureStore.open(store))
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return 0
    share = "-" if found.face_share is None else f"{found.face_share:.1%}"
    made = found.provenance
    every = made["face_policy"] == "all"
    noun = "sequences" if every else "clips"
    click.echo(f"{found.path}: {sum(found.clips.values())} {noun}, {found.frames} frames"
               + (f", of {found.videos} videos" if every else ""))  # fmt: skip
    click.echo(f"  with a face     {found.clips['ok']} {noun}, {share} of all frames")
    click.echo(f"  without a face  {found.clips['no_face']} {noun}")
    click.echo(f"  failed          {found.clips['failed']} {noun}")
    click.echo(f"  detector {made['detector']} ({made['detector_sha256'][:12]}), "
               f"REC {made['rec']} ({made['rec_sha256'][:12]}), {made['frame_policy']}, "
               f"face: {made['face_policy']}")  # fmt: skip
    _list("failed", [f"{clip}: {reason}" for clip, reason in found.failures], 50)
    _list("notes", [f"{clip}: {reason}" for clip, reason in found.notes], 50)
    return 0


@facer.command()
@click.argument("store")
@click.option("--labels", required=True, help="Label file or folder.")
@click.option("--kind", default="auto", show_default=True, help="plain, eri, muse, emi or mimic.")
@click.option("--t", type=click.IntRange(1), default=480, show_default=True,
              help="Frames a head sees at most.")  # fmt: skip
@_json_option
def check(store: str, labels: str, kind: Any, t: int, as_json: bool) -> int:
    """Compare a label file with a store: what joins, what is missing on either side.

    \b
    Example:
      facer check features.zarr --labels labels.csv
    """
    from facer.pipeline.status import check_labels
    from facer.storage import FeatureStore
    from facer.storage.labels import read_labels

    found = check_labels(FeatureStore.open(store), read_labels(labels, kind), t)
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return 0
    click.echo(f"{found.labels}: read as {found.kind}, {found.n_labels} rows, "
               f"targets {', '.join(found.names)}")  # fmt: skip
    click.echo(f"{sum(found.usable.values())} of {found.n_clips} clips can be used")
    hume = "  Hume-Reaction's rows" if found.hume_reaction else ""
    click.echo(f"split      rows  with a clip  usable{hume}")
    for split, n in found.splits.items():
        published = f"  {n.published:20d}" if n.published is not None else ""
        click.echo(f"{split or '(none)':6}  {n.rows:7d}  {n.joined:11d}  {n.usable:6d}{published}")
    if "" in found.splits and len(found.splits) == 1:
        click.echo("no splits in the file: train-head makes 70/15/15 by subject or clip id")
    _list("labels without a clip", found.labels_without_clip, _LISTED)
    _list("clips without a label", found.clips_without_label, _LISTED)
    _list("ids that could mean several clips",
          [f"{i}: {', '.join(clips)}" for i, clips in found.ambiguous], _LISTED)  # fmt: skip
    _list("labelled clips that failed", found.failed, _LISTED)
    _list("labelled clips without a face", found.no_face, _LISTED)
    _list("clips whose targets are all empty", found.without_targets, _LISTED)
    _list(f"clips of more than {t} frames", found.overlong, _LISTED)
    return 0


_TRAIN_HEAD_OPTIONS = (
    click.option("--features", default="all", show_default=True,
                 help="va, expr, au, all, embedding or column names, joined by commas."),
    click.option("--head", default="facernet", show_default=True,
                 help="facernet, gru-last, tcn-transformer, perceiver or stats-mlp."),
    click.option("--loss", default="pearson", show_default=True, help="pearson, mse or ccc."),
    click.option("--seeds", default=1, show_default=True, help="Trainings with different seeds."),
    click.option("--seed", default=0, show_default=True, help="The first seed."),
    click.option("--epochs", type=int, help="At most. [default: 30, more for small sets]"),
    click.option("--batch-size", default=4, show_default=True, help="Clips per step."),
    click.option("--learning-rate", default=1e-4, show_default=True, help="Of Adam."),
    click.option("--t", "max_frames", default=480, show_default=True, help="Frames a head sees."),
    click.option("--overlong", default="subsample", show_default=True,
                 help="Clips of more frames: subsample, truncate or error."),
    click.option("--missing", default="hold", show_default=True,
                 help="Frames without a face: hold, zero or drop."),
    click.option("--cell", default="gru", show_default=True, help="gru or lstm."),
    click.option("--units", default=128, show_default=True, help="Width of the recurrent layer."),
    click.option("--layers", default=1, show_default=True, help="Recurrent layers."),
    click.option("--dense", default=32, show_default=True, help="Width of the dense layer."),
    click.option("--no-mask", is_flag=True, help="Leave Mask and routing out."),
    click.option("--dropout", default=0.0, show_default=True, help="Within the head."),
    click.option("--standardise", is_flag=True,
                 help="Bring features to mean 0 and deviation 1 over the training frames."),
    click.option("--patience", type=int,
                 help="Epochs without a better val score. [default: a third of the epochs]"),
    click.option("--calibrate", default="train", show_default=True,
                 help="Split whose labels set the scale of predictions: train, val or none."),
    click.option("--jobs", default=1, show_default=True,
                 help="Seeds trained at a time, in processes; never changes results."),
    click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda."),
    click.option("--threads", default=1, show_default=True,
                 help="Of torch, in each process; sums round otherwise with another count."),
    click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
    click.option("--from", "source", metavar="RUN", type=click.Path(path_type=Path),
                 help="Make a run again, with its settings and seeds; STORE and --labels where "
                 "these were moved."),
)  # fmt: skip


@facer.command("train-head")
@click.argument("store", required=False)
@click.option("--labels", help="Label file or folder.")
@click.option("-o", "--output", "run", required=True, type=click.Path(path_type=Path),
              help="Run folder to write.")  # fmt: skip
@click.option("--kind", default="auto", show_default=True, help="plain, eri, muse, emi or mimic.")
@_options(_TRAIN_HEAD_OPTIONS)
def train_head(store: str | None, labels: str | None, run: Path, source: Path | None,
               **options: Any) -> int:  # fmt: skip
    """Train a head on a store; the paper's settings are the defaults.

    \b
    Examples:
      facer train-head features.zarr --labels labels.csv -o runs/first --seeds 3
      facer train-head --from runs/first -o runs/again
    """
    from dataclasses import replace

    from facer.pipeline import heads

    if source is not None:
        _refuse_options_beside_from(click.get_current_context())
        config = heads.config_of_run(source, run, store, labels)
        free = ("jobs", "device", "resume")
        config = replace(config, **{name: options[name] for name in free})
    elif store is None or labels is None:
        raise click.UsageError("expected STORE and --labels, or --from RUN")
    else:
        config = _train_head_config(store, labels, run, options)
    result = heads.train_head(config, _epoch_line)
    counts = result.counts
    click.echo(
        f"{result.run}: {result.n_train} clips trained on, {result.n_val} to validate, "
        f"{result.n_columns} columns read; labels read as {result.label_kind}; splits: "
        f"{result.split_rule}"
    )
    click.echo(
        f"labels without a clip {counts['labels_without_clip']}, ambiguous ids "
        f"{counts['ambiguous_ids']}, clips without a label "
        f"{counts['clips_without_label']}, failed {counts['failed']}, without a face "
        f"{counts['no_face']}, over {config.sequences.max_frames} frames {counts['overlong']}"
    )
    for seed in result.seeds:
        click.echo(f"seed {seed.seed}: val Pearson {seed.val_pearson:.4f} in epoch "
                   f"{seed.best_epoch} of {seed.epochs} (n = {result.n_val})")  # fmt: skip
        if seed.val_pearson == 0:
            say(f"warning: seed {seed.seed}: one and the same prediction for all of val, scored 0")
    if len(result.seeds) > 1:
        click.echo(f"mean of {len(result.seeds)} seeds: {result.val_pearson:.4f}, standard "
                   f"deviation {result.val_deviation:.4f}")  # fmt: skip
    click.echo(f"next: facer evaluate {result.run} --split val")
    return 0


def _refuse_options_beside_from(context: click.Context) -> None:
    taken = {"store", "labels", "run", "source", "jobs", "device", "resume"}
    typed = click.core.ParameterSource.COMMANDLINE
    given = [
        parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name not in taken
        if context.get_parameter_source(str(parameter.name)) is typed
    ]
    if given:
        raise click.UsageError(
            f"--from takes all settings from the run; found also {', '.join(given)}", context
        )


def _train_head_config(store: str, labels: str, run: Path, options: dict[str, Any]) -> Any:
    from facer.pipeline.heads import TrainHeadConfig
    from facer.stages.intensity.fit import FitConfig
    from facer.stages.intensity.heads import HEADS, HeadConfig
    from facer.stages.intensity.sequences import SequenceConfig

    head = HeadConfig(
        options["head"], options["cell"], options["units"], options["layers"], options["dense"],
        not options["no_mask"], options["dropout"],
    )  # fmt: skip
    if head.unused and head.name in HEADS:
        unknown = ", ".join("--no-mask" if name == "routed" else f"--{name}"
                            for name in head.unused)  # fmt: skip
        raise click.UsageError(f"--head {head.name} takes no {unknown}")
    names = ("loss", "batch_size", "learning_rate", "epochs", "patience", "standardise",
             "calibrate", "seed")  # fmt: skip
    fit = FitConfig(head, **{name: options[name] for name in names})
    features = tuple(name.strip() for name in options["features"].split(",") if name.strip())
    sequences = SequenceConfig(
        features, options["missing"], options["overlong"], options["max_frames"]
    )
    rest = ("kind", "seeds", "jobs", "device", "threads", "resume")
    values = {name: options[name] for name in rest}
    return TrainHeadConfig(store, labels, run, sequences=sequences, fit=fit, **values)


def _epoch_line(seed: int, row: Any, epochs: int) -> None:
    """One line an epoch on a terminal, one in ten elsewhere."""
    if sys.stderr.isatty() or row.epoch % 10 == 0 or row.epoch in (1, epochs):
        say(
            f"seed {seed}, epoch {row.epoch}/{epochs}: loss {row.train_loss:.4f}, "
            f"val Pearson {row.val_pearson:.4f}{' *' if row.best else ''}, "
            f"{row.clips_per_s:.0f} clips/s"
        )


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True, help="train, val or test.")
@click.option("--labels", help="Other labels than the run's.")
@click.option("--store", help="Where the run's store is now, or another one.")
@click.option("--against", type=click.Path(path_type=Path),
              help="Another run to compare with on the same clips (paired bootstrap).")  # fmt: skip
@click.option("--predictions", type=click.Path(path_type=Path), help="Write predictions as csv.")
@click.option("--format", "form", default="plain", show_default=True,
              help="Of the csv: plain, eri, muse, emi or mimic.")  # fmt: skip
@click.option("--no-brackets", is_flag=True, help="Write 10000, not [10000], in eri and muse.")
@_json_option
def evaluate(run: Path, split: str, labels: str | None, store: str | None,
             against: Path | None, predictions: Path | None, form: Any, no_brackets: bool,
             as_json: bool) -> int:  # fmt: skip
    """Score a run: Pearson, CCC and MSE per emotion, with n.

    \b
    Example:
      facer evaluate runs/first --split val --predictions val.csv --format eri
    """
    from facer.pipeline.compare import compare_runs
    from facer.pipeline.evaluate import evaluate as evaluate_run
    from facer.storage.predictions import write_predictions

    both = None if against is None else compare_runs(run, against, split, labels, store)
    found = evaluate_run(run, split, labels, store) if both is None else both.first
    if predictions is not None:
        write_predictions(
            predictions, form, found.label_ids, found.names, found.predictions, not no_brackets
        )
    if as_json:
        click.echo(json.dumps((found if both is None else both).to_json()))
        return 0
    _print_evaluation(found)
    if both is not None:
        gain = both.pearson
        click.echo(
            f"mean Pearson less that of {against}: {gain.difference:+.4f}, 95 % interval "
            f"{gain.interval.low:+.4f} to {gain.interval.high:+.4f} (by {gain.unit}, "
            f"n = {gain.n_units}, p = {gain.p_value:.3f})"
        )
    if predictions is not None:
        click.echo(f"predictions of {len(found.label_ids)} clips: {predictions}")
    return 0


def _print_evaluation(found: Evaluation) -> None:
    click.echo(
        f"split {found.split}: {len(found.label_ids)} clips, {found.n_filled} of them without "
        f"features (predicted by the training mean), {found.n_seeds} seed(s)"
    )
    if found.ensemble is None or found.intervals is None:
        click.echo("no labels in this split: nothing to score")
        return
    width = max(len(name) for name in (*found.names, "mean"))
    click.echo(f"{'':{width}}  pearson      ccc      mse     n   95 % of pearson")
    columns = [found.per_emotion(metric) for metric in ("pearson", "ccc", "mse")]
    own = found.emotion_intervals
    for name, n in zip(found.names, found.ensemble.n, strict=True):
        values = "  ".join(f"{column[name]:7.4f}" if n else f"{'-':>7}" for column in columns)
        between = f"{own[name].low:7.4f} to {own[name].high:7.4f}" if name in own else ""
        click.echo(f"{name:{width}}  {values}  {n:4d}   {between}".rstrip())
    mean = "  ".join(f"{found.mean(metric):7.4f}" for metric in ("pearson", "ccc", "mse"))
    click.echo(f"{'mean':{width}}  {mean}  {found.n_scored:4d}")
    if len(found.seeds) > 1:
        click.echo(f"standard deviation of the mean Pearson over seeds: "
                   f"{found.deviation('pearson'):.4f}")  # fmt: skip
    interval = found.intervals.mean
    click.echo(
        f"mean of the seeds' predictions: Pearson {found.ensemble.mean('pearson'):.4f}, 95 % "
        f"interval {interval.low:.4f} to {interval.high:.4f} (bootstrap by "
        f"{found.intervals.unit}, n = {found.intervals.n_units})"
    )
    for warning in found.warnings:
        say(f"warning: {warning}")


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("videos", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write a plain csv.")
@click.option("--store", help="Keep the features there. [default: a temporary store]")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for a picture a clip.")
@click.option("--workers", type=int, help="Processes on this machine. [default: one per core]")
@_options(_EXTRACT_OPTIONS)
@_json_option
def predict(run: Path, videos: Path, output: Path | None, store: str | None,
            pictures: Path | None, workers: int | None, as_json: bool,
            **options: Any) -> int:  # fmt: skip
    """Predict the intensities of a video, or of a folder of videos.

    \b
    Example:
      facer predict runs/first new-videos/ -o predictions.csv --pictures look/
    """
    from facer.pipeline.predict import PredictConfig, predict_videos
    from facer.storage.predictions import write_predictions

    config = PredictConfig(run, videos, store, _extract_config(options), workers, pictures)
    with shown() as progress:
        found, summary = predict_videos(config, progress)
    if output is not None:
        write_predictions(output, "plain", found.clip_ids, found.names, found.values)
    table = {
        clip: dict(zip(found.names, (float(v) for v in row), strict=True))
        for clip, row in zip(found.clip_ids, found.values, strict=True)
    }
    if as_json:
        failed = {r.clip_id: r.reason for r in summary.failed}
        result = {"predictions": table, "without_face": list(found.filled), "failed": failed}
        click.echo(json.dumps(result))
    else:
        width = max(len(clip) for clip in found.clip_ids)
        click.echo(f"{'':{width}}  {'  '.join(found.names)}")
        for clip, values in table.items():
            cells = "  ".join(f"{v:{len(name)}.3f}" for name, v in values.items())
            click.echo(f"{clip:{width}}  {cells}{'  (no face)' if clip in found.filled else ''}")
        _list("failed", [f"{r.clip_id}: {r.reason}" for r in summary.failed])
    return EXIT_SOME_FAILED if summary.failed else 0


@facer.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("--videos", type=click.Path(path_type=Path),
              help="The VIDEO_DIR: crops then stand over the curves.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A .png.")
def picture(store: str, clip_id: str, videos: Path | None, output: Path) -> int:
    """Draw a clip of a store: crops over valence-arousal, expression and AU curves.

    \b
    Example:
      facer picture features.zarr train/11526 --videos videos/ -o 11526.png
    """
    from facer.pipeline.look import draw_clip
    from facer.storage import FeatureStore

    draw_clip(FeatureStore.open(store), clip_id, videos, output)
    click.echo(str(output))
    return 0


@facer.command()
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A new folder, or an earlier report to write again.")  # fmt: skip
@click.option("--videos", type=click.Path(path_type=Path),
              help="The VIDEO_DIR: clip pages then show the video and its faces.")  # fmt: skip
@click.option("--clips", multiple=True, metavar="ID|worst:N|all",
              help="Clips that get a page; repeatable. [default: worst:50]")  # fmt: skip
@click.option("--embed", is_flag=True, help="Copy videos small (H.264) instead of linking them.")
@click.option("--split", default="val", show_default=True, help="Of a run: train, val or test.")
@click.option("--labels", help="Of a run: where its labels are now, or others.")
@click.option("--store", help="Of a run: where its store is now, or another one.")
def report(source: str, output: Path, **options: Any) -> int:
    """Show a store, a run or an ablation as pages that open from the disk, offline.

    SOURCE is a store of extract, a run of train-head or a folder of ablate.

    \b
    Examples:
      facer report features.zarr --videos videos/ -o look/
      facer report runs/first --videos videos/ -o look-run/
    """
    from facer.pipeline.report.build import build_report
    from facer.pipeline.report.config import ReportConfig

    found = build_report(ReportConfig(source, output, **options), Counter("clip pages"))
    article = "an" if found.kind == "ablation" else "a"
    click.echo(f"{found.index}: report of {article} {found.kind}, {found.n_pages} pages of clips")
    return 0


@facer.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A .mp4 or .webm.")  # fmt: skip
@click.option("--videos", default=".", type=click.Path(path_type=Path),
              help="The VIDEO_DIR. [default: the current folder]")  # fmt: skip
def annotate(store: str, clip_id: str, output: Path, videos: Path) -> int:
    """Write a clip as a video with its face marked, its features beside it and its sound.

    \b
    Example:
      facer annotate features.zarr train/11526 -o 11526.mp4 --videos videos/
    """
    from facer.pipeline.annotate import annotate_clip
    from facer.storage import FeatureStore

    opened = FeatureStore.open(store)
    no_sound = annotate_clip(opened, clip_id, videos, output, Counter("measured frames drawn"))
    click.echo(f"{output} (no sound: {no_sound})" if no_sound else str(output))
    return 0


@facer.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--clips", type=int, help="Clips to estimate for. [default: 1000]")
@click.option("--seconds-per-clip", type=float, help="How long they are. [default: 10]")
@click.option("--folder", type=click.Path(path_type=Path), metavar="VIDEO_DIR",
              help="Estimate for the videos of a folder instead.")  # fmt: skip
@_json_option
def bench(video: Path | None, clips: int | None, seconds_per_clip: float | None,
          folder: Path | None, as_json: bool) -> int:  # fmt: skip
    """Measure extraction on this machine's CPU step by step, and say how long it would take.

    VIDEO is a clip of yours; without one, facer measures a typical video of --folder, or a clip
    that it makes.

    \b
    Examples:
      facer bench clip.mp4 --clips 25067 --seconds-per-clip 10
      facer bench --folder videos/
    """
    from facer.pipeline.bench import BenchConfig
    from facer.pipeline.bench import bench as measure

    if folder is not None and (clips is not None or seconds_per_clip is not None):
        raise click.UsageError("expected --folder, or --clips and --seconds-per-clip")
    given = {"clips": clips, "seconds_per_clip": seconds_per_clip}
    config = BenchConfig(video, folder, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    found = measure(config)
    click.echo(json.dumps(found.to_json()) if as_json else found.as_text())
    return 0


@facer.command()
@click.option("-o", "--output", "folder", default="facer-demo", show_default=True,
              type=click.Path(path_type=Path), help="A new folder.")  # fmt: skip
def demo(folder: Path) -> int:
    """Run the whole of facer on small clips made from photographs, offline.

    \b
    Example:
      facer demo -o demo
    """
    from facer.pipeline.demo import run_demo
    from facer.stages.synthesis import LIMITS

    started = time.monotonic()
    say("making clips from photographs that scikit-image and insightface carry")
    with shown() as progress:
        result = run_demo(folder, progress, on_epoch=_epoch_line)
    click.echo(f"1. clips     {folder / 'clips'}, labels {result.labels}")
    click.echo(f"2. features  {result.summary.store}: {result.summary.new_frames} frames")
    click.echo(f"3. head      {result.training.run}: val Pearson {result.training.val_pearson:.3f} "
               f"(n = {result.training.n_val})")  # fmt: skip
    click.echo("4. scores on held-out clips")
    _print_evaluation(result.test)
    click.echo(f"5. a clip    {result.picture}")
    click.echo(f"{time.monotonic() - started:.0f} s in all. {LIMITS}")
    click.echo(f"next: facer predict {result.training.run} YOUR_VIDEOS/")
    return EXIT_SOME_FAILED if result.summary.failed else 0


_ALIGN_OPTIONS = (
    click.option("--cache", type=click.Path(path_type=Path),
                 help="Folder for aligned crops. [default: ~/.cache/facer/crops]"),
    click.option("--detector", default="facer-det", show_default=True, metavar="NAME",
                 help="For photographs that are not aligned yet; as in facer extract."),
    click.option("--det-size", default=None, type=int, metavar="PX",
                 help="Longer side that the detector sees. [default: 320 for facer-det, else 640]"),
)  # fmt: skip

_TRAIN_REC_OPTIONS = (
    click.option("--data", multiple=True, required=True, metavar="KIND:PATH",
                 help="affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5; repeatable."),
    click.option("--val", "validation", multiple=True, metavar="KIND:PATH",
                 help="Sets whose val split is scored each epoch. [default: those of --data]"),
    click.option("-o", "--output", "run", required=True, type=click.Path(path_type=Path),
                 help="Run folder to write."),
    click.option("--backbone", default="rec-small", show_default=True,
                 help="rec, rec-small or resnet50."),
    click.option("--start", default="", metavar="REC",
                 help="Go on from these weights: rec-small or a .safetensors file."),
    click.option("--teacher", "teachers", multiple=True, metavar="REC",
                 help="A REC, .onnx too, to learn expressions from; repeatable: their mean."),
    click.option("--teacher-share", default=0.7, show_default=True,
                 help="Its part of the expressions' target, beside the labels."),
    click.option("--coupling", default="paper", show_default=True, help="paper, shares or off."),
    click.option("--weight", "weights", multiple=True, metavar="TERM=W",
                 help="Of a loss term: ccc, cce, bce, dm or dm_labelled. [default: 1 each]"),
    click.option("--augment", multiple=True, metavar="NAME=X",
                 help="Range or chance of an augmentation, such as tint=0.5; see the docs."),
    click.option("--mixup", default=0.0, show_default=True, metavar="A",
                 help="Blend pairs of crops and labels by Beta(A, A), such as 0.2; 0: no."),
    click.option("--epochs", default=20, show_default=True, help="Epochs."),
    click.option("--batch-size", default=64, show_default=True, help="Crops per step."),
    click.option("--learning-rate", default=1.5e-3, show_default=True, help="The highest one."),
    click.option("--small-epochs", default=0.5, show_default=True,
                 help="Share of the epochs trained on 80 px instead of 112, which is faster."),
    click.option("--class-balance", default=0.5, show_default=True,
                 help="0 natural frequencies of the classes, 1 all equally often."),
    click.option("--database-balance", default=0.5, show_default=True,
                 help="The same for databases."),
    click.option("--val-limit", default=10_000, show_default=True,
                 help="Crops of a val set that are scored each epoch, evenly spaced."),
    click.option("--seed", default=0, show_default=True, help="Of everything random."),
    click.option("--device", default="auto", show_default=True,
                 help="auto, cpu, cuda or cuda:N."),
    click.option("--bf16", is_flag=True,
                 help="bfloat16 products on the CPU too: twice as fast where it knows them."),
    click.option("--workers", default=0, show_default=True,
                 help="Processes that read and augment; never changes results."),
    click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
)  # fmt: skip


def _align_config(options: dict[str, Any]) -> Any:
    from facer.stages.affect.aligned import AlignConfig, default_cache
    from facer.stages.features.detect import detector_config

    detector = detector_config(options["detector"], options["det_size"])
    return AlignConfig(options["cache"] or default_cache(), detector)


@facer.command("train-rec")
@_options(_TRAIN_REC_OPTIONS)
@_options(_ALIGN_OPTIONS)
def train_rec(data: tuple[str, ...], validation: tuple[str, ...], run: Path, val_limit: int,
              resume: bool, weights: tuple[str, ...], augment: tuple[str, ...],
              **options: Any) -> int:  # fmt: skip
    """Train REC on labelled faces; several databases are trained on together.

    Writes RUN/rec.safetensors, which extract takes as --rec.

    \b
    Example:
      facer train-rec --data affwild2:Aff-Wild2 --data affectnet:AffectNet -o runs/rec
    """
    from facer.pipeline.rec import TrainRecConfig
    from facer.pipeline.rec import train_rec as train
    from facer.stages.affect.augment import AugmentConfig
    from facer.stages.affect.fit import RecFitConfig
    from facer.stages.affect.losses import LossWeights

    names = ("backbone", "start", "teachers", "teacher_share", "coupling", "mixup", "epochs",
             "batch_size", "learning_rate", "small_epochs", "class_balance", "database_balance",
             "seed", "device", "bf16", "workers")  # fmt: skip
    fit = RecFitConfig(
        loss=_numbers("--weight", LossWeights(), weights),
        augment=_numbers("--augment", AugmentConfig(), augment),
        **{name: options[name] for name in names},
    )
    config = TrainRecConfig(data, run, validation, fit, _align_config(options), val_limit, resume)
    result = train(config, lambda row: _rec_epoch_line(row, fit.epochs), Counter("images aligned"),
                   Counter("crops answered by the teachers"))  # fmt: skip
    for one in result.sets:
        kinds = ", ".join(f"{n} with {kind}" for kind, n in one["labelled"].items())
        click.echo(f"{one['split']:5} {one['spec']}: {one['n']} crops; {kinds}")
    _list("left out", [f"{one['split']}, {_short(note, 'config.json has all')}"
                       for one in result.sets for note in one["notes"]])  # fmt: skip
    click.echo(f"weakly supervised columns: {', '.join(result.weak_features) or 'none'}")
    click.echo(f"weights: {result.rec}")
    click.echo(f"next: facer evaluate-rec {result.rec} --data {(validation or data)[0]}")
    return 0


def _short(note: str, where: str) -> str:
    """The beginning of a note that names very many files, and where all of them are."""
    if len(note) <= _NOTE_CHARACTERS:
        return note
    return f"{note[:_NOTE_CHARACTERS].rpartition(', ')[0]} ... ({where})"


def _numbers(option: str, defaults: Any, pairs: Sequence[str]) -> Any:
    """``defaults`` with the fields that NAME=NUMBER pairs give."""
    known = vars(defaults)
    numbers: dict[str, float] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            numbers[name] = type(known.get(name, 0.0))(value)
        except ValueError:
            name = ""
        if name not in known:
            raise click.UsageError(f"{option}: found {pair!r}, expected {' or '.join(known)} "
                                   "followed by =NUMBER, such as "
                                   f"{next(iter(known))}=0.5")  # fmt: skip
    return replace(defaults, **numbers)


def _rec_epoch_line(row: dict[str, Any], epochs: int) -> None:
    scores = []
    for one in row["val"]:
        expression = one["expression"] or {}
        aucs = [e["auc"] for e in one["au"].values() if e is not None and e["auc"] is not None]
        cccs = [e["ccc"] for e in one["va"].values() if e is not None and e["ccc"] is not None]
        parts = [f"accuracy {expression['accuracy']:.3f}"] if expression else []
        parts += [f"AU AUC {sum(aucs) / len(aucs):.3f}"] if aucs else []
        parts += [f"CCC {sum(cccs) / len(cccs):.3f}"] if cccs else []
        scores.append(f"{one['data']}: {', '.join(parts)}")
    say(f"epoch {row['epoch']}/{epochs}: loss {row['loss']['total']:.4f}; {'; '.join(scores)}")


@facer.command("evaluate-rec")
@click.argument("rec", default="rec-small")
@click.option("--data", required=True, metavar="KIND:PATH",
              help="affwild2:DIR, affectnet:DIR, emotionet:DIR or pack:FILE.h5.")  # fmt: skip
@click.option("--split", default="val", show_default=True, help="train or val.")
@click.option("--pictures", type=click.Path(path_type=Path),
              help="Folder for confusion.png and action-units.png.")  # fmt: skip
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@_options(_ALIGN_OPTIONS)
@_json_option
def evaluate_rec(rec: str, data: str, split: str, pictures: Path | None, device: str,
                 as_json: bool, **options: Any) -> int:  # fmt: skip
    """Score REC weights on labelled faces: expressions, action units, valence and arousal.

    REC is rec-small, or the path of .safetensors or .onnx weights.

    \b
    Example:
      facer evaluate-rec runs/rec/rec.safetensors --data affectnet:AffectNet --pictures look/
    """
    from facer.pipeline.evaluate_rec import evaluate_rec as evaluate_weights

    found = evaluate_weights(
        rec, data, split, device, align=_align_config(options), pictures=pictures,
        report=Counter("crops scored"), on_align=Counter("images aligned"),
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(found))
        return 0
    _print_rec_scores(found)
    if pictures is not None:
        drawn = ", ".join(found["pictures"])
        click.echo(f"pictures: {drawn or 'none, since nothing that they show is labelled'}")
    return 0


def _print_rec_scores(found: dict[str, Any]) -> None:
    def number(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.3f}"

    click.echo(f"{found['rec']} ({found['rec_sha256'][:12]}) on {found['data']}, split "
               f"{found['split']}: {found['n']} crops")  # fmt: skip
    if (expression := found["expression"]) is not None:
        click.echo(f"expression  accuracy {expression['accuracy']:.3f}, macro F1 "
                   f"{expression['macro_f1']:.3f}, mean recall {expression['mean_recall']:.3f}, "
                   f"n {expression['n']}")  # fmt: skip
        if (agreed := expression["majority"]) is not None:
            click.echo(f"  where more than half of the votes agree: accuracy "
                       f"{agreed['accuracy']:.3f}, macro F1 {agreed['macro_f1']:.3f}, mean recall "
                       f"{agreed['mean_recall']:.3f}, n {agreed['n']}")  # fmt: skip
        click.echo("  recall: " + ", ".join(
            f"{name} {number(value).strip()}" for name, value in expression["recall"].items()
        ))  # fmt: skip
        pair = number(expression["happiness_vs_neutral_auc"]).strip()
        click.echo(f"  happiness against neutral: AUC {pair}")
    units = {name: unit for name, unit in found["au"].items() if unit is not None}
    if units:
        click.echo("unit     AUC     F1      n  present")
    for name, unit in units.items():
        click.echo(f"{name}  {number(unit['auc'])} {number(unit['f1'])} {unit['n']:6d}   "
                   f"{unit['positive']:6d}")  # fmt: skip
    derived = found["va_derived"]
    for name, entry in (derived or found["va"]).items():
        if entry is not None:
            source = " (against values derived from the expressions)" if derived else ""
            click.echo(f"{name}  CCC {number(entry['ccc']).strip()}, n {entry['n']}{source}")
    if found["weak_features"]:
        click.echo(f"weakly supervised columns: {', '.join(found['weak_features'])}")
    _list("left out", [_short(note, "--json has all") for note in found["notes"]])


@facer.command("export-rec")
@click.argument("rec")
@click.argument("output", type=click.Path(path_type=Path))
def export_rec(rec: str, output: Path) -> int:
    """Write REC weights as ONNX, checked against torch.

    \b
    Example:
      facer export-rec rec-small rec-small.onnx
    """
    from facer.stages.features.rec import weights_path
    from facer.stages.features.rec_onnx import export_onnx

    difference = export_onnx(weights_path(rec), output)
    click.echo(f"{output}: written, differs from torch by at most {difference:.1e}")
    return 0


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder to write: the new REC and the new head.")  # fmt: skip
@click.option("--rec", default="rec-small", show_default=True,
              help="The weights that the run's store was extracted with.")  # fmt: skip
@click.option("--epochs", default=5, show_default=True, help="Epochs.")
@click.option("--learning-rate", default=1e-5, show_default=True, help="Of both Adams.")
@click.option("--batch-size", default=4, show_default=True, help="Clips per step.")
@click.option("--chunk", default=32, show_default=True,
              help="Crops whose activations are in memory at a time.")  # fmt: skip
@click.option("--memory-mb", default=2048, show_default=True,
              help="Of crops kept between epochs; more are decoded again.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the order of the clips.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--resume", is_flag=True, help="Go on with an output that was stopped.")
def finetune(run: Path, video_dir: Path, output: Path, **options: Any) -> int:
    """Train REC and a head end to end on the videos of the head's store.

    \b
    Example:
      facer finetune runs/first videos/ -o runs/joint
    """
    from facer.pipeline.finetune import FinetuneConfig
    from facer.pipeline.finetune import finetune as tune

    config = FinetuneConfig(run, video_dir, output, **options)
    result = tune(config, lambda row: _joint_epoch_line(row, config.epochs))
    click.echo(f"{result.output}: epoch {result.best['epoch']} kept, val Pearson "
               f"{result.best['val_pearson']:.4f} (before: {result.curve[0]['val_pearson']:.4f}); "
               f"REC's weights moved by {result.rec_change:.2e} of their length")  # fmt: skip
    click.echo(f"next: facer extract {video_dir} -o {result.output / 'features.zarr'} "
               f"--rec {result.rec}, then facer evaluate {result.output}")  # fmt: skip
    return 0


def _joint_epoch_line(row: dict[str, Any], epochs: int) -> None:
    loss = "before training" if row["loss"] is None else f"loss {row['loss']:.4f}"
    say(f"epoch {row['epoch']}/{epochs}: {loss}, val Pearson {row['val_pearson']:.4f}")


_PEOPLE_OPTIONS = (
    click.option("--people", type=click.Path(path_type=Path),
                 help="Folder of photographs of people with faces.csv; some sources are left out."),
    click.option("--people-clips", type=click.Path(path_type=Path),
                 help="Folder of clips of people with faces.csv and frames.csv."),
)  # fmt: skip


@facer.command("train-detector")
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
@_options(_PEOPLE_OPTIONS)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    help="Weights to begin with: a checkpoint, or a detector.onnx that facer wrote.",
)
@click.option("--steps", default=7000, show_default=True, help="Optimiser steps.")
@click.option("--learning-rate", default=2.5e-3, show_default=True, help="The largest.")
@click.option("--bf16", is_flag=True, help="Compute products in bfloat16.")
@click.option("--seed", default=0, show_default=True, help="Of everything random.")
def train_detector(run: Path, **options: Any) -> int:
    """Train facer's face detector; writes RUN/detector.onnx, which extract takes as --detector.

    \b
    Example:
      facer train-detector --faces faces.h5 --scenes scenes/ --clips videos/ \\
        --teacher retinaface.onnx -o runs/detector
    """
    from facer.stages.detection.config import DetectorConfig
    from facer.stages.detection.fit import fit

    run.mkdir(parents=True, exist_ok=True)
    result = fit(
        DetectorConfig(run=run, **options),
        lambda p: say(f"step {p.step}/{p.steps}: loss {p.losses['total']:.4f}"),
    )
    click.echo(f"detector: {result.onnx}")
    click.echo(
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
    click.option("--steps", default=9000, show_default=True, help="Optimiser steps."),
    click.option("--learning-rate", default=2e-3, show_default=True, help="The largest."),
    click.option("--bf16", is_flag=True, help="Compute products in bfloat16."),
    click.option("--seed", default=0, show_default=True, help="Of everything random."),
)  # fmt: skip


@facer.command("train-points")
@_options(_POINTS_OPTIONS)
@_options(_PEOPLE_OPTIONS)
def train_points(run: Path, **options: Any) -> int:
    """Train the points model that follows facer-det; writes RUN/points.onnx.

    \b
    Example:
      facer train-points --faces faces.h5 --crops crops.h5 --scenes scenes/ \\
        --clips videos/ --teacher retinaface.onnx -o runs/points
    """
    from facer.stages.detection.points_fit import PointsConfig, fit_points

    path = fit_points(
        PointsConfig(run=run, **options),
        lambda p: say(f"step {p.step}/{p.steps}: loss {p.loss:.4f}; held-out faces: points off by "
                       f"{p.val_error:.1%} of the eyes' distance"),
    )  # fmt: skip
    click.echo(f"points model: {path}")
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
    click.option("--threshold", type=float, help="Score from which on it is a face. [default: the "
                 "detector's own]"),
)  # fmt: skip


@facer.command("evaluate-detector")
@click.argument("detector", default="facer-det")
@_options(_EVALUATE_DETECTOR_OPTIONS)
def evaluate_detector(detector: str, **options: Any) -> int:
    """Measure a detector: faces of people at every pose, a teacher's faces, false faces.

    \b
    Example:
      facer evaluate-detector facer-det --people photographs/ --scenes scenes/
      facer evaluate-detector facer-det --teacher retinaface.onnx --clips videos/
    """
    from facer.stages.detection.evaluate import EvaluationConfig, evaluate

    for table in evaluate(EvaluationConfig(detector, **options)):
        click.echo(table + "\n")
    return 0


@facer.command()
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
@click.option("--kind", default="auto", show_default=True, help="plain, eri, muse, emi or mimic.")
@click.option("--seeds", default=3, show_default=True, help="Trainings of each row.")
@click.option("--epochs", type=int, help="At most. [default: 30, more for small sets]")
@click.option("--jobs", default=1, show_default=True, help="Processes on this machine.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler instead.")
@_json_option
def ablate(
    store: str,
    labels: str,
    output: Path,
    rows: str,
    also: tuple[str, ...],
    kind: str,
    seeds: int,
    epochs: int | None,
    jobs: int,
    scheduler: str | None,
    as_json: bool,
) -> int:
    """Train the rows of the paper's tables on one store; resumable row by row.

    The paper's figures (Hume-Reaction, val) stand beside ours, marked as the paper's.

    \b
    Example:
      facer ablate features.zarr --labels labels.csv -o ablation --rows table2 --seeds 5
    """
    from facer.pipeline.ablate import AblateConfig
    from facer.pipeline.ablate import ablate as run_rows
    from facer.pipeline.ablation_report import as_markdown
    from facer.stages.intensity.fit import FitConfig

    config = AblateConfig(
        store,
        labels,
        output,
        tuple(rows.split(",")),
        dict(_pair(text) for text in also),
        kind,
        fit=FitConfig(epochs=epochs),
        seeds=seeds,
        jobs=jobs,
        scheduler=scheduler,
    )
    table = run_rows(config, lambda title, done, n: say(f"{done}/{n} rows done: {title}"))
    if as_json:
        click.echo(json.dumps(table.to_json()))
    else:
        click.echo(as_markdown(table))
        click.echo(f"also as csv, md and png: {output}")
    return EXIT_SOME_FAILED if table.failed else 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, store = text.partition("=")
    if not (name and equals and store):
        raise click.UsageError(f"--also: found {text!r}, expected NAME=STORE")
    return name, store


@facer.command("import")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", "store", required=True, help="The store to write or add to.")
@click.option("--fps", type=float, help="Frame rate of py-feat's frames, which have no times.")
def import_(kind: str, path: Path, store: str, fps: float | None) -> int:
    """Bring another tool's features into a store: KIND is muse, openface, pyfeat or hdf5.

    \b
    Example:
      facer import openface openface-csvs/ -o openface.zarr
    """
    from facer.pipeline.importing import import_into_store

    opened, added, changed = import_into_store(kind, path, store, fps)
    click.echo(
        f"{opened.path}: {added} clips added, {len(opened.clip_ids)} in all; features "
        f"{', '.join(opened.feature_names[:6])} ... ({len(opened.feature_names)})"
    )
    if changed:
        say(f"{len(changed)} clips of {path} are not what the store has ({', '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}); those in the store were kept: import into "
            "another store to have the new ones")  # fmt: skip
    return 0


@facer.command()
@click.argument("store")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", default="hdf5", show_default=True, help="muse, hdf5, parquet.")
def export(store: str, path: Path, form: Any) -> int:
    """Write a store's features for other tools: hdf5 (lossless), muse csv files or parquet.

    \b
    Example:
      facer export features.zarr features.h5
    """
    from facer.storage import FeatureStore
    from facer.storage.tables import export_store

    opened = FeatureStore.open(store)
    click.echo(f"{path}: {export_store(opened, path, form)} clips")
    if form == "muse" and "embedding" in opened.provenance.settings:
        say("the embedding is left out; hdf5 and parquet have it")
    return 0


@facer.command("export-head")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--seed", type=int, help="Which of the run's seeds. [default: the first]")
@click.option("--rec", help="Put this REC before the head: from crops to intensities.")
def export_head(run: Path, output: Path, seed: int | None, rec: str | None) -> int:
    """Write the head of a run as ONNX, alone or with REC, checked against torch.

    \b
    Example:
      facer export-head runs/first head.onnx
      facer export-head runs/first whole.onnx --rec rec-small
    """
    from facer.pipeline.export_head import ExportHeadConfig
    from facer.pipeline.export_head import export_head as export_run

    result = export_run(ExportHeadConfig(run, output, seed, rec))
    click.echo(
        f"{result.path}: seed {result.seed}, input {result.inputs}; differs from torch by at most "
        f"{result.difference:.1e} on clips of {', '.join(map(str, result.lengths))} frames"
    )
    return 0


@facer.command()
@click.argument("action", type=click.Choice(["list", "fetch", "verify"]))
@click.argument("name", required=False)
def models(action: str, name: str | None) -> int:
    """List the built-in models with their digests, verify them, or fetch an insightface pack.

    verify loads each of them and runs it; exit code 1 when one is broken.

    \b
    Examples:
      facer models list
      facer models verify
      facer models fetch buffalo_l
    """
    from facer.pipeline.models import shipped_models, verify_models
    from facer.stages.features import detect, rec

    if action == "fetch":
        if name is None:
            raise click.UsageError("expected the name of an insightface pack, such as buffalo_l")
        click.echo(str(detect.model_path(f"insightface:{name}")))
        return 0
    found = verify_models() if action == "verify" else shipped_models()
    good = "  works" if action == "verify" else ""
    for model in found:
        state = f"  BROKEN: {model.problem}" if model.problem else good
        click.echo(f"{model.name:16}  sha256 {model.sha256 or 'unknown'}{state}")
    broken = [model for model in found if model.problem]
    if broken:
        say(f"broken: {', '.join(str(m.path) for m in broken)}; install facer again")
        return EXIT_PROBLEM
    if action == "list":
        weak = ", ".join(rec.load().weak_features)
        click.echo(f"weakly supervised columns of {rec.STARTER}: {weak}")
    return 0


if __name__ == "__main__":
    main()
