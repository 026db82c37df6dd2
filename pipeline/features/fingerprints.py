"""What a video was when it was read, and whether it is another one now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar

from facer.pipeline.features.sources import Source, Videos
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import OnCount, Record

MAX_BYTES = 1 << 40  # of a video: 1 TiB; a larger file is no reaction, and would be read for hours
_HASH_THREADS = 4
_BLOCK = 1 << 20

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class Fingerprint:
    """What a video was when it was read."""

    size: int
    mtime_ns: int
    sha256: str


def changed(
    videos: Videos, known: Sequence[tuple[Source, Record]], on_compared: OnCount
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
