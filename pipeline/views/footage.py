"""The video of a stored clip for a page: crops that show it at a glance, and a small copy."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.features.stored_video import read_crops, same_video
from facer.pipeline.views.curves import strip_frames
from facer.pipeline.views.video import add_sound, write_video
from facer.storage.errors import FacerError
from facer.storage.schema import U8, ClipFeatures, Record

_EMBED_HEIGHT_PX = 360
_JPEG_QUALITY = 85


def find_video(record: Record, videos: Path | None) -> Path:
    """Return the clip's video; FacerError with the reason where there is none to show."""
    if videos is None:
        raise FacerError(
            "not shown: give the folder of the videos (facer report or view --videos VIDEO_DIR)"
        )
    return same_video(record, videos)


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
