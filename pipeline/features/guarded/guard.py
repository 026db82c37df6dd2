"""Decoding in a process of its own: a decoder that crashes or hangs costs one clip, not the run.

:class:`GuardedReader` reads like :class:`~facer.stages.features.decode.frames.VideoReader`, and
gives the same frames, bit for bit; :class:`GuardedAudio` like
:class:`~facer.stages.features.audio.reader.AudioReader`. A child process
(:mod:`facer.pipeline.features.guarded.child`) decodes ahead of the reader into shared memory that
has no name, so nothing is left behind whoever is killed. Children are kept for the next clip; one
that dies is replaced.
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from facer.pipeline.runtime.children import ONE_THREAD, import_path, module_command
from facer.stages.features.audio.reader import Sound
from facer.stages.features.decode.frames import Frame
from facer.stages.features.decode.picture import Picture, Yuv, take
from facer.storage.errors import FacerError, PlaceError
from facer.storage.schema import U8

Item = TypeVar("Item")

FRAME_TIMEOUT_S = 60.0  # for opening, and for every frame
MEAN_FRAME_S = 5.0  # a decoded frame may take on average, beyond the first FRAME_TIMEOUT_S
_ATTEMPTS = 2  # at a video whose decoder crashes
MEMORY_LIMIT_BYTES = 2 << 30  # of addresses; an 8K video with all its references fits

idle: list[DecodeChild] = []
_of_parent: list[DecodeChild] = []  # of a process that forked this one: kept, never used


class DecoderDiedError(Exception):
    """The decoding process ended by itself; the text says how."""


class _Guarded(Generic[Item]):
    """Iterate over what a process decodes of one file; use as a context manager.

    :class:`PlaceError` when no process can be started, which is no fault of the file.
    ``FacerError`` while iterating when the file cannot be decoded, when the decoder gives
    nothing for ``FRAME_TIMEOUT_S``, or when it crashes twice: after the first crash decoding
    starts again, and what was given already is not given twice.
    """

    what: ClassVar[str]  # it gives

    def __init__(self, path: Path, **request: int) -> None:
        self.problem = ""
        self.n_decoded = 0
        self.cpu_s = 0.0  # that decoding took so far, in its own process
        self._name = path.name
        self._request = {"path": str(path.absolute()), **request}
        self.child: DecodeChild | None = None

    def _take(self, message: Mapping[str, Any], child: DecodeChild) -> Item:
        """Copy out of the shared memory what a message speaks of."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child is not None:  # dead, hanging or in the middle of a clip
            self.child.close()
            self.child = None

    def __iter__(self) -> Iterator[Item]:
        watch, n_given = _Watch(self._name, self.what), 0
        for attempt in range(_ATTEMPTS):
            child = self.child = take_child()
            try:
                for message in child.items(self._request, n_given, watch):
                    item = self._take(message, child)
                    if "offset" in message:  # its slot is free again
                        child.send("")
                    n_given += 1
                    self.cpu_s = message["cpu_s"]
                    yield item
            except DecoderDiedError as death:
                self.__exit__()
                if attempt + 1 == _ATTEMPTS:
                    found = f"the decoder crashed twice ({death}), after {n_given} {self.what}s"
                    raise FacerError(f"{self._name}: {found}") from death
            else:
                idle.append(child)
                self.child = None
                break
        if "error" in watch.last:
            raise FacerError(watch.last["error"])
        self.problem, self.n_decoded = watch.last["problem"], watch.last["n_decoded"]
        self.cpu_s = watch.last["cpu_s"]


class GuardedReader(_Guarded[Frame]):
    """The frames of one video, as :class:`~facer.stages.features.decode.frames.VideoReader`."""

    what = "frame"

    def __init__(self, path: Path, stride: int = 1, threads: int = 1) -> None:
        super().__init__(path, stride=stride, threads=threads)
        self._picture: Picture | None = None

    def _take(self, message: Mapping[str, Any], child: DecodeChild) -> Frame:
        if "offset" in message:
            (height, width), yuv = message["size"], message["yuv"]
            data = child.shared(message["offset"], height * width * 3)
            self._picture = take(data, height, width, None if yuv is None else Yuv(*yuv))
        assert self._picture is not None
        return Frame(message["frame"], message["time_s"], self._picture, message["repeats"])


