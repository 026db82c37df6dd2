"""How many threads OpenCV and torch use, for as long as some work takes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

Library = Literal["cv2", "torch"]
_NUMBER: dict[Library, tuple[str, str]] = {
    "cv2": ("getNumThreads", "setNumThreads"),
    "torch": ("get_num_threads", "set_num_threads"),
}
_forked_with: set[Library] = set()  # libraries that had threads in the process that forked this one


def _leave_threads_to_parent() -> None:
    """In a process that was forked: torch would wait for ever for threads that its parent has."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
        _forked_with.add("torch")


os.register_at_fork(after_in_child=_leave_threads_to_parent)


@contextmanager
def on_threads(count: int, libraries: Sequence[Library] = ("cv2", "torch")) -> Iterator[None]:
    """Run those of the libraries that something has imported on so many threads, 1 or more.

    The caller's numbers are restored after. In a process that was forked, torch keeps to one.
    """
    names = [name for name in libraries if name in sys.modules and name not in _forked_with]
    there = [(sys.modules[name], *_NUMBER[name]) for name in names]
    before = [getattr(module, get)() for module, get, _ in there]
    for module, _, put in there:
        getattr(module, put)(count)
    try:
        yield
    finally:
        for (module, _, put), number in zip(there, before, strict=True):
            getattr(module, put)(number)
