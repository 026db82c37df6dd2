"""A picture of one clip of a store: its crops over its curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.views.pictures import clip_picture, strip_frames
from facer.stages.features.align import CROP_PX, align
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.files.regular import open_regular
from facer.storage.schema import I64, U8, ClipFeatures, Record

SAME_TIME_S = 5e-4
"""Times of a row and a frame that differ by less are the same."""


def draw_clip(
    store: FeatureStore, clip_id: str, video_dir: Path | None, path: Path, note: str = ""
) -> None:
    """Write the PNG of one clip; its video is looked up below ``video_dir``, if that is given.

    ``note`` stands under the title.

    ``FacerError`` for an unknown or failed clip, and where the video is not what was extracted.
    """
    record = store.record(clip_id)
    clip = store.read(clip_id)
    frames, crops = np.zeros(0, np.int64), np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)
    if video_dir is not None:
        frames = strip_frames(clip)
        crops = read_crops(source_video(record, video_dir), clip, frames)
    clip_picture(
        path,
        clip,
        store.feature_names,
        frames,
        crops,
        title=clip_id,
        subtitle=f"{clip.n_frames} frames, {clip.valid.mean():.0%} with a face"
        + (f"; {note}" if note else ""),
        weak_features=store.weak_features,
    )


def source_video(record: Record, video_dir: Path) -> Path:
    """Where the video of a clip is; ``FacerError`` when that is not below ``video_dir``, or is no
    regular file.
    """
    video = (video_dir / record.source).resolve()
    if not video.is_relative_to(video_dir.resolve()):
        raise FacerError(f"{record.clip_id}: its source {record.source!r} lies outside {video_dir}")
    if not video.exists():
        raise FacerError(
            f"{record.clip_id}: found no video {record.source!r} in {video_dir}; expected the "
            "folder that was extracted (--videos)"
        )
    open_regular(video).close()
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
