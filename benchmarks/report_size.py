"""The report of a store of 25,000 clips: time, memory, and how fast its overview opens.

    python benchmarks/report_size.py [--clips 25000] [--small 2500] [--dir DIR]

Both stores hold synthetic clips (2.5 to 17 s at 30 frames/s) with gaps, uneven boxes and a few
failures. Each report is built in a process of its own, whose peak memory (VmHWM) is compared;
the ratio says how memory grows with ten times the clips. Opening is measured in headless
Chromium, in a fresh browser, from the start of the navigation until the table is there and can
be searched, and until the last chart is drawn; without Chromium it is left out. Then the table
is searched and sorted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.parts import Entry

CLIPS_A_PART = 50
FRAMES_PER_S = 30.0
FAIL_EVERY = 200
OPENINGS = 3
TARGET_S = 2.0
FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic",
    "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync",
)  # fmt: skip
MEASURE = """
  const done = arguments[0], at = (name) => performance.getEntriesByName(name)[0].startTime / 1000;
  function seconds(act) {
    const start = performance.now();
    act();
    document.body.offsetHeight; // laid out
    return (performance.now() - start) / 1000;
  }
  function measure() {
    if (!performance.getEntriesByName("drawn").length) return setTimeout(measure, 20);
    const search = document.getElementById("search");
    done({
      usable: at("usable"),
      drawn: at("drawn"),
      search: seconds(() => { search.value = "clip-0"; search.dispatchEvent(new Event("input")); }),
      sort: seconds(() => document.querySelector("th[data-key=clip] button").click()),
    });
  }
  measure();
"""
MIB = 2**20


def made_entry(index: int) -> Entry:
    """One clip of a store: smooth random features, a gap in every third, some failed."""
    clip_id = f"session-{index % 97:02d}/clip-{index:05d}"
    if index % FAIL_EVERY == FAIL_EVERY - 1:
        return Record(clip_id, "failed", 0, "not a video that can be decoded"), None
    rng = np.random.default_rng(index)
    n = int(rng.integers(75, 511))
    valid = np.ones(n, np.bool_)
    if index % 3 == 0:
        valid[: int(rng.integers(1, n // 2))] = False
    steps = rng.standard_normal((n, len(FEATURE_NAMES))).cumsum(axis=0)
    arrays = {
        "features": 1 / (1 + np.exp(-steps / 5)),
        "det_score": rng.beta(8, 2, n),
        "bbox_px": np.array([0.0, 0.0, 1.0, 1.2]) * rng.uniform(40, 300, (n, 1)),
        "keypoints_px": np.zeros((n, 5, 2)),
    }
    for values in arrays.values():
        values[~valid] = np.nan
    clip = ClipFeatures(
        **{name: values.astype(np.float32) for name, values in arrays.items()},  # type: ignore[arg-type]
        timestamp_s=np.arange(n) / FRAMES_PER_S,
        valid=valid,
        n_faces=valid.astype(np.int16),
    )
    n_valid = int(valid.sum())
    return Record(clip_id, "ok", n, fps=FRAMES_PER_S, n_valid=n_valid, seconds=1.0), clip


def write_store(path: Path, clips: int) -> None:
    """Write a store of so many clips."""
    store = FeatureStore.create(path, Provenance("none", "", "synthetic", ""))
    for start in range(0, clips, CLIPS_A_PART):
        store.write_part([made_entry(i) for i in range(start, min(start + CLIPS_A_PART, clips))])


def build(store: Path, output: Path) -> dict[str, float]:
    """Build a report in this process; seconds and the process's peak memory in bytes."""
    from facer.pipeline.views.report.build import build_report
    from facer.pipeline.views.report.config import ReportConfig

    start = time.perf_counter()
    build_report(ReportConfig(str(store), output))
    seconds = time.perf_counter() - start
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM"))
    return {"seconds": seconds, "rss": int(peak.split()[1]) * 1024}


def built_in_a_child(store: Path, output: Path) -> dict[str, float]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--build", str(store), str(output)]
    found: dict[str, float] = json.loads(subprocess.check_output(command))
    return found


def seconds_to_open(page: Path) -> dict[str, float] | None:
    """Medians over fresh browsers of what opening the page and using its table take."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        return None
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    found: list[dict[str, float]] = []
    for _ in range(OPENINGS):
        with tempfile.TemporaryDirectory() as profile:
            options = webdriver.ChromeOptions()
            options.binary_location = chromium
            for flag in (*FLAGS, f"user-data-dir={profile}"):
                options.add_argument(f"--{flag}")
            browser = webdriver.Chrome(options=options, service=Service(driver))
            try:
                browser.set_script_timeout(60)
                browser.get("about:blank")
                browser.get(page.as_uri())
                found.append(browser.execute_async_script(MEASURE))
            finally:
                browser.quit()
    return {name: statistics.median(once[name] for once in found) for name in found[0]}


def compare(folder: Path, clips: int, small: int) -> None:
    """Write both stores, report on both, print what it took."""
    runs = {}
    for count in (small, clips):
        store, report = folder / f"{count}.zarr", folder / f"report-{count}"
        write_store(store, count)
        runs[count] = built_in_a_child(store, report)
        size = sum(file.stat().st_size for file in report.rglob("*") if file.is_file())
        print(
            f"{count:>6} clips: built in {runs[count]['seconds']:.1f} s, peak memory "
            f"{runs[count]['rss'] / MIB:.0f} MiB, report of {size / MIB:.1f} MiB"
        )
    more = clips / small
    ratio = runs[clips]["rss"] / runs[small]["rss"]
    print(f"{more:.0f} x the clips: {ratio:.2f} x the memory")
    opened = seconds_to_open(folder / f"report-{clips}" / "index.html")
    if opened is None:
        print("opening not measured: chromium and chromium-driver are not installed")
        return
    print(
        f"overview of {clips} clips: its table is there after {opened['usable']:.2f} s, its "
        f"charts after {opened['drawn']:.2f} s (target {TARGET_S:.0f} s); a search takes "
        f"{1000 * opened['search']:.0f} ms, a sort {1000 * opened['sort']:.0f} ms"
    )


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=25_000)
    parser.add_argument("--small", type=int, default=2_500)
    parser.add_argument("--dir", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--build", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        print(json.dumps(build(*options.build)))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        compare(Path(folder), options.clips, options.small)


if __name__ == "__main__":
    main()
