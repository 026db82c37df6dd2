"""Objects behind an fsspec URL: on S3 and other places that fsspec knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from fsspec.core import url_to_fs

from facer.storage.errors import DamagedError, FacerError, one_line
from facer.storage.files.objects import ABSENT, DOCUMENT_BYTES, check_size, or_damage
from facer.storage.files.refusals import refusing


class UrlObjects:
    """Objects on any file system that fsspec knows; credentials come from its configuration.

    Each kind of place has exceptions of its own for a refusal, so any is taken for one.
    """

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self.parallel = 16
        try:
            fs, root = url_to_fs(url)
        except Exception as error:  # each kind of place has its own
            raise FacerError(f"{url}: cannot be opened: {one_line(error, None)}") from error
        self._fs: Any = fs
        self._root: str = root.rstrip("/")
        self._prefix = f"{self._root}/" if root else ""  # "" is the top of an archive

    def _full(self, key: str) -> str:
        return f"{self._prefix}{key}" if key else self._root

    def exists(self) -> bool:
        """Tell whether anything is at the location itself."""
        with refusing("read", self.location, Exception):
            self._fs.invalidate_cache(self._root)
            return bool(self._fs.exists(self._root))

    def get(self, key: str, limit: int = DOCUMENT_BYTES) -> bytes | None:
        """Return one object, or None when there is none."""
        with refusing("read", f"{self.location}/{key}", Exception):
            try:
                data: bytes = self._fs.cat_file(self._full(key), end=limit + 1)
            except (*ABSENT, IsADirectoryError):
                return None
        check_size(f"{self.location}/{key}", len(data), limit)
        return data

    def get_many(self, keys: Sequence[str]) -> list[bytes | DamagedError | None]:
        """Return several documents, concurrently."""
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(lambda key: or_damage(self, key), keys))

    def put(self, key: str, data: bytes) -> None:
        """Write one object in a single request."""
        path = self._full(key)
        with refusing("write", f"{self.location}/{key}", Exception):
            try:
                self._fs.pipe_file(path, data)
            except FileNotFoundError:  # a file system with real folders, or no such bucket
                if not self._fs.exists(path[: path.find("/", 1)]):
                    raise
                self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(path, data)

    def put_many(self, objects: Mapping[str, bytes]) -> None:
        """Write several objects."""
        for key, data in objects.items():
            self.put(key, data)

    def children(self, prefix: str) -> list[str]:
        """Return the sorted names directly under ``prefix``."""
        path = self._full(prefix)
        with refusing("read", f"{self.location}/{prefix}", Exception):
            try:
                self._fs.invalidate_cache(path)
                names = self._fs.ls(path, detail=False)
            except ABSENT:
                return []
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in names)

    def delete(self, prefix: str) -> None:
        """Remove everything under ``prefix``, as far as the file system allows."""
        with suppress(Exception):
            self._fs.invalidate_cache(self._full(prefix))
            for path in self._fs.find(self._full(prefix)):  # fs.rm takes brackets for a pattern
                self._fs.rm_file(path)
