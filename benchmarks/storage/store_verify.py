"""facer verify and status of a Hume-sized store, beside zstd and the disk alone, in one run.

    python -m benchmarks.storage.store_verify [--clips 25067 | --store STORE] [--jobs N] [--dir DIR]

The peer reads and unpacks the same chunks in the same number of threads and does nothing else; the
two take turns, a few parts each, so that what others do on the machine meets both alike. Seconds
are those of the clock and, in brackets, of all cores. Files are in the page cache. Without --store,
the clips are those of store_load.py.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numcodecs.zstd import Zstd

from benchmarks.shared import T, add_dir, parser_of, scratch, timed
from benchmarks.storage.store_load import write_parts
from facer.storage import FeatureStore
from facer.storage.verify import verify_part

REPEATS = 3
GROUP = 10  # parts of a turn, for each job


def unpack(part: Path) -> int:
    """Read and unpack every chunk of a part; return the bytes of their content."""
    chunks = (path for path in part.rglob("*") if path.is_file() and path.name != "zarr.json")
    return sum(len(Zstd().decode(path.read_bytes())) for path in chunks)


def compare(path: Path, jobs: int) -> None:
    """Time verify, its peer and the list of a store's clips."""
    store = FeatureStore.open(path)
    n_clips = len(store)
    names = sorted(store.parts)
    groups = [names[i : i + GROUP * jobs] for i in range(0, len(names), GROUP * jobs)]
    alone, verified, n_bytes = np.zeros(2), np.zeros(2), 0
    with ThreadPoolExecutor(jobs) as pool:

        def each(function: Callable[[str], T], part_ids: Sequence[str]) -> Callable[[], list[T]]:
            return lambda: list(pool.map(function, part_ids))

        for _, group in itertools.product(range(REPEATS), groups):
            alone += timed(each(lambda name: unpack(path / "parts" / name), group))[1]
            reports, seconds = timed(each(lambda name: verify_part(store, name), group))
            assert {report.state for report in reports} == {"whole"}
            verified += seconds
            n_bytes += sum(report.n_bytes for report in reports)
    _, listed = timed(lambda: FeatureStore.open(path).records)
    print(f"{n_clips} clips, {jobs} jobs, {n_bytes / REPEATS / 1e6:.0f} MB of values")
    for name, (wall, core) in (("zstd alone", alone), ("verify", verified)):
        print(f"{name}: {wall / REPEATS:.2f} s ({core / REPEATS:.2f} s), "
              f"{n_bytes / wall / 1e6:.0f} MB/s ({n_bytes / core / 1e6:.0f} MB/s)")  # fmt: skip
    wall, core = verified / alone
    print(f"verify / zstd alone: {wall:.2f} ({core:.2f})")
    print(f"records of all clips, as status reads them: {listed[0]:.3f} s ({listed[1]:.3f} s)")


def main() -> None:
    """Parse options and run."""
    parser = parser_of(__doc__, clips=25_067, jobs=os.cpu_count() or 1)
    add_dir(parser)
    parser.add_argument("--store", type=Path, help="a store of yours instead")
    options = parser.parse_args()
    with scratch(options.dir) as folder:
        if options.store is None:
            write_parts(folder / "s.zarr", options.clips)
        compare(options.store or folder / "s.zarr", options.jobs)


if __name__ == "__main__":
    main()
