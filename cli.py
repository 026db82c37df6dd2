"""The command line: options become a config and one call into ``facer.pipeline``.

Results go to stdout, progress and messages to stderr. Exit codes: 0 all is there, 1 a problem
the message explains, 2 wrong usage, 3 some clips failed, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from facer.pipeline.commands import SECTIONS
from facer.pipeline.commands.problems import WITHOUT_TRACEBACK, problem_of
from facer.pipeline.commands.terminal import (
    ends_as_interrupts,
    open_closed_streams,
    show_any_character,
    warnings_as_lines,
)
from facer.pipeline.runtime.installation import check_installation
from facer.pipeline.runtime.progress import echo, log, warn
from facer.stages.common.cores import threads_within_quota
from facer.storage.errors import FacerError, one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: run a command, turn problems into one line and an exit code."""
    open_closed_streams()
    # ffmpeg's and OpenCV's own complaints about odd files are answered by facer's records
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    threads_within_quota()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    show_any_character()
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    problem = ""
    try:
        _refuse_gone_folder()
        _refuse_another_facer()
        with warnings_as_lines(), ends_as_interrupts():
            code = facer.main(arguments, prog_name="facer", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:  # a stranger's file can lead to any
        if debug and not isinstance(error, WITHOUT_TRACEBACK):
            raise
        problem, code = problem_of(error)
    if problem:
        log(problem)
        if "--json" in arguments:
            with suppress(OSError, ValueError):  # nobody hears it: a pipe closed, a disk full
                echo(json.dumps({"error": problem, "exit_code": code}))
    sys.exit(code if isinstance(code, int) else 0)


def _refuse_gone_folder() -> None:
    """FacerError where the current folder was deleted: libraries end the process over it."""
    try:
        Path.cwd()
    except OSError as error:
        found = f"found none to work in ({one_line(error)})"
        raise FacerError(f"current folder: {found}; cd to a folder that is there") from error


def _refuse_another_facer() -> None:
    """Tell of another distribution with a module ``facer``; FacerError where it is in use."""
    found, fatal = check_installation()
    if fatal:
        raise FacerError(found)
    if found:
        warn(found)


class _Sections(click.Group):
    """A group whose help lists its commands by subject."""

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section, each command with its first sentence."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(str(c.name), c.get_short_help_str(200)) for c in commands if not c.hidden]
                )


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:  # the module facer may be another distribution's, see runtime.installation
        click.echo(f"facer, version {getattr(sys.modules['facer'], '__version__', 'unknown')}")
        context.exit()


@click.group(
    cls=_Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version and exit.",
)  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of a problem.")
def facer(debug: bool) -> None:
    """Cached facial affect features, and light heads trained on them.

    Stage one, once per video:   facer extract VIDEO_DIR -o features.zarr

    Stage two, in minutes:       facer train-head features.zarr --labels labels.csv -o run
    """
    del debug  # taken out by main, so that it works wherever it stands


class _Text(click.types.StringParamType):
    """Text, mostly a path: the shell completes it as it does without facer."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What tells the shell to look for a file."""
        del ctx, param
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


for _command in (command for commands in SECTIONS.values() for command in commands):
    for _parameter in _command.params:
        if _parameter.type is click.STRING:
            _parameter.type = _Text()
    facer.add_command(_command)


if __name__ == "__main__":
    main()
