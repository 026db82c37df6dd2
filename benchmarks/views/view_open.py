"""Open ``facer view`` on a store of the size of the Hume-Reaction training set.

    python -m benchmarks.views.view_open [--clips 12660] [--frames 300] [--store PATH]

Prints the seconds from the start of the command to its page of all clips with its data, in a new
process each time, the processor seconds of that process, and the same for starting Python and
opening the store alone: the ratio is what the view adds. ``--store`` is a store to open instead of
one that is made; no browser is part of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from benchmarks.shared import parser_of, scratch
from benchmarks.summary.summarise import make

_REPEATS = 3


def _view(store: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "facer", "view", store, "--marks", str(folder / "marks.csv"),
               "--json"]  # fmt: skip
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        sizes = [len(urllib.request.urlopen(url + page).read()) for page in ("", "index.js")]
        seconds, cpu = time.perf_counter() - started, _cpu_s(process.pid)
        process.terminate()
    return {"seconds": seconds, "cpu_s": cpu, "bytes": float(sum(sizes))}


def _open(store: str) -> dict[str, float]:
    code = f"import facer, time; len(facer.open_store({store!r})); print(time.process_time())"
    started = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - started, "cpu_s": float(found.stdout)}


def _cpu_s(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / 100


def main() -> None:
    """Print the figures, the best of three each."""
    parser = parser_of(__doc__, clips=12_660, frames=300)
    parser.add_argument("--store")
    options = parser.parse_args()
    with scratch() as folder:
        store = options.store or str(folder / "store.zarr")
        if not options.store:
            make(Path(store), options.clips, options.frames)
        alone = [_open(store) for _ in range(_REPEATS)]
        views = [_view(store, folder) for _ in range(_REPEATS)]
    for title, runs in (("opening the store alone", alone), ("view, first page", views)):
        best = {name: min(run[name] for run in runs) for name in ("seconds", "cpu_s")}
        print(f"{title:24} {best['seconds']:6.2f} s, of the processor {best['cpu_s']:.2f} s")
    cpu = [min(run["cpu_s"] for run in runs) for runs in (alone, views)]
    print(f"page and data            {views[0]['bytes'] / 1e6:.1f} MB")
    print(f"ratio of processor time  {cpu[1] / cpu[0]:.2f}")


if __name__ == "__main__":
    main()
