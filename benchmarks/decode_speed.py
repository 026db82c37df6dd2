"""Decoding, up to the detector's input and a face's crop, against OpenCV's way.

    python benchmarks/decode_speed.py ../shared/data/clips/single_face.mp4 [--frames 300] [--runs 5]

The clip is encoded anew as H.264 of 640x360 and 1920x1080. Both ways go, in turns and on one
thread, from the file to what the models see of every frame: an image of 320 px, and the crop of
one face at a fixed place. The peer is facer's way until version 0.1: ``cv2.VideoCapture``, which
converts every frame to BGR in full size, and another pass to RGB. Prints frames/s of both, as
medians, and their ratio: at least 1 at 640x360, more than 1 at 1920x1080. Decoding alone, without
pixels, is the limit of both.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import process_time

import av
import cv2
import numpy as np

from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align
from facer.stages.features.decode import VideoReader
from facer.storage.schema import F32, U8

SIZES = ((640, 360), (1920, 1080))
INPUT_PX = 320


def encode(source: Path, size: tuple[int, int], frames: int, target: Path) -> None:
    """Write so many frames of a clip, again and again, at a size."""
    with av.open(str(source)) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(islice(cycle(images), frames)):
            scaled = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
            frame = av.VideoFrame.from_ndarray(scaled, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def look(image: U8, points: F32) -> None:
    """What is made of a full frame: the detector's input, and a crop."""
    height = round(INPUT_PX * image.shape[0] / image.shape[1])
    cv2.resize(image, (INPUT_PX, height), interpolation=cv2.INTER_AREA)
    align(image, points)


def opencv_images(path: Path) -> Iterator[U8]:
    """Every frame, RGB, as OpenCV gives it."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    while True:
        ok, bgr = capture.read()
        if not ok:
            return
        yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def opencv(path: Path, points: F32) -> int:
    """The peer."""
    return sum(1 for image in opencv_images(path) if look(image, points) is None)


def ours(path: Path, points: F32) -> int:
    """facer's own reading."""
    with VideoReader(path) as reader:
        return sum(1 for frame in reader if look(frame.image, points) is None)


def alone(path: Path, _: F32) -> int:
    """Decoding without a pixel."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return sum(1 for _ in container.decode(video=0))


def main() -> None:
    """Print frames/s and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"
    ways: tuple[Callable[[Path, F32], int], ...] = (opencv, ours, alone)
    print("processor time on one thread, frames/s")
    with tempfile.TemporaryDirectory() as scratch:
        for size in SIZES:
            path = Path(scratch, f"{size[1]}.mp4")
            encode(options.clip, size, options.frames, path)
            scale = size[1] / 360
            points = (ARCFACE_TEMPLATE_PX * scale + np.array(size) / 3).astype(np.float32)[None]
            times: dict[str, list[float]] = {way.__name__: [] for way in ways}
            for _ in range(options.runs):
                for way in ways:
                    started = process_time()
                    assert way(path, points) == options.frames
                    times[way.__name__].append(process_time() - started)
            rate = {name: options.frames / median(found) for name, found in times.items()}
            print(
                f"{size[0]}x{size[1]}: OpenCV {rate['opencv']:.0f}, facer {rate['ours']:.0f}, "
                f"decoding alone {rate['alone']:.0f}; ratio {rate['ours'] / rate['opencv']:.2f}"
            )


if __name__ == "__main__":
    main()
