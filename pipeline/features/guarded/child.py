"""The process that decodes for a :class:`GuardedReader`; a decoder's crash ends it alone.

Requests and answers are JSON lines on stdin and stdout:

- in: ``{"path", "stride", "start"}`` decodes a video, leaving out its first ``start``
  frames; with ``"rate_hz"`` in place of ``stride`` its sound, without its first ``start`` blocks;
  ``{"path", "function", "arguments"}`` asks one of :data:`FUNCTIONS` about it; an empty line frees
  the oldest slot;
- out: ``{"frame", "time_s", "repeats", "offset", "size", "yuv", "cpu_s"}`` for a frame, whose
  picture lies at ``offset`` of the shared memory as
  :func:`~facer.stages.features.decode.picture.put` leaves it; no offset for a frame that repeats
  the one before, which takes no slot;
  ``{"sample", "n", "offset", "cpu_s"}`` for a block of n float32 samples there, the first of them
  number ``sample``; ``{"skipped"}`` for one that is left out, ``{"alive"}`` from a function that
  takes its time, and last ``{"problem", "n_decoded", "cpu_s"}`` or ``{"result"}``, or ``{"error"}``
  when that failed. ``cpu_s`` is what the file took so far.

Its memory is limited, and it ends when stdin does, whatever the decoder is doing.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from time import process_time
from types import MappingProxyType
from typing import Any

import numpy as np

from facer.pipeline.features.guarded.headers import clock_start_s, header_frames
from facer.pipeline.features.guarded.process import NO_THREAD, RING_BYTES
from facer.pipeline.features.guarded.seen import libav_view
from facer.pipeline.features.guarded.sound import copy_sound
from facer.pipeline.runtime.children import INTERRUPTS
from facer.stages.features.audio.reader import AudioReader
from facer.stages.features.decode.frames import VideoReader
from facer.stages.features.decode.picture import put
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import U8

_MAX_SLOTS = 64
FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {f.__name__: f for f in (copy_sound, header_frames, clock_start_s, libav_view)}
)
"""What can be asked of a file besides its frames: (path, *arguments, alive) -> JSON.

``alive()`` is to be called at least every few seconds.
"""


class Ring:
    """Slots of equal size in shared memory, filled in turn and freed in the same order."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._map = mmap.mmap(-1, 1)
        self._n_slots = self._slot_bytes = self._next = self.offset = 0
        self._free = Semaphore(0)

    def free(self) -> None:
        """The oldest slot in use may be filled again."""
        self._free.release()

    def place(self, n_bytes: int) -> U8:
        """Wait for a slot; returns it as uint8 (n_bytes,). ``offset`` says where it is."""
        if n_bytes > self._slot_bytes:
            self._lay_out(n_bytes)
        self._free.acquire()
        self.offset = self._next * self._slot_bytes
        self._next = (self._next + 1) % self._n_slots
        return np.frombuffer(self._map, np.uint8, n_bytes, self.offset)

    def _lay_out(self, slot_bytes: int) -> None:
        for _ in range(self._n_slots):  # all that was delivered has been taken out
            self._free.acquire()
        self._n_slots = self._slot_bytes = 0  # until there is memory for them
        at_least = 2 if slot_bytes <= RING_BYTES else 1  # a large frame waits for the one before
        n_slots = min(_MAX_SLOTS, max(at_least, RING_BYTES // slot_bytes))
        size = max(RING_BYTES, n_slots * slot_bytes)
        if size != len(self._map):
            os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
        self._n_slots, self._slot_bytes, self._next = n_slots, slot_bytes, 0
        self._free.release(n_slots)

    def shrink(self) -> None:
        """Lay the slots out anew at the next frame."""
        self._slot_bytes = 0


def serve(ring: Ring, requests: SimpleQueue[dict[str, Any]], out: int) -> None:
    """Answer requests for ever."""

    def send(**message: object) -> None:
        os.write(out, json.dumps(message).encode() + b"\n")  # short, so whole

    while True:
        request = requests.get()
        path = Path(request["path"])
        try:
            open_regular(path).close()
            if "function" in request:
                function = FUNCTIONS[request["function"]]
                send(result=function(path, *request["arguments"], lambda: send(alive=True)))
            elif "rate_hz" in request:
                _decode_sound(path, request, ring, send)
            else:
                _decode(path, request, ring, send)
        except FacerError as error:
            send(error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a decoder does is the clip's reason
            send(error=f"{path.name}: {_one_line(error)}")


def _decode(path: Path, request: Mapping[str, int], ring: Ring, send: Callable[..., None]) -> None:
    ring.shrink()
    started, stride = process_time(), request["stride"]
    some_sent = False
    with VideoReader(path, stride) as reader:
        for frame in reader.steps():
            if frame is None or frame.frame_index < request["start"] * stride:
                send(skipped=True)
                continue
            told: dict[str, object] = {"repeats": frame.repeats}
            if not (frame.repeats and some_sent):
                height, width = frame.size
                told["yuv"] = put(frame.picture, ring.place(height * width * 3))
                told |= {"offset": ring.offset, "size": frame.size}
                some_sent = True
            send(frame=frame.frame_index, time_s=frame.timestamp_s, cpu_s=process_time() - started,
                 **told)  # fmt: skip
    send(problem=reader.problem, n_decoded=reader.n_decoded, cpu_s=process_time() - started)


def _decode_sound(
    path: Path, request: Mapping[str, int], ring: Ring, send: Callable[..., None]
) -> None:
    ring.shrink()
    started, n_given = process_time(), 0
    with AudioReader(path, request["rate_hz"]) as reader:
        for block in reader.steps():
            n_given += block is not None
            if block is None or n_given <= request["start"]:
                send(skipped=True)
                continue
            np.copyto(ring.place(block.samples.nbytes), block.samples.view(np.uint8))
            send(sample=block.start, n=len(block.samples), offset=ring.offset,
                cpu_s=process_time() - started)  # fmt: skip
    send(problem=reader.problem, n_decoded=reader.n_decoded, cpu_s=process_time() - started)


def _one_line(error: Exception) -> str:
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
        return "its frames need more memory than the decoder may use"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def listen(ring: Ring, requests: SimpleQueue[dict[str, Any]]) -> None:
    """Take in what the parent says; when it is gone, so is this process."""
    for line in sys.stdin.buffer:
        if line == b"\n":
            ring.free()
        else:
            requests.put(json.loads(line))
    os._exit(0)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main(memory_file: int, memory_limit_bytes: int) -> None:
    """Serve the parent at the other end of stdin and stdout."""
    import signal

    for stop in INTERRUPTS:  # these are the parent's to handle
        signal.signal(stop, signal.SIG_IGN)
    _limit(resource.RLIMIT_AS, memory_limit_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    out = os.dup(1)
    os.dup2(2, 1)  # nothing but answers on the pipe
    ring, requests = Ring(memory_file), SimpleQueue[dict[str, Any]]()
    try:
        Thread(target=listen, args=(ring, requests), daemon=True).start()
    except RuntimeError:
        sys.exit(NO_THREAD)
    serve(ring, requests, out)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
