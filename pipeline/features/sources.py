"""Where videos come from: a folder, or any place that fsspec knows.

A video has the same id, record and fingerprint wherever it lies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, Generic, Protocol, TypeVar

from facer.stages.features.decode.folder import Note, find_videos, name_clips, unheard
from facer.storage.errors import FacerError, PlaceError, one_line
from facer.storage.files.regular import open_regular
from facer.storage.schema import Record

MAX_BYTES = 1 << 40  # of a video: 1 TiB; a larger file is no reaction, and would be read for hours
_LOCAL_URLS = ("file://", "local://")
_HASH_THREADS = 4
_BLOCK = 1 << 20

Opened = TypeVar("Opened")

OnCompared = Callable[[int, int], None]
"""Hears how many videos were compared by their content, and of how many."""


@dataclass(frozen=True)
class Source:
    """One video of a place."""

    clip_id: str
    path: str  # relative to the place, ``/`` between folders
    size: int  # bytes
    mtime_ns: int  # 0 where the place does not tell


@dataclass(frozen=True)
class Fingerprint:
    """What a video was when it was read."""

    size: int
    mtime_ns: int
    sha256: str


class Videos(Protocol):
    """The videos of one place. Errors that name a clip are ``FacerError`` or ``OSError``."""

    location: str
    single: bool  # one video, which says nothing of others

    def find(self, note: Note = ...) -> tuple[Source, ...]:
        """Every video below the place, sorted by clip_id; ``FacerError`` for none.

        ``note`` hears of files that look like video and are not read.
        """
        ...

    def stat(self, path: str) -> tuple[int, int]:
        """Size in bytes and modification time in ns of a video, as it is now."""
        ...

    def open(self, path: str) -> IO[bytes]:
        """The bytes of a video; ``FacerError`` for what is no regular file."""
        ...

    def local(self, path: str) -> AbstractContextManager[Path]:
        """A video as a local file, for as long as the context lasts."""
        ...


def open_videos(place: str | Path, sound: bool = False) -> Videos:
    """The videos of a folder or fsspec URL; one video stands for itself alone.

    ``sound`` also finds the files that hold nothing else, as
    :func:`~facer.stages.features.decode.folder.name_clips` says.
    """
    text = str(place)
    if text.startswith(_LOCAL_URLS):
        from fsspec.core import url_to_fs

        text = url_to_fs(text)[1]  # read in place, and never what is no regular file
    return UrlVideos(text, sound) if "://" in text else FolderVideos(Path(text).absolute(), sound)


class FolderVideos:
    """Videos below a local folder, or a single one."""

    def __init__(self, path: Path, sound: bool = False) -> None:
        self.location = str(path)
        self._sound = sound
        self._single = path if path.exists() and not path.is_dir() else None
        self._folder = path.parent if self._single else path
        self.single = self._single is not None

    def find(self, note: Note = unheard) -> tuple[Source, ...]:
        """See :class:`Videos`."""
        single = self._single
        if single is not None:
            return (self._source(single.stem, single),)
        found = find_videos(self._folder, note, self._sound)
        return tuple(self._source(clip_id, path) for clip_id, path in found)

    def _source(self, clip_id: str, path: Path) -> Source:
        size, mtime_ns = 0, 0
        with suppress(OSError):  # gone since it was listed: extraction will tell
            size, mtime_ns = path.stat().st_size, path.stat().st_mtime_ns
        return Source(clip_id, path.relative_to(self._folder).as_posix(), size, mtime_ns)

    def stat(self, path: str) -> tuple[int, int]:
        """See :class:`Videos`."""
        found = (self._folder / path).stat()
        return found.st_size, found.st_mtime_ns

    def open(self, path: str) -> IO[bytes]:
        """See :class:`Videos`."""
        return open_regular(self._folder / path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See :class:`Videos`."""
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
                reason = error.strerror
                raise PlaceError(f"{folder}: the videos cannot be read: {reason}") from error
            if empty:
                raise PlaceError(f"{folder}: is empty now, the videos are gone")


