"""Where videos come from: a folder, or any place that fsspec knows.

A video has the same id, record and fingerprint wherever it lies.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, TypeAlias

from facer.stages.features.decode.folder import Note, find_videos, name_clips, unheard
from facer.storage.errors import FacerError, PlaceError, one_line
from facer.storage.files.regular import open_regular, refuse_empty

_LOCAL_URLS = ("file://", "local://")
_LAST_NS = 2**63 - 1  # the year 2262, as far as a record goes; a wrong clock may be beyond it


@dataclass(frozen=True)
class Source:
    """One video of a place."""

    clip_id: str
    path: str  # relative to the place, ``/`` between folders
    size: int  # bytes
    mtime_ns: int  # 0 where the place does not tell


def open_videos(place: str | Path, sound: bool = False) -> Videos:
    """The videos of a folder or fsspec URL; one video stands for itself alone.

    ``sound`` also finds the files that hold nothing else, as
    :func:`~facer.stages.features.decode.folder.name_clips` says.
    """
    text = str(place)
    refuse_empty(text)
    if text.startswith(_LOCAL_URLS):
        from fsspec.core import url_to_fs

        text = url_to_fs(text)[1]  # read in place, and never what is no regular file
    return UrlVideos(text, sound) if "://" in text else FolderVideos(Path(text).absolute(), sound)


class FolderVideos:
    """Videos below a local folder, or a single one.

    Errors that name a clip are ``FacerError`` or ``OSError``.
    """

    def __init__(self, path: Path, sound: bool = False) -> None:
        self.location = str(path)
        self._sound = sound
        self.single = path.exists() and not path.is_dir()  # one video, which says nothing of others
        self._folder = path.parent if self.single else path

    def find(self, note: Note = unheard) -> tuple[Source, ...]:
        """Every video below the place, sorted by clip_id; ``FacerError`` for none.

        ``note`` hears of files that look like video and are not read.
        """
        if self.single:
            path = Path(self.location)
            return (self._source(path.stem, path),)
        found = find_videos(self._folder, note, self._sound)
        return tuple(self._source(clip_id, path) for clip_id, path in found)

    def _source(self, clip_id: str, path: Path) -> Source:
        size, mtime_ns = 0, 0
        with suppress(OSError):  # gone since it was listed: extraction will tell
            size, mtime_ns = _size_and_time(path)
        return Source(clip_id, path.relative_to(self._folder).as_posix(), size, mtime_ns)

    def stat(self, path: str) -> tuple[int, int]:
        """Size in bytes and modification time in ns of a video, as it is now."""
        return _size_and_time(self._folder / path)

    def open(self, path: str) -> IO[bytes]:
        """The bytes of a video; ``FacerError`` for what is no regular file."""
        return open_regular(self._folder / path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """A video as a local file, for as long as the context lasts."""
        self._check(path)
        try:
            yield self._folder / path
        finally:
            self._check(path)  # what was read meanwhile may be no more than a part

    def _check(self, path: str) -> None:
        """``PlaceError`` when not the video but its place is lost, as an unmounted share is."""
        for folder in (self._folder, (self._folder / path).parent):
            try:
                with os.scandir(folder) as entries:
                    empty = next(entries, None) is None
            except OSError as error:
                if folder != self._folder and isinstance(error, FileNotFoundError):
                    return  # a folder of some clips was removed
                reason = one_line(error)
                raise PlaceError(f"{folder}: the videos cannot be read: {reason}") from error
            if empty:
                raise PlaceError(f"{folder}: is empty now, the videos are gone")


class UrlVideos:
    """Videos below an fsspec URL; one at a time is copied to the local disk to be read."""

    def __init__(self, url: str, sound: bool = False) -> None:
        from fsspec.core import url_to_fs

        self._sound = sound
        self.location = url.rstrip("/")
        with self._named("cannot be opened"):
            fs, root = url_to_fs(self.location)
            self._fs: Any = fs
            self.single = bool(fs.isfile(root))
        self._root = root.rpartition("/")[0] if self.single else root

    @contextmanager
    def _named(self, problem: str, kind: type[Exception] = FacerError) -> Iterator[None]:
        """Raise whatever the place raises, which has exceptions of its own, as one of facer's."""
        try:
            yield
        except Exception as error:
            raise kind(f"{self.location}: {problem}: {one_line(error)}") from error

    def find(self, note: Note = unheard) -> tuple[Source, ...]:
        """See :class:`FolderVideos`."""
        with self._named("cannot be listed"):
            top = self.location.rpartition("/")[2] if self.single else ""
            found = self._fs.find(f"{self._root}/{top}".rstrip("/"), detail=True)
            self._fs.invalidate_cache()
        infos: dict[PurePath, Any] = {
            PurePosixPath(name[len(self._root) + 1 :]): info for name, info in found.items()
        }
        shown = [path for path in infos if not any(part.startswith(".") for part in path.parts)]
        return tuple(
            Source(clip_id, str(path), infos[path]["size"] or 0, _mtime_ns(infos[path]))
            for clip_id, path in name_clips(shown, self.location, note, self._sound)
        )

    def stat(self, path: str) -> tuple[int, int]:
        """See :class:`FolderVideos`."""
        info = self._fs.info(f"{self._root}/{path}")
        return info["size"] or 0, _mtime_ns(info)

    def open(self, path: str) -> IO[bytes]:
        """See :class:`FolderVideos`."""
        file: IO[bytes] = self._fs.open(f"{self._root}/{path}", "rb")
        return file

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See :class:`FolderVideos`."""
        with tempfile.TemporaryDirectory(prefix="facer-") as folder:
            target = Path(folder) / PurePosixPath(path).name
            try:
                with self.open(path) as remote, target.open("wb") as file:
                    shutil.copyfileobj(remote, file, 1 << 20)
            except (FileNotFoundError, PermissionError) as error:
                self._check()
                found = f"cannot be read from {self.location}: {one_line(error)}"
                raise FacerError(f"{path}: {found}") from error
            except Exception as error:  # the network, or no room here
                found = f"cannot be fetched: {one_line(error)}"
                raise PlaceError(f"{self.location}/{path}: {found}") from error
            yield target

    def _check(self) -> None:
        """``PlaceError`` when not a video but its place cannot be read."""
        with self._named("the videos cannot be read", PlaceError):
            self._fs.invalidate_cache()
            self._fs.ls(self._root)


def _size_and_time(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, _recordable(found.st_mtime_ns)


def _recordable(time_ns: int) -> int:
    return max(-_LAST_NS, min(time_ns, _LAST_NS))


def _mtime_ns(info: dict[str, Any]) -> int:
    """Modification time of what fsspec tells of a file; backends name it differently."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(key)
        if value is not None:
            seconds = value.timestamp() if hasattr(value, "timestamp") else value
            if isinstance(seconds, int | float):
                return _recordable(int(seconds * 1e9))
    return 0


Videos: TypeAlias = FolderVideos | UrlVideos
"""The videos of one place."""
