"""The command line: options become a config and one call into ``facer.pipeline``.

Results go to stdout, progress and messages to stderr. Exit codes: 0 all is there, 1 a problem
the message explains, 2 wrong usage, 3 some clips failed, 130 interrupted (Ctrl-C or SIGTERM).
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.runtime.installation import check_installation
from facer.pipeline.runtime.progress import Counter, echo, fold_epoch, head_epoch, say, shown
from facer.storage.errors import FacerError, OptionError, PlaceError, printable

if TYPE_CHECKING:
    from facer.pipeline.features.extract import ExtractSummary
    from facer.pipeline.features.verify import Verification
    from facer.pipeline.intensity.check import FeatureCheck, LabelCheck
    from facer.pipeline.intensity.scoring.evaluation import Evaluation
    from facer.stages.intensity.statistics.groups import Groups
    from facer.stages.intensity.statistics.intervals import Comparison, Interval
    from facer.storage.labels.options import LabelOptions

# the module facer may be another distribution's, see facer.pipeline.runtime.installation
__version__ = getattr(sys.modules["facer"], "__version__", "unknown")
EXIT_PROBLEM, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 130
_STDOUT = Path("-")  # as the csv to write
_GROUPS_SHOWN = 30
_LISTED = 10  # names printed of a longer list
_NOTE_CHARACTERS = 300  # of a note on what was left out

_KINDS = ["plain", "eri", "muse", "emi", "mimic"]
_KIND = click.Choice(["auto", *_KINDS])
_SPLIT = click.Choice(["train", "val", "test"])


class _Finite(click.FloatRange):
    """A number in a range; nan and inf, which Python reads as numbers too, are none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number; wrong usage for any other text."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return number


class _Device(click.types.StringParamType):
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``, whether it is there or not."""

    name = "device"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The same text; wrong usage for any other."""
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", value):
            self.fail(f"found {value!r}, expected auto, cpu, cuda or cuda:N", param, ctx)
        return str(value)


_POSITIVE = _Finite(min=0, min_open=True)
_SEED = click.IntRange(0)

_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command, turn problems into one line and an exit code."""
    # ffmpeg's and OpenCV's own complaints about odd files are answered by facer's records
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _print_anything()
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    logging.getLogger("facer").handlers = [_Say()]  # warnings of storage
    problem = ""
    try:
        _refuse_another_facer()
        with _terminated_as_interrupted():
            code = facer.main(arguments, prog_name="facer", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        problem = "interrupted; run it again to go on (trainings with --resume)"
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        problem = f"{error.format_message().rstrip('.')}; see {_help_of(error)}"
        code = EXIT_USAGE
    except (FacerError, PlaceError, BrokenPipeError, PermissionError) as error:
        if debug:
            raise
        problem = str(error)
        code = EXIT_USAGE if isinstance(error, OptionError) else EXIT_PROBLEM
    except Exception as error:  # whatever a stranger's file or a mistake of facer's has led to
        if debug:
            raise
        text = " ".join(str(error).split())[:300]
        problem = (
            f"unexpected {type(error).__name__}: {text}; --debug shows where, please report it"
        )
        code = EXIT_PROBLEM
    if problem:
        say(problem)
        if "--json" in arguments:
            with suppress(BrokenPipeError):
                echo(json.dumps({"error": problem, "exit_code": code}))
    sys.exit(code if isinstance(code, int) else 0)


def _refuse_another_facer() -> None:
    """Tell of another distribution with a module ``facer``; FacerError where it is in use."""
    found, fatal = check_installation()
    if fatal:
        raise FacerError(found)
    if found:
        _warn(found)


def _print_anything() -> None:
    """Let the console show names in characters that it lacks: each becomes a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is Ctrl-C; a second one, as ``timeout`` and batch systems send, changes nothing."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # others hear no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is interrupt:  # else it was, and the process ends
            signal.signal(signal.SIGTERM, before)


class _Say(logging.Handler):
    """What storage warns of, as a line for the user."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        say(f"warning: {record.getMessage()}")


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
    click.option("--det-threshold", default=None, type=_Finite(0, 1),
                 help="Score from which on it is a face. [default: 0.5]"),
    click.option("--rec", default="rec-small", show_default=True, metavar="NAME",
                 help="rec-small, or the path of .safetensors or .onnx weights."),
    click.option("--device", type=_Device(), default="auto", show_default=True,
                 help="auto, cpu, cuda or cuda:N."),
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


_LABEL_OPTIONS = (
    click.option("--kind", default="auto", show_default=True,
                 help="Of the labels: plain, eri, muse, emi or mimic."),
    click.option("--id-column", metavar="NAME",
                 help="Column of the clips' ids. [default: clip_id, filename, video ...]"),
    click.option("--targets", metavar="A,B",
                 help="Columns of the intensities. [default: all with numbers, save ids, ages, "
                 "folds, times and the like]"),
    click.option("--subject-column", metavar="NAME",
                 help="Column of who is seen, or none. [default: subject, participant ...]"),
    click.option("--split-column", metavar="NAME",
                 help="Column of train, val and test, or none. [default: split, partition ...]"),
    click.option("--missing-values", metavar="A,B",
                 help="Numbers or words that mean 'not rated', such as -1,999; none: numbers far "
                 "from all others are labels."),
)  # fmt: skip


def _reading(options: dict[str, Any]) -> LabelOptions:
    """Take the options on labels out of a command's."""
    from facer.storage.labels.options import LabelOptions, comma_separated

    targets, missing_values = (
        comma_separated(options.pop(name)) for name in ("targets", "missing_values")
    )
    names = ("kind", "id_column", "subject_column", "split_column")
    return LabelOptions(
        targets=targets,
        missing_values=missing_values,
        **{name: options.pop(name) for name in names},
    )


def _say_notes(notes: Sequence[str]) -> None:
    """Say how labels were read, and warn of what a reader of the figures must know."""
    for place, note in enumerate(notes):
        say(note if place == 0 else f"warning: {note}")


