"""Bytes under keys, in a local folder or behind an fsspec URL: all that a store needs."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from facer.storage.errors import FacerError

_ABSENT = (FileNotFoundError, NotADirectoryError)
_ADVICE = {
    errno.ENOSPC: "; free some space and run the same command again",
    errno.EDQUOT: "; free some space and run the same command again",
    errno.EACCES: "; change its permissions or give another path",
    errno.EPERM: "; change its permissions or give another path",
    errno.EROFS: "; give a path that can be written",
    errno.ENOENT: "; give a path that can be written",
    errno.ENOTDIR: "; a file is in the way: give another path",
    errno.EEXIST: "; a file is in the way: give another path",
}


class Objects(Protocol):
    """Objects (bytes) under keys such as ``parts/a/zarr.json``; a write is whole or absent.

    Every method raises FacerError, naming the place, when the place refuses.
    """

    location: str
    parallel: int  # reads that are worth having under way at once

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return one object, or None when there is none."""
        ...

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several objects, at once where the place can."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write one object; nobody ever sees a part of it."""
        ...

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix`` ("" for the location)."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the place allows."""
        ...


def open_objects(path: str | os.PathLike[str]) -> Objects:
    """Return the objects under a local path or an fsspec URL (``memory://x``, ``s3://b/x``)."""
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    if "://" in text or "::" in text:
        return UrlObjects(text)
    return LocalObjects(Path(text))


class LocalObjects:
    """Objects as files; each is written aside, flushed to the disk and moved into place."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self.parallel = min(8, os.cpu_count() or 1)
        self._root = root

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        try:
            return self._root.exists()
        except OSError as error:
            raise _refused("read", self.location, error) from error

    def get(self, key: str) -> bytes | None:
        """Return one object, or None when there is none."""
        try:
            return (self._root / key).read_bytes()
        except _ABSENT:
            return None
        except OSError as error:
            raise _refused("read", f"{self.location}/{key}", error) from error

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several objects."""
        return [self.get(key) for key in keys]

    def put(self, key: str, data: bytes) -> None:
        """Write one object aside, then replace: readers see all of it or nothing."""
        target = self._root / key
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except OSError as error:
            raise _refused("write", str(target), error) from error
        finally:
            with suppress(OSError):  # there only when it was not moved into place
                aside.unlink()

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix``."""
        try:
            return sorted(child.name for child in (self._root / prefix).iterdir())
        except _ABSENT:
            return []
        except OSError as error:
            raise _refused("read", f"{self.location}/{prefix}", error) from error

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the file system allows."""
        path = self._root / prefix
        if path.is_file():
            with suppress(OSError):
                path.unlink()
        shutil.rmtree(path, ignore_errors=True)


class UrlObjects:
    """Objects on any file system that fsspec knows; credentials come from its configuration.

    Each kind of place has exceptions of its own for a refusal, so any is taken for one.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.location = url.rstrip("/")
        self.parallel = 16
        try:
            fs, root = url_to_fs(url)
        except Exception as error:
            raise FacerError(f"{url}: cannot be opened: {_one_line(error)}") from error
        self._fs: Any = fs
        self._root: str = root.rstrip("/")

    def _full(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        try:
            self._fs.invalidate_cache(self._root)
            return bool(self._fs.exists(self._root))
        except Exception as error:
            raise _refused("read", self.location, error) from error

    def get(self, key: str) -> bytes | None:
        """Return one object, or None when there is none."""
        try:
            data: bytes = self._fs.cat_file(self._full(key))
        except (*_ABSENT, IsADirectoryError):
            return None
        except Exception as error:
            raise _refused("read", f"{self.location}/{key}", error) from error
        return data

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several objects, concurrently."""
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(self.get, keys))

    def put(self, key: str, data: bytes) -> None:
        """Write one object in a single request."""
        path = self._full(key)
        try:
            try:
                self._fs.pipe_file(path, data)
            except FileNotFoundError:  # a file system with real folders, or no such bucket
                if not self._fs.exists(path[: path.find("/", 1)]):
                    raise
                self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(path, data)
        except Exception as error:
            raise _refused("write", f"{self.location}/{key}", error) from error

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix``."""
        path = self._full(prefix)
        try:
            self._fs.invalidate_cache(path)
            names = self._fs.ls(path, detail=False)
        except _ABSENT:
            return []
        except Exception as error:
            raise _refused("read", f"{self.location}/{prefix}", error) from error
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in names)

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the file system allows."""
        with suppress(Exception):
            self._fs.invalidate_cache(self._full(prefix))
            for path in self._fs.find(self._full(prefix)):  # fs.rm takes brackets for a pattern
                self._fs.rm_file(path)


def _refused(what: str, path: str, error: Exception) -> FacerError:
    advice = _ADVICE.get(getattr(error, "errno", None) or 0, "")
    return FacerError(f"{path}: cannot {what}: {_one_line(error)}{advice}")


def _one_line(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
