"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from facer.storage.errors import FacerError
from facer.storage.files.refusals import refusing
from facer.storage.files.regular import refuse_url

_SUFFIX = 20  # characters of a suffix that a name aside keeps: a name may be as long as any


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a file that appears whole or not at all; text is utf-8. FacerError when refused."""
    path = Path(path)
    refuse_url(path)
    write_files({path: data.encode() if isinstance(data, str) else data})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write several files, each as :func:`write_atomic`, then flush their folders: they outlast a
    loss of power.
    """
    folders: set[Path] = set()
    for path, data in files.items():
        with refusing("write", str(path)):
            folders |= _new_folders(path.parent)
            replace_file(path, data)
        folders.add(path.parent)
    for folder in sorted(folders, reverse=True):  # the inner ones first
        with refusing("write", str(folder)):
            _flush_folder(folder)


def write_new(path: str | os.PathLike[str], data: str) -> bool:
    """Write as :func:`write_atomic` where no file is; False where one is, of this moment too."""
    path = Path(path)
    with refusing("write", str(path)):
        folders = _new_folders(path.parent) | {path.parent}
        try:
            replace_file(path, data.encode(), new=True)
        except FileExistsError:
            if path.exists():
                return False
            raise
        for folder in sorted(folders, reverse=True):
            _flush_folder(folder)
    return True


@contextmanager
def written_aside(path: Path, new: bool = False) -> Iterator[Path]:
    """Give a path beside ``path``, of its suffix, for a file or folder that moves there when whole.

    After an exception nothing is left of it. ``OSError`` where the place refuses, and where a
    device or pipe is, which stays; with ``new``, FileExistsError where something is at ``path``.
    """
    _refuse_special(path)
    aside = path.with_name(f".{uuid.uuid4().hex}{path.suffix[:_SUFFIX]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if new:
            _move_where_nothing_is(aside, path)
        else:
            aside.replace(path)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            with suppress(OSError):  # there only when it was not moved into place
                aside.unlink()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path as :func:`written_aside` does; FacerError where the place refuses.

    What a FacerError says of the path aside, it says of ``path``.
    """
    refuse_url(path)
    aside = path
    try:
        with refusing("write", str(path), OSError), written_aside(path) as aside:
            yield aside
    except FacerError as error:
        if str(aside) not in error.marked:
            raise
        raise type(error)(error.marked.replace(str(aside), str(path))) from error
    except UnicodeEncodeError as error:
        raise FacerError(
            f"{path}: cannot write: found {error.object!r}, expected a name in {error.encoding}, "
            "this system's encoding; set PYTHONUTF8=1"
        ) from error


def _refuse_special(path: Path) -> None:
    """OSError for a device, pipe or socket, of which a file would take the place, and for
    ``/dev/stdout``, a link to what is open.
    """
    try:
        mode = path.stat().st_mode
        opened = path.is_symlink() and path.readlink().is_relative_to("/proc")
    except (OSError, ValueError):  # there is none, or the writing tells
        return
    if opened or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        text = "found a device or a pipe, expected a file; give another path"
        raise OSError(errno.ENXIO, text, str(path))


def _new_folders(folder: Path) -> set[Path]:
    """Return the folders that making this one changes: they get a new folder each."""
    changed: set[Path] = set()
    while not folder.exists():
        changed.add(folder := folder.parent)
    return changed


def _move_where_nothing_is(aside: Path, path: Path) -> None:
    """Move a file where nothing is; FileExistsError where something is."""
    try:
        os.link(aside, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(errno.EEXIST, "File exists", str(path)) from None
        aside.replace(path)


def replace_file(target: Path, data: bytes, new: bool = False) -> None:
    """Write a file aside, down to the disk, and put it in the place of another, whose permissions
    it gets, or of none.
    """
    with written_aside(target, new) as aside, aside.open("xb") as file:
        with suppress(OSError):  # there is none, or the file system has no permissions
            os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without it
            raise
    finally:
        os.close(descriptor)
