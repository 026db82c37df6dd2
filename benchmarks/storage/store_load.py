"""Loading all of a Hume-sized store against one Zarr array per clip, in one run.

    python -m benchmarks.storage.store_load [--clips 25067] [--peer-clips 3000] [--dir DIR]

Both sides hold the same synthetic clips (2.5 to 17 s at 30 frames/s, mean 10.8 s, 26 float32
columns), compressed alike, and read them in the same shuffled order into one matrix, each in
its own process, with files in the page cache. The peer opens and reads each array with
zarr-python and does not read ``valid``. Where it is given fewer clips, its time is scaled by
the number of frames, and the output says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr  # what it imports is used by both sides and not compared
from zarr.codecs import ZstdCodec

from benchmarks import shared
from facer.storage import FEATURE_NAMES, FeatureStore
from facer.storage.schema import F32

REPEATS = 3


def clips_of(clips: int) -> Iterator[tuple[str, F32]]:
    """Yield (clip_id, features) of each clip."""
    for index, frames in enumerate(shared.clip_lengths(clips).tolist()):
        yield f"train/{index:05d}", shared.curves(np.random.default_rng(index), frames)


def write_parts(path: Path, clips: int) -> None:
    """Write the clips as facer stores them."""
    shared.write_store(path, (shared.made_clip(*clip) for clip in clips_of(clips)))


def write_peer(path: Path, clips: int) -> None:
    """Write one Zarr array per clip."""
    group = zarr.create_group(path)
    for clip_id, features in clips_of(clips):
        codec = ZstdCodec(level=1, checksum=True)
        group.create_array(clip_id, data=features, chunks=features.shape, compressors=codec)


def read_parts(path: Path, clips: int) -> int:
    """Load the store and return the bytes of its matrix."""
    store = FeatureStore.open(path)
    ids = np.random.default_rng(2).permutation(store.clip_ids).tolist()
    loaded = store.load(ids)
    assert len(loaded.features) == shared.clip_lengths(clips).sum()
    return loaded.features.nbytes


def read_peer(path: Path, clips: int) -> int:
    """Load one array per clip into a matrix and return its bytes."""
    group = zarr.open_group(path, mode="r")
    starts = np.concatenate([[0], shared.clip_lengths(clips).cumsum()])
    matrix = np.empty((starts[-1], len(FEATURE_NAMES)), np.float32)
    for index in np.random.default_rng(2).permutation(clips).tolist():
        matrix[starts[index] : starts[index + 1]] = group[f"train/{index:05d}"][...]
    return matrix.nbytes


SIDES = {"parts": (write_parts, read_parts), "one array a clip": (write_peer, read_peer)}


def measure(side: str, path: Path, clips: int) -> tuple[float, int, int]:
    """Read once in this process: seconds, bytes of the matrix and growth of the peak memory."""
    before = shared.peak_bytes()
    size, (seconds, _) = shared.timed(SIDES[side][1], path, clips)
    return float(seconds), size, shared.peak_bytes() - before


def compare(folder: Path, clips: int, peer_clips: int) -> None:
    """Write both sides, read both, print both and their ratio."""
    seconds: dict[str, float] = {}
    frames = shared.clip_lengths(clips).sum()
    for side, count in (("parts", clips), ("one array a clip", min(clips, peer_clips))):
        path = folder / f"{side.split()[0]}.zarr"
        write = shared.timed(SIDES[side][0], path, count)[1][0] / count
        runs = sorted(shared.in_a_process(measure, side, path, count) for _ in range(REPEATS))
        load, size, grown = runs[REPEATS // 2]
        seconds[side] = load * float(frames / shared.clip_lengths(count).sum())
        scaled = "" if count == clips else f", scaled from {count} clips in {load:.2f} s"
        print(
            f"{side:>16}: load {seconds[side]:.2f} s{scaled}; write {write * 1e3:.2f} ms a clip; "
            f"matrix {size / shared.MIB:.0f} MiB, peak memory {grown / size:.2f} x it"
        )
    ratio = seconds["one array a clip"] / seconds["parts"]
    print(f"{clips} clips, {frames} frames: parts load {ratio:.1f} x faster (target 10)")


def main() -> None:
    """Parse options and run."""
    parser = shared.parser_of(__doc__, clips=25_067, peer_clips=3_000)
    shared.add_dir(parser)
    options = parser.parse_args()
    with shared.scratch(options.dir) as folder:
        compare(folder, options.clips, options.peer_clips)


if __name__ == "__main__":
    main()
