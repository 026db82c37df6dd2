"""Step 1: a video file becomes upright RGB frames with their presentation times.

Every frame, in presentation order; memory does not grow with the clip's length. Frame counts
in headers lie, so only decoding counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from cv2.typing import MatLike

from facer.storage.errors import FacerError
from facer.storage.schema import U8

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
_MAX_PIXELS = 16384 * 8192  # a frame larger than this is a lying header
_MISSING_SHARE = 0.1  # of the header's frames, from which on the end is called broken


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
        if not path.is_file():
            raise FacerError(f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise FacerError(f"{path.name}: no permission to read it")
        if path.stat().st_size == 0:
            raise FacerError(f"{path.name}: empty file, expected a video")
        self.problem = ""
        self.n_decoded = 0
        self._stride = stride
        self._capture = cv2.VideoCapture(
            str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads]
        )
        if not self._capture.isOpened():
            raise FacerError(
                f"{path.name}: not a video that can be decoded; expected a whole file of a "
                "container and codec that ffmpeg reads"
            )
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > _MAX_PIXELS:
            raise FacerError(f"{path.name}: frames of {width}x{height} px, expected at most 8K")

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        previous = -1.0
        while self._capture.grab():
            index = self.n_decoded
            self.n_decoded += 1
            if index % self._stride:
                continue
            ok, bgr = self._capture.retrieve()
            if not ok:
                self.problem = f"frame {index} could not be decoded"
                break
            time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
            if time_s <= previous:  # missing or repeated times: keep the order
                time_s = previous + 1e-3
            previous = time_s
            yield Frame(index, time_s, _rgb(bgr))
        self._note_missing_tail()

    def _note_missing_tail(self) -> None:
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        missing = promised - self.n_decoded
        if not self.problem and missing > max(5, _MISSING_SHARE * promised):
            self.problem = (
                f"decoding ended after {self.n_decoded} of the {promised} frames in the header"
            )


def _rgb(bgr: MatLike) -> U8:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def find_videos(folder: Path) -> tuple[tuple[str, Path], ...]:
    """(clip_id, path) of every video below a folder, sorted by id.

    The id is the path without extension, ``/`` between folders; where two files of one folder
    share a stem, their ids keep the extension. ``FacerError`` when there is no video.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise FacerError(f"{folder}: {what}, expected a folder of videos")
    paths = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
    if not paths:
        raise FacerError(
            f"{folder}: no video found; expected files ending in "
            f"{', '.join(sorted(VIDEO_SUFFIXES))}"
        )
    relative = [p.relative_to(folder) for p in paths]
    stems = [r.with_suffix("").as_posix() for r in relative]
    ids = [
        stem if stems.count(stem) == 1 else r.as_posix()
        for stem, r in zip(stems, relative, strict=True)
    ]
    return tuple(sorted(zip(ids, paths, strict=True)))
