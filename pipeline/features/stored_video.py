"""The video that a stored clip was made from: where it is, and crops of its frames."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.stages.features.align import CROP_PX, align
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import I64, U8, ClipFeatures, Record

_FRAMES_TO_LEAVE = 100  # who leaves a video in its middle ends the process that decodes it
SAME_TIME_S = 5e-4
"""Times of a row and a frame that differ by less are the same."""


def source_of(record: Record, video_dir: str | Path) -> PurePosixPath:
    """The source of a clip below ``video_dir``; ``FacerError`` for one that leads out of it, or
    that can name no file, and for a clip without one, as of an import.
    """
    if not record.source:
        raise FacerError(
            f"{record.clip_id}: its features were imported, so no video of it is known"
        )
    if "\0" in record.source:
        raise FacerError(
            f"{record.clip_id}: found the source {record.source!r}, which can name no file"
        )
    source = PurePosixPath(record.source)
    if source.is_absolute() or ".." in source.parts:
        raise FacerError(f"{record.clip_id}: its source {record.source!r} lies outside {video_dir}")
    return source


def source_video(record: Record, video_dir: Path) -> Path:
    """Where the video of a clip is, links followed as extraction does; ``FacerError`` when its
    source leads out of ``video_dir``, or is no regular file.
    """
    try:
        video = (video_dir / source_of(record, video_dir)).resolve()
        there = video.exists()
    except (OSError, RuntimeError):  # a name too long; links in a circle
        there = False
    if not there:
        raise FacerError(
            f"{record.clip_id}: found no video {record.source!r} in {video_dir}; expected the "
            "folder that was extracted"
        )
    open_regular(video).close()
    return video


def same_video(record: Record, video_dir: Path) -> Path:
    """The video of :func:`source_video`, which must be as large as the one that was extracted."""
    video = source_video(record, video_dir)
    size = video.stat().st_size
    if record.source_size and size != record.source_size:
        raise FacerError(
            f"{record.source}: found {size} bytes, expected {record.source_size}: it is not the "
            "video that was extracted; expected the folder that was"
        )
    return video


def read_crops(video: Path, clip: ClipFeatures, rows: I64) -> U8:
    """Aligned crops (k, 112, 112, 3) of k rows of a clip, found in its video by their times."""
    wanted = {int(row): float(clip.timestamp_s[row]) for row in rows}
    crops = np.zeros((len(rows), CROP_PX, CROP_PX, 3), np.uint8)
    left = dict(enumerate(wanted.items()))
    with GuardedReader(video) as reader:
        for frame in reader:
            for place, (row, time_s) in list(left.items()):
                if abs(frame.timestamp_s - time_s) <= SAME_TIME_S:
                    crops[place] = align(frame.picture, clip.keypoints_px[row : row + 1])[0]
                    del left[place]
            if not left and len(clip.timestamp_s) - max(wanted, default=0) > _FRAMES_TO_LEAVE:
                return crops
    if left:
        raise FacerError(
            f"{video}: {len(left)} of {len(rows)} frames of the store are not in it; expected "
            "the video that was extracted"
        )
    return crops
