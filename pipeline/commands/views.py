"""Commands that draw: picture, report, annotate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import json_option, print_json
from facer.pipeline.runtime.progress import echo, log
from facer.pipeline.settings import REPORT


@click.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("--videos", type=click.Path(path_type=Path),
              help="The VIDEO_DIR: crops then stand over the curves.")  # fmt: skip
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A .png.")
@json_option
def picture(store: str, clip_id: str, videos: Path | None, output: Path, as_json: bool) -> int:
    """Draw a clip of a store: crops over valence-arousal, expression and AU curves.

    \b
    Example:
      facer picture features.zarr train/11526 --videos videos/ -o 11526.png
    """
    from facer.pipeline.functions.views import picture as draw

    drawn = draw(store, clip_id, output, videos=videos)
    if as_json:
        print_json({"path": drawn})
    else:
        echo(str(drawn))
    return 0


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A new folder, or an earlier report to write again.")  # fmt: skip
@with_settings(REPORT)
@json_option
def report(source: str, output: Path, as_json: bool, **settings: Any) -> int:
    """Show a store, a run or an ablation as pages that open from the disk, offline.

    SOURCE is a store of extract, a run of train-head or a folder of ablate.

    \b
    Examples:
      facer report features.zarr --videos videos/ -o look/
      facer report runs/first --videos videos/ -o look-run/
    """
    from facer.pipeline.functions.views import report as build

    found = build(source, output, progress=True, **settings)
    if as_json:
        print_json(found)
        return 0
    article = "an" if found.kind == "ablation" else "a"
    for note in found.notes:
        log(note)
    echo(f"{found.index}: report of {article} {found.kind}, {found.n_pages} pages of clips")
    return 0


@click.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A .mp4 or .webm.")  # fmt: skip
@click.option("--videos", default=".", type=click.Path(path_type=Path),
              help="The VIDEO_DIR. [default: the current folder]")  # fmt: skip
@json_option
def annotate(store: str, clip_id: str, output: Path, videos: Path, as_json: bool) -> int:
    """Write a clip as a video with its face marked, its features beside it and its sound.

    \b
    Example:
      facer annotate features.zarr train/11526 -o 11526.mp4 --videos videos/
    """
    from facer.pipeline.functions.views import annotate as write

    made = write(store, clip_id, output, videos=videos, progress=True)
    if as_json:
        print_json(made._asdict())
    else:
        echo(f"{made.path} (no sound: {made.no_sound})" if made.no_sound else str(made.path))
    return 0
