"""What the command line says of a problem, and the exit code that goes with it."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import click

from facer.pipeline.commands.shared import EXIT_INTERRUPTED, EXIT_PROBLEM, EXIT_USAGE
from facer.storage.errors import FacerError, OptionError, PlaceError, no_memory, no_thread, one_line
from facer.storage.files.refusals import refusal
from facer.storage.text.likeness import alike

WITHOUT_TRACEBACK = (click.Abort, click.ClickException, KeyboardInterrupt)
"""What --debug shows no traceback of: an interrupt, and wrong usage."""

_OF_PLACES = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.EFBIG,
)  # fmt: skip


def problem_of(error: BaseException) -> tuple[str, int]:
    """Return a line on what ended a command, and the exit code."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted; run it again to go on (trainings with --resume)", EXIT_INTERRUPTED
    if isinstance(error, click.ClickException):
        return f"{_message_of(error)}; see {_help_of(error)}", EXIT_USAGE
    if isinstance(error, FacerError):
        code = EXIT_USAGE if isinstance(error, OptionError) else EXIT_PROBLEM
        return error.with_options(), code
    if isinstance(error, OSError) and error.errno in _OF_PLACES:
        return str(refusal("go on", str(error.filename or "output"), error)), EXIT_PROBLEM
    if isinstance(error, PlaceError | BrokenPipeError | PermissionError):
        return str(error), EXIT_PROBLEM
    if isinstance(error, ImportError):
        from facer.pipeline.runtime.processes import not_loaded

        return str(not_loaded(error)), EXIT_PROBLEM
    if isinstance(error, OSError) and "temporary directory" in str(error):  # torch's, matplotlib's
        return f"{one_line(error)}; set TMPDIR to a folder that can be written", EXIT_PROBLEM
    if found := no_thread(error):
        return found, EXIT_PROBLEM
    if no_memory(error):
        return f"there is not enough memory for it ({one_line(error)})", EXIT_PROBLEM
    return (
        f"unexpected {type(error).__name__}: {one_line(error)}; --debug shows where, please "
        "report it"
    ), EXIT_PROBLEM


def _message_of(error: click.ClickException) -> str:
    """What click says, with the nearest names in place of all that it finds alike."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ not in ("NoSuchOption", "NoSuchCommand") or context is None:
        return error.format_message().rstrip(".")
    name = getattr(error, "option_name", getattr(error, "command_name", ""))
    known: Sequence[str] = tuple(getattr(context.command, "commands", ()))
    if isinstance(error, click.NoSuchOption):
        options = (option for p in context.command.params for option in p.opts)
        known = [option for option in options if option.startswith("--")]
    near = " or ".join(repr(one) for one in alike(name, known))
    return error.message.rstrip(".") + (f"; did you mean {near}?" if near else "")


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context is not None else 'facer'} --help"
