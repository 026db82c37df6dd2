"""Commands that make a store of videos: extract, extract-audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from facer.pipeline.commands.options import Command, with_settings
from facer.pipeline.commands.shared import (
    EXIT_PROBLEM,
    EXIT_SOME_FAILED,
    as_json_value,
    print_json,
    print_list,
)
from facer.pipeline.runtime.progress import clip_notes, echo, log, progress_bar
from facer.pipeline.settings.commands import EXTRACT, EXTRACT_AUDIO
from facer.pipeline.settings.configs import extract_run_config
from facer.pipeline.settings.table import Table
from facer.storage.schema import measured_of
from facer.storage.text.names import some

if TYPE_CHECKING:
    from facer.pipeline.features.extract import ExtractSummary
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
    from facer.pipeline.features.extract import extract_folder

    with progress_bar() as progress:
        told: Any = _JsonLines(progress) if as_json else progress
        summary = extract_folder(extract_run_config(video_dir, store, table, options), told)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary)
    for line in clip_notes(summary.records, store):
        log(line)
    if summary.missing:
        log(f"{len(summary.missing)} clips have no record ({some(summary.missing)}): "
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