class UrlVideos:
    """Videos below an fsspec URL; one at a time is copied to the local disk to be read."""

    def __init__(self, url: str, sound: bool = False) -> None:
        from fsspec.core import url_to_fs

        self._sound = sound
        self.location = url.rstrip("/")
        with self._answering("be opened"):
            fs, root = url_to_fs(self.location)
            self._fs: Any = fs
            self.single = bool(fs.isfile(root))
        self._root = root.rpartition("/")[0] if self.single else root

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every kind of place has exceptions of its own
            raise FacerError(f"{self.location}: cannot {what}: {one_line(error)}") from error

    def find(self, note: Note = unheard) -> tuple[Source, ...]:
        """See :class:`Videos`."""
        with self._answering("be listed"):
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
        """See :class:`Videos`."""
        info = self._fs.info(f"{self._root}/{path}")
        return info["size"] or 0, _mtime_ns(info)

    def open(self, path: str) -> IO[bytes]:
        """See :class:`Videos`."""
        file: IO[bytes] = self._fs.open(f"{self._root}/{path}", "rb")
        return file

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See :class:`Videos`."""
        with tempfile.TemporaryDirectory(prefix="facer-") as folder:
            target = Path(folder) / PurePosixPath(path).name
            try:
                with self.open(path) as remote, target.open("wb") as file:
                    shutil.copyfileobj(remote, file, 1 << 20)
            except (FileNotFoundError, PermissionError) as error:
                self._check()
                reason = one_line(error)
                raise FacerError(
                    f"{path}: cannot be read from {self.location}: {reason}"
                ) from error
            except Exception as error:  # the network, or no room here
                reason = one_line(error)
                raise PlaceError(f"{self.location}/{path}: cannot be fetched: {reason}") from error
            yield target

    def _check(self) -> None:
        """``PlaceError`` when not a video but its place cannot be read."""
        try:
            self._fs.invalidate_cache()
            self._fs.ls(self._root)
        except Exception as error:  # every kind of place has exceptions of its own
            reason = one_line(error)
            raise PlaceError(f"{self.location}: the videos cannot be read: {reason}") from error


def _mtime_ns(info: dict[str, Any]) -> int:
    """Modification time of what fsspec tells of a file; backends name it differently."""
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = info.get(key)
        if value is not None:
            seconds = value.timestamp() if hasattr(value, "timestamp") else value
            if isinstance(seconds, int | float):
                return int(seconds * 1e9)
    return 0


def changed(
    videos: Videos, known: Sequence[tuple[Source, Record]], on_compared: OnCompared
) -> set[str]:
    """Clip ids of videos that are other ones than their records were made from.

    A new time alone is no change: then the content decides, of several videos at a time.
    """
    known = [(source, record) for source, record in known if record.source_sha256]
    other = {source.clip_id for source, record in known if source.size != record.source_size}
    in_doubt = [
        (source, record)
        for source, record in known
        if source.clip_id not in other and source.mtime_ns != record.source_mtime_ns
    ]

    def differs(pair: tuple[Source, Record]) -> bool:
        source, record = pair
        with suppress(OSError, FacerError):
            return sha256_of(videos.open(source.path), source.size) != record.source_sha256
        return False  # it cannot be read, and what is stored is all there is

    with ThreadPoolExecutor(_HASH_THREADS) as threads:
        verdicts = threads.map(differs, in_doubt)
        for done, (pair, verdict) in enumerate(zip(in_doubt, verdicts, strict=True), 1):
            other |= {pair[0].clip_id} if verdict else set()
            on_compared(done, len(in_doubt))
    return other


def fingerprint(videos: Videos, path: str) -> Fingerprint | None:
    """What a video is now; None when it cannot be read."""
    with suppress(OSError, FacerError):
        return _fingerprint(videos, path, videos.open(path))
    return None


def _fingerprint(videos: Videos, path: str, file: IO[bytes]) -> Fingerprint:
    """What a video is, whose bytes ``file`` gives; a ``FacerError`` when it is too large."""
    size, mtime_ns = videos.stat(path)
    if size > MAX_BYTES:
        file.close()
        raise FacerError(f"{path}: {size:,} bytes, expected a video of at most {MAX_BYTES:,}")
    return Fingerprint(size, mtime_ns, sha256_of(file, size))


class Reading(Generic[Opened]):
    """Opens the files of one place for an extractor, and keeps what each one was.

    The fingerprint is taken before the frames: a video that changes under way is noticed by
    the next run.
    """

    def __init__(
        self, videos: Videos, opener: Callable[..., AbstractContextManager[Opened]]
    ) -> None:
        self.fingerprints: dict[str, Fingerprint] = {}  # by path
        self._videos = videos
        self._opener = opener

    @contextmanager
    def open(self, path: Path, *how: int) -> Iterator[Opened]:
        """As the opener, for paths relative to the place."""
        name = path.as_posix()
        with self._videos.local(name) as local:
            with suppress(OSError):  # unreadable: opening it says so
                self.fingerprints[name] = _fingerprint(self._videos, name, open_regular(local))
            with self._opener(local, *how) as reader:
                yield reader


def sha256_of(file: IO[bytes], size: int) -> str:
    """Digest of the first ``size`` bytes: of a file that grows meanwhile, what it was before.

    0 stands for a size that the place does not tell.
    """
    digest, left = hashlib.sha256(), size or MAX_BYTES
    with file:
        while left and (data := file.read(min(left, _BLOCK))):
            digest.update(data)
            left -= len(data)
    return digest.hexdigest()
