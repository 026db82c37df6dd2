"""Memory of training on a face and a long, wide sound stream, by where the sequences lie.

    python benchmarks/streams_memory.py [--clips 60] [--more 4] [--caches memory half disk]

Clips of 10.8 s in the mean: 26 columns at 30 Hz, and 1,024 at 50 Hz joined to them (``--with``,
``mean``), as wav2vec 2.0 gives them. Each training (facernet, one epoch, t 480) runs in its own
process, on some clips and on ``--more`` times as many; the figure is the process's peak of private
memory (VmHWM) above that of a process which only imports facer. A cache in memory grows with the
clips; ``disk`` must not. The printed ratios are of one run: growth of each cache, and of the
last against the first for the larger set.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record

CLIPS_A_PART = 10
SOUND_COLUMNS = 1024
MIB = 2**20


def lengths_s(clips: int) -> list[float]:
    """Return durations: 2.5 to 17 s, mean 10.8 s."""
    return (2.5 + 14.5 * np.random.default_rng(1).beta(2.29, 1.71, clips)).tolist()


def entries(clips: int, rate_hz: int, columns: int) -> Iterator[tuple[Record, ClipFeatures]]:
    """Yield clips of random features at a rate."""
    for index, seconds in enumerate(lengths_s(clips)):
        n, nan = round(seconds * rate_hz), np.nan
        values = np.random.default_rng(index).standard_normal((n, columns), dtype=np.float32)
        arrays = ClipFeatures(
            values, np.arange(n) / rate_hz, np.ones(n, bool), np.full(n, nan, np.float32),
            np.full((n, 4), nan, np.float32), np.full((n, 5, 2), nan, np.float32),
            np.ones(n, np.int16),
        )  # fmt: skip
        yield Record(f"clip-{index:05d}", "ok", n, fps=rate_hz, n_valid=n), arrays


def write_store(path: Path, clips: int, rate_hz: int, names: tuple[str, ...]) -> None:
    """Write a store, a few clips a part."""
    store = FeatureStore.create(path, Provenance("none", "", "synthetic", ""), feature_names=names)
    part: list[tuple[Record, ClipFeatures | None]] = []
    for entry in entries(clips, rate_hz, len(names)):
        part.append(entry)
        if len(part) == CLIPS_A_PART:
            store.write_part(part)
            part = []
    if part:
        store.write_part(part)


def write_labels(path: Path, clips: int) -> None:
    """Write a label a clip, three in four of train."""
    random = np.random.default_rng(0)
    rows = [
        f"clip-{i:05d},{'val' if i % 4 == 3 else 'train'},{random.random():.3f}\n"
        for i in range(clips)
    ]
    path.write_text("clip_id,split,joy\n" + "".join(rows))


CHILD = """
import json, sys, time
import facer, torch
import facer.pipeline.intensity.train
face, sound, labels, run, cache = sys.argv[1:]
torch.set_num_threads(1)
started = time.perf_counter()
if cache != "nothing":
    facer.train_head(face, labels, run, with_={"sound": sound}, cache=cache, epochs=1, dense=8,
                     hidden_size=32, batch_size=8)
peak = next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]
print(json.dumps({"kib": int(peak), "seconds": time.perf_counter() - started}))
"""


def measured(folder: Path, clips: int, cache: str) -> dict[str, float]:
    """Return the peak memory in KiB and the seconds of a training in a process of its own."""
    run = folder / f"run-{clips}-{cache}-{time.time_ns()}"
    places = (folder / "face.zarr", folder / "sound.zarr", folder / f"labels-{clips}.csv", run)
    arguments = [sys.executable, "-c", CHILD, *map(str, places), cache]
    found: dict[str, float] = json.loads(subprocess.check_output(arguments, text=True))
    return found


def main() -> None:
    """Print the peaks and their ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--more", type=int, default=4)
    parser.add_argument("--caches", nargs="+", default=["memory", "half", "disk"])
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    few, many = options.clips, options.clips * options.more
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        write_store(folder / "face.zarr", many, 30, FEATURE_NAMES)
        names = tuple(f"w{i:04d}" for i in range(SOUND_COLUMNS))
        write_store(folder / "sound.zarr", many, 50, names)
        for clips in (few, many):
            write_labels(folder / f"labels-{clips}.csv", clips)
        base = measured(folder, few, "nothing")["kib"]
        peaks = {}
        for cache in options.caches:
            found = [measured(folder, clips, cache) for clips in (few, many)]
            peaks[cache] = [(one["kib"] - base) / 1024 for one in found]
            small, large = peaks[cache]
            print(
                f"{cache}: {small:.0f} MiB for {few} clips, {large:.0f} MiB for {many}: "
                f"{large - small:+.0f} MiB ({large / small:.2f} times), "
                f"{found[1]['seconds']:.1f} s",
                flush=True,
            )
        first, last = options.caches[0], options.caches[-1]
        share = peaks[last][1] / peaks[first][1]
        print(f"for {many} clips {last} takes {share:.2f} of the memory that {first} takes")


if __name__ == "__main__":
    main()
