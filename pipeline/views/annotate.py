"""A clip as a video again: box and five points in the frame, its features beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from facer.pipeline.features.guarded.guard import GuardedReader
from facer.pipeline.features.stored_video import SAME_TIME_S, same_video
from facer.pipeline.views.annotate_panel import Moment, Panel
from facer.pipeline.views.video import add_sound, write_video
from facer.stages.features.decode.frames import Frame
from facer.storage import FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import F32, U8, ClipFeatures, OnCount

_BOX, _POINT, _DARK = (240, 228, 66), (86, 180, 233), (20, 20, 20)  # of Okabe and Ito
_DRAWABLE_PX = (-1e4, 1e5)  # OpenCV draws with 16 bits of fraction in its integers
_SURROUND = 34  # grey above and below a video that is lower than its panel


def annotate_clip(
    store: FeatureStore, clip_id: str, video_dir: Path, path: Path, report: OnCount | None = None
) -> str:
    """Write a clip with its measurements as a video with the source's frames, times and sound.

    Where the store has fewer frames than the video (``--stride``), the last measured ones are
    held. Returns why its sound was left out, or "". ``FacerError`` for an unknown or failed clip,
    and where the video is not what was extracted.
    """
    if store.provenance.of_sound:
        raise FacerError(f"{store.path}: found a store of sound, expected one of faces to draw")
    clip = store.read(clip_id)
    video = same_video(store.record(clip_id), video_dir)
    place, videos = path.parent.resolve() / path.name, video_dir.resolve()
    ours = {videos / record.source for record in store.records if record.source}
    if path.resolve() == video or place in ours:
        raise FacerError(f"{path}: is the video of a clip of the store, expected another name")
    with GuardedReader(video) as reader:
        frames = with_moments(reader, clip, video)
        write_video(path, _drawn(frames, store, clip_id, clip, report))
    return add_sound(path, video)


def with_moments(
    frames: Iterable[Frame], clip: ClipFeatures, video: Path
) -> Iterator[tuple[Frame, Moment]]:
    """Each frame with the row of the clip that it shows; every row is met at its own time.

    ``FacerError`` naming ``video`` when a row has no frame at its time.
    """
    times, row = clip.timestamp_s, -1
    for frame in frames:
        measured = row + 1 < clip.n_frames and bool(
            abs(times[row + 1] - frame.timestamp_s) <= SAME_TIME_S
        )
        row += measured
        late = row + 1 < clip.n_frames and not times[row + 1] > frame.timestamp_s
        if row < 0 or late:
            break
        yield frame, Moment(frame.timestamp_s, row, measured)
    if row + 1 < clip.n_frames:
        raise FacerError(
            f"{video}: row {row + 1} of {clip.n_frames} of the store has no frame at its time; "
            "expected the video that was extracted"
        )


def _drawn(
    frames: Iterator[tuple[Frame, Moment]], store: FeatureStore, clip_id: str, clip: ClipFeatures,
    report: OnCount | None,
) -> Iterator[tuple[float, U8]]:  # fmt: skip
    panel: Panel | None = None
    size = (0, 0)
    for frame, moment in frames:
        if panel is None:
            size = frame.size[::-1]
            panel = Panel(size, clip_id, clip, store.feature_names, store.weak_features)
        image = frame.image
        if clip.valid[moment.row]:
            image = mark_face(image, clip.bbox_px[moment.row], clip.keypoints_px[moment.row])
        if image.shape[1::-1] != size:  # some videos change their size on the way
            image = cv2.resize(image, size).astype(np.uint8)
        yield frame.timestamp_s, _side_by_side(image, panel.draw(moment))
        if report is not None:
            report(moment.row + 1, clip.n_frames)


def mark_face(image: U8, bbox_px: F32, keypoints_px: F32) -> U8:
    """A copy of the image with box (4,) and points (5, 2), outlined so that both can be seen on
    any ground; what is not finite is left out.
    """
    image = image.copy()
    side = min(image.shape[:2])
    thick, radius = max(2, round(side / 240)), max(2, round(side / 120))
    for color, more in ((_DARK, 2), (_BOX, 0)):
        if np.isfinite(bbox_px).all():
            x1, y1, x2, y2 = np.rint(np.clip(bbox_px, *_DRAWABLE_PX)).astype(int).tolist()
            cv2.rectangle(image, (x1, y1), (x2, y2), color, thick + more, cv2.LINE_AA)
    finite = keypoints_px[np.isfinite(keypoints_px).all(axis=1)]
    for at in np.rint(np.clip(finite, *_DRAWABLE_PX)).astype(int).tolist():
        cv2.circle(image, at, radius + 1, _DARK, -1, cv2.LINE_AA)
        cv2.circle(image, at, radius, _POINT, -1, cv2.LINE_AA)
    return image


def _side_by_side(image: U8, panel: U8) -> U8:
    """The video beside its panel, in the middle of its height where that is greater."""
    height, width = image.shape[:2]
    canvas = np.full((len(panel), width + panel.shape[1], 3), _SURROUND, np.uint8)
    top = (len(panel) - height) // 2
    canvas[top : top + height, :width] = image
    canvas[:, width:] = panel
    return canvas
