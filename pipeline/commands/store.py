"""Commands that make a store, look into it and keep it: extract, status, verify, health ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.options import Command, with_settings
from facer.pipeline.commands.shared import (
    EXIT_PROBLEM,
    EXIT_SOME_FAILED,
    LISTED,
    as_json_value,
    json_option,
    print_json,
    print_list,
)
from facer.pipeline.runtime.progress import echo, log, progress_bar
from facer.pipeline.settings import COMPACT, EXTRACT, EXTRACT_AUDIO, HEALTH, VERIFY, Table
from facer.storage.schema import AUDIO, measured_of

if TYPE_CHECKING:
    from facer.pipeline.features.extract import ExtractSummary
    from facer.pipeline.features.inspect.status import StoreStatus
    from facer.pipeline.features.inspect.verify import Verification
    from facer.storage import Record


def _output(default: str) -> Callable[[Command], Command]:
    return click.option("-o", "--output", "store", default=default, show_default=True,
        help="The store: a folder, or an fsspec URL such as s3://bucket/a.zarr.")  # fmt: skip


_json_lines = click.option(
    "--json", "as_json", is_flag=True,
    help="Print JSON lines: each clip as it is done, the summary last.",
)  # fmt: skip


@click.command()
@click.argument("video_dir")
@_output("features.zarr")
@with_settings(EXTRACT)
@_json_lines
def extract(video_dir: str, store: str, as_json: bool, **options: Any) -> int:
    """Turn a folder of videos into a store of per-frame features.

    VIDEO_DIR is a folder, one video, or an fsspec URL of either. The same command again does
    only what is missing, and tries failed videos again whose file has changed. Exit code 3 when
    some clips failed.

    \b
    Examples:
      facer extract videos/ -o features.zarr --workers 8
      facer extract s3://bucket/videos -o s3://bucket/features.zarr --scheduler tcp://host:8786
    """
    return _extract(video_dir, store, EXTRACT, options, as_json)


@click.command()
@click.argument("video_dir")
@_output("audio.zarr")
@with_settings(EXTRACT_AUDIO)
@_json_lines
def extract_audio(video_dir: str, store: str, as_json: bool, **options: Any) -> int:
    """Turn the sound of a folder of videos into a store of features, a row every few milliseconds.

    VIDEO_DIR is a folder, one file, or an fsspec URL of either; files of sound alone are taken
    too, but for those beside a video of the same name. Times are those of the pictures in the
    store of facer extract. Clips without sound are recorded as such. Everything else is as for
    facer extract: the same command again does only what is missing, exit code 3 when some failed.

    \b
    Examples:
      facer extract-audio videos/ -o audio.zarr
      facer extract-audio videos/ -o voice.zarr --features egemaps --workers 8
    """
    return _extract(video_dir, store, EXTRACT_AUDIO, options, as_json)


def _extract(
    video_dir: str, store: str, table: Table, options: Mapping[str, Any], as_json: bool
) -> int:
    """Extract, and print what was extracted; the exit code."""
    from facer.pipeline.functions import runs

    with progress_bar() as progress:
        told: Any = _JsonLines(progress) if as_json else progress
        summary = runs.extract(video_dir, store, table, options, told)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)
    if summary.missing:
        log(f"{len(summary.missing)} clips have no record ({', '.join(summary.missing[:3])} ...): "
            "a worker wrote elsewhere; run the same command again")  # fmt: skip
        return EXIT_PROBLEM
    return EXIT_SOME_FAILED if summary.failed else 0


class _JsonLines:
    """A progress that also prints a line on each clip that is done."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress

    def __getattr__(self, name: str) -> Any:
        return getattr(self._progress, name)

    def part(self, records: Sequence[Record]) -> None:
        """Print the records of a part, which is committed."""
        self._progress.part(records)
        for record in records:
            print_json({name: as_json_value(getattr(record, name)) for name in _TOLD})


_TOLD = ("clip_id", "status", "reason", "n_frames", "n_valid", "fps", "seconds")


