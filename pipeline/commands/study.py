"""A study: who a clip is, a lab's tables, two stores side by side, the paper's paragraph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.options import with_settings
from facer.pipeline.commands.shared import (
    EXIT_SOME_FAILED,
    LISTED,
    PATH,
    json_option,
    print_json,
    print_list,
)
from facer.pipeline.runtime.progress import echo, warn
from facer.pipeline.settings.commands import COMPARE, FIGURE, SUMMARISE


@click.command()
@click.argument("store")
@click.option("--pattern", help="How clips are named, such as {participant}_{condition}.")
@click.option("--check", "source", type=PATH, help="A design.csv to check.")
@click.option("-o", "--output", type=PATH, help="Where to write design.csv.")
@json_option
def design(
    store: str, pattern: str | None, source: Path | None, output: Path | None, as_json: bool
) -> None:
    """Say who and which condition every clip is: from the clips' names, or a csv to be checked.

    A field of a pattern ends where the next sign of the pattern comes; {} is any text. Columns of
    design.csv: clip_id, participant, condition, session, onset_s, exclude, reason; any others are
    carried along.

    \b
    Examples:
      facer design features.zarr --pattern "{participant}_{condition}" -o design.csv
      facer design features.zarr --check design.csv
    """
    from facer.pipeline.functions.study import design as read_design
    from facer.pipeline.summary.designs import check_design

    if (pattern is None) == (source is None):
        raise click.UsageError("expected one of --pattern and --check")
    found = read_design(store, source or str(pattern), output=output)
    counts = check_design(found)
    for note in found.notes:
        warn(note)
    if as_json:
        print_json({**asdict(counts), "columns": found.carried})
        return
    conditions = ", ".join(name or "(none)" for name in counts.conditions)
    echo(f"{output or found.source}: {counts.clips} clips, {counts.participants} participants, "
         f"conditions {conditions}; {counts.excluded} excluded")  # fmt: skip
    without = [f"{person}, {condition}" for person, condition in counts.missing]
    several = [f"{person}, {condition}: {n}" for person, condition, n in counts.several]
    print_list("without a clip", without, LISTED)
    print_list("with several clips", several, LISTED)
    print_list("not in the store", counts.not_in_store, LISTED)
    print_list("in the store and not in the design", counts.not_in_design, LISTED)


@click.command()
@click.argument("store")
@click.option("-o", "--output", required=True, type=PATH,
              help="Folder of the tables: a new one, or one of an earlier summary.")  # fmt: skip
@with_settings(SUMMARISE)
@json_option
def summarise(store: str, output: Path, as_json: bool, **settings: Any) -> int:
    """Measure every clip over windows of time: tables for R, SPSS or pandas.

    summary has a row a clip, event, window and feature; clips, episodes, groups, wide and
    left_out stand beside it, columns says what each number is, settings.json how it was made.
    Frames count by their time; a missing frame is never filled. Every clip of the design is in
    the tables with its status.

    \b
    Examples:
      facer summarise features.zarr -o stats/ --design design.csv
      facer summarise features.zarr -o stats/ --design "{participant}_{condition}" \\
        --window after=2:6 --baseline 0:2 --grid 10
    """
    from facer.pipeline.functions.study import summarise as summarise_store

    outcome = summarise_store(store, output=output, **settings)
    for note in outcome.notes:
        warn(note)
    if as_json:
        print_json({
            "output": output, "clips": outcome.statuses, "flags": outcome.flags,
            "empty_windows": outcome.empty_windows, "settings": outcome.settings,
        })  # fmt: skip
    else:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(outcome.statuses.items()))
        echo(f"{output}: {sum(outcome.statuses.values())} clips ({counts}); "
             f"{', '.join(outcome.settings['tables'])}")  # fmt: skip
        if outcome.empty_windows:
            echo(f"{outcome.empty_windows} windows were seen too little: empty, in left_out")
        if outcome.flags:
            flags = ", ".join(f"{flag} {n}" for flag, n in sorted(outcome.flags.items()))
            echo(f"baselines with a flag (clips and events): {flags}")
    failed = outcome.statuses["failed"] + outcome.statuses["not_in_store"]
    return EXIT_SOME_FAILED if failed else 0


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("-o", "--output", type=PATH,
              help="A new folder for columns.csv, clips.csv, compare.json and a page.")  # fmt: skip
@with_settings(COMPARE)
@json_option
def compare(a: str, b: str, output: Path | None, as_json: bool, **settings: Any) -> None:
    """Compare two stores over the same videos: what both saw, and how far they are apart.

    By column: difference (B minus A), correlation, and by how much B comes later. By clip: time
    that only one saw, the worst first. Either store may be an import of another tool's features.

    \b
    Examples:
      facer compare features.zarr other-rec.zarr -o apart/ --videos videos/
      facer compare features.zarr openface.zarr
    """
    from facer.pipeline.functions.study import compare as compare_stores

    found = compare_stores(a, b, output, **settings)
    if as_json:
        print_json(found)
        return
    width = max(len("column"), *(len(row["feature"]) for row in found.columns))
    echo(f"{'column':{width}}   clips  mean A  mean B   B - A  distance  correlation    lag s")
    for row in found.columns:
        cells = "  ".join(
            f"{'' if row[name] != row[name] else f'{row[name]:z.3f}':>{size}}"
            for name, size in (("mean_a", 6), ("mean_b", 6), ("difference", 6), ("distance", 8),
                               ("correlation", 11), ("lag_s", 7))
        )  # fmt: skip
        echo(f"{row['feature']:{width}}  {row['clips']:6d}  {cells}")
    print_list("clips, the worst first",
               [_compared(row) for row in found.clips], LISTED)  # fmt: skip
    print_list("only in A", found.only_a, LISTED)
    print_list("only in B", found.only_b, LISTED)


def _compared(row: Mapping[str, Any]) -> str:
    """What is known of a clip in two stores: perhaps no more than how it went in each."""
    if row["both_s"] != row["both_s"]:
        return f"{row['clip_id']}: {row['status_a']} in A, {row['status_b']} in B"
    seen = f"{row['clip_id']}: only A {row['only_a_s']:.1f} s, only B {row['only_b_s']:.1f} s"
    apart = row["distance"]
    return seen if apart != apart else f"{seen}, distance {apart:.3f} {row['farthest']}"


@click.command()
@click.argument("store")
@click.option("--stats", type=PATH, help="A folder of facer summarise.")
@json_option
def methods(store: str, stats: Path | None, as_json: bool) -> None:
    """Write a paper's paragraph on how the numbers were made, with BibTeX, from what is stored.

    \b
    Example:
      facer methods features.zarr --stats stats/
    """
    from facer.pipeline.functions.study import methods as write

    paragraph, bibtex = write(store, stats)
    if as_json:
        print_json({"text": paragraph, "bibtex": bibtex})
    else:
        echo(f"{paragraph}\n\n{bibtex}")


@click.command()
@click.argument("kind")
@click.argument("store")
@click.option("-o", "--output", required=True, type=PATH,
              help="A .pdf, .svg or .png; the drawn numbers are beside it as .csv.")  # fmt: skip
@with_settings(FIGURE)
@json_option
def figure(kind: Any, store: str, output: Path, as_json: bool, **settings: Any) -> None:
    """Draw a figure for a paper, at a journal's width, in colours for everyone.

    KIND is clip, participant (a person's curves by condition), grand (mean curves of conditions),
    heat, paired, missing or strip (a dot a person).

    \b
    Examples:
      facer figure grand features.zarr --design "{participant}_{condition}" -o smile.pdf
      facer figure missing features.zarr -o seen.png
    """
    from facer.pipeline.functions.views import figure as draw

    numbers = draw(kind, store, output, **settings)
    if as_json:
        print_json({"figure": output, "numbers": numbers})
    else:
        echo(f"{output}; its numbers: {numbers}")
