"""Stage one against the loop that one writes first, and a tuned one, on real clips, in one run.

    python -m benchmarks.features.extract_speed CLIPS --peer scrfd_2.5g_kps.onnx \\
        --tuned scrfd_500m_kps.onnx [--frames 2000]

The plain peer decodes with OpenCV, runs insightface's SCRFD-2.5G at 640 on every frame, aligns with
insightface's ``norm_crop`` and gives every crop of the largest face to the same REC, one by one,
in one process with the libraries' own thread counts. The tuned peer is two processes, each pinned
to a core, on half of the clips: SCRFD-500M at 320 on every frame, and REC on batches of 32 crops,
on one thread. Their models are loaded before the clock starts. facer is ``facer extract`` as a
user runs it, in float32 and in bfloat16: a process of its own, store and all; what one short clip
takes alone is taken off as its start-up. Runs take turns, so that a busy machine slows all; the
ratios are between the medians. Then the faces of the two are compared, frame by frame,
and a table says where one core's time goes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks import shared
from benchmarks.features.extract_steps import libav_pass, step_table
from benchmarks.shared import parser_of, repeat, scratch, timed
from facer.stages.features import detect
from facer.stages.features.align import CROP_PX
from facer.stages.features.config import (
    STARTER_INTERVAL,
    DetectorConfig,
    Precision,
)
from facer.stages.features.decode.frames import VideoReader
from facer.stages.features.faces import Faces, iou, point_distance
from facer.stages.features.keyframes import ClipEnd, ClipFrame, FrameFaces, KeyframeDetector
from facer.stages.features.precision import native_bf16
from facer.stages.features.rec import loading as rec
from facer.storage import FeatureStore
from facer.storage.files.videos import VIDEO_SUFFIXES
from facer.storage.schema import U8

WIDTH_PX = 640
PRECISIONS: dict[Precision, tuple[str, str, str]] = {
    "float32": (" (at least 18)", " (at least 2.7)", ""),
    "bf16": (" (at least 30)", " (at least 5)", " (at most 3)"),
}
"""What the ratios are to be in each."""

TUNED_BATCH = 32
SAME_FACE_IOU = 0.4


def chosen_clips(folder: Path) -> list[Path]:
    """The folder's clips that are 640 px wide."""
    found = [
        path
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
        if int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_WIDTH)) == WIDTH_PX
    ]
    if not found:
        sys.exit(f"{folder}: no clip is {WIDTH_PX} px wide")
    return found


def read(path: Path) -> Iterator[U8]:
    """BGR frames of a clip."""
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, image = capture.read()
        if not ok:
            return
        yield image.astype(np.uint8, copy=False)


def load_peer(path: Path):  # type: ignore[no-untyped-def]
    """insightface's detector at 640."""
    from insightface.model_zoo import get_model

    model = get_model(str(path), providers=["CPUExecutionProvider"])
    model.prepare(-1, input_size=(640, 640))
    return model


def largest_face(detector: Any, image: U8) -> U8 | None:
    """RGB crop of the largest face that a detector of insightface's finds."""
    from insightface.utils.face_align import norm_crop

    boxes, points = detector.detect(image)
    if not len(boxes):
        return None
    size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.ascontiguousarray(norm_crop(image, points[int(size.argmax())])[..., ::-1])


