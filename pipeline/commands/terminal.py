"""What the command line sets up once: characters, signals, and warnings as lines."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from facer.pipeline.runtime.progress import warn


def open_closed_streams() -> None:
    """Open those of stdin, stdout and stderr that are closed (``<&-``) on nothing.

    Otherwise the next file to be opened is taken for them, here and in child processes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def show_any_character() -> None:
    """Let the console show names in characters that it lacks: each becomes a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


_ENDING = (signal.SIGTERM, signal.SIGHUP)
_ONCE_S = 15.0  # in which a command ends what it does, with time to spare


@contextmanager
def ends_as_interrupts() -> Iterator[None]:
    """SIGTERM is Ctrl-C, and so is SIGHUP of a terminal or ssh that closes, but under ``nohup``.

    Those right after the first, as ``timeout`` and batch systems send, change nothing. A later one
    interrupts again: a library that calls back may have swallowed the first.
    """
    quiet_until = 0.0

    def interrupt(*_: object) -> None:
        nonlocal quiet_until
        if time.monotonic() >= quiet_until:
            quiet_until = time.monotonic() + _ONCE_S
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # others hear no signals
        yield
        return
    before = {kind: signal.getsignal(kind) for kind in _ENDING}
    if before[signal.SIGHUP] == signal.SIG_IGN:
        del before[signal.SIGHUP]
    for kind in before:
        signal.signal(kind, interrupt)
    try:
        yield
    finally:
        for kind, handler in before.items():
            if not quiet_until:  # else the process ends
                signal.signal(kind, handler)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Say what facer's modules warn of as lines for the user."""
    logger = logging.getLogger("facer")
    before, logger.handlers = logger.handlers, [_SayWarnings()]
    try:
        yield
    finally:
        logger.handlers = before


class _SayWarnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Say it."""
        warn(record.getMessage())
