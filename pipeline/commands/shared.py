"""What commands share: kinds of values, exit codes, and how lists and notes are printed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click

from facer.pipeline.runtime.epoch_log import LOG_KINDS
from facer.pipeline.runtime.progress import echo
from facer.storage.errors import OptionError, printable
from facer.storage.files.regular import refuse_empty

EXIT_PROBLEM, EXIT_USAGE, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 130
"""Exit codes beside 0: a problem that the message explains, wrong usage, some clips failed,
Ctrl-C, SIGTERM or SIGHUP."""

STDOUT = Path("-")  # as the csv to write
LISTED = 10  # names printed of a longer list
NOTE_CHARACTERS = 300  # of a note on what was left out


class _Path(click.Path):
    """A path; an empty one is none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path; wrong usage for "", as of a shell's variable that is not set."""
        try:
            refuse_empty(os.fspath(value))
        except OptionError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)


class Finite(click.FloatRange):
    """A number in a range; nan and inf, which Python reads as numbers too, are none."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number; wrong usage for any other text."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return number


POSITIVE = Finite(min=0, min_open=True)


class OnceOption(click.Option):
    """An option of which click would heed the last alone; wrong usage where several are given."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Have the parser keep all values."""
        del ctx
        parser.add_option(obj=self, opts=self.opts, dest=self.name, action="append", nargs=1)

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> Any:
        """The value, wherever it comes from."""
        given = opts.get(str(self.name))
        if isinstance(given, list):
            if len(given) > 1:
                raise click.UsageError(
                    f"{self.opts[0]}: found {', '.join(given)}, expected one; join several files "
                    "into one table"
                )
            opts = {**opts, str(self.name): given[0]}
        return super().consume_value(ctx, opts)


def labels_option(required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--labels`` of commands that train or score on a table of labels."""
    return click.option("--labels", cls=OnceOption, required=required, help="Label file or folder.")


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else."
)


def print_json(value: Any) -> None:
    """Print a result as one JSON object; numbers that are not finite are null."""
    echo(json.dumps(as_json_value(value)))


def as_json_value(value: Any) -> Any:
    """A result as JSON has it: ``to_json()`` where it has that, else the fields of a dataclass."""
    if hasattr(value, "to_json"):
        value = value.to_json()
    elif is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json_value(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_list(title: str, lines: Sequence[str], limit: int = 1000) -> None:
    """Print the lines under their title and number; nothing where there are none."""
    if lines:
        echo(f"{title} ({len(lines)}):")
        for line in lines[:limit]:
            echo(f"  {printable(line)}")
        print_rest(len(lines) - limit)


def print_rest(left: int) -> None:
    """Print how many lines were left out, if any."""
    if left > 0:
        echo(f"  ... and {left} more (--json lists all)")


def shortened(note: str, where: str) -> str:
    """The beginning of a note that names very many files, and where all of them are."""
    if len(note) <= NOTE_CHARACTERS:
        return note
    return f"{note[:NOTE_CHARACTERS].rpartition(', ')[0]} ... ({where})"


log_option = click.option(
    "--log", "log_to", type=click.Choice(LOG_KINDS),
    help="Note the learning curve there too, in RUN/tensorboard (pip install facer[tensorboard]).",
)  # fmt: skip
"""``--log`` of commands that train."""
