"""Bytes under keys, in a local folder or behind an fsspec URL: all that a store needs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from facer.storage.errors import DamagedError, FacerError
from facer.storage.files.anchored import Anchored
from facer.storage.files.atomic import write_files
from facer.storage.files.refusals import refusing
from facer.storage.files.regular import refuse_empty, refuse_no_path

DOCUMENT_BYTES = 16 * 2**20
"""Size of the largest JSON document that is read or written."""

ABSENT = (FileNotFoundError, NotADirectoryError)


class Objects(Protocol):
    """Objects (bytes) under keys such as ``parts/a/zarr.json``; a write is whole or absent.

    Every method raises FacerError, naming the place, when the place refuses. What is read may
    be a stranger's: only regular files of at most ``limit`` bytes, which do not lie elsewhere.
    """

    parallel: int  # reads that are worth having under way at once

    @property
    def location(self) -> str:
        """The path or URL, for messages and for opening it again."""
        ...

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        ...

    def get(self, key: str, limit: int = DOCUMENT_BYTES) -> bytes | None:
        """Return one object, or None when there is none."""
        ...

    def get_many(self, keys: Sequence[str]) -> list[bytes | DamagedError | None]:
        """Return several documents, at once where the place can; the damage of a damaged one."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write one object; nobody ever sees a part of it. It outlasts a loss of power."""
        ...

    def put_many(self, objects: Mapping[str, bytes]) -> None:
        """Write several objects, each as :meth:`put`."""
        ...

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix`` ("" for the location)."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the place allows."""
        ...


def open_objects(path: str | os.PathLike[str]) -> Objects:
    """Return the objects under a local path or an fsspec URL (``memory://x``, ``s3://b/x``)."""
    refuse_no_path("store", path)
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    refuse_empty(text)
    if "://" in text:
        from facer.storage.files.urls import UrlObjects

        return UrlObjects(text)
    return LocalObjects(Path(text))


class LocalObjects:
    """Objects as files; each is written aside, flushed to the disk and moved into place."""

    def __init__(self, root: Path) -> None:
        self.parallel = 8
        self._anchored = Anchored(root)
        self._root = self._anchored.whole
        self._folder = os.fspath(self._root)  # strings are several times as fast as paths
        self._looked_at: set[str] = set()  # folders that are no links out of this place

    @property
    def location(self) -> str:
        """The path, from the folder which is the current one now."""
        return str(self._anchored.path)

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        with refusing("read", self.location):
            return self._root.exists()

    def get(self, key: str, limit: int = DOCUMENT_BYTES) -> bytes | None:
        """Return one object, or None when there is none."""
        with refusing("read", f"{self.location}/{key}"):
            try:
                self._check_folders(key)
                file = self._open(key)
            except ABSENT:
                return None
            try:
                size = os.fstat(file).st_size
                check_size(f"{self.location}/{key}", size, limit)
                return _read(file, size)
            finally:
                os.close(file)

    def _open(self, key: str) -> int:
        """Open a regular file of this place; a pipe or device is neither waited for nor read."""
        path = f"{self._folder}/{key}"
        kind = os.lstat(path).st_mode
        if stat.S_ISLNK(kind):
            self._check_link(Path(path))
            kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):
            where = f"{self.location}/{key}"
            raise DamagedError(f"{where}: found a folder, pipe or device, expected a file")
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def _check_folders(self, key: str) -> None:
        """Refuse folders of a key that are links out of this place; each is looked at once."""
        if key.rpartition("/")[0] in self._looked_at:
            return
        names = key.split("/")
        for depth in range(1, len(names)):
            folder = "/".join(names[:depth])
            if folder not in self._looked_at:
                if stat.S_ISLNK(os.lstat(f"{self._folder}/{folder}").st_mode):
                    self._check_link(self._root / folder)
                self._looked_at.add(folder)

    def _check_link(self, path: Path) -> None:
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise FacerError(
                f"{path}: found a link to a place outside, expected a file; "
                f"copy what it leads to (cp -rL) if you trust it"
            )

    def get_many(self, keys: Sequence[str]) -> list[bytes | DamagedError | None]:
        """Return several documents."""
        return [or_damage(self, key) for key in keys]

    def put(self, key: str, data: bytes) -> None:
        """Write one object aside, then replace: readers see all of it or nothing."""
        self.put_many({key: data})

    def put_many(self, objects: Mapping[str, bytes]) -> None:
        """Write several objects, then flush their folders: they outlast a loss of power."""
        write_files({self._root / key: data for key, data in objects.items()})

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix``."""
        with refusing("read", f"{self.location}/{prefix}"):
            try:
                return sorted(child.name for child in (self._root / prefix).iterdir())
            except ABSENT:
                return []

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the file system allows."""
        path = self._root / prefix
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _read(file: int, size: int) -> bytes:
    """Up to ``size`` bytes of an open file, without a buffer between: chunks are many and small."""
    data = os.read(file, size)
    while len(data) < size and (more := os.read(file, size - len(data))):
        data += more
    return data


def or_damage(objects: Objects, key: str) -> bytes | DamagedError | None:
    """Return a document, or the damage of a damaged one."""
    try:
        return objects.get(key)
    except DamagedError as error:
        return error


def check_size(path: str, size: int, limit: int) -> None:
    """Refuse an object that is larger than any of its kind."""
    if size > limit:
        raise DamagedError(f"{path}: found {size} bytes or more, expected at most {limit}")
