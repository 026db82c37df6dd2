"""design and summarise: who a clip is, and a lab's tables."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from facer.pipeline.commands.shared import (
    EXIT_SOME_FAILED,
    LISTED,
    POSITIVE,
    Finite,
    json_option,
    print_list,
    warn,
)
from facer.pipeline.runtime.progress import echo
from facer.stages.summary.config import SummaryConfig

_DEFAULT = SummaryConfig()


class Span(click.ParamType[tuple[float, float]]):
    """``START:STOP`` in seconds."""

    name = "START:STOP"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """The two numbers; wrong usage for any other text."""
        if isinstance(value, tuple):
            return value
        start, colon, stop = str(value).partition(":")
        try:
            span = (float(start), float(stop))
        except ValueError:
            span = (1.0, 0.0)
        if not colon or not span[0] < span[1]:
            self.fail(f"found {value!r}, expected START:STOP in seconds, such as 0:4", param, ctx)
        return span


class Named(click.ParamType[tuple[str, Any]]):
    """``NAME=`` and a value of another kind."""

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind
        self.name = f"NAME={kind.name}"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, Any]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = str(value).partition("=")
        if not name or not equals:
            self.fail(f"found {value!r}, expected {self.name}", param, ctx)
        return name, self.kind.convert(rest, param, ctx)


@click.command()
@click.argument("store")
@click.option("--pattern", help="How clips are named, such as {participant}_{condition}.")
@click.option("--check", "source", type=click.Path(path_type=Path), help="A design.csv to check.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write design.csv.")
@json_option
def design(
    store: str, pattern: str | None, source: Path | None, output: Path | None, as_json: bool
) -> int:
    """Say who and which condition every clip is: from the clips' names, or a csv to be checked.

    A field of a pattern ends where the next sign of the pattern comes; {} is any text. Columns of
    design.csv: clip_id, participant, condition, session, onset_s, exclude, reason; any others are
    carried along.

    \b
    Examples:
      facer design features.zarr --pattern "{participant}_{condition}" -o design.csv
      facer design features.zarr --check design.csv
    """
    from facer.pipeline.summary.designs import check_design, write_design
    from facer.storage import FeatureStore
    from facer.storage.study.design import design_of

    if (pattern is None) == (source is None):
        raise click.UsageError("expected one of --pattern and --check")
    found = design_of(pattern if source is None else source, FeatureStore.open(store).clip_ids)
    counts = check_design(found)
    if output is not None:
        write_design(found, output)
    for note in found.notes:
        warn(note)
    if as_json:
        echo(json.dumps({**asdict(counts), "columns": list(found.carried)}))
        return 0
    conditions = ", ".join(name or "(none)" for name in counts.conditions)
    echo(f"{output or found.source}: {counts.clips} clips, {counts.participants} participants, "
         f"conditions {conditions}; {counts.excluded} excluded")  # fmt: skip
    without = [f"{person}, {condition}" for person, condition in counts.missing]
    several = [f"{person}, {condition}: {n}" for person, condition, n in counts.several]
    print_list("without a clip", without, LISTED)
    print_list("with several clips", several, LISTED)
    print_list("not in the store", counts.not_in_store, LISTED)
    print_list("in the store and not in the design", counts.not_in_design, LISTED)
    return 0


@click.command()
@click.argument("store")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path),
              help="Folder of the tables: a new one, or one of an earlier summary.")  # fmt: skip
@click.option("--design", "design_", metavar="FILE|PATTERN",
              help="design.csv, or how clips are named: {participant}_{condition}.")  # fmt: skip
@click.option("--events", type=click.Path(path_type=Path),
              help="events.csv: clip_id, onset_s, duration_s, trial_type.")  # fmt: skip
@click.option("--marks", type=click.Path(path_type=Path),
              help="marks.csv: stretches and clips that are left out.")  # fmt: skip
@click.option("--window", "windows", type=Named(Span()), multiple=True,
              help="A window in seconds from the event, such as after=0:4; again for another. "
              "[default: each event's duration, or the whole clip]")  # fmt: skip
@click.option("--baseline", type=Span(), help="Window of the baseline, such as -2:0.")
@click.option("--threshold", "thresholds", type=Named(Finite()), multiple=True,
              help="Above it a feature counts as shown, such as au12=.4. [default: probabilities "
              ".5, intensities 1, valence and arousal 0]")  # fmt: skip
@click.option("--min-valid", type=Finite(0, 1), default=_DEFAULT.min_valid, show_default=True,
              help="Seen share of a window below which its numbers are empty.")  # fmt: skip
@click.option("--min-baseline", type=Finite(0), default=_DEFAULT.min_baseline, show_default=True,
              help="Seconds of a baseline that must be seen.")  # fmt: skip
@click.option("--max-gap", type=Finite(0), default=_DEFAULT.max_gap, show_default=True,
              help="Unseen seconds that an episode or a curve goes on over.")  # fmt: skip
@click.option("--grid", type=POSITIVE, help="Also write curves with as many bins a second.")
@click.option("--series", default=_DEFAULT.series, show_default=True,
              help="Curves long (a row a feature) or wide.")  # fmt: skip
@click.option("--scale", default=_DEFAULT.scale, show_default=True,
              help="Against the baseline: difference, or logit for probabilities.")  # fmt: skip
@click.option("--baseline-fallback", default=_DEFAULT.baseline_fallback, show_default=True,
              help="none, or participant: the person's other baselines.")  # fmt: skip
@click.option("--wide", default=",".join(_DEFAULT.wide), show_default=True,
              help="Statistics of the table with a row a participant.")  # fmt: skip
@click.option("--resamples", default=_DEFAULT.resamples, show_default=True,
              help="Of the bootstrap over participants.")  # fmt: skip
@click.option("--seed", default=_DEFAULT.seed, show_default=True, help="Of the bootstrap.")
@click.option("--format", "form", default="csv", show_default=True,
              help="csv, parquet, feather or sav.")  # fmt: skip
@json_option
def summarise(
    store: str, output: Path, design_: str | None, events: Path | None, marks: Path | None,
    form: Any, as_json: bool, **options: Any,
) -> int:  # fmt: skip
    """Measure every clip over windows of time: tables for R, SPSS or pandas.

    summary has a row a clip, event, window and feature; clips, episodes, groups, wide and
    left_out stand beside it, columns says what each number is, settings.json how it was made.
    Frames count by their time; a missing frame is never filled. Every clip of the design is in
    the tables with its status.

    \b
    Examples:
      facer summarise features.zarr -o stats/ --design design.csv
      facer summarise features.zarr -o stats/ --design "{participant}_{condition}" \\
        --window after=0:4 --baseline -2:0 --grid 10
    """
    from facer.pipeline.summary.door import summarise_to_folder
    from facer.pipeline.summary.summarise import study
    from facer.storage import FeatureStore

    for name in ("windows", "thresholds"):
        named = dict(options[name])
        if len(named) < len(options[name]):
            raise click.UsageError(f"--{name[:-1]}: found one name twice, expected each once")
        options[name] = named
    options["wide"] = tuple(word.strip() for word in options["wide"].split(",") if word.strip())
    found = study(FeatureStore.open(store), SummaryConfig(**options), design_, events, marks)
    outcome = summarise_to_folder(found, output, form)
    for note in outcome.notes:
        warn(note)
    if as_json:
        echo(json.dumps({
            "output": str(output), "clips": dict(outcome.statuses), "flags": dict(outcome.flags),
            "empty_windows": outcome.empty_windows, "settings": outcome.settings,
        }))  # fmt: skip
    else:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(outcome.statuses.items()))
        echo(f"{output}: {sum(outcome.statuses.values())} clips ({counts}); "
             f"{', '.join(outcome.settings['tables'])}")  # fmt: skip
        if outcome.empty_windows:
            echo(
                f"{outcome.empty_windows} windows were seen for too little and are empty: left_out"
            )
        if outcome.flags:
            flags = ", ".join(f"{flag} {n}" for flag, n in sorted(outcome.flags.items()))
            echo(f"baselines with a flag (clips and events): {flags}")
    failed = outcome.statuses["failed"] + outcome.statuses["not_in_store"]
    return EXIT_SOME_FAILED if failed else 0