def _print_summary(summary: ExtractSummary) -> None:
    measured, empty, failed = (
        sum(r.status == status for r in summary.records) for status in summary.statuses
    )
    what = measured_of(summary.statuses)
    frames = sum(r.n_frames for r in summary.records)
    faces = sum(r.n_valid for r in summary.records)
    several = len(summary.records) > summary.n_clips  # under --face all
    echo(
        f"{summary.store}: {measured} {'sequences' if several else 'clips'} with {what}, "
        f"{empty} without, {failed} failed, of {summary.n_clips}"
        f"{' clips' if several else ''}; {frames} frames, {faces / max(frames, 1):.1%} with {what}"
    )
    if summary.n_done_before:
        echo(f"{summary.n_done_before} of them were there already")
    if summary.new_frames:
        rate = summary.new_frames / summary.seconds
        echo(f"{summary.new_frames} frames in {summary.seconds:.0f} s, {rate:.0f} frames/s")
    print_list("failed", [f"{r.clip_id}: {r.reason}" for r in summary.failed])


@click.command()
@click.argument("store")
@click.argument("clip_id", required=False)
@click.option("--videos", metavar="VIDEO_DIR",
              help="Of CLIP_ID: also say what libav sees of its video.")  # fmt: skip
@json_option
def status(store: str, clip_id: str | None, videos: str | None, as_json: bool) -> int:
    """Say what a store holds: clips, frames, faces, failures with their reasons.

    With CLIP_ID: what it has of that clip; with --videos, container, streams and codecs of its
    file, how many frames decode, and what libav complains of.

    \b
    Examples:
      facer status features.zarr
      facer status features.zarr train/11526 --videos videos/
    """
    from facer.pipeline.functions.store import status as store_status

    if clip_id is not None:
        one = store_status(store, clip_id, videos=videos)
        if as_json:
            print_json(one)
        else:
            echo("\n".join(one.lines()))
        return 0
    if videos is not None:
        raise click.UsageError("--videos: expected CLIP_ID beside it")
    found = store_status(store)
    if as_json:
        print_json(found)
    else:
        _print_status(found)
        echo("  from the records alone: chunks and videos were not looked at; look: facer verify "
             f"{store}")  # fmt: skip
    return 0


def _print_status(found: StoreStatus) -> None:
    share = "-" if found.face_share is None else f"{found.face_share:.1%}"
    measured, empty, failed = found.clips.values()
    what = measured_of(found.clips)
    every = found.provenance["face_policy"] == "all"
    noun = "sequences" if every else "clips"
    echo(f"{found.path}: {sum(found.clips.values())} {noun}, {found.frames} frames"
               + (f", of {found.videos} videos" if every else ""))  # fmt: skip
    echo(f"  {f'with {what}':14}  {measured} {noun}, {share} of all frames")
    echo(f"  {f'without {what}':14}  {empty} {noun}")
    echo(f"  {'failed':14}  {failed} {noun}")
    if found.quality is not None:
        echo(f"  quality         {found.quality:.2f} on average over frames with a face (0 to 1)")
    echo(f"  {_made_by(found.provenance)}")
    print_list("failed", [f"{clip}: {reason}" for clip, reason in found.failures], 50)
    print_list("notes", [f"{clip}: {reason}" for clip, reason in found.notes], 50)
    print_list("damaged parts", found.damaged, LISTED)


def _made_by(made: Mapping[str, Any]) -> str:
    """What made a store, in a line."""
    settings = made["settings"]
    weights = f" ({made['rec_sha256'][:12]})" if made["rec_sha256"] else ""
    if settings.get("modality") == AUDIO:
        return (
            f"{made['rec']}{weights} of sound at {settings['rate_hz']} Hz, {made['frame_policy']}"
        )
    return (
        f"detector {made['detector']} ({made['detector_sha256'][:12]}), REC {made['rec']}"
        f" ({made['rec_sha256'][:12]}), {made['frame_policy']}, face: {made['face_policy']}, "
        f"{_precision(settings)}"
    )