class GuardedAudio(_Guarded[Sound]):
    """The sound of one file, as :class:`~facer.stages.features.audio.reader.AudioReader`."""

    what = "block of sound"

    def __init__(self, path: Path, rate_hz: int) -> None:
        super().__init__(path, rate_hz=rate_hz)

    def _take(self, message: Mapping[str, Any], child: DecodeChild) -> Sound:
        data = child.shared(message["offset"], 4 * message["n"])
        return Sound(message["sample"], data.view(np.float32).copy())


def ask(function: str, path: Path, *arguments: Any) -> Any:
    """What one of :data:`~facer.pipeline.features.guarded.child.FUNCTIONS` says of a file.

    It runs in a decoding process, under the same limits as decoding. ``arguments`` and the result
    go through JSON. ``FacerError`` and :class:`PlaceError` as by :class:`GuardedReader`.
    """
    child = take_child()
    request = {"function": function, "path": str(path.absolute()), "arguments": arguments}
    try:
        child.send(json.dumps(request))
        *_, message = _Watch(path.name, "answer").messages(child)
    except BaseException as error:
        child.close()
        if isinstance(error, DecoderDiedError):
            raise FacerError(f"{path.name}: the decoder crashed ({error})") from error
        raise
    idle.append(child)
    if "error" in message:
        raise FacerError(message["error"])
    return message["result"]


class _Watch:
    """Reads what a child says of one file, and gives up on one that takes too long."""

    def __init__(self, name: str, what: str) -> None:
        self._name, self._what = name, what
        self.last: dict[str, Any] = {}
        self._n_heard = 0
        self._waited_s = 0.0

    def messages(self, child: DecodeChild) -> Iterator[dict[str, Any]]:
        """All messages up to the last, which ends what was asked for."""
        self.last = {}
        while not self.last.keys() & {"problem", "result", "error"}:
            self.last = self._read(child)
            yield self.last

    def _read(self, child: DecodeChild) -> dict[str, Any]:
        left_s = FRAME_TIMEOUT_S + MEAN_FRAME_S * self._n_heard - self._waited_s
        started = perf_counter()
        message = child.read(min(FRAME_TIMEOUT_S, max(0.0, left_s)))
        self._waited_s += perf_counter() - started
        if message is None and left_s >= FRAME_TIMEOUT_S:
            found = f"no {self._what} for {FRAME_TIMEOUT_S:.0f} s"
            raise FacerError(f"{self._name}: {found}, given up")
        if message is None:
            found = f"{self._n_heard} {self._what}s in {self._waited_s:.0f} s of decoding"
            raise FacerError(f"{self._name}: {found}, given up")
        self._n_heard += 1
        return message


class DecodeChild:
    """A decoding process, and the memory that its frames come through."""

    def __init__(self) -> None:
        self.memory = _anonymous_file()
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
        """Return the next message, None after the timeout; DecoderDiedError when none will come."""
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

    def items(
        self, request: Mapping[str, Any], start: int, watch: _Watch
    ) -> Iterator[Mapping[str, Any]]:
        """Decode a file and give what it says of its items from number ``start``.

        ``watch`` has the last word. DecoderDiedError when the process ends before the file does.
        """
        self.send(json.dumps({**request, "start": start}))
        for message in watch.messages(self):
            if message.keys() & {"frame", "sample"}:
                yield message

    def shared(self, offset: int, n_bytes: int) -> U8:
        """A stretch of the shared memory."""
        if offset + n_bytes > len(self._map):
            self._map = mmap.mmap(self.memory, os.fstat(self.memory).st_size)
        return np.frombuffer(self._map, np.uint8, n_bytes, offset)

    def _cause_of_death(self) -> str:
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return "killed, perhaps for want of memory"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process and free its memory."""
        self.process.kill()
        self.process.communicate()
        os.close(self.memory)


def _anonymous_file() -> int:
    """A file in memory without a name; on a disk where the system knows no such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("facer-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def start_ahead() -> None:
    """Start a decoding process now, so that the first video need not wait for it."""
    if not idle:
        with suppress(OSError):  # whoever needs it says so
            idle.append(DecodeChild())


def take_child() -> DecodeChild:
    """One that waits for work, or a new one; PlaceError where none can be started."""
    with suppress(IndexError):  # none is idle
        while not (child := idle.pop()).alive:
            child.close()
        return child
    try:
        return DecodeChild()
    except OSError as error:
        why = error.strerror or error
        raise PlaceError(f"no process to decode videos can be started: {why}") from error


def _leave_to_parent() -> None:
    """In a process that was forked: the children are its parent's, and so is what they say."""
    _of_parent.extend(idle)
    idle.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


@atexit.register
def close_idle() -> None:
    """End the children that wait for work."""
    while idle:
        idle.pop().close()