def tuned_seconds(folder: Path, detector_path: Path) -> float:
    """The tuned loop over a folder: two processes, each on a core, with half of the clips."""
    paths = sorted(folder.iterdir())
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = [sys.executable, "-m", "benchmarks.features.extract_speed", "--tuned-on"]
    children = [
        subprocess.Popen(
            [*command, str(core), "--tuned", str(detector_path), *map(str, paths[half::2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for half, core in enumerate(cores)
    ]
    for child in children:  # until it is ready
        while child.stdout is not None and child.stdout.readline() != b"ready\n":
            pass
    started = perf_counter()
    for child in children:  # all begin, before any is waited for
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    codes = [child.wait() for child in children]
    if any(codes):
        sys.exit("a process of the tuned peer failed")
    return perf_counter() - started


def tuned_loop(paths: list[Path], detector_path: Path, core: int) -> None:
    """One process of the tuned peer; begins when a line comes on stdin."""
    import onnxruntime
    from insightface.model_zoo import get_model

    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    one = onnxruntime.SessionOptions()
    one.intra_op_num_threads = one.inter_op_num_threads = 1  # several would fight for the core
    detector = get_model(str(detector_path), sess_options=one, providers=["CPUExecutionProvider"])
    detector.prepare(-1, input_size=(320, 320))
    model, crops = rec.load(threads=1), []
    model.predict(np.zeros((TUNED_BATCH, CROP_PX, CROP_PX, 3), np.uint8))
    print("ready", flush=True)
    sys.stdin.readline()
    for path in paths:
        for image in read(path):
            if (crop := largest_face(detector, image)) is not None:
                crops.append(crop)
            if len(crops) == TUNED_BATCH:
                model.predict(np.stack(crops))
                crops.clear()
    if crops:
        model.predict(np.stack(crops))


def peer_seconds(folder: Path, detector_path: Path) -> float:
    """The plain loop over a folder; its models are loaded before the clock starts."""
    detector, model = load_peer(detector_path), rec.load()
    started = perf_counter()
    for path in sorted(folder.iterdir()):
        for image in read(path):
            if (crop := largest_face(detector, image)) is not None:
                model.predict(crop[None])
    return perf_counter() - started


def facer_seconds(folder: Path, store: Path, precision: Precision) -> float:
    """``facer extract`` with its defaults, everything included."""
    shutil.rmtree(store, ignore_errors=True)
    return shared.extract(folder, store, "--precision", precision)


@dataclass(frozen=True)
class Agreement:
    """Faces of one way to find them against those of another."""

    found: float  # share of the other's faces
    distance: float  # mean, of the five points, in distances between the eyes
    largest: float  # the same, of the frame where it is largest

    def __str__(self) -> str:
        return (
            f"{self.found:.1%} of the faces found, points {self.distance:.1%} of the distance "
            f"between the eyes apart, at most {self.largest:.1%}"
        )


def compare(expected: list[Faces], found: list[Faces]) -> Agreement:
    """Match the faces of every frame by overlap."""
    distances: list[float] = []
    for wanted, ours in zip(expected, found, strict=True):
        for box, five in zip(wanted.bbox_px, wanted.keypoints_px, strict=True):
            distances.extend(_distance(box, five, ours))
    count = sum(len(faces.score) for faces in expected)
    return Agreement(len(distances) / count, float(np.mean(distances)), max(distances))


def _distance(box, five, found: Faces) -> list[float]:  # type: ignore[no-untyped-def]
    if len(found.score) == 0:
        return []
    overlap = iou(box, found.bbox_px)
    best = int(overlap.argmax())
    if overlap[best] < SAME_FACE_IOU:
        return []
    return [float(point_distance(five, found.keypoints_px[best : best + 1])[0])]


def faces_of_peer(clips: list[Path], detector_path: Path) -> list[Faces]:
    """The peer's faces in all frames."""
    peer = load_peer(detector_path)
    faces: list[Faces] = []
    for clip in clips:
        for image in read(clip):
            boxes, points = peer.detect(image)
            faces.append(Faces(boxes[:, :4], points.reshape(-1, 5, 2), boxes[:, 4]))
    return faces


def faces_of_facer(clips: list[Path], every: int, *, bf16: bool = False) -> list[Faces]:
    """facer's faces in all frames, ``every``: the interval between detector frames."""
    keyframes = KeyframeDetector(detect.load(DetectorConfig(bf16=bf16)), every)
    faces: list[Faces] = []
    for clip in clips:
        with VideoReader(clip) as reader:
            items = [*(ClipFrame(0, frame) for frame in reader), ClipEnd(0, 0.0, False, "")]
        for batch in keyframes.faces(items, lambda _: 64):
            faces.extend(item.faces for item in batch if isinstance(item, FrameFaces))
    return faces


def main() -> None:
    """Print the ratio, the agreement and the table."""
    parser = parser_of(__doc__, frames=2000, runs=3)
    parser.add_argument("clips", type=Path, nargs="+", help="folder with clips 640 px wide")
    parser.add_argument("--peer", type=Path, help="SCRFD-2.5G as an ONNX file")
    parser.add_argument("--tuned", type=Path, required=True, help="SCRFD-500M as an ONNX file")
    parser.add_argument("--tuned-on", type=int, help=argparse.SUPPRESS)  # its own processes
    options = parser.parse_args()
    if options.tuned_on is not None:
        tuned_loop(options.clips, options.tuned, options.tuned_on)
        return
    if options.peer is None or len(options.clips) > 1:
        parser.error("expected one folder, and --peer")
    clips = chosen_clips(options.clips[0])
    precisions = PRECISIONS if native_bf16("cpu") else {"float32": PRECISIONS["float32"]}
    if "bf16" not in precisions:
        print("bf16 is emulated by this CPU: its speed is not measured")
    print_rates(clips, options, precisions)
    print_agreement(clips, options.peer)
    for precision in precisions:
        print(f"one thread, {precision}:\n{step_table(clips, precision)}")


def print_rates(
    clips: list[Path],
    options: argparse.Namespace,
    precisions: dict[Precision, tuple[str, str, str]],
) -> None:
    """Time all ways in turns, and print their rates and ratios."""
    with scratch() as place:
        folder, store = place / "clips", place / "features.zarr"
        once = sum(1 for clip in clips for _ in read(clip))
        copies = -(-options.frames // once)
        repeat(clips, copies, folder)
        frames = copies * once
        print(f"{frames} frames of {len(clips)} clips, {options.runs} runs of each, in turns")
        clip = next(folder.iterdir())
        times = [
            (
                peer_seconds(folder, options.peer),
                tuned_seconds(folder, options.tuned),
                timed(libav_pass, sorted(folder.iterdir()))[1][0] / len(os.sched_getaffinity(0)),
                *(facer_seconds(folder, store, p) for p in precisions),
                *(facer_seconds(clip, place / "one.zarr", p) for p in precisions),
            )
            for _ in range(options.runs)
        ]
        measured = sum(r.n_frames for r in FeatureStore.open(str(store)).records)
        if measured != frames:
            sys.exit(f"facer stored {measured} of {frames} frames")
    peer, tuned, decoding, *ours = (median(column) for column in zip(*times, strict=True))
    print(f"plain insightface loop   {frames / peer:7.1f} frames/s")
    print(f"tuned, two processes     {frames / tuned:7.1f} frames/s")
    print(f"libav alone, every core  {frames / decoding:7.1f} frames/s")
    for precision, bounds in precisions.items():
        whole, start = ours[: len(precisions)], ours[len(precisions) :]
        row = list(precisions).index(precision)
        seconds = whole[row] - start[row]
        print(
            f"facer in {precision:8} {frames / whole[row]:7.1f} frames/s; {frames / seconds:.1f} "
            f"without the {start[row]:.1f} s that one clip takes (at most 2.5)"
        )
        ratios = (peer / seconds, tuned / seconds, seconds / decoding)
        names = ("of the plain loop", "of the tuned one", "the time of decoding")
        for name, ratio, bound in zip(names, ratios, bounds, strict=True):
            print(f"  {ratio:6.2f}x {name}{bound}")


def print_agreement(clips: list[Path], peer: Path) -> None:
    """Compare the faces of both, frame by frame."""
    reference = faces_of_peer(clips, peer)
    every_frame, key_frames = (faces_of_facer(clips, every) for every in (1, STARTER_INTERVAL))
    in_bf16 = faces_of_facer(clips, STARTER_INTERVAL, bf16=True)
    print(f"against the peer (at least 97 % found, points at most 6 %), {len(reference)} frames:")
    print(f"  detector on every frame: {compare(reference, every_frame)}")
    print(f"  as extract does it:      {compare(reference, key_frames)}")
    print(f"  the same in bf16:        {compare(reference, in_bf16)}")
    print(f"drift of key frames against every frame: {compare(every_frame, key_frames)}")
    print(f"drift of bf16 against float32:           {compare(key_frames, in_bf16)}")


if __name__ == "__main__":
    main()
