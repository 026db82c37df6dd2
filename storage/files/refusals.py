"""What is said where a place refuses to be read or written, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facer.storage.errors import MORE_THREADS, FacerError, one_line

_OF_FILES = (OSError, ValueError)  # ValueError: a null character in the path
_ADVICE = {
    errno.ENOSPC: "; free some space and run the same command again",
    errno.EDQUOT: "; free some space and run the same command again",
    errno.EACCES: "; change its permissions or give another path",
    errno.EPERM: "; change its permissions or give another path",
    errno.EROFS: "; give a path that can be written",
    errno.ENOENT: "; give a path that can be written",
    errno.ENOTDIR: "; a file is in the way: give another path",
    errno.EEXIST: "; a file is in the way: give another path",
    errno.ENAMETOOLONG: "; give a shorter name",
    errno.EFBIG: "; raise the limit on the size of files (ulimit -f)",
    errno.EMFILE: "; raise the limit on open files (ulimit -n)",
    errno.EAGAIN: f"; {MORE_THREADS}",
}


def refuse_existing(path: Path) -> None:
    """FacerError where something is at a path that is to be new."""
    if path.exists():
        raise FacerError(
            f"{path}: found something there, expected a new path; remove it or give another"
        )


@contextmanager
def refusing(
    what: str, path: str, kinds: type[Exception] | tuple[type[Exception], ...] = _OF_FILES
) -> Iterator[None]:
    """Tell of a place that cannot be read or written, by such exceptions, as a FacerError."""
    try:
        yield
    except FacerError:
        raise
    except kinds as error:
        raise refusal(what, path, error) from error


def refusal(what: str, path: str, error: Exception) -> FacerError:
    """Say that a place refuses to be read or written, why, and what to do."""
    return FacerError(f"{path}: cannot {what}: {reason(error)}")


def reason(error: Exception) -> str:
    """Return why the system refuses something, and what to do."""
    advice = _ADVICE.get(getattr(error, "errno", None) or 0, "")
    return f"{one_line(error, None)}{advice}"
