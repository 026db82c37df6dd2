"""The videos of a folder, and what lies there that looks like video and is not read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from facer.storage.errors import FacerError
from facer.storage.videos import VIDEO_SUFFIXES


def find_videos(folder: Path) -> tuple[tuple[str, Path], ...]:
    """(clip_id, path) of every video below a folder, sorted by id.

    The id is the path without extension, ``/`` between folders; where two files of one folder
    share a stem, their ids keep the extension. Symbolic links are followed, wherever they point
    (a link to a folder that it lies in is not), and give ids of their own. ``FacerError`` when
    there is no video, a folder cannot be listed or a name is not UTF-8.
    """
    if not folder.is_dir():
        if not folder.exists() and folder.suffix.lower() in VIDEO_SUFFIXES:
            raise FacerError(f"{folder}: no such file, expected a video or a folder of videos")
        what = "a file" if folder.exists() else "no such folder"
        raise FacerError(f"{folder}: {what}, expected a folder of videos")
    relative = (path.relative_to(folder) for path in _walk(folder, frozenset()))
    named = name_clips(relative, str(folder))
    return tuple((clip_id, folder / path) for clip_id, path in named)


def name_clips(paths: Iterable[PurePath], where: str) -> tuple[tuple[str, PurePath], ...]:
    """(clip_id, path) of the videos among paths relative to ``where``, as :func:`find_videos`."""
    videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        raise FacerError(
            f"{where}: no video found; expected files ending in {', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    names = {path: path.as_posix() for path in videos}
    stems = {path: path.with_suffix("").as_posix() for path in videos}
    uses = Counter([*names.values(), *stems.values()])
    return tuple(sorted((stems[p] if uses[stems[p]] == 1 else names[p], p) for p in videos))


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Files below a folder, and links to nothing, which fail as clips; none that are hidden."""
    try:
        with os.scandir(folder) as listed:
            entries = sorted(
                (e for e in listed if not e.name.startswith(".")), key=lambda e: e.name
            )
    except OSError as error:
        raise FacerError(
            f"{folder}: cannot be listed ({error.strerror}); change its permissions or move it away"
        ) from error
    real = folder.resolve()
    for entry in entries:
        path = Path(entry.path)
        if path.is_dir() if entry.is_symlink() else entry.is_dir():
            if path.resolve() not in above | {real}:
                yield from _walk(path, above | {real})
        elif entry.is_symlink() or entry.is_file():
            check_name(path)
            yield path


def check_name(path: Path) -> None:
    """Neither libav nor the readers of a store can handle bytes that are no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise FacerError(f"{str(path)!a}: the name is not UTF-8; rename it") from None
