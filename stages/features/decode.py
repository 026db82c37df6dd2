"""Step 1: a video file becomes upright RGB frames with their presentation times.

Every frame, in presentation order; memory does not grow with the clip's length. Frame counts
in headers lie, so only decoding counts. A video is untrusted input: only containers that hold
their own data are opened, so a playlist in disguise reads no other file and no network.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import cv2
import numpy as np

from facer.storage.errors import FacerError
from facer.storage.schema import U8

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
_FORMATS = "mov,matroska,avi,flv,gif,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ogg,asf"  # ffmpeg's names
_FFMPEG_OPTIONS = f"protocol_whitelist;file|format_whitelist;{_FORMATS}"
_OPTIONS_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # the only way to hand them to OpenCV
_MAX_PIXELS = 16384 * 8192  # a frame larger than this is a lying header
_MISSING_SHARE = 0.1  # of the header's frames, from which on the end is called broken
_USUAL_FPS = 25.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded image: RGB uint8 (H, W, 3), upright, and when it is shown."""

    frame_index: int
    timestamp_s: float
    image: U8


class VideoReader:
    """Iterate over the frames of one video; use as a context manager.

    ``FacerError`` when the file cannot be opened as video. After iteration ``problem`` says
    what was odd ("" for nothing) and ``n_decoded`` how many frames there were.
    """

    def __init__(self, path: Path, stride: int = 1, threads: int = 1) -> None:
        if stride < 1:
            raise FacerError(f"--stride: found {stride}, expected 1 or more")
        _check_file(path)
        self.problem = ""
        self.n_decoded = 0
        self._stride = stride
        self._first_pts = 0
        _restrict_ffmpeg()
        name = str(path.absolute())  # a name such as "http:x.mp4" is a file, not a URL
        self._capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        if not self._capture.isOpened():
            raise FacerError(
                f"{path.name}: not a video that can be decoded; expected a whole file with a "
                "picture track, of a container and codec that ffmpeg reads"
            )
        width, height = self._get(cv2.CAP_PROP_FRAME_WIDTH), self._get(cv2.CAP_PROP_FRAME_HEIGHT)
        if width * height > _MAX_PIXELS:
            raise FacerError(
                f"{path.name}: frames of {width}x{height} px, expected at most 16384x8192"
            )

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.steps(lambda height, width: np.empty((height, width, 3), np.uint8)):
            if frame is not None:
                yield frame

    def steps(self, place: Callable[[int, int], U8]) -> Iterator[Frame | None]:
        """Decode frame by frame: None for one that the stride skips.

        ``place(height, width)`` gives the uint8 (H, W, 3) that a frame's pixels go into.
        """
        previous = -1.0
        while self._capture.grab():
            index = self.n_decoded
            self.n_decoded += 1
            if index % self._stride:
                yield None
                continue
            ok, bgr = self._capture.retrieve()
            if not ok:
                self.problem = f"frame {index} could not be decoded"
                break
            if index == 0:
                self._first_pts = self._get(cv2.CAP_PROP_PTS)
            previous = self._time_after(previous)
            image = place(*bgr.shape[:2])
            cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=image)
            yield Frame(index, previous, image)
        self._note_missing_tail(previous)

    def _get(self, prop: int) -> int:
        value = self._capture.get(prop)
        return int(value) if math.isfinite(value) else 0

    def _time_after(self, previous_s: float) -> float:
        """Time of the current frame; a missing or repeated one is set to keep the order."""
        time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if previous_s < time_s < math.inf:
            return time_s
        if time_s > 0:
            return previous_s + 1e-3
        return previous_s + self._stride / self._fps()  # OpenCV gives 0 for a missing time

    def _fps(self) -> float:
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if 1 <= fps <= 1000 else _USUAL_FPS

    def _note_missing_tail(self, last_s: float) -> None:
        """Compare with the header, by frames and by time: alone, either is often wrong."""
        # a count that is made of the duration includes the time before the first frame
        promised = self._get(cv2.CAP_PROP_FRAME_COUNT) - max(0, self._first_pts)
        missing = promised - self.n_decoded
        missing_s = promised / self._fps() - last_s
        share = _MISSING_SHARE * promised
        if not self.problem and missing > max(5, share) and missing_s > share / self._fps():
            self.problem = (
                f"decoding ended after {self.n_decoded} of the {promised} frames in the header"
            )


def _check_name(path: Path) -> None:
    """Neither OpenCV nor the readers of a store can handle bytes that are no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise FacerError(f"{str(path)!a}: the name is not UTF-8; rename it") from None


def _check_file(path: Path) -> None:
    _check_name(path)
    if not path.is_file():
        found = "a link to nothing" if path.is_symlink() else "no such file"
        found = "a folder, expected a video" if path.is_dir() else found
        raise FacerError(f"{path.name}: {found}")
    if not os.access(path, os.R_OK):
        raise FacerError(f"{path.name}: no permission to read it")
    if path.stat().st_size == 0:
        raise FacerError(f"{path.name}: empty file, expected a video")


def _restrict_ffmpeg() -> None:
    """Let ffmpeg open nothing but files, and no container that points at other files."""
    options = os.environ.get(_OPTIONS_VARIABLE, "")
    if not options.endswith(_FFMPEG_OPTIONS):
        os.environ[_OPTIONS_VARIABLE] = f"{options}|{_FFMPEG_OPTIONS}".lstrip("|")


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
            _check_name(path)
            yield path
