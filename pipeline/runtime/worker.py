"""A worker process of :class:`facer.pipeline.runtime.executors.ProcessExecutor`.

JSON lines (:mod:`facer.pipeline.runtime.children`) come in on stdin and go out on stdout:

- out, once: ``{"ready"}``;
- in: ``{"function": "module:name", "item"}``; out: ``{"result"}``, or ``{"error": {"type",
  "text"}, "kind"}`` with the kind ``user`` (a FacerError), ``import`` or ``item``;
- in: an empty line, SIGTERM or SIGHUP: end. The item in work is interrupted as by Ctrl-C, so that
  what it has finished is committed; there is no answer to it.

When stdin ends, the driver is dead, and so is this process.
"""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
from queue import SimpleQueue
from threading import Thread, main_thread
from types import FrameType
from typing import Any

from facer.pipeline.runtime.children import (
    INTERRUPTS,
    describe_error,
    dumps,
    loads,
)
from facer.storage.errors import FacerError, no_thread


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Call the function that a request names."""
    try:
        return {"result": pkgutil.resolve_name(request["function"])(request["item"])}
    except FacerError as error:
        kind, found = "user", {**describe_error(error), "text": error.marked}
    except ImportError as error:
        kind, found = "import", describe_error(error)
    except Exception as error:  # noqa: BLE001 - handed on with its item
        kind, found = "item", describe_error(error)
        if limit := no_thread(error):
            kind, found = "user", describe_error(FacerError(limit))
    return {"error": found, "kind": kind}


def serve(requests: SimpleQueue[bytes], out: int) -> None:
    """Answer requests until interrupted."""

    def send(message: dict[str, Any]) -> None:
        with os.fdopen(os.dup(out), "wb") as file:  # all of it, however long
            file.write(dumps(message).encode() + b"\n")

    send({"ready": True})
    while True:
        send(answer(loads(requests.get())))


def listen(requests: SimpleQueue[bytes]) -> None:
    """Take in what the driver says."""
    for line in sys.stdin.buffer:
        if line == b"\n":
            signal.pthread_kill(main_thread().ident or 0, signal.SIGTERM)
        else:
            requests.put(line)
    os._exit(1)


def _stop(_number: int, _frame: FrameType | None) -> None:
    for kind in (signal.SIGTERM, signal.SIGHUP):
        # once is enough; of one that is under way already, Python would say that SIG_IGN lost it
        signal.signal(kind, lambda *_: None)
    raise KeyboardInterrupt


def main() -> None:
    """Serve the driver at the other end of stdin and stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, _stop)
    out = os.dup(1)
    os.dup2(2, 1)  # nothing but answers on the pipe
    requests = SimpleQueue[bytes]()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)
        try:
            Thread(target=listen, args=(requests,), daemon=True).start()
        except RuntimeError:  # a limit on processes; the driver tells of it
            sys.exit(1)
        serve(requests, out)
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.flush()
        os._exit(0)  # models and threads need no farewell


if __name__ == "__main__":
    main()