def _options(options: Sequence[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command several options, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_SCHEDULER_OPTIONS = (
    click.option("--scheduler", metavar="ADDRESS",
                 help="A Dask scheduler, such as tls://host:8786, instead of processes here."),
    click.option("--tls-ca-file", type=click.Path(path_type=Path),
                 help="For tls://: certificate of the authority. [default: Dask's settings]"),
    click.option("--tls-cert", type=click.Path(path_type=Path),
                 help="For tls://: certificate of this client. [default: Dask's settings]"),
    click.option("--tls-key", type=click.Path(path_type=Path),
                 help="For tls://: its key. [default: Dask's settings]"),
)  # fmt: skip


def _tls_files(options: dict[str, Any]) -> Any:
    from facer.pipeline.runtime.executors import TlsFiles

    return TlsFiles(options["tls_ca_file"], options["tls_cert"], options["tls_key"])


def _extract_config(options: dict[str, Any]) -> Any:
    from facer.pipeline.settings import extract_config

    return extract_config(options)


@facer.command()
@click.argument("video_dir")
@click.option("-o", "--output", "store", default="features.zarr", show_default=True,
              help="The store: a folder, or an fsspec URL such as s3://bucket/a.zarr.")  # fmt: skip
@click.option("--workers", type=int,
              help="Processes here. [default: one per core; one per GPU, if any]")  # fmt: skip
@_options(_SCHEDULER_OPTIONS)
@click.option("--part-size", default=32, show_default=True, help="Clips per unit of work.")
@click.option("--retry-failed", is_flag=True, help="Also try clips again that failed before.")
@click.option("--changed", default="keep", show_default=True,
              help="Videos whose content is not what was extracted: keep their features and say "
              "how many there are, re-extract, or error. Failed ones are tried again.")  # fmt: skip
@click.option(
    "--settle",
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="Leave videos for the next run that were written to less than this ago.",
)
@click.option("--gone", default="keep", show_default=True,
              help="Clips of the store whose video is no longer in VIDEO_DIR: keep or drop them; "
              "it is told how many there are.")  # fmt: skip
@_options(_EXTRACT_OPTIONS)
def extract(video_dir: str, store: str, **options: Any) -> int:
    """Turn a folder of videos into a store of per-frame features.

    VIDEO_DIR is a folder, one video, or an fsspec URL of either. The same command again does
    only what is missing, and tries failed videos again whose file has changed. Exit code 3 when
    some clips failed.

    \b
    Examples:
      facer extract videos/ -o features.zarr --workers 8
      facer extract s3://bucket/videos -o s3://bucket/features.zarr --scheduler tcp://host:8786
    """
    from facer.pipeline.features.extract import extract_folder
    from facer.pipeline.settings import extract_run_config

    config = extract_run_config(video_dir, store, options)
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
    echo(
        f"{summary.store}: {counts['ok']} {'sequences' if several else 'clips'} with a face, "
        f"{counts['no_face']} without, {counts['failed']} failed, of {summary.n_clips}"
        f"{' clips' if several else ''}; {frames} frames, {faces / max(frames, 1):.1%} with a face"
    )
    if summary.n_done_before:
        echo(f"{summary.n_done_before} of them were there already")
    if summary.new_frames:
        rate = summary.new_frames / summary.seconds
        echo(f"{summary.new_frames} frames in {summary.seconds:.0f} s, {rate:.0f} frames/s")
    _list("failed", [f"{r.clip_id}: {r.reason}" for r in summary.failed])


def _list(title: str, lines: Sequence[str], limit: int = 1000) -> None:
    if lines:
        echo(f"{title} ({len(lines)}):")
        for line in lines[:limit]:
            echo(f"  {printable(line)}")
        if len(lines) > limit:
            echo(f"  ... and {len(lines) - limit} more (--json lists all)")


@facer.command()
@click.argument("store")
@_json_option
def status(store: str, as_json: bool) -> int:
    """Say what a store holds: clips, frames, faces, failures with their reasons.

    \b
    Example:
      facer status features.zarr
    """
    from facer.pipeline.features.status import store_status
    from facer.storage import FeatureStore

    found = store_status(FeatureStore.open(store))
    if as_json:
        echo(json.dumps(found.to_json()))
        return 0
    share = "-" if found.face_share is None else f"{found.face_share:.1%}"
    made = found.provenance
    every = made["face_policy"] == "all"
    noun = "sequences" if every else "clips"
    echo(f"{found.path}: {sum(found.clips.values())} {noun}, {found.frames} frames"
               + (f", of {found.videos} videos" if every else ""))  # fmt: skip
    echo(f"  with a face     {found.clips['ok']} {noun}, {share} of all frames")
    echo(f"  without a face  {found.clips['no_face']} {noun}")
    echo(f"  failed          {found.clips['failed']} {noun}")
    echo(f"  detector {made['detector']} ({made['detector_sha256'][:12]}), "
               f"REC {made['rec']} ({made['rec_sha256'][:12]}), {made['frame_policy']}, "
               f"face: {made['face_policy']}")  # fmt: skip
    _list("failed", [f"{clip}: {reason}" for clip, reason in found.failures], 50)
    _list("notes", [f"{clip}: {reason}" for clip, reason in found.notes], 50)
    _list("damaged parts", found.damaged, _LISTED)
    echo(
        "  from the records alone: chunks and videos were not looked at; look: facer verify "
        f"{store}"
    )
    return 0


@facer.command()
@click.argument("store")
@click.option("--jobs", type=int, help="Parts read at a time. [default: one per core]")
@click.option("--videos", metavar="VIDEO_DIR",
              help="Also say which videos changed, are gone or have no record.")  # fmt: skip
@click.option("--repair", is_flag=True, help="Drop damaged parts, for extract to make them anew.")
@_json_option
def verify(store: str, jobs: int | None, videos: str | None, repair: bool, as_json: bool) -> int:
    """Read all of a store, every chunk and record, and say clip by clip what is not whole.

    Exit code 1 when anything is damaged or absent, also when it was dropped.

    \b
    Examples:
      facer verify features.zarr --videos videos/
      facer verify features.zarr --repair
    """
    from facer.pipeline.features.verify import VerifyConfig
    from facer.pipeline.features.verify import verify as verify_all

    found = verify_all(VerifyConfig(store, jobs, videos, repair))
    if as_json:
        echo(json.dumps(found.to_json()))
    else:
        _print_verification(found, repair)
    return 0 if found.whole else EXIT_PROBLEM


def _print_verification(found: Verification, repair: bool) -> None:
    result = found.to_json()
    parts = found.found.parts
    echo(f"{found.path}: {len(result['clips'])} clips in {len(parts)} parts, "
         f"{result['bytes'] / 1e6:.0f} MB of values read")  # fmt: skip
    for state in ("whole", "damaged", "absent", "unknown"):
        clips = [clip for clip, of in result["clips"].items() if of == state]
        echo(f"  {state:8} {len(clips)} clips")
        if state != "whole":
            _list(f"{state} clips", clips)
    reasons = [reason for part in parts for reason in part.reasons]
    _list("what is wrong", reasons)
    if found.found.group:
        _list("what is wrong beside the parts", [f"parts/zarr.json: {found.found.group}"])
    if unfinished := result["parts_unfinished"]:
        echo(f"{len(unfinished)} parts without records: of a running extraction, or of one that "
             "was stopped; not counted")  # fmt: skip
    if relaid := result["parts_relaid"]:
        echo(f"{len(relaid)} parts were laid out by another program, and are read: slower")
    if found.videos is not None:
        _list("videos that changed", found.videos.changed)
        _list("videos that are gone", found.videos.gone)
        _list("videos without a record", found.videos.without_record)
    if repair:
        _list("dropped parts", found.dropped)
        _list("the same facer extract makes these clips anew", found.again)
        _list("these go back to an earlier record; facer extract --changed re-extract where their "
              "videos changed since", found.older)  # fmt: skip
    if result["unknown"]:
        echo("what is unknown was not proved damaged, and --repair does not drop it")


@facer.command()
@click.argument("store")
@click.option("--labels", required=True, help="Label file or folder.")
@_options(_LABEL_OPTIONS)
@click.option("--features", default="all", show_default=True,
              help="Of a head: va, expr, au, all, embedding or column names.")  # fmt: skip
@click.option("--t", type=click.IntRange(1), default=480, show_default=True,
              help="Frames a head sees at most.")  # fmt: skip
@_json_option
def check(store: str, labels: str, t: int, as_json: bool, **options: Any) -> int:
    """Compare a label file with a store: what joins, what is missing on either side.

    Also says what the file was taken for, and what each target and the features are like.

    \b
    Example:
      facer check features.zarr --labels labels.csv
    """
    from facer.pipeline.intensity.check import check_labels
    from facer.stages.intensity.sequences import SequenceConfig
    from facer.storage import FeatureStore
    from facer.storage.labels.options import comma_separated
    from facer.storage.labels.table import read_labels

    reading = _reading(options)
    features = SequenceConfig(features=comma_separated(options["features"])).features
    found = check_labels(FeatureStore.open(store), read_labels(labels, reading), t, features)
    if as_json:
        echo(json.dumps(found.to_json()))
        return 0
    echo("\n  ".join(found.facts))
    echo(f"{sum(found.usable.values())} of {found.n_clips} clips can be used")
    hume = "  Hume-Reaction's rows" if found.hume_reaction else ""
    echo(f"split      rows  with a clip  usable{hume}")
    for split, n in found.splits.items():
        published = f"  {n.published:20d}" if n.published is not None else ""
        echo(f"{split or '(none)':6}  {n.rows:7d}  {n.joined:11d}  {n.usable:6d}{published}")
    _print_used_splits(found)
    _print_targets(found)
    _print_features(found.features)
    for note in found.notes:
        say(f"warning: {note}")
    _list("ids that look like a clip's and are not",
          [f"{i!r} and {clip!r}: {how}" for i, clip, how in found.look_alikes],
          _LISTED)  # fmt: skip
    _list("subjects in more than one split",
          [f"{name}: {', '.join(there)}" for name, there in found.shared_subjects.items()],
          _LISTED)  # fmt: skip
    _list("clips without a frame in which all chosen features are measured",
          found.features.empty_clips, _LISTED)  # fmt: skip
    _list("labels without a clip", found.labels_without_clip, _LISTED)
    _list("clips without a label", found.clips_without_label, _LISTED)
    _list("ids that could mean several clips",
          [f"{i}: {', '.join(clips)}" for i, clips in found.ambiguous], _LISTED)  # fmt: skip
    _list("labelled clips that failed", found.failed, _LISTED)
    _list("labelled clips without a face", found.no_face, _LISTED)
    _list("clips whose targets are all empty", found.without_targets, _LISTED)
    _list(f"clips of more than {t} frames", found.overlong, _LISTED)
    return 0


def _print_used_splits(found: LabelCheck) -> None:
    if "" in found.splits and len(found.splits) == 1:
        echo(f"no splits in the file: {found.split_rule}")
    known = [(split, used) for split, used in found.used_splits.items() if used.clips]
    echo("train-head uses " + ", ".join(
        f"{split} {used.clips} clips" + (f" of {used.subjects} subject(s)" if used.subjects else "")
        for split, used in known
    ))  # fmt: skip


def _print_targets(found: LabelCheck) -> None:
    """A line a target: its labels, and what cannot be learnt or scored of it."""
    width = max(len(name) for name in ("target", *found.targets))
    echo(f"{'target':{width}}      n      min     mean      max  absent")
    for name, target in found.targets.items():
        values = (target.min, target.mean, target.max)
        cells = "  ".join(f"{'-':>7}" if value is None else f"{value:7.3f}" for value in values)
        still = ", ".join(target.does_not_vary_in)
        odd = [f"does not vary in {still}: Pearson is not defined there"] if still else []
        if not target.trained:
            odd.append("no label in train: not trained, no predictions of it")
        elif "val" in target.no_label_in:
            odd.append("no label in val")
        echo(f"{name:{width}}  {target.n:5d}  {cells}  {target.absent_share:6.1%}  "
                   f"{'; '.join(odd)}".rstrip())  # fmt: skip


def _print_features(found: FeatureCheck) -> None:
    if found.filled_share is not None:
        echo(f"{found.frames} frames of labelled clips, {found.filled_share:.1%} of them "
                   "filled (without a face, or without some chosen feature)")  # fmt: skip
    if found.empty_columns:
        say(f"warning: no clip has a value of {', '.join(found.empty_columns)}; choose others by "
            "--features")  # fmt: skip


_FOLD_OPTIONS = (
    click.option("--folds", metavar="K",
                 help="Cross-validate: K folds, or 'subjects' to leave one out at a time."),
    click.option("--by", default="auto", show_default=True,
                 help="Divide by subject or clip; auto: by subject where every clip names one."),
    click.option("--fold-splits", default="train,val", show_default=True,
                 help="Splits of the label file that take part; without test, test stays unseen."),
)  # fmt: skip
_INPUT_OPTIONS = (  # of train-head and ablate
    click.option("--learning-rate", type=_POSITIVE, default=1e-4, show_default=True,
                 help="Of Adam."),
    click.option("--t", default=480, show_default=True, help="Frames a head sees."),
    click.option("--missing", default="hold", show_default=True,
                 help="Frames without a face: hold, zero or drop."),
    click.option("--standardise", is_flag=True,
                 help="Bring features to mean 0 and deviation 1 over the training frames."),
    click.option("--device", type=_Device(), default="cpu", show_default=True,
                 help="auto, cpu or cuda."),
)  # fmt: skip
_TRAIN_HEAD_OPTIONS = (
    click.option("--features", default="all", show_default=True,
                 help="va, expr, au, all, embedding or column names, joined by commas."),
    click.option("--head", default="facernet", show_default=True,
                 help="facernet, gru-last, tcn-transformer, perceiver or stats-mlp."),
    click.option("--loss", default="pearson", show_default=True, help="pearson, mse or ccc."),
    click.option("--seeds", default=1, show_default=True,
                 help="Trainings with different seeds; more than a run has are added to it."),
    click.option("--seed", type=_SEED, default=0, show_default=True, help="The first seed."),
    click.option("--epochs", type=int, help="At most. [default: 30, more for small sets]"),
    click.option("--batch-size", default=4, show_default=True, help="Clips per step."),
    click.option("--overlong", default="subsample", show_default=True,
                 help="Clips of more frames: subsample, truncate or error."),
    click.option("--cell", default="gru", show_default=True, help="gru or lstm."),
    click.option("--units", default=128, show_default=True, help="Width of the recurrent layer."),
    click.option("--layers", default=1, show_default=True, help="Recurrent layers."),
    click.option("--dense", default=32, show_default=True, help="Width of the dense layer."),
    click.option("--no-mask", is_flag=True, help="Leave Mask and routing out."),
    click.option("--dropout", default=0.0, show_default=True, help="Within the head."),
    click.option("--patience", type=int,
                 help="Epochs without a better val score. [default: a third of the epochs]"),
    click.option("--calibrate", default="train", show_default=True,
                 help="Split whose labels set the scale of predictions: train, val or none."),
    click.option("--jobs", default=1, show_default=True,
                 help="Seeds trained at a time, in processes; never changes results."),
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
@_options(_LABEL_OPTIONS)
@_options(_FOLD_OPTIONS)
@_options(_INPUT_OPTIONS)
@_options(_TRAIN_HEAD_OPTIONS)
def train_head(store: str | None, labels: str | None, run: Path, source: Path | None,
               **options: Any) -> int:  # fmt: skip
    """Train a head on a store; the paper's settings are the defaults.

    \b
    Examples:
      facer train-head features.zarr --labels labels.csv -o runs/first --seeds 3
      facer train-head --from runs/first -o runs/again
      facer train-head features.zarr --labels labels.csv -o runs/folds --folds 5 --by subject
    """
    from facer.pipeline.intensity import train as heads
    from facer.pipeline.settings import train_head_config

    if source is not None:
        _refuse_options_beside_from(click.get_current_context())
        config = heads.config_of_run(source, run, store, labels)
        free = ("jobs", "device", "resume")
        config = replace(config, **{name: options[name] for name in free})
    elif store is None or labels is None:
        raise click.UsageError("expected STORE and --labels, or --from RUN")
    else:
        _refuse_without_folds(options)
        config = train_head_config(store, labels, run, options)
    if config.folds is not None and config.fold is None:
        return _train_folds(config)
    result = heads.train_head(config, head_epoch, say)
    counts = result.counts
    echo(
        f"{result.run}: {result.n_train} clips trained on, {result.n_val} to validate, "
        f"{result.n_columns} columns read; labels read as {result.label_kind}; splits: "
        f"{result.split_rule}"
    )
    echo(
        f"labels without a clip {counts['labels_without_clip']}, ambiguous ids "
        f"{counts['ambiguous_ids']}, clips without a label "
        f"{counts['clips_without_label']}, failed {counts['failed']}, without a face "
        f"{counts['no_face']}, without the chosen features {counts['no_features']}, "
        f"over {config.sequences.max_frames} frames {counts['overlong']}"
    )
    for seed in result.seeds:
        echo(f"seed {seed.seed}: val Pearson {seed.val_pearson:.4f} in epoch "
                   f"{seed.best_epoch} of {seed.epochs} (n = {result.n_val})")  # fmt: skip
        if seed.val_pearson == 0:
            say(f"warning: seed {seed.seed}: one and the same prediction for all of val, scored 0")
    if result.not_defined:
        say(f"warning: all labels of {', '.join(result.not_defined)} in val are one value: Pearson "
            "is not defined there, and left out of the mean")  # fmt: skip
    if result.val_pearson != result.val_pearson:
        say("warning: no val Pearson is defined; the epoch with the lowest val MSE was kept")
    if len(result.seeds) > 1:
        echo(f"mean of {len(result.seeds)} seeds: {result.val_pearson:.4f}, standard "
                   f"deviation {result.val_deviation:.4f}")  # fmt: skip
    echo(f"next: facer evaluate {result.run} --split val")
    return 0


def _train_folds(config: Any) -> int:
    from facer.pipeline.intensity.folds import train_folds

    result = train_folds(config, fold_epoch, say)
    echo(f"{result.run}: {result.rule}")
    if result.crossing:
        _warn(f"clips of {len(result.crossing)} subjects are in several folds, so people who are "
              f"scored were trained on: {', '.join(result.crossing[:_LISTED])}")  # fmt: skip
    _print_evaluation(result.scores)
    echo(f"predictions of {len(result.scores.label_ids)} clips: {result.predictions}")
    echo(f"next: facer evaluate {result.run}")
    return 0


def _warn(text: str) -> None:
    say(f"warning: {text}")


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


def _refuse_without_folds(options: dict[str, Any]) -> None:
    given = click.get_current_context().get_parameter_source
    for name in ("by", "fold_splits"):
        if options["folds"] is None and given(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')}: expected --folds beside it")


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--split", type=_SPLIT, help="train, val or test; a run of folds has none. [default: val]"
)
@click.option(
    "--by",
    metavar="COLUMN",
    help="Scores for each value of a column of the labels too, such as subject.",
)
@click.option("--labels", help="Other labels than the run's.")
@_options(_LABEL_OPTIONS)
@click.option("--store", help="Where the run's store is now, or another one.")
@click.option("--against", type=click.Path(path_type=Path),
              help="Another run to compare with on the same clips (paired bootstrap).")  # fmt: skip
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Write predictions as csv; - for stdout, instead of the scores.",
)
@click.option("--format", "form", type=click.Choice(_KINDS), default="plain", show_default=True,
              help="Of the csv: plain, eri, muse, emi or mimic.")  # fmt: skip
@click.option("--no-brackets", is_flag=True, help="Write 10000, not [10000], in eri and muse.")
@_json_option
def evaluate(run: Path, split: str | None, by: str | None, labels: str | None, store: str | None,
             against: Path | None, predictions: Path | None, form: Any, no_brackets: bool,
             as_json: bool, **options: Any) -> int:  # fmt: skip
    """Score a run: Pearson, Spearman, CCC, MSE and MAE per emotion, with n.

    Labels are read as the run's were; options on columns change that.

    \b
    Examples:
      facer evaluate runs/first --split val --predictions val.csv --format eri
      facer evaluate runs/first --split test --by Country
      facer evaluate runs/folds --against runs/other-folds
    """
    from facer.pipeline.intensity.scoring.compare import compare_runs
    from facer.pipeline.intensity.scoring.evaluate import evaluate as evaluate_run
    from facer.storage.labels.predictions import write_predictions

    if as_json and predictions == _STDOUT:
        raise click.UsageError("--predictions - and --json: stdout takes one of them")
    more = (_reading(options), by)
    both = None if against is None else compare_runs(run, against, split, labels, store, *more)
    found = evaluate_run(run, split, labels, store, *more) if both is None else both.first
    if predictions is not None:
        write_predictions(
            predictions, form, found.label_ids, found.names, found.predictions, not no_brackets,
            found.status,
        )  # fmt: skip
    if predictions == _STDOUT:
        return 0
    if as_json:
        echo(json.dumps((found if both is None else both).to_json()))
        return 0
    _print_evaluation(found)
    if both is not None:
        ours, theirs = (", ".join(map(str, s)) for s in (both.first_seeds, both.second_seeds))
        _print_comparison(
            f"mean Pearson of the mean prediction of seed(s) {ours}, less that of {against} "
            f"(seed(s) {theirs})", both.pearson,
        )  # fmt: skip
        if both.first.n_seeds != both.second.n_seeds:
            say(f"warning: compared on {len(both.first_seeds)} seed(s) of each, because the runs "
                f"have {both.first.n_seeds} and {both.second.n_seeds}")  # fmt: skip
    if predictions is not None:
        echo(f"predictions of {len(found.label_ids)} clips: {predictions}")
    return 0


def _print_evaluation(found: Evaluation) -> None:
    echo(
        f"split {found.split}: {len(found.label_ids)} clips, {found.n_filled} of them without "
        f"features (predicted by the training mean), {found.n_seeds} seed(s)"
    )
    _print_figures(found)


def _print_figures(found: Evaluation) -> None:
    from facer.stages.intensity.metrics import METRICS

    if found.ensemble is None or found.intervals is None or found.ensemble_intervals is None:
        echo("no labels in this split: nothing to score")
        return
    width = max(len(name) for name in (*found.names, "mean"))
    _print_header(width)
    columns = [found.per_emotion(metric) for metric in METRICS]
    own = zip(found.names, found.ensemble.n, found.intervals.per_emotion, strict=True)
    for name, n, interval in own:
        _print_scores(f"{name:{width}}", [column[name] for column in columns], n, interval)
    means = [found.mean(metric) for metric in METRICS]
    _print_scores(f"{'mean':{width}}", means, found.n_scored, found.intervals.mean)
    spread = ""
    of = "scores"
    if len(found.seeds) > 1:
        of = f"mean of {len(found.seeds)} seeds' scores"
        spread = f"; standard deviation of the mean Pearson over seeds: " \
                 f"{found.deviation('pearson'):.4f}"  # fmt: skip
    echo(f"{of}, with {found.intervals.method} intervals by {found.intervals.unit}, n = "
               f"{found.intervals.n_units}{spread}")  # fmt: skip
    if len(found.seeds) > 1:
        rho, interval = found.ensemble.mean("pearson"), found.ensemble_intervals.mean
        if interval is not None:
            echo(f"mean of the seeds' predictions: Pearson {rho:.4f}, 95 % interval "
                       f"{interval.low:.4f} to {interval.high:.4f}")  # fmt: skip
    for groups in filter(None, (found.folds, found.by)):
        _print_groups(groups)
    for warning in found.warnings:
        say(f"warning: {warning}")


def _print_header(width: int) -> None:
    echo(f"{'':{width}}  pearson  spearm.      ccc      mse      mae     n   95 % of pearson")


def _print_groups(groups: Groups) -> None:
    """Mean scores of each group, and their mean and spread over the groups."""
    from facer.stages.intensity.metrics import METRICS
    from facer.stages.intensity.statistics.groups import LEAST_CLIPS

    shown = groups.scores[:_GROUPS_SHOWN]
    width = max(len("deviation"), *(len(one.group or "(none)") for one in shown))
    echo(f"by {groups.column}, the mean over intensities:")
    _print_header(width)
    for one in shown:
        values = [one.mean(metric) for metric in METRICS]
        _print_scores(f"{one.group or '(none)':{width}}", values, one.n, one.interval)
    if len(groups.scores) > len(shown):
        echo(f"  ... and {len(groups.scores) - len(shown)} more (--json lists all)")
    defined = len(groups.values("pearson"))
    _print_scores(f"{'mean':{width}}", [groups.mean(m) for m in METRICS], defined, None)
    _print_scores(f"{'deviation':{width}}", [groups.deviation(m) for m in METRICS], defined, None)
    echo(f"mean and standard deviation over {defined} of {len(groups.scores)} groups; a "
               f"correlation needs {LEAST_CLIPS} clips with labels")  # fmt: skip


def _print_scores(title: str, values: Sequence[float], n: int, interval: Interval | None) -> None:
    """A line of figures and the interval of the first; - where one is not defined."""
    cells = "  ".join(f"{'-':>7}" if value != value else f"{value:7.4f}" for value in values)
    between = "" if interval is None else f"{interval.low:7.4f} to {interval.high:7.4f}"
    echo(f"{title}  {cells}  {n:4d}   {between}".rstrip())


@facer.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--labels", required=True, help="Label file or folder.")
@click.option("--against", type=click.Path(path_type=Path),
              help="Another file to compare with on the clips that both predict.")  # fmt: skip
@click.option("--split", help="train, val or test. [default: each that FILE has a clip of]")
@click.option(
    "--by",
    metavar="COLUMN",
    help="Scores for each value of a column of the labels too, such as subject.",
)
@click.option(
    "--file-id-column",
    metavar="NAME",
    help="FILE's column of the clips' ids. [default: clip_id, filename, video ...]",
)
@_options(_LABEL_OPTIONS)
@_json_option
def score(file: Path, labels: str, against: Path | None, split: str | None, by: str | None,
          file_id_column: str | None, as_json: bool, **options: Any) -> int:  # fmt: skip
    """Score any file of predictions: a row a clip, a column for each intensity of the labels.

    Ids join the labels as labels join a store. Labelled clips without a prediction are counted.

    \b
    Examples:
      facer score theirs.csv --labels labels.csv --split test
      facer score ours.csv --labels labels.csv --against theirs.csv --by subject
    """
    from facer.pipeline.intensity.scoring.score import ScoreConfig, score_files

    config = ScoreConfig(file, labels, against, split, by, _reading(options), file_id_column)
    found = score_files(config)
    if as_json:
        echo(json.dumps(found.to_json()))
        return 0
    for one in filter(None, (found.file, found.against)):
        echo(f"{one.path}: {one.scores.n_scored} labelled clips scored, split "
                   f"{one.scores.split}; {len(one.missing)} without a prediction, "
                   f"{len(one.without_label)} predictions without a label")  # fmt: skip
        for warning in one.warnings:
            say(f"warning: {warning}")
        _print_figures(one.scores)
    if found.pearson is not None:
        _print_comparison(f"mean Pearson of {file}, less that of {against}", found.pearson)
    return 0


def _print_comparison(title: str, gain: Comparison) -> None:
    echo(
        f"{title}: {gain.difference:+.4f}, 95 % interval {gain.interval.low:+.4f} to "
        f"{gain.interval.high:+.4f} (by {gain.unit}, n = {gain.n_units}, p = {gain.p_value:.3f})"
    )


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("videos", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Write a plain csv; - for stdout, instead of the table.")  # fmt: skip
@click.option("--store", help="Keep the features there. [default: a temporary store]")
@click.option("--pictures", type=click.Path(path_type=Path), help="Folder for a picture a clip.")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes on this machine. [default: one per core]"
)
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
    from facer.pipeline.intensity.predict import STAND_IN, PredictConfig, predict_videos
    from facer.storage.labels.predictions import write_predictions

    if as_json and output == _STDOUT:
        raise click.UsageError("-o - and --json: stdout takes one of them")
    config = PredictConfig(run, videos, store, _extract_config(options), workers, pictures)
    with shown() as progress:
        found, summary = predict_videos(config, progress)
    if output is not None:
        write_predictions(
            output, "plain", found.clip_ids, found.names, found.values, status=found.status
        )
    table = {
        clip: dict(zip(found.names, (float(v) for v in row), strict=True))
        for clip, row in zip(found.clip_ids, found.values, strict=True)
    }
    if output == _STDOUT:
        return EXIT_SOME_FAILED if summary.failed else 0
    if as_json:
        failed = {r.clip_id: r.reason for r in summary.failed}
        result = {"predictions": table, "without_face": list(found.without_face),
                  "status": dict(zip(found.clip_ids, found.status, strict=True)),
                  "failed": failed}  # fmt: skip
        echo(json.dumps(result))
    else:
        width = max(len(clip) for clip in found.clip_ids)
        echo(f"{'':{width}}  {'  '.join(found.names)}")
        for (clip, values), status in zip(table.items(), found.status, strict=True):
            cells = "  ".join(f"{v:{len(name)}.3f}" for name, v in values.items())
            note = "" if status == "ok" else f"  ({STAND_IN[status]})"
            echo(f"{clip:{width}}  {cells}{note}")
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
    from facer.pipeline.views.look import draw_clip
    from facer.storage import FeatureStore

    draw_clip(FeatureStore.open(store), clip_id, videos, output)
    echo(str(output))
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
@click.option(
    "--split", type=_SPLIT, default="val", show_default=True, help="Of a run: train, val or test."
)
@click.option("--labels", help="Of a run: where its labels are now, or others.")
@_options(_LABEL_OPTIONS)
@click.option("--store", help="Of a run: where its store is now, or another one.")
def report(source: str, output: Path, **options: Any) -> int:
    """Show a store, a run or an ablation as pages that open from the disk, offline.

    SOURCE is a store of extract, a run of train-head or a folder of ablate.

    \b
    Examples:
      facer report features.zarr --videos videos/ -o look/
      facer report runs/first --videos videos/ -o look-run/
    """
    from facer.pipeline.views.report.build import build_report
    from facer.pipeline.views.report.config import ReportConfig

    found = build_report(
        ReportConfig(source, output, reading=_reading(options), **options), Counter("clip pages")
    )
    article = "an" if found.kind == "ablation" else "a"
    for note in found.notes:
        say(note)
    echo(f"{found.index}: report of {article} {found.kind}, {found.n_pages} pages of clips")
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
    from facer.pipeline.views.annotate import annotate_clip
    from facer.storage import FeatureStore

    opened = FeatureStore.open(store)
    no_sound = annotate_clip(opened, clip_id, videos, output, Counter("measured frames drawn"))
    echo(f"{output} (no sound: {no_sound})" if no_sound else str(output))
    return 0


@facer.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--clips", type=int, help="Clips to estimate for. [default: 1000]")
@click.option("--seconds-per-clip", type=_POSITIVE, help="How long they are. [default: 10]")
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
    from facer.pipeline.features.bench import BenchConfig
    from facer.pipeline.features.bench import bench as measure

    if folder is not None and (clips is not None or seconds_per_clip is not None):
        raise click.UsageError("expected --folder, or --clips and --seconds-per-clip")
    given = {"clips": clips, "seconds_per_clip": seconds_per_clip}
    config = BenchConfig(video, folder, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    found = measure(config)
    echo(json.dumps(found.to_json()) if as_json else found.as_text())
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
        result = run_demo(folder, progress, on_epoch=head_epoch)
    echo(f"1. clips     {folder / 'clips'}, labels {result.labels}")
    echo(f"2. features  {result.summary.store}: {result.summary.new_frames} frames")
    echo(f"3. head      {result.training.run}: val Pearson {result.training.val_pearson:.3f} "
               f"(n = {result.training.n_val})")  # fmt: skip
    echo("4. scores on held-out clips")
    _print_evaluation(result.test)
    echo(f"5. a clip    {result.picture}")
    echo(f"{time.monotonic() - started:.0f} s in all. {LIMITS}")
    echo(f"next: facer predict {result.training.run} YOUR_VIDEOS/")
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
    click.option("--unit-geometry", default="", metavar="FILE",
                 help="Displacements of action units (npz): teach units by warped pairs."),
    click.option("--meshes", multiple=True, metavar="FILE",
                 help="Face meshes of a pack's crops (HDF5), for --unit-geometry; repeatable."),
    click.option("--unit-pairs", default=32, show_default=True, help="Warped pairs per step."),
    click.option("--mixup", type=_Finite(min=0), default=0.0, show_default=True, metavar="A",
                 help="Blend pairs of crops and labels by Beta(A, A), such as 0.2; 0: no."),
    click.option("--epochs", default=20, show_default=True, help="Epochs."),
    click.option("--batch-size", default=64, show_default=True, help="Crops per step."),
    click.option("--learning-rate", type=_POSITIVE, default=1.5e-3, show_default=True,
                 help="The highest one."),
    click.option("--small-epochs", default=0.5, show_default=True,
                 help="Share of the epochs trained on 80 px instead of 112, which is faster."),
    click.option("--class-balance", default=0.5, show_default=True,
                 help="0 natural frequencies of the classes, 1 all equally often."),
    click.option("--database-balance", default=0.5, show_default=True,
                 help="The same for databases."),
    click.option("--val-limit", default=10_000, show_default=True,
                 help="Crops of a val set that are scored each epoch, evenly spaced."),
    click.option("--seed", type=_SEED, default=0, show_default=True, help="Of everything random."),
    click.option("--device", type=_Device(), default="auto", show_default=True,
                 help="auto, cpu, cuda or cuda:N."),
    click.option("--bf16", is_flag=True,
                 help="bfloat16 products on the CPU too: twice as fast where it knows them."),
    click.option("--workers", default=0, show_default=True,
                 help="Processes that read and augment; never changes results."),
    click.option("--resume", is_flag=True, help="Go on with a run that was stopped."),
)  # fmt: skip


def _align_config(options: dict[str, Any]) -> Any:
    from facer.stages.affect.datasets.aligned import AlignConfig, default_cache
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
    from facer.pipeline.affect.train import TrainRecConfig
    from facer.pipeline.affect.train import train_rec as train
    from facer.stages.affect.augment import AugmentConfig
    from facer.stages.affect.fit import RecFitConfig
    from facer.stages.affect.losses import LossWeights

    names = ("backbone", "start", "teachers", "teacher_share", "coupling", "mixup", "epochs",
             "unit_geometry", "meshes", "unit_pairs",
             "batch_size", "learning_rate", "small_epochs", "class_balance", "database_balance",
             "seed", "device", "bf16", "workers")  # fmt: skip
    fit = RecFitConfig(
        loss=_numbers("--weight", LossWeights(), weights),
        augment=_numbers("--augment", AugmentConfig(), augment),
        **{name: options[name] for name in names},
    )
    config = TrainRecConfig(data, run, validation, fit, _align_config(options), val_limit, resume)
    result = train(config, lambda row: _rec_epoch_line(row, fit.epochs), Counter("images aligned"),
                   Counter("crops answered by the teachers"), _StepCounter())  # fmt: skip
    for one in result.sets:
        kinds = ", ".join(f"{n} with {kind}" for kind, n in one["labelled"].items())
        echo(f"{one['split']:5} {one['spec']}: {one['n']} crops; {kinds}")
    _list("left out", [f"{one['split']}, {_short(note, 'config.json has all')}"
                       for one in result.sets for note in one["notes"]])  # fmt: skip
    echo(f"weakly supervised columns: {', '.join(result.weak_features) or 'none'}")
    echo(f"weights: {result.rec}")
    echo(f"next: facer evaluate-rec {result.rec} --data {(validation or data)[0]}")
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


class _StepCounter:
    """Steps within an epoch, at most one line in a few seconds."""

    def __init__(self) -> None:
        self._count = Counter("")

    def __call__(self, epoch: int, done: int, total: int) -> None:
        """``done`` of an epoch's ``total`` steps are done."""
        self._count.what = f"steps of epoch {epoch}"
        self._count(done, total)


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
@click.option(
    "--split",
    type=click.Choice(["train", "val"]),
    default="val",
    show_default=True,
    help="train or val.",
)
@click.option("--pictures", type=click.Path(path_type=Path),
              help="Folder for confusion.png and action-units.png.")  # fmt: skip
@click.option("--unit-geometry", metavar="FILE",
              help="Displacements of action units (npz): does each output rise on faces moved by "
              "its unit?")  # fmt: skip
@click.option("--meshes", multiple=True, metavar="FILE",
              help="Face meshes of the pack's crops (HDF5), for --unit-geometry.")  # fmt: skip
@click.option(
    "--device", type=_Device(), default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@_options(_ALIGN_OPTIONS)
@_json_option
def evaluate_rec(rec: str, data: str, split: str, pictures: Path | None,
                 unit_geometry: str | None, meshes: tuple[str, ...], device: str,
                 as_json: bool, **options: Any) -> int:  # fmt: skip
    """Score REC weights on labelled faces: expressions, action units, valence and arousal.

    REC is rec-small, or the path of .safetensors or .onnx weights.

    \b
    Example:
      facer evaluate-rec runs/rec/rec.safetensors --data affectnet:AffectNet --pictures look/
    """
    from facer.pipeline.affect.evaluate import evaluate_rec as evaluate_weights

    found = evaluate_weights(
        rec, data, split, device, align=_align_config(options), pictures=pictures,
        unit_geometry=unit_geometry, meshes=meshes, report=Counter("crops scored"),
        on_align=Counter("images aligned"),
    )  # fmt: skip
    if as_json:
        echo(json.dumps(found))
        return 0
    _print_rec_scores(found)
    if pictures is not None:
        drawn = ", ".join(found["pictures"])
        echo(f"pictures: {drawn or 'none, since nothing that they show is labelled'}")
    return 0


def _print_rec_scores(found: dict[str, Any]) -> None:
    def number(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.3f}"

    echo(f"{found['rec']} ({found['rec_sha256'][:12]}) on {found['data']}, split "
               f"{found['split']}: {found['n']} crops")  # fmt: skip
    if (expression := found["expression"]) is not None:
        echo(f"expression  accuracy {expression['accuracy']:.3f}, macro F1 "
                   f"{expression['macro_f1']:.3f}, mean recall {expression['mean_recall']:.3f}, "
                   f"n {expression['n']}")  # fmt: skip
        if (agreed := expression["majority"]) is not None:
            echo(f"  where more than half of the votes agree: accuracy "
                       f"{agreed['accuracy']:.3f}, macro F1 {agreed['macro_f1']:.3f}, mean recall "
                       f"{agreed['mean_recall']:.3f}, n {agreed['n']}")  # fmt: skip
        echo("  recall: " + ", ".join(
            f"{name} {number(value).strip()}" for name, value in expression["recall"].items()
        ))  # fmt: skip
        pair = number(expression["happiness_vs_neutral_auc"]).strip()
        echo(f"  happiness against neutral: AUC {pair}")
    units = {name: unit for name, unit in found["au"].items() if unit is not None}
    if units:
        echo("unit     AUC     F1      n  present")
    for name, unit in units.items():
        echo(f"{name}  {number(unit['auc'])} {number(unit['f1'])} {unit['n']:6d}   "
                   f"{unit['positive']:6d}")  # fmt: skip
    moved = {name: unit for name, unit in (found["unit_response"] or {}).items() if unit}
    if moved:
        click.echo("faces moved by a unit: AUC against unmoved, share risen, among three that "
                   "rise most, mean rise")  # fmt: skip
    for name, unit in moved.items():
        click.echo(f"{name}  {number(unit['auc'])} {number(unit['risen'])} "
                   f"{number(unit['top3'])} {number(unit['rise'])}   n {unit['n']}")  # fmt: skip
    derived = found["va_derived"]
    for name, entry in (derived or found["va"]).items():
        if entry is not None:
            source = " (against values derived from the expressions)" if derived else ""
            echo(f"{name}  CCC {number(entry['ccc']).strip()}, n {entry['n']}{source}")
    if found["weak_features"]:
        echo(f"weakly supervised columns: {', '.join(found['weak_features'])}")
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
    from facer.stages.features.rec.loading import weights_path
    from facer.stages.features.rec.onnx import export_onnx

    difference = export_onnx(weights_path(rec), output)
    echo(f"{output}: written, differs from torch by at most {difference:.1e}")
    return 0


@facer.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("video_dir", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder to write: the new REC and the new head.")  # fmt: skip
@click.option("--rec", default="rec-small", show_default=True,
              help="The weights that the run's store was extracted with.")  # fmt: skip
@click.option("--epochs", default=5, show_default=True, help="Epochs.")
@click.option(
    "--learning-rate", type=_POSITIVE, default=1e-5, show_default=True, help="Of both Adams."
)
@click.option("--batch-size", default=4, show_default=True, help="Clips per step.")
@click.option("--chunk", default=32, show_default=True,
              help="Crops whose activations are in memory at a time.")  # fmt: skip
@click.option("--memory-mb", default=2048, show_default=True,
              help="Of crops kept between epochs; more are decoded again.")  # fmt: skip
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Of the order of the clips.",
)
@click.option(
    "--device", type=_Device(), default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
@click.option("--resume", is_flag=True, help="Go on with an output that was stopped.")
@_options(_LABEL_OPTIONS)
def finetune(run: Path, video_dir: Path, output: Path, **options: Any) -> int:
    """Train REC and a head end to end on the videos of the head's store.

    \b
    Example:
      facer finetune runs/first videos/ -o runs/joint
    """
    from facer.pipeline.endtoend.finetune import FinetuneConfig
    from facer.pipeline.endtoend.finetune import finetune as tune

    config = FinetuneConfig(run, video_dir, output, reading=_reading(options), **options)
    result = tune(config, lambda row: _joint_epoch_line(row, config.epochs))
    for note in result.notes:
        say(f"warning: {note}")
    echo(f"{result.output}: epoch {result.best['epoch']} kept, val Pearson "
               f"{result.best['val_pearson']:.4f} (before: {result.curve[0]['val_pearson']:.4f}); "
               f"REC's weights moved by {result.rec_change:.2e} of their length")  # fmt: skip
    echo(f"next: facer extract {video_dir} -o {result.output / 'features.zarr'} "
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
@click.option(
    "--steps", type=click.IntRange(1), default=7000, show_default=True, help="Optimiser steps."
)
@click.option(
    "--learning-rate", type=_POSITIVE, default=2.5e-3, show_default=True, help="The largest."
)
@click.option("--bf16", is_flag=True, help="Compute products in bfloat16.")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="Of everything random.")
def train_detector(run: Path, **options: Any) -> int:
    """Train facer's face detector; writes RUN/detector.onnx, which extract takes as --detector.

    \b
    Example:
      facer train-detector --faces faces.h5 --scenes scenes/ --clips videos/ \\
        --teacher retinaface.onnx -o runs/detector
    """
    from facer.stages.detection.config import DetectorConfig
    from facer.stages.detection.fit import fit

    config = DetectorConfig(run=run, **options)
    run.mkdir(parents=True, exist_ok=True)
    result = fit(
        config,
        lambda p: say(f"step {p.step}/{p.steps}: loss {p.losses['total']:.4f}"),
    )
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
    click.option("--learning-rate", type=_POSITIVE, default=2e-3, show_default=True,
                 help="The largest."),
    click.option("--bf16", is_flag=True, help="Compute products in bfloat16."),
    click.option("--seed", type=_SEED, default=0, show_default=True, help="Of everything random."),
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
    from facer.stages.detection.refiner.fit import PointsConfig, fit_points

    path = fit_points(
        PointsConfig(run=run, **options),
        lambda p: say(f"step {p.step}/{p.steps}: loss {p.loss:.4f}; held-out faces: points off by "
                       f"{p.val_error:.1%} of the eyes' distance"),
    )  # fmt: skip
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
    click.option("--threshold", type=_Finite(0, 1),
                 help="Score from which on it is a face. [default: the detector's own]"),
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
        echo(table + "\n")
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
@_options(_LABEL_OPTIONS)
@click.option("--seeds", default=3, show_default=True, help="Trainings of each row.")
@click.option("--epochs", type=int, help="At most. [default: 30, more for small sets]")
@click.option("--jobs", default=1, show_default=True, help="Processes on this machine.")
@_options(_SCHEDULER_OPTIONS)
@_options(_INPUT_OPTIONS)
@_options(_FOLD_OPTIONS)
@_json_option
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

    _refuse_without_folds(options)
    config = AblateConfig(
        store,
        labels,
        output,
        tuple(name.strip() for name in rows.split(",") if name.strip()),
        dict(_pair(text) for text in also),
        _reading(options),
        sequences=SequenceConfig(missing=options["missing"], max_frames=options["t"]),
        fit=FitConfig(
            epochs=epochs,
            learning_rate=options["learning_rate"],
            standardise=options["standardise"],
        ),
        seeds=seeds,
        jobs=jobs,
        scheduler=scheduler,
        tls=_tls_files(options),
        device=options["device"],
        folds=fold_config(options),
    )
    table = run_rows(config, lambda title, done, n: say(f"{done}/{n} rows done: {title}"), say)
    _say_notes(table.notes)
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


@facer.command("import")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", "store", required=True, help="The store to write or add to.")
@click.option("--fps", type=_POSITIVE, help="Frame rate of py-feat's frames, which have no times.")
def import_(kind: str, path: Path, store: str, fps: float | None) -> int:
    """Bring another tool's features into a store.

    KIND is muse, openface, pyfeat, libreface or hdf5.

    \b
    Example:
      facer import openface openface-csvs/ -o openface.zarr
    """
    from facer.pipeline.features.importing import import_into_store

    opened, added, changed = import_into_store(kind, path, store, fps)
    echo(
        f"{opened.path}: {added} clips added, {len(opened.clip_ids)} in all; features "
        f"{', '.join(opened.feature_names[:6])} ... ({len(opened.feature_names)})"
    )
    notes = [record for record in opened.records if record.reason and record.status != "failed"]
    if notes:
        say(f"notes on {len(notes)} clips, such as {notes[0].clip_id}: {notes[0].reason}; facer "
            f"status {store} lists them")  # fmt: skip
    if changed:
        say(f"{len(changed)} clips of {path} are not what the store has ({', '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}); those in the store were kept: import into "
            "another store to have the new ones")  # fmt: skip
    return 0


@facer.command()
@click.argument("store")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form",
              help="hdf5, parquet, csv or muse (a folder of csv files). [default: by the ending of "
              "PATH: .h5, .parquet or .csv]")  # fmt: skip
def export(store: str, path: Path, form: Any) -> int:
    """Write a store's features for other tools: hdf5 (lossless), one table, or MuSe's csv files.

    The ending of PATH chooses the format. Every clip of the store is in it; a failed clip has no
    frames.

    \b
    Examples:
      facer export features.zarr features.h5
      facer export features.zarr features.csv
      facer export features.zarr feats/ --format muse
    """
    from facer.storage import FeatureStore
    from facer.storage.exchange.tables import export_store, format_of

    form = format_of(path, form)
    opened = FeatureStore.open(store)
    echo(f"{path}: {export_store(opened, path, form)} clips")
    _list("failed, so without frames",
          [f"{r.clip_id}: {r.reason}" for r in opened.records if r.status == "failed"])  # fmt: skip
    if form in ("muse", "csv") and "embedding" in opened.provenance.settings:
        say("the embedding is left out; hdf5 and parquet have it")
    return 0


@facer.command("export-head")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--seed", type=_SEED, help="Which of the run's seeds. [default: the first]")
@click.option("--rec", help="Put this REC before the head: from crops to intensities.")
def export_head(run: Path, output: Path, seed: int | None, rec: str | None) -> int:
    """Write the head of a run as ONNX, alone or with REC, checked against torch.

    \b
    Example:
      facer export-head runs/first head.onnx
      facer export-head runs/first whole.onnx --rec rec-small
    """
    from facer.pipeline.intensity.export import ExportHeadConfig
    from facer.pipeline.intensity.export import export_head as export_run

    result = export_run(ExportHeadConfig(run, output, seed, rec))
    echo(
        f"{result.path}: seed {result.seed}, input {result.inputs}; differs from torch by at most "
        f"{result.difference:.1e} on clips of {', '.join(map(str, result.lengths))} frames"
    )
    return 0


@facer.command()
@click.argument("action", type=click.Choice(["list", "fetch", "verify"]))
@click.argument("name", required=False)
def models(action: str, name: str | None) -> int:
    """List the built-in models with their digests, verify them, or fetch an insightface pack.

    verify loads each of them and runs it; exit code 1 when one is broken. NAME: only this one,
    with what belongs to it.

    \b
    Examples:
      facer models list
      facer models verify rec-small
      facer models fetch buffalo_l
    """
    from facer.pipeline.models import shipped_models, verify_models
    from facer.stages.features import detect
    from facer.stages.features.rec import loading as rec

    if action == "fetch":
        if name is None:
            raise click.UsageError("expected the name of an insightface pack, such as buffalo_l")
        echo(str(detect.model_path(f"insightface:{name}")))
        return 0
    try:
        found = (verify_models if action == "verify" else shipped_models)(name=name)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    good = "  works" if action == "verify" else ""
    for model in found:
        state = f"  BROKEN: {model.problem}" if model.problem else good
        echo(f"{model.name:16}  sha256 {model.sha256 or 'unknown'}{state}")
    broken = [model for model in found if model.problem]
    if broken:
        say(f"broken: {', '.join(str(m.path) for m in broken)}; install facer again")
        return EXIT_PROBLEM
    if action == "list" and any(model.name == rec.STARTER for model in found):
        weak = ", ".join(rec.load().weak_features)
        echo(f"weakly supervised columns of {rec.STARTER}: {weak}")
    return 0


if __name__ == "__main__":
    main()
