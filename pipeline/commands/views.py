"""Commands that draw: picture, report, view, annotate."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import PATH, json_option, print_json
from facer.pipeline.runtime.progress import echo, log
from facer.pipeline.settings.commands import REPORT, VIEW


@click.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("--videos", type=PATH, help="The VIDEO_DIR: crops then stand over the curves.")
@click.option("-o", "--output", required=True, type=PATH, help="A .png.")
@json_option
def picture(store: str, clip_id: str, videos: Path | None, output: Path, as_json: bool) -> None:
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


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, type=PATH,
              help="A new folder, or an earlier report to write again.")  # fmt: skip
@with_settings(REPORT)
@json_option
def report(source: str, output: Path, as_json: bool, **settings: Any) -> None:
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
        return
    article = "an" if found.kind == "ablation" else "a"
    for note in found.notes:
        log(note)
    echo(f"{found.index}: report of {article} {found.kind}, {found.n_pages} pages of clips")


@click.command()
@click.argument("store")
@with_settings(VIEW)
@click.option("--open", "browse", is_flag=True, help="Also open it in the browser.")
@json_option
def view(store: str, browse: bool, as_json: bool, **settings: Any) -> None:
    """Look at clips and mark them by eye, in a browser on this machine; Ctrl-C closes it.

    Marks are written as they are made, for summarise --marks; a click on another face of a video
    for extract --faces. Only this machine is let in, by the address that is printed.

    \b
    Examples:
      facer view features.zarr --videos videos/
      facer view features.zarr --videos videos/ --design "{participant}_{condition}" \\
        --window after=2:6 --baseline 0:2
    """
    from facer.pipeline.functions.views import view as serve

    with serve(store, **settings) as found:
        if as_json:
            print_json(found)
        else:
            echo(found.url)
            log(f"{found.clips} clips; marks go to {found.marks}; Ctrl-C closes the view")
        if browse:
            click.launch(found.url)
        with suppress(KeyboardInterrupt):
            Event().wait()


@click.command()
@click.argument("store")
@click.argument("clip_id")
@click.option("-o", "--output", required=True, type=PATH, help="A .mp4 or .webm.")
@click.option(
    "--videos", default=".", type=PATH, help="The VIDEO_DIR. [default: the current folder]"
)
@json_option
def annotate(store: str, clip_id: str, output: Path, videos: Path, as_json: bool) -> None:
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
