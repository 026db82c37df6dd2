"""What a user points at, when it may be anything: only regular files are opened."""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from facer.storage.errors import FacerError, OptionError, named, one_line

# Opening a FIFO would wait for a writer, opening a terminal could make it ours.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
LFS_POINTER = b"version https://git-lfs"
"""How the text begins that stands for a file which Git LFS has not fetched."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path, expected: str = "a video", shown: str = "") -> BinaryIO:
    """Open a regular file, or a link to one, for reading; never waits.

    The path is looked at first, because opening a device may set something off, and then what
    was opened, because the path may be something else by then. ``FacerError`` says what is there
    instead of ``expected``, and calls the file ``shown`` (default: its name).
    """
    shown = shown or path.name
    try:
        _check(shown, path.stat().st_mode, expected)
        file = os.open(path, _FLAGS)
    except FileNotFoundError as error:
        found = "a link to nothing" if path.is_symlink() else "no such file"
        raise FacerError(f"{shown}: {found}, expected {expected}") from error
    except PermissionError as error:
        raise FacerError(f"{shown}: no permission to read it") from error
    except OSError as error:
        raise FacerError(f"{shown}: cannot be opened ({one_line(error)})") from error
    except ValueError as error:  # a null character
        raise FacerError(f"{str(path)!a}: no name of a file") from error
    try:
        _check(shown, os.fstat(file).st_mode, expected)
    except FacerError:
        os.close(file)
        raise
    return os.fdopen(file, "rb")


def read_regular(path: Path, expected: str, limit: int) -> bytes:
    """Return the content of a regular file; ``FacerError`` when it has more than ``limit`` bytes.

    What the file holds beyond its size, as some of the kernel's do, is not read.
    """
    with open_regular(path, expected, str(path)) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise FacerError(f"{path}: found {size} bytes, expected {expected} of at most {limit}")
        try:
            return file.read(size)
        except OSError as error:
            raise FacerError(f"{path}: cannot be read ({one_line(error)})") from error


def _check(shown: str, mode: int, expected: str) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise FacerError(f"{shown}: {kind}, expected {expected}")


def refuse_url(path: Path) -> None:
    """FacerError for a URL, of which a path keeps one slash: results are written to local files."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise FacerError(
            f"{path}: found a URL, expected a place on this machine; copy it from there after"
        )
    refuse_tilde(path)


def refuse_tilde(path: Path) -> None:
    """FacerError for ``~/...``, of which a new folder of that name would be made here."""
    if path.parts[:1] == ("~",):
        raise FacerError(
            f"{path}: found ~, which is a home folder to a shell alone; give that folder's own path"
        )


def refuse_no_path(name: str, value: object) -> None:
    """OptionError for what is no path, such as a list of files or a table in memory."""
    if not isinstance(value, str | os.PathLike):
        raise OptionError(
            f"{named(name)}: found {type(value).__name__}, expected one path; several files go "
            "into a folder, a table into a csv file"
        )
    refuse_empty(os.fspath(value), f"{named(name)}: ")


def refuse_empty(path: str, of: str = "") -> None:
    """OptionError for "", as of a shell's variable that is not set: it is the current folder.

    ``of`` begins the message.
    """
    if not path:
        raise OptionError(f"{of}found an empty path, expected one; the current folder is . (a dot)")


def check_name(path: Path) -> None:
    """FacerError for a name whose bytes are no text: neither libav nor a reader of csv takes it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        advice = "rename it" if encoding == "utf-8" else f"set PYTHONUTF8=1 (here: {encoding})"
        raise FacerError(f"{str(path)!a}: the name is not UTF-8; {advice}") from None
