"""The exceptions that are meant for the user, and how names from files are shown."""

from __future__ import annotations

import re

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: escape sequences of a terminal begin with these
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators, marks that turn text around
    "\ud800-\udfff]"  # halves of characters, which no terminal takes
)


def printable(text: object) -> str:
    r"""Return text as one line that a terminal shows as it is: control characters escaped.

    >>> printable("clip\x1b[31m\n")
    'clip\\x1b[31m\\n'
    """
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], str(text))


_NAMED = re.compile("\ue000([a-z0-9_]+)\ue001")


def named(setting: str) -> str:
    """Return the name of a setting for a message of a :class:`FacerError`.

    Python shows it as it is, the command line as its option.
    """
    return f"\ue000{setting}\ue001"


def option_of(setting: str) -> str:
    """Return the option of a setting; Python's own words have a _ after them as keywords.

    >>> option_of("batch_size"), option_of("with_")
    ('--batch-size', '--with')
    """
    return f"--{setting.rstrip('_').replace('_', '-')}"


def one_line(error: BaseException, limit: int | None = 300) -> str:
    r"""Return what an exception of any library says as one line of at most ``limit`` characters.

    >>> one_line(OSError(28, "No space left on device", "a.zarr")), one_line(ValueError("a\n b"))
    ('No space left on device', 'a b')
    >>> one_line(KeyError())
    'KeyError'
    """
    text = getattr(error, "strerror", None) or error  # of OSError, and of libav's own
    return " ".join(str(text).split())[:limit] or type(error).__name__


class FacerError(Exception):
    """A problem that the user can act on.

    ``str(error)`` is one line that says where it is, what was found, what was expected and
    what to do. The command line prints it without a traceback.

    >>> error = FacerError(f"{named('batch_size')}: found 0, expected 1 or more")
    >>> print(error, "|", error.with_options())
    batch_size: found 0, expected 1 or more | --batch-size: found 0, expected 1 or more
    """

    def __str__(self) -> str:
        return printable(_NAMED.sub(r"\1", self.marked))

    @property
    def marked(self) -> str:
        """The message with the names of settings marked as by :func:`named`, for another process
        to raise it anew.
        """
        return super().__str__()

    def with_options(self) -> str:
        """The message as the command line shows it, with options in place of settings."""
        return printable(_NAMED.sub(lambda m: option_of(m[1]), self.marked))


MORE_THREADS = "raise the limit on processes and threads (ulimit -u, or a container's)"


def no_thread(error: BaseException) -> str:
    """Return what to say where Python was refused a thread; "" for any other exception."""
    if "can't start new thread" not in str(error):
        return ""
    return f"no thread can be started; {MORE_THREADS} and run the same command again"


def no_memory(error: BaseException) -> bool:
    """Return whether memory is lacking: Python says so by a type, torch by words."""
    words = ("can't allocate memory", "Storage size calculation overflowed", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in words)


class PlaceError(Exception):
    """Videos cannot be read from here, whichever; no fault of any clip.

    Not a :class:`FacerError`, because an extractor keeps those as a clip's reason and goes on.
    """


class OptionError(FacerError):
    """A setting that no machine and no data could make right: out of range, or no such choice.

    The command line exits with 2 for it, as for every wrong usage. What a right setting names,
    a file, a device, a column, a host, may be absent or other than expected: that is a plain
    ``FacerError``, and 1.
    """


class DamagedError(FacerError):
    """What a file holds is proved not to be what was written."""


class AbsentError(DamagedError):
    """Something is gone that was there when its part was committed."""


def broken(location: str, key: str, what: str) -> str:
    """Return the message about an object of a store that is proved damaged."""
    return (
        f"{location}/{key}: broken part: {what}; facer verify {location} --repair drops it, then "
        f"the same extraction makes its clips anew"
    )
