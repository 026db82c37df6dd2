"""Commands about this machine: bench, demo."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from facer.pipeline.commands.scores import print_evaluation
from facer.pipeline.commands.shared import EXIT_SOME_FAILED, POSITIVE, json_option
from facer.pipeline.runtime.progress import echo, head_epoch, say, shown


@click.command()
@click.argument("video", required=False, type=click.Path(path_type=Path))
@click.option("--clips", type=int, help="Clips to estimate for. [default: 1000]")
@click.option("--seconds-per-clip", type=POSITIVE, help="How long they are. [default: 10]")
@click.option("--folder", type=click.Path(path_type=Path), metavar="VIDEO_DIR",
              help="Estimate for the videos of a folder instead.")  # fmt: skip
@json_option
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


@click.command()
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
    print_evaluation(result.test)
    echo(f"5. a clip    {result.picture}")
    echo(f"{time.monotonic() - started:.0f} s in all. {LIMITS}")
    echo(f"next: facer predict {result.training.run} YOUR_VIDEOS/")
    return EXIT_SOME_FAILED if result.summary.failed else 0
