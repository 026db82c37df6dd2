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
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from facer.pipeline.features.guarded.process import DecodeChild, DecoderDiedError, Watch
from facer.stages.features.audio.resampling import Sound
from facer.stages.features.decode.frames import Frame
from facer.stages.features.decode.picture import Picture, Yuv, take
from facer.storage.errors import FacerError, PlaceError
from facer.storage.files.refusals import reason

Item = TypeVar("Item")

_ATTEMPTS = 2  # at a video whose decoder crashes

idle: list[DecodeChild] = []
_of_parent: list[DecodeChild] = []  # of a process that forked this one: kept, never used


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
        self._n_given = 0

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
        watch, self._n_given = Watch(self._name, self.what), 0
        for attempt in range(_ATTEMPTS):
            child = self.child = take_child()
            try:
                yield from self._items(child, watch)
                break
            except DecoderDiedError as death:
                self.__exit__()
                if attempt + 1 == _ATTEMPTS:
                    found = f"({death}), after {self._n_given} {self.what}s"
                    raise FacerError(f"{self._name}: the decoder crashed twice {found}") from death
        idle.append(child)
        self.child = None
        if "error" in watch.last:
            raise FacerError(watch.last["error"])
        self.problem, self.n_decoded = watch.last["problem"], watch.last["n_decoded"]
        self.cpu_s = watch.last["cpu_s"]

    def _items(self, child: DecodeChild, watch: Watch) -> Iterator[Item]:
        """What a process decodes, without what was given already."""
        for message in watch.messages(child, {**self._request, "start": self._n_given}):
            if message.keys() & {"frame", "sample"}:
                item = self._take(message, child)
                if "offset" in message:  # its slot is free again
                    child.send("")
                self._n_given += 1
                self.cpu_s = message["cpu_s"]
                yield item


class GuardedReader(_Guarded[Frame]):
    """The frames of one video, as :class:`~facer.stages.features.decode.frames.VideoReader`."""

    what = "frame"

    def __init__(self, path: Path, stride: int = 1) -> None:
        super().__init__(path, stride=stride)
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
        *_, message = Watch(path.name, "answer").messages(child, request)
    except BaseException as error:
        child.close()
        if isinstance(error, DecoderDiedError):
            raise FacerError(f"{path.name}: the decoder crashed ({error})") from error
        raise
    idle.append(child)
    if "error" in message:
        raise FacerError(message["error"])
    return message["result"]


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
        raise PlaceError(f"no process to decode videos can be started: {reason(error)}") from error


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
