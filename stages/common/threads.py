"""How many threads OpenCV and torch use, for as long as some work takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

Library = Literal["cv2", "torch"]
_NUMBER: dict[Library, tuple[str, str]] = {
    "cv2": ("getNumThreads", "setNumThreads"),
    "torch": ("get_num_threads", "set_num_threads"),
}


@contextmanager
def on_threads(count: int, libraries: Sequence[Library] = ("cv2", "torch")) -> Iterator[None]:
    """Run those of the libraries that something has imported on so many threads, 1 or more.

    The caller's numbers are restored after.
    """
    there = [(sys.modules[name], *_NUMBER[name]) for name in libraries if name in sys.modules]
    before = [getattr(module, get)() for module, get, _ in there]
    for module, _, put in there:
        getattr(module, put)(count)
    try:
        yield
    finally:
        for (module, _, put), number in zip(there, before, strict=True):
            getattr(module, put)(number)