def _precision(settings: Mapping[str, str]) -> str:
    """What a store's networks were computed in."""
    others = [
        f"{name.split()[1]}: {value}"
        for name, value in settings.items()
        if name.startswith("rec ") and name.endswith(" precision")
    ]
    return settings.get("precision", "float32") + (f" ({', '.join(others)})" if others else "")


@click.command()
@click.argument("store")
@with_settings(VERIFY)
@json_option
def verify(store: str, as_json: bool, **settings: Any) -> int:
    """Read all of a store, every chunk and record, and say clip by clip what is not whole.

    Exit code 1 when anything is damaged or absent, also when it was dropped.

    \b
    Examples:
      facer verify features.zarr --videos videos/
      facer verify features.zarr --repair
    """
    from facer.pipeline.functions.store import verify as verify_store

    found = verify_store(store, **settings)
    if as_json:
        print_json(found)
    else:
        _print_verification(found, settings["repair"])
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
            print_list(f"{state} clips", clips)
    reasons = [reason for part in parts for reason in part.reasons]
    print_list("what is wrong", reasons)
    if found.found.group:
        print_list("what is wrong beside the parts", [f"parts/zarr.json: {found.found.group}"])
    if unfinished := result["parts_unfinished"]:
        echo(f"{len(unfinished)} parts without records: of a running extraction, or of one that "
             "was stopped; not counted")  # fmt: skip
    if relaid := result["parts_relaid"]:
        echo(f"{len(relaid)} parts were laid out by another program, and are read: slower")
    if found.videos is not None:
        print_list("videos that changed", found.videos.changed)
        print_list("videos that are gone", found.videos.gone)
        print_list("videos without a record", found.videos.without_record)
    if repair:
        print_list("dropped parts", found.dropped)
        print_list("the same facer extract makes these clips anew", found.again)
        print_list("these go back to an earlier record; facer extract --changed re-extract where "
              "their videos changed since", found.older)  # fmt: skip
    if result["unknown"]:
        echo("what is unknown was not proved damaged, and --repair does not drop it")


@click.command()
@click.argument("store")
@with_settings(HEALTH)
@json_option
def health(store: str, as_json: bool, **settings: Any) -> int:
    """Say whether a store is as expected, for a nightly job and its alarms.

    Exit code 1 when it is not there, is damaged, has more failed clips than allowed, or nothing was
    written for longer. From the records alone; verify reads all.

    \b
    Example:
      facer health features.zarr --max-age 26 --max-failed 5%
    """
    from facer.pipeline.functions.store import health as store_health

    found = store_health(store, **settings)
    if as_json:
        print_json(found)
    else:
        age = (
            "" if found.age_hours is None else f", the last written {found.age_hours:.1f} hours ago"
        )
        echo(f"{found.path}: {'healthy' if found.healthy else 'not healthy'}; {found.clips} clips, "
             f"{found.failed} failed{age}")  # fmt: skip
        print_list("what is wrong", found.problems)
    return 0 if found.healthy else EXIT_PROBLEM


@click.command()
@click.argument("store")
@with_settings(COMPACT)
@json_option
def compact(store: str, as_json: bool, **settings: Any) -> int:
    """Merge the many small parts of a store into few, as many nights of extract leave them.

    Values stay the same, bit for bit; earlier records of clips that were made again go. It may be
    stopped at any moment, and who reads or adds to the store meanwhile goes on.

    \b
    Example:
      facer compact features.zarr
    """
    from facer.pipeline.functions.store import compact as compact_store

    found = compact_store(store, progress=True, **settings)
    if as_json:
        print_json(found._asdict())
        return 0
    parts = "1 part" if found.parts == 1 else f"{found.parts} parts"
    echo(f"{found.path}: {found.clips} clips in {parts}, of {found.parts_before}; "
         f"{found.superseded} earlier records dropped")  # fmt: skip
    print_list("left as they are", found.left)
    return 0
