"""Commands about this machine: bench, demo, models."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.scores import print_evaluation
from facer.pipeline.commands.shared import (
    EXIT_PROBLEM,
    EXIT_SOME_FAILED,
    json_option,
    print_json,
)
from facer.pipeline.runtime.progress import echo, say
from facer.pipeline.settings import BENCH
from facer.stages.features.config import STARTER_REC
from facer.storage.errors import OptionError


@click.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@with_settings(BENCH)
@json_option
def bench(video: Path | None, as_json: bool, **settings: Any) -> int:
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
    return 0


@click.command()
@click.option("-o", "--output", "folder", default="facer-demo", show_default=True,
              type=click.Path(path_type=Path), help="A new folder.")  # fmt: skip
@json_option
def demo(folder: Path, as_json: bool) -> int:
    """Run the whole of facer on small clips made from photographs, offline.

    \b
    Example:
      facer demo -o demo
    """
    from facer.pipeline.functions.models import demo as run_demo
    from facer.stages.synthesis import LIMITS

    started = time.monotonic()
    say("making clips from photographs that scikit-image and insightface carry")
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


@click.command()
@click.argument("action", type=click.Choice(["list", "fetch", "verify"]))
@click.argument("name", required=False)
@json_option
def models(action: str, name: str | None, as_json: bool) -> int:
    """List the built-in models with their digests, verify them, or fetch an insightface pack.

    verify loads each of them and runs it; exit code 1 when one is broken. NAME: only this one,
    with what belongs to it.

    \b
    Examples:
      facer models list
      facer models verify rec-small
      facer models fetch buffalo_l
    """
    from facer.pipeline.functions.models import models as find
    from facer.stages.features.rec import loading as rec

    if action == "fetch" and name is None:
        raise click.UsageError("expected the name of an insightface pack, such as buffalo_l")
    try:
        found = find(action, name)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json({"models": found})
        return EXIT_PROBLEM if any(model.problem for model in found) else 0
    if action == "fetch":
        echo(str(found[0].path))
        return 0
    good = "  works" if action == "verify" else ""
    for model in found:
        state = f"  BROKEN: {model.problem}" if model.problem else good
        echo(f"{model.name:16}  sha256 {model.sha256 or 'unknown'}{state}")
    broken = [model for model in found if model.problem]
    if broken:
        say(f"broken: {', '.join(str(m.path) for m in broken)}; install facer again")
        return EXIT_PROBLEM
    if action == "list" and any(model.name == STARTER_REC for model in found):
        weak = ", ".join(rec.load().weak_features)
        echo(f"weakly supervised columns of {STARTER_REC}: {weak}")
    return 0
