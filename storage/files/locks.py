"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facer.storage.errors import FacerError


@contextmanager
def alone_in(folder: Path, doing: str) -> Iterator[None]:
    """Hold a folder that is there; FacerError, with what another process is ``doing``, where one
    holds it.

    The lock ends with the process, however that ends; a file system without locks has none.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FacerError(f"{folder}: another process is {doing}") from error
        except OSError:
            pass
        yield
    finally:
        os.close(held)
