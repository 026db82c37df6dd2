"""Work on processes of this machine, which nobody else can reach: they have pipes, no ports."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from facer.pipeline.runtime.children import (
    INTERRUPTS,
    ONE_THREAD,
    dumps,
    function_name,
    import_path,
    loads,
    module_command,
    raised,
)
from facer.storage.errors import FacerError, OptionError, named
from facer.storage.files.refusals import reason

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_DEATHS = 4  # of workers on one item, until it is given up; Dask's rule
_MAX_FALSE_STARTS = 4  # workers in a row that died before they took an item
_STOP_S = 10.0  # that a worker may take to commit what it has finished
_READ_BYTES = 1 << 16


class WorkerDiedError(Exception):
    """A process that worked on an item died, several times over."""

    def __init__(self) -> None:
        super().__init__(
            "the process that worked on it died each time it was tried (out of memory, or the "
            "decoder crashed)"
        )


class ProcessExecutor:
    """Processes of this machine that speak over pipes (see :mod:`facer.pipeline.runtime.worker`).

    A worker that dies is replaced and its item tried again; an item that keeps killing workers
    comes back with a :class:`WorkerDiedError`. ``FacerError`` when no process can be started.
    """

    in_process = False

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._idle: list[_Worker] = []

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """See :class:`facer.pipeline.runtime.executors.SerialExecutor`."""
        run = _Run(function_name(function), items, self.workers, self._idle)
        try:
            for index, outcome in run.outcomes():
                yield items[index], outcome
        finally:
            stop(list(run.busy))

    def close(self) -> None:
        """End the processes."""
        stop(self._idle)
        self._idle.clear()


class _Run:
    """One map: which items wait, which worker has which."""

    def __init__(
        self, function: str, items: Sequence[Any], workers: int, idle: list[_Worker]
    ) -> None:
        self.busy: dict[_Worker, int] = {}  # the item's position
        self._function, self._items, self._workers, self._idle = function, items, workers, idle
        self._waiting = deque(range(len(items)))
        self._deaths: dict[int, int] = {}
        self._false_starts = 0

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Positions of items with their results or exceptions, as they finish."""
        self._hand_out()
        while self.busy:
            for worker in _readable(self.busy):
                found = self._hear(worker)
                self._hand_out()  # before the caller looks at the result
                if found is not None:
                    yield found

    def _hand_out(self) -> None:
        while self._waiting and len(self.busy) < self._workers:
            worker = self._idle.pop() if self._idle else _Worker()
            index = self._waiting.popleft()
            self.busy[worker] = index
            worker.send(dumps({"function": self._function, "item": self._items[index]}))

    def _hear(self, worker: _Worker) -> tuple[int, Any] | None:
        """Take in what a worker says: an item's outcome, if it is one."""
        try:
            message = worker.read()
        except EOFError:
            return self._bury(worker)
        if message is None:
            return None
        if "ready" in message:
            self._false_starts = 0
            return None
        index = self.busy.pop(worker)
        self._idle.append(worker)
        return index, message["result"] if "result" in message else _failure(message)

    def _bury(self, worker: _Worker) -> tuple[int, Any] | None:
        """Have a dead worker's item done by another, unless that was tried often enough."""
        index, code = self.busy.pop(worker), worker.close()
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _MAX_FALSE_STARTS:
                raise FacerError(
                    f"worker processes end before they start to work ({code}); look for what "
                    "ends them, such as a limit on memory or processes, or use "
                    f"{named('workers')} 1"
                )
        else:
            self._deaths[index] = self._deaths.get(index, 0) + 1
        if self._deaths.get(index, 0) >= MAX_DEATHS:
            return index, WorkerDiedError()
        self._waiting.appendleft(index)
        return None


def _failure(message: dict[str, Any]) -> Exception:
    """The exception of an item; raises what is no fault of the item."""
    text = message["error"]["text"]
    if message["kind"] == "user":
        raise (OptionError if message["error"]["type"] == "OptionError" else FacerError)(text)
    if message["kind"] == "import":
        raise not_loaded(text)
    return raised(message["error"])


def not_loaded(why: object) -> FacerError:
    """What to say when an import failed in the middle of the work."""
    from facer import __version__

    if "failed to map segment" in str(why):  # of a library
        return FacerError(
            f"facer does not load completely ({why}); raise the limit on its memory (ulimit -v), "
            "or look whether the library lies where nothing may be executed (noexec)"
        )
    return FacerError(f"facer does not load completely ({why}); install facer {__version__} anew")


class _Worker:
    """A process, and what it has said so far."""

    def __init__(self) -> None:
        self.ready = False
        self._unread = bytearray()
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": import_path()}
        try:
            with _signals_held():  # they end no half-started worker; it handles them itself
                self._process = subprocess.Popen(
                    module_command("facer.pipeline.runtime.worker"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    bufsize=0,
                    env=environment,
                )
        except OSError as error:
            raise FacerError(f"no worker process can be started: {reason(error)}") from error
        assert self._process.stdout is not None
        self.file = self._process.stdout.fileno()

    def send(self, line: str) -> None:
        """Hand over a line; one that the worker does not live to read is lost."""
        assert self._process.stdin is not None
        data = memoryview(f"{line}\n".encode())
        with suppress(BrokenPipeError):
            while data:
                data = data[self._process.stdin.write(data) or 0 :]

    def read(self) -> dict[str, Any] | None:
        """The next message, once all of it is there; ``EOFError`` when none will come."""
        data = os.read(self.file, _READ_BYTES)
        if not data:
            raise EOFError
        self._unread += data
        if not data.endswith(b"\n"):
            return None
        line = bytes(self._unread).splitlines()[-1]  # "ready" may stand before an answer
        self._unread.clear()
        self.ready = True
        message: dict[str, Any] = loads(line)
        return message

    def ask_to_stop(self) -> None:
        """Have it commit what it has finished, and end."""
        with suppress(OSError):
            self.send("")

    def close(self, timeout_s: float = 0.0) -> str:
        """End it, by force after the timeout; returns how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def stop(workers: Sequence[_Worker]) -> None:
    """End workers; those at work commit what they have finished, all at the same time."""
    for worker in workers:
        worker.ask_to_stop()
    until = time.monotonic() + _STOP_S
    try:
        for worker in workers:
            worker.close(max(0.0, until - time.monotonic()))
    except BaseException:  # a second Ctrl-C
        for worker in workers:
            worker.close()
        raise


def _readable(workers: dict[_Worker, int]) -> list[_Worker]:
    """Wait until some have said something, or died."""
    poll = select.poll()
    by_file = {worker.file: worker for worker in workers}
    for file in by_file:
        poll.register(file, select.POLLIN)
    return [by_file[file] for file, _ in poll.poll()]


@contextmanager
def _signals_held() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
