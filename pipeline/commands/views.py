"""Commands that draw: picture, report, annotate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.runtime.progress import Counter, echo, say
from facer.pipeline.settings import REPORT, label_options, make
from facer.pipeline.views.report.config import ReportConfig


@click.command()
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


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="A new folder, or an earlier report to write again.")  # fmt: skip
@with_settings(REPORT)
def report(source: str, output: Path, **settings: Any) -> int:
    """Show a store, a run or an ablation as pages that open from the disk, offline.

    SOURCE is a store of extract, a run of train-head or a folder of ablate.

    \b
    Examples:
      facer report features.zarr --videos videos/ -o look/
      facer report runs/first --videos videos/ -o look-run/
    """
    from facer.pipeline.views.report.build import build_report

    config = make(ReportConfig, settings, source, output, reading=label_options(settings))
    found = build_report(config, Counter("clip pages"))
    article = "an" if found.kind == "ablation" else "a"
    for note in found.notes:
        say(note)
    echo(f"{found.index}: report of {article} {found.kind}, {found.n_pages} pages of clips")
    return 0


@click.command()
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
