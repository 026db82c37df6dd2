"""The videos of a folder, and what lies there that looks like video and is not read."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from facer.storage.errors import FacerError, one_line
from facer.storage.files.regular import check_name
from facer.storage.files.videos import (
    CLIP_SUFFIXES,
    PICTURE_SUFFIXES,
    SOUND_SUFFIXES,
    UNREAD_SUFFIXES,
    VIDEO_SUFFIXES,
)
from facer.storage.text.names import some

_GAPS = "; some numbers are missing: put a black picture there, or later frames move"
_SERIES = 3  # numbered pictures from which on they are frames of a clip

Note = Callable[[str], None]
"""Hears, in a line each, what looks like video and is left out."""


def unheard(text: str) -> None:
    """Ignore a note."""


def find_videos(
    folder: Path, note: Note = unheard, sound: bool = False
) -> tuple[tuple[str, Path], ...]:
    """(clip_id, path) of every video below a folder, sorted by id; ``sound``: see `name_clips`.

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
    named = name_clips(relative, str(folder), note, sound)
    return tuple((clip_id, folder / path) for clip_id, path in named)


def name_clips(
    paths: Iterable[PurePath], where: str, note: Note = unheard, sound: bool = False
) -> tuple[tuple[str, PurePath], ...]:
    """(clip_id, path) of the videos among paths relative to ``where``, as :func:`find_videos`.

    ``sound`` also takes files of sound alone, but for those beside a video of the same name: that
    video's own sound is its clip's. So a clip has one id in a store of faces and one of sound.
    """
    paths = list(paths)
    videos = [path for path in paths if _is_video(path)]
    left = left_out(paths)
    suffixes = CLIP_SUFFIXES if sound else VIDEO_SUFFIXES
    if sound:
        heard, beside = _sounds(paths, videos)
        videos += heard
        left += beside
    if not videos:
        endings, what = ", ".join(sorted(suffixes)), "video and no sound" if sound else "video"
        raise FacerError(
            f"{where}: no {what} found; {' '.join(left) or f'expected files ending in {endings}'}"
        )
    for line in left:
        note(f"{where}: {line}")
    names = {path: path.as_posix() for path in videos}
    stems = {path: path.with_suffix("").as_posix() for path in videos}
    uses = Counter([*names.values(), *stems.values()])
    return tuple(sorted((stems[p] if uses[stems[p]] == 1 else names[p], p) for p in videos))


def _sounds(
    paths: Sequence[PurePath], videos: Sequence[PurePath]
) -> tuple[list[PurePath], list[str]]:
    """Files of sound that no video is beside, and a line on those that one is."""
    stems = {path.with_suffix("") for path in videos}
    sounds = [path for path in paths if path.suffix.lower() in SOUND_SUFFIXES]
    beside = [path for path in sounds if path.with_suffix("") in stems]
    line = (
        f"{len(beside)} file(s) of sound are left out, as videos of the same name are there "
        f"({_named(beside)})"
    )
    return [path for path in sounds if path.with_suffix("") not in stems], [line] if beside else []


def left_out(paths: Sequence[PurePath]) -> list[str]:
    """What among the paths looks like video and is not read, with what to do about it."""
    lines = []
    unread = [path for path in paths if path.suffix.lower() in UNREAD_SUFFIXES]
    if unread:
        kinds = ", ".join(sorted({path.suffix.lower() for path in unread}))
        lines.append(
            f"{len(unread)} file(s) ending in {kinds} are not read ({_named(unread)}); convert "
            "them with what made them, or as by: ffmpeg -i INPUT -c:v libx264 -crf 12 OUTPUT.mp4"
        )
    series: dict[tuple[PurePath, str, str], list[PurePath]] = defaultdict(list)
    for path in paths:
        number = re.fullmatch(r"(.*?)\d+", path.stem)
        if path.suffix.lower() in PICTURE_SUFFIXES and number:
            series[path.parent, number[1], path.suffix].append(path)
    clips = {kind: found for kind, found in series.items() if len(found) >= _SERIES}
    if clips:
        (folder, prefix, suffix), first = next(iter(sorted(clips.items())))
        lines.append(
            f"{sum(map(len, clips.values()))} numbered pictures in {len(clips)} series are not "
            f"read ({(folder / f'{prefix}*{suffix}').as_posix()}: {len(first)}"
            f"{', ...' if len(clips) > 1 else ''}); make a video of each at its frame rate, as by: "
            f"ffmpeg -framerate 25 {_as_input(first, folder, prefix, suffix)} -c:v libx264 -crf 12 "
            f"-pix_fmt yuv420p OUTPUT.mp4{_GAPS if any(map(_has_gaps, clips.values())) else ''}"
        )
    return lines


def _as_input(pictures: Sequence[PurePath], folder: PurePath, prefix: str, suffix: str) -> str:
    """Return ffmpeg's options for a series, whose numbers may have no zeros in front."""
    if len({len(path.stem) for path in pictures}) == 1:
        return f"-pattern_type glob -i '{(folder / f'{prefix}*{suffix}').as_posix()}'"
    first = min(_numbers(pictures))
    return f"-start_number {first} -i '{(folder / f'{prefix}%d{suffix}').as_posix()}'"


def _has_gaps(pictures: Sequence[PurePath]) -> bool:
    """Tell whether numbers are missing, as those of frames without a face in cropped_aligned."""
    numbers = _numbers(pictures)
    return max(numbers) - min(numbers) >= len(numbers)


def _numbers(pictures: Sequence[PurePath]) -> set[int]:
    return {int(re.findall(r"\d+$", path.stem)[0]) for path in pictures}


def _named(paths: Sequence[PurePath]) -> str:
    return some(path.as_posix() for path in sorted(paths))


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """What is below a folder and no folder, except what is hidden.

    A folder that is called like a video and holds none is there too: it is meant for one.
    """
    try:
        with os.scandir(folder) as listed:
            entries = sorted(
                (e for e in listed if not e.name.startswith(".")), key=lambda e: e.name
            )
    except OSError as error:
        raise FacerError(
            f"{folder}: cannot be listed ({one_line(error)}); change its permissions or move it "
            "away"
        ) from error
    real = folder.resolve()
    for entry in entries:
        path = Path(entry.path)
        is_folder = path.is_dir() if entry.is_symlink() else entry.is_dir()
        inside: list[Path] = []
        if is_folder and path.resolve() not in above | {real}:
            inside = list(_walk(path, above | {real}))
            yield from inside
        if not is_folder or (_is_video(path) and not any(map(_is_video, inside))):
            check_name(path)
            yield path  # what is no regular file fails as a clip


def _is_video(path: PurePath) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES
