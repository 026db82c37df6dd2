"""Peak memory of stage one: a long clip against a short one, many clips against few.

    python -m benchmarks.features.memory [--long-s 1800] [--short-s 180] [--clips 1000]
        [--width 1920]

The clips show a photograph under a moving camera, H.264 at 25 frames/s; a long one repeats the
encoded packets of a short one. Each run is ``facer extract --workers 1`` in a process of its
own. Its peak is the largest sum of the resident memory of it and its decoding process, looked
at every 50 ms (memory that the two share counts twice). Ratios must stay below 1.05; the exit
code is 1 otherwise.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
from skimage import data

from benchmarks.shared import MIB, extract_command, parser_of, scratch
from facer.storage import FeatureStore

FPS, LOOP = 25, 50  # frames a second; frames encoded, and repeated by copying
LIMIT = 1.05
FRAMES = 150  # of each of many clips: ten of them fill batches


def make_clip(path: Path, n_frames: int, width: int) -> None:
    """Encode the first frames and repeat them up to ``n_frames``."""
    height = width * 9 // 16
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "bf": "0", "g": str(LOOP)}
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        packets = [p for i in range(LOOP) for p in stream.encode(_frame(i, width, height))]
        packets += stream.encode(None)
        contents = [bytes(packet) for packet in packets]
        for number in range(n_frames):
            packet = av.Packet(contents[number % LOOP])
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = number
            packet.is_keyframe = number % LOOP == 0
            container.mux(packet)


def _frame(index: int, width: int, height: int) -> av.VideoFrame:
    scale = height / 512
    shift = 20 * np.sin(2 * np.pi * index / LOOP)
    matrix = np.array([[scale, 0, width / 4 + shift], [0, scale, shift / 2]])
    image = cv2.warpAffine(data.astronaut(), matrix, (width, height))
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, FPS)
    return frame


def peak_bytes(folder: Path, n_frames: int) -> int:
    """Extract a folder and return the most memory that was used; checks the frames."""
    with scratch() as place:
        store, log_file = place / "s.zarr", place / "log"
        command = extract_command(folder, store, "--workers", 1)
        peak, started = 0, time.perf_counter()
        with (
            log_file.open("w+") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as process,
        ):
            while process.poll() is None:
                peak = max(peak, _resident(process.pid))
                time.sleep(0.05)
            if process.returncode:
                sys.exit(log_file.read_text())
        found = sum(record.n_frames for record in FeatureStore.open(store).records)
    if found != n_frames:
        sys.exit(f"{folder}: found {found} frames in the store, expected {n_frames}")
    seconds = time.perf_counter() - started
    print(f"  {folder.name:12} {n_frames:7} frames {seconds:6.0f} s {peak / MIB:8.0f} MiB")
    return peak


def _resident(pid: int) -> int:
    total = 0
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def main() -> None:
    """Print both ratios."""
    options = parser_of(__doc__, long_s=1800, short_s=10, width=1920, clips=1000).parse_args()
    ratios = {}
    with scratch() as place:
        peaks = []
        for name, seconds in (("short", options.short_s), ("long", options.long_s)):
            folder = place / name
            folder.mkdir()
            make_clip(folder / "clip.mp4", seconds * FPS, options.width)
            peaks.append(peak_bytes(folder, seconds * FPS))
        ratios[f"{options.long_s} s against {options.short_s} s"] = peaks[1] / peaks[0]
        make_clip(place / "clip.mp4", FRAMES, 320)
        peaks = []
        for n_clips in (10, options.clips):
            folder = place / f"{n_clips} clips"
            folder.mkdir()
            for number in range(n_clips):
                (folder / f"{number:05}.mp4").hardlink_to(place / "clip.mp4")
            peaks.append(peak_bytes(folder, FRAMES * n_clips))
        ratios[f"{options.clips} clips against 10"] = peaks[1] / peaks[0]
    for name, ratio in ratios.items():
        print(f"{name:28} {ratio:.3f}   (below {LIMIT})")
    sys.exit(max(ratios.values()) >= LIMIT)


if __name__ == "__main__":
    main()
