"""facer verify and status of a Hume-sized store, beside zstd and the disk alone, in one run.

    python benchmarks/store_verify.py [--clips 25067] [--jobs N] [--dir DIR]

The peer reads and unpacks the same chunks in the same number of threads and does nothing else. The
clips are those of store_load.py; files are in the page cache. Seconds are those of the clock and,
in brackets, of all cores: what others do on the machine hardly changes the latter.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from numcodecs.zstd import Zstd  # type: ignore[import-untyped]
from store_load import clip_lengths, write_parts

from facer.storage import FeatureStore
from facer.storage.verify import verify_store

REPEATS = 3


def unpack(part: Path) -> int:
    """Read and unpack every chunk of a part; return the bytes of their content."""
    chunks = (path for path in part.rglob("*") if path.is_file() and path.name != "zarr.json")
    return sum(len(Zstd().decode(path.read_bytes())) for path in chunks)


def best(function: Callable[[], object]) -> tuple[float, float]:
    """Return the shortest of several times: seconds by the clock, and of all cores."""
    walls, cores = [], []
    for _ in range(REPEATS):
        wall, core = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return min(walls), min(cores)


def compare(path: Path, clips: int, jobs: int) -> None:
    """Write a store, then time its peer, verify and the list of its clips."""
    write_parts(path, clip_lengths(clips))
    parts = [part for part in (path / "parts").iterdir() if part.is_dir()]

    def peer() -> None:
        with ThreadPoolExecutor(jobs) as pool:
            sizes.append(sum(pool.map(unpack, parts)))

    def verify() -> None:
        report = verify_store(FeatureStore.open(path), jobs)
        assert set(report.clips.values()) == {"whole"}

    sizes: list[int] = []
    alone, verified = best(peer), best(verify)
    listed = best(lambda: FeatureStore.open(path).records)
    mb = sizes[0] / 1e6
    print(f"{clips} clips, {jobs} jobs, {mb:.0f} MB of values")
    for name, (wall, core) in (("zstd alone", alone), ("verify", verified)):
        print(f"{name}: {wall:.2f} s ({core:.2f} s), {mb / wall:.0f} MB/s ({mb / core:.0f} MB/s)")
    ratios = [mine / peers for mine, peers in zip(verified, alone, strict=True)]
    print(f"verify / zstd alone: {ratios[0]:.2f} ({ratios[1]:.2f})")
    print(f"records of all clips, as status reads them: {listed[0]:.3f} s ({listed[1]:.3f} s)")


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=25_067)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        compare(Path(folder) / "s.zarr", options.clips, options.jobs)


if __name__ == "__main__":
    main()
