"""Commands about this machine: bench, demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.heads.scores import print_evaluation
from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import EXIT_SOME_FAILED, PATH, json_option, print_json
from facer.pipeline.runtime.progress import echo, log
from facer.pipeline.settings.commands import BENCH


@click.command()
@click.argument("video", required=False, type=PATH)
@with_settings(BENCH)
@json_option
def bench(video: Path | None, as_json: bool, **settings: Any) -> None:
    """Measure extraction on this machine's CPU step by step, and say how long it would take.

    VIDEO is a clip of yours; without one, facer measures a typical video of --folder, or a clip
    that it makes.

    \b
    Examples:
      facer bench clip.mp4 --clips 25067 --seconds-per-clip 10
      facer bench --folder videos/
    """
    from facer.pipeline.functions.models import bench as measure

    given = click.get_current_context().get_parameter_source
    written = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.DEFAULT_MAP)
    if settings["folder"] is not None and (
        given("clips") in written or given("seconds_per_clip") in written
    ):
        raise click.UsageError("expected --folder, or --clips and --seconds-per-clip")
    found = measure(video, **settings)
    if as_json:
        print_json(found)
    else:
        echo(found.as_text())


@click.command()
@click.option("-o", "--output", "folder", default="facer-demo", show_default=True,
              type=PATH, help="A new folder.")  # fmt: skip
@json_option
def demo(folder: Path, as_json: bool) -> int:
    """Run the whole of facer on small clips made from photographs, offline.

    \b
    Example:
      facer demo -o demo
    """
    from facer.pipeline.functions.models import demo as run_demo
    from facer.stages.synthesis.write import LIMITS

    started = time.monotonic()
    log("making clips from photographs that scikit-image and insightface carry")
    result = run_demo(folder, progress=True)
    code = EXIT_SOME_FAILED if result.summary.failed else 0
    if as_json:
        print_json(result)
        return code
    echo(f"1. clips     {folder / 'clips'}, labels {result.labels}")
    echo(f"2. features  {result.summary.store}: {result.summary.new_frames} frames")
    echo(f"3. head      {result.training.run}: val Pearson {result.training.val_pearson:.3f} "
               f"(n = {result.training.n_val})")  # fmt: skip
    echo("4. scores on held-out clips")
    print_evaluation(result.test)
    echo(f"5. a clip    {result.picture}")
    echo(f"{time.monotonic() - started:.0f} s in all. {LIMITS}")
    echo(f"next: facer predict {result.training.run} YOUR_VIDEOS/")
    return code
