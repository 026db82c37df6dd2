"""Stage one against the loop that one writes first, on real clips, in one run.

    python benchmarks/extract_speed.py CLIPS --peer scrfd_2.5g_kps.onnx [--frames 2000]

The peer decodes with OpenCV, runs insightface's SCRFD-2.5G at 640 on every frame, aligns with
insightface's ``norm_crop`` and gives every crop of the largest face to the same REC, one by one,
in one process with the libraries' own thread counts. facer is ``facer extract`` as a user runs
it: a process of its own, start-up, store and all. Runs take turns, so that a busy machine slows
both; the ratio is between the medians. Then the faces of the two are compared, frame by frame,
and a table says where one core's time goes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np

from facer.stages.features import detect, rec
from facer.stages.features.align import align
from facer.stages.features.decode import VIDEO_SUFFIXES, VideoReader
from facer.stages.features.detect import Faces, iou
from facer.stages.features.track import point_distance
from facer.storage import FeatureStore
from facer.storage.schema import U8

WIDTH_PX = 640
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


def repeat(clips: list[Path], frames: int, folder: Path) -> int:
    """Copy the clips into ``folder`` again and again until it holds so many frames."""
    counts = [sum(1 for _ in read(clip)) for clip in clips]
    total, copies = 0, 0
    while total < frames:
        for clip, count in zip(clips, counts, strict=True):
            shutil.copy(clip, folder / f"{copies:03}_{clip.name}")
            total += count
        copies += 1
    return total


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


def peer_seconds(folder: Path, detector_path: Path) -> float:
    """The plain loop over a folder; its models are loaded before the clock starts."""
    from insightface.utils.face_align import norm_crop

    detector, model = load_peer(detector_path), rec.load()
    started = perf_counter()
    for path in sorted(folder.iterdir()):
        for image in read(path):
            boxes, points = detector.detect(image)
            if len(boxes):
                size = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
                crop = norm_crop(image, points[int(size.argmax())])
                model.predict(np.ascontiguousarray(crop[None, ..., ::-1]))
    return perf_counter() - started


def facer_seconds(folder: Path, store: Path) -> float:
    """``facer extract`` with its defaults, everything included."""
    shutil.rmtree(store, ignore_errors=True)
    started = perf_counter()
    command = [sys.executable, "-m", "facer.cli", "extract", str(folder), "-o", str(store)]
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - started


def compare_faces(clips: list[Path], detector_path: Path) -> tuple[float, float, int]:
    """Share of the peer's faces that facer's detector finds, mean distance of the five points in
    distances between the eyes, and the number of the peer's faces.
    """
    peer, ours = load_peer(detector_path), detect.load(detect.DetectorConfig())
    distances: list[float] = []
    expected = 0
    for clip in clips:
        for image in read(clip):
            boxes, points = peer.detect(image)
            (found,) = ours.detect([np.ascontiguousarray(image[..., ::-1])])
            expected += len(boxes)
            for box, five in zip(boxes, points, strict=True):
                distances.extend(_distance(box[:4], five, found))
    return len(distances) / expected, float(np.mean(distances)), expected


def _distance(box, five, found: Faces) -> list[float]:  # type: ignore[no-untyped-def]
    if len(found.score) == 0:
        return []
    overlap = iou(box, found.bbox_px)
    best = int(overlap.argmax())
    if overlap[best] < SAME_FACE_IOU:
        return []
    return [float(point_distance(five, found.keypoints_px[best : best + 1])[0])]


def step_table(clips: list[Path]) -> str:
    """Milliseconds a frame of each step on one thread, in batches of 32."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detector, model = detect.load(detect.DetectorConfig()), rec.load(device="cpu")
    spent = dict.fromkeys(("decode", "resize for the detector", "detect", "align", "REC"), 0.0)
    frames = 0
    for clip in clips:
        started = perf_counter()
        with VideoReader(clip) as reader:
            images = [frame.image for frame in reader]
        spent["decode"] += perf_counter() - started
        frames += len(images)
        for start in range(0, len(images), 32):
            batch = images[start : start + 32]
            times = [perf_counter()]
            detect._blob(batch, detect.STARTER_SIZE_PX)
            times.append(perf_counter())
            faces = detector.detect(batch)
            times.append(perf_counter())
            crops = [align(i, f.keypoints_px[:1]) for i, f in zip(batch, faces, strict=True)]
            times.append(perf_counter())
            model.predict(np.concatenate(crops))
            times.append(perf_counter())
            for name, seconds in zip(list(spent)[1:], np.diff(times), strict=True):
                spent[name] += float(seconds)
    spent["detect"] -= spent["resize for the detector"]
    total = sum(spent.values())
    rows = [f"  {n:24} {1e3 * s / frames:6.2f} ms  {s / total:5.0%}" for n, s in spent.items()]
    return "\n".join([*rows, f"  {'sum':24} {1e3 * total / frames:6.2f} ms a frame and core"])


def main() -> None:
    """Print the ratio, the agreement and the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("clips", type=Path, help="folder with clips 640 px wide")
    parser.add_argument("--peer", type=Path, required=True, help="SCRFD-2.5G as an ONNX file")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    clips = chosen_clips(options.clips)
    with tempfile.TemporaryDirectory() as scratch:
        folder, store = Path(scratch, "clips"), Path(scratch, "features.zarr")
        folder.mkdir()
        frames = repeat(clips, options.frames, folder)
        print(f"{frames} frames of {len(clips)} clips, {options.runs} runs of each, in turns")
        times = [
            (peer_seconds(folder, options.peer), facer_seconds(folder, store))
            for _ in range(options.runs)
        ]
        peer, ours = (median(column) for column in zip(*times, strict=True))
        measured = sum(r.n_frames for r in FeatureStore.open(str(store)).records)
        if measured != frames:
            sys.exit(f"facer stored {measured} of {frames} frames")
    found, distance, expected = compare_faces(clips, options.peer)
    print(f"plain insightface loop {frames / peer:7.1f} frames/s")
    print(f"facer extract          {frames / ours:7.1f} frames/s")
    print(f"ratio                  {peer / ours:7.2f}   (at least 6)")
    print(f"of the peer's {expected} faces found {found:.1%} (at least 97 %), points {distance:.1%}"
          " of the distance between the eyes apart (at most 6 %)")  # fmt: skip
    print("one thread:\n" + step_table(clips))


if __name__ == "__main__":
    main()
