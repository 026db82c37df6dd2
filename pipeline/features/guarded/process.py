"""One decoding process, the memory that its frames come through, and what it says."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np

from facer.pipeline.runtime.children import ONE_THREAD, import_path, module_command
from facer.storage.errors import MORE_THREADS, FacerError, PlaceError
from facer.storage.schema import U8

FRAME_TIMEOUT_S = 60.0  # for opening, and for every frame
MEAN_FRAME_S = 5.0  # a decoded frame may take on average, beyond the first FRAME_TIMEOUT_S
_STEP_S = 1.0  # of waiting at a time: what stands still itself (Ctrl-Z) lets no more of it pass
RING_BYTES = 32 << 20  # frames decoded ahead; for larger frames than half of it the ring grows
NO_THREAD = os.EX_OSERR  # exit code of a child that was refused one
MEMORY_LIMIT_BYTES = 2 << 30  # of addresses; an 8K video with all its references fits


class DecoderDiedError(Exception):
    """The decoding process ended by itself; the text says how."""


class Watch:
    """Reads what a child says of one file, and gives up on one that takes too long."""

    def __init__(self, name: str, what: str) -> None:
        self._name, self._what = name, what
        self.last: dict[str, Any] = {}
        self._n_heard = 0
        self._waited_s = 0.0

    def messages(self, child: DecodeChild, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Ask for something; all messages up to the last, which ends it.

        DecoderDiedError when the process ends before that.
        """
        child.send(json.dumps(request))
        self.last = {}
        while not self.last.keys() & {"problem", "result", "error"}:
            self.last = self._read(child)
            yield self.last

    def _read(self, child: DecodeChild) -> dict[str, Any]:
        left_s = FRAME_TIMEOUT_S + MEAN_FRAME_S * self._n_heard - self._waited_s
        message, waited_s, limit_s = None, 0.0, min(FRAME_TIMEOUT_S, left_s)
        while message is None and waited_s < limit_s:
            started, step_s = perf_counter(), min(_STEP_S, limit_s - waited_s)
            message = child.read(step_s)
            waited_s += step_s if message is None else min(step_s, perf_counter() - started)
        self._waited_s += waited_s
        if message is None:
            found = f"{self._n_heard} {self._what}s in {self._waited_s:.0f} s of decoding"
            if left_s >= FRAME_TIMEOUT_S:
                found = f"no {self._what} for {FRAME_TIMEOUT_S:.0f} s"
            raise FacerError(f"{self._name}: {found}, given up")
        self._n_heard += 1
        return message


class DecodeChild:
    """A decoding process, and the memory that its frames come through."""

    def __init__(self) -> None:
        self.memory = _anonymous_file(RING_BYTES)
        self._map = mmap.mmap(-1, 1)
        self._unread = b""
        arguments = (str(self.memory), str(MEMORY_LIMIT_BYTES))
        self.process = subprocess.Popen(
            module_command("facer.pipeline.features.guarded.child", *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[self.memory],
            bufsize=0,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": import_path()},
        )

    @property
    def alive(self) -> bool:
        """Whether it can take a video."""
        return self.process.poll() is None

    def send(self, line: str) -> None:
        """Hand over a line; one that the child does not live to read is lost."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n".encode())

    def read(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message, None after the timeout; DecoderDiedError when none will come.

        PlaceError where the process had no thread to start with.
        """
        assert self.process.stdout is not None
        file = self.process.stdout.fileno()
        poll = select.poll()
        poll.register(file, select.POLLIN)
        while b"\n" not in self._unread:
            if not poll.poll(1000 * timeout_s):
                return None
            data = os.read(file, 1 << 16)
            if not data:
                raise DecoderDiedError(self._cause_of_death())
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def shared(self, offset: int, n_bytes: int) -> U8:
        """A stretch of the shared memory."""
        if offset + n_bytes > len(self._map):
            self._map = mmap.mmap(self.memory, os.fstat(self.memory).st_size)
        return np.frombuffer(self._map, np.uint8, n_bytes, offset)

    def _cause_of_death(self) -> str:
        code = self.process.wait()
        if code == NO_THREAD:
            raise PlaceError(
                "no process to decode videos can be started: it was refused a thread; "
                f"{MORE_THREADS}"
            )
        if code == -signal.SIGKILL:
            return "killed, perhaps for want of memory"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process and free its memory."""
        with self.process:  # closes its pipes, and waits
            self.process.kill()
        os.close(self.memory)


def _anonymous_file(n_bytes: int) -> int:
    """A file in memory without a name; on a disk where the system knows no such files.

    Its number is none that a child's stdin, stdout and stderr have. ``OSError`` when refused.
    """
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("facer-frames")
    else:
        with tempfile.TemporaryFile() as file:
            number = os.dup(file.fileno())
    try:
        os.ftruncate(number, n_bytes)
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(number)
