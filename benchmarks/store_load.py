"""Loading all of a Hume-sized store against one Zarr array per clip, in one run.

    python benchmarks/store_load.py [--clips 25067] [--peer-clips 3000] [--dir DIR]

Both sides hold the same synthetic clips (2.5 to 17 s at 30 frames/s, mean 10.8 s, 26 float32
columns), compressed alike, and read them in the same shuffled order into one matrix, each in
its own process, with files in the page cache. The peer opens and reads each array with
zarr-python and does not read ``valid``. Where it is given fewer clips, its time is scaled by
the number of frames, and the output says so.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record

CLIPS_A_PART = 50
FRAMES_PER_S = 30
REPEATS = 3
MIB = 2**20


def clip_lengths(clips: int) -> npt.NDArray[np.int64]:
    """Return frames per clip: 2.5 to 17 s, mean 10.8 s."""
    share = np.random.default_rng(1).beta(2.29, 1.71, clips)
    return np.round((2.5 + 14.5 * share) * FRAMES_PER_S).astype(np.int64)


def clip_features(index: int, frames: int) -> npt.NDArray[np.float32]:
    """Return (frames, 26) that moves like probabilities over time."""
    steps = np.random.default_rng(index).standard_normal((frames, len(FEATURE_NAMES)))
    return (1 / (1 + np.exp(-steps.cumsum(axis=0) / 5))).astype(np.float32)


def clips_of(lengths: npt.NDArray[np.int64]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield (clip_id, features) of each clip."""
    for index, frames in enumerate(lengths.tolist()):
        yield f"train/{index:05d}", clip_features(index, frames)


def write_parts(path: Path, lengths: npt.NDArray[np.int64]) -> None:
    """Write the clips as facer stores them."""
    store = FeatureStore.create(path, Provenance("none", "", "synthetic", ""))
    part: list[tuple[Record, ClipFeatures | None]] = []
    for clip_id, features in clips_of(lengths):
        frames = len(features)
        clip = ClipFeatures(
            features=features,
            timestamp_s=np.arange(frames) / FRAMES_PER_S,
            valid=np.ones(frames, np.bool_),
            det_score=np.ones(frames, np.float32),
            bbox_px=np.zeros((frames, 4), np.float32),
            keypoints_px=np.zeros((frames, 5, 2), np.float32),
            n_faces=np.ones(frames, np.int16),
        )
        part.append((Record(clip_id, "ok", frames, n_valid=frames), clip))
        if len(part) == CLIPS_A_PART:
            store.write_part(part)
            part = []
    if part:
        store.write_part(part)


def write_peer(path: Path, lengths: npt.NDArray[np.int64]) -> None:
    """Write one Zarr array per clip."""
    import zarr
    from zarr.codecs import ZstdCodec

    group = zarr.create_group(path)
    for clip_id, features in clips_of(lengths):
        codec = ZstdCodec(level=1, checksum=True)
        group.create_array(clip_id, data=features, chunks=features.shape, compressors=codec)


def read_parts(path: Path, lengths: npt.NDArray[np.int64]) -> int:
    """Load the store and return the bytes of its matrix."""
    store = FeatureStore.open(path)
    ids = np.random.default_rng(2).permutation(store.clip_ids).tolist()
    loaded = store.load(ids)
    assert len(loaded.features) == lengths.sum()
    return loaded.features.nbytes


def read_peer(path: Path, lengths: npt.NDArray[np.int64]) -> int:
    """Load one array per clip into a matrix and return its bytes."""
    import zarr

    group = zarr.open_group(path, mode="r")
    matrix = np.empty((int(lengths.sum()), len(FEATURE_NAMES)), np.float32)
    starts = np.concatenate([[0], lengths.cumsum()])
    for index in np.random.default_rng(2).permutation(len(lengths)).tolist():
        array = group[f"train/{index:05d}"]
        assert isinstance(array, zarr.Array)
        matrix[starts[index] : starts[index + 1]] = array[...]
    return matrix.nbytes


SIDES = {"parts": (write_parts, read_parts), "one array a clip": (write_peer, read_peer)}


def measure(side: str, path: Path, clips: int) -> dict[str, float]:
    """Read once in this process: seconds, bytes of the matrix and growth of the peak RSS."""
    import zarr  # noqa: F401  (what it imports is used by both sides and not compared)

    lengths = clip_lengths(clips)
    before = peak_rss()
    start = time.perf_counter()
    size = SIDES[side][1](path, lengths)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": size, "rss": peak_rss() - before}


def peak_rss() -> int:
    """Return this process's peak resident set in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent had before exec
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured_in_fresh_processes(side: str, path: Path, clips: int) -> dict[str, float]:
    """Return the run of median time among several, each in its own process."""
    command = [sys.executable, __file__, "--measure", side, "--dir", str(path)]
    runs: list[dict[str, float]] = [
        json.loads(subprocess.check_output([*command, "--clips", str(clips)]))
        for _ in range(REPEATS)
    ]
    return sorted(runs, key=lambda run: float(run["seconds"]))[REPEATS // 2]


def compare(folder: Path, clips: int, peer_clips: int) -> None:
    """Write both sides, read both, print both and their ratio."""
    seconds: dict[str, float] = {}
    frames = clip_lengths(clips).sum()
    for side, count in (("parts", clips), ("one array a clip", min(clips, peer_clips))):
        path = folder / f"{side.split()[0]}.zarr"
        start = time.perf_counter()
        SIDES[side][0](path, clip_lengths(count))
        write = (time.perf_counter() - start) / count
        run = measured_in_fresh_processes(side, path, count)
        seconds[side] = run["seconds"] * float(frames / clip_lengths(count).sum())
        scaled = "" if count == clips else f", scaled from {count} clips in {run['seconds']:.2f} s"
        print(
            f"{side:>16}: load {seconds[side]:.2f} s{scaled}; write {write * 1e3:.2f} ms a clip; "
            f"matrix {run['bytes'] / MIB:.0f} MiB, peak memory {run['rss'] / run['bytes']:.2f} x it"
        )
    ratio = seconds["one array a clip"] / seconds["parts"]
    print(f"{clips} clips, {frames} frames: parts load {ratio:.1f} x faster (target 10)")


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=25_067)
    parser.add_argument("--peer-clips", type=int, default=3_000)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--measure", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.dir, options.clips)))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        compare(Path(folder), options.clips, options.peer_clips)


if __name__ == "__main__":
    main()
