"""Decoding, up to the detector's input and a face's crop, against OpenCV's way.

    python -m benchmarks.features.decode_speed ../shared/data/clips/single_face.mp4
        [--frames 300] [--runs 5] [--every 4]

The clip is encoded anew as H.264 of 640x360 and 1920x1080. Both ways go, in turns and on one
thread, from the file to what the models see: an image of 320 px of every ``--every``-th frame, as
often as ``facer extract`` detects, and the crop of one face at a fixed place of every frame. The
peer is facer's way until version 0.1: ``cv2.VideoCapture``, which converts every frame to BGR in
full size, and another pass to RGB. Prints frames/s of both, as medians, and the median of the
ratios of the runs: at least 1 at 640x360, more than 1 at 1920x1080. Decoding alone, without pixels,
is the limit of both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count, cycle, islice
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from benchmarks.shared import encode, parser_of, scratch, timed
from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align
from facer.stages.features.config import STARTER_INTERVAL
from facer.stages.features.decode.frames import Frame, VideoReader
from facer.storage.schema import F32, U8

SIZES = ((640, 360), (1920, 1080))
INPUT_PX = 320


def pictures(source: Path, size: tuple[int, int], frames: int) -> Iterator[U8]:
    """So many frames of a clip, again and again, at a size."""
    with av.open(str(source)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for image in islice(cycle(images), frames):
        yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def look(frames: Iterable[Frame], points: F32, every: int) -> int:
    """What is made of frames: the detector's input, and a crop; returns how many there were."""
    number = 0
    for number, frame in enumerate(frames, start=1):
        picture = frame.picture
        if (number - 1) % every == 0:
            height, width = frame.size
            picture = frame.image
            size = (INPUT_PX, round(INPUT_PX * height / width))
            cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        align(picture, points)
    return number


def opencv_frames(path: Path) -> Iterator[Frame]:
    """Every frame, RGB, as OpenCV gives it."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for number in count():
        ok, bgr = capture.read()
        if not ok:
            return
        yield Frame(number, 0.0, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))


def opencv(path: Path, points: F32, every: int) -> int:
    """The peer."""
    return look(opencv_frames(path), points, every)


def ours(path: Path, points: F32, every: int) -> int:
    """facer's own reading."""
    with VideoReader(path) as reader:
        return look(reader, points, every)


def alone(path: Path, *_: object) -> int:
    """Decoding without a pixel."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def main() -> None:
    """Print frames/s and ratios."""
    parser = parser_of(__doc__, frames=300, runs=5, every=STARTER_INTERVAL)
    parser.add_argument("clip", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    ways: tuple[Callable[[Path, F32, int], int], ...] = (opencv, ours, alone)
    print("processor time on one thread, frames/s")
    with scratch() as folder:
        for size in SIZES:
            path = folder / f"{size[1]}.mp4"
            images = pictures(options.clip, size, options.frames)
            encode(path, images, "libx264", "yuv420p", 30, crf="20", preset="fast")
            scale = size[1] / 360
            points = (ARCFACE_TEMPLATE_PX * scale + np.array(size) / 3).astype(np.float32)[None]
            times: dict[str, list[float]] = {way.__name__: [] for way in ways}
            for _ in range(options.runs):
                for way in ways:
                    count, (_, core) = timed(way, path, points, options.every)
                    assert count == options.frames
                    times[way.__name__].append(core)
            rate = {name: options.frames / median(found) for name, found in times.items()}
            pairs = zip(times["opencv"], times["ours"], strict=True)
            ratio = median(peer / own for peer, own in pairs)
            print(
                f"{size[0]}x{size[1]}: OpenCV {rate['opencv']:.0f}, facer {rate['ours']:.0f}, "
                f"decoding alone {rate['alone']:.0f}; ratio {ratio:.2f}"
            )


if __name__ == "__main__":
    main()
