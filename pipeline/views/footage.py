"""The video of a stored clip: where it is, its crops, and a small copy."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.views.annotate_sound import add_sound
from facer.pipeline.views.curves import strip_frames
from facer.pipeline.views.video import write_video
from facer.stages.features.align import CROP_PX, align
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import I64, U8, ClipFeatures, Record

_EMBED_HEIGHT_PX = 360
_JPEG_QUALITY = 85
SAME_TIME_S = 5e-4
"""Times of a row and a frame that differ by less are the same."""


def source_video(record: Record, video_dir: Path) -> Path:
    """Where the video of a clip is; ``FacerError`` when that is not below ``video_dir``, or is no
    regular file.
    """
    if "\0" in record.source:
        raise FacerError(
            f"{record.clip_id}: found the source {record.source!r}, which can name no file"
        )
    video = (video_dir / record.source).resolve()
    if not video.is_relative_to(video_dir.resolve()):
        raise FacerError(f"{record.clip_id}: its source {record.source!r} lies outside {video_dir}")
    if not video.exists():
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
            "video that was extracted"
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
            if not left:
                return crops
    if left:
        raise FacerError(
            f"{video}: {len(left)} of {len(rows)} frames of the store are not in it; expected "
            "the video that was extracted"
        )
    return crops


def find_video(
    record: Record, videos: Path | None, find: Callable[[Record, Path], Path] = source_video
) -> Path:
    """Return the clip's video; FacerError with the reason where there is none to show."""
    if videos is None:
        raise FacerError(
            "not shown: give the folder of the videos (facer report or view --videos VIDEO_DIR)"
        )
    if not record.source:
        raise FacerError("not known to the store: its features were imported")
    return find(record, videos)


def crop_strip(video: Path, clip: ClipFeatures) -> list[dict[str, Any]]:
    """Crops that show the clip at a glance, as JPEGs in data URLs, with their times."""
    rows = strip_frames(clip)
    rows = rows[np.isfinite(clip.keypoints_px[rows]).all(axis=(1, 2))]
    return [
        {"time_s": f"{clip.timestamp_s[row]:.2f}", "exact_s": float(clip.timestamp_s[row]),
         "url": jpeg_url(crop)}
        for row, crop in zip(rows, read_crops(video, clip, rows), strict=True)
    ]  # fmt: skip


def jpeg_url(image: U8) -> str:
    """Return a crop as a data URL."""
    ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not ok:
        raise FacerError("a crop cannot be written as JPEG; expected an image of 112x112")
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def embed_video(video: Path, path: Path) -> float:
    """Copy a video small, with its sound where that can be copied, its first frame at time 0.

    Returns the time that the first frame had in the source.
    """
    start_s: list[float] = []  # of every frame

    def frames(reader: GuardedReader) -> Iterator[tuple[float, U8]]:
        for frame in reader:
            start_s.append(frame.timestamp_s)
            yield frame.timestamp_s - start_s[0], frame.image

    with GuardedReader(video) as reader:
        write_video(path, frames(reader), height_px=_EMBED_HEIGHT_PX)
    add_sound(path, video, start_s[0])
    return start_s[0]
