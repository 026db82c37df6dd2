"""The report of a store of 25,000 clips: time, memory, and how fast its overview opens.

    python -m benchmarks.views.report_size [--clips 25000] [--small 2500] [--dir DIR]

Both stores hold synthetic clips (2.5 to 17 s at 30 frames/s) with gaps, uneven boxes and a few
failures. Each report is built in a process of its own, whose peak memory (VmHWM) is compared;
the ratio says how memory grows with ten times the clips. Opening is measured in headless
Chromium, in a fresh browser, from the start of the navigation until the table is there and can
be searched, and until the last chart is drawn; without Chromium it is left out. Then the table
is searched and sorted.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import shared
from facer.storage import Record
from facer.storage.parts import Entry

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


def made_entry(index: int) -> Entry:
    """One clip of a store: smooth random features, a gap in every third, some failed."""
    clip_id = f"session-{index % 97:02d}/clip-{index:05d}"
    if index % FAIL_EVERY == FAIL_EVERY - 1:
        return Record(clip_id, "failed", 0, "not a video that can be decoded"), None
    random = np.random.default_rng(index)
    n = int(random.integers(75, 511))
    valid = np.ones(n, np.bool_)
    if index % 3 == 0:
        valid[: int(random.integers(1, n // 2))] = False
    boxes = np.array([0.0, 0.0, 1.0, 1.2]) * random.uniform(40, 300, (n, 1))
    score = random.beta(8, 2, n)
    return shared.made_clip(
        clip_id, shared.curves(random, n), valid=valid, det_score=score, bbox_px=boxes
    )


def build(store: Path, output: Path) -> tuple[float, int]:
    """Build a report in this process; seconds and the process's peak memory in bytes."""
    from facer.pipeline.views.report.build import build_report
    from facer.pipeline.views.report.config import ReportConfig

    _, (seconds, _) = shared.timed(build_report, ReportConfig(str(store), output))
    return float(seconds), shared.peak_bytes()


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
    peaks = {}
    for count in (small, clips):
        store, report = folder / f"{count}.zarr", folder / f"report-{count}"
        shared.write_store(store, map(made_entry, range(count)))
        seconds, peaks[count] = shared.in_a_process(build, store, report)
        size = sum(file.stat().st_size for file in report.rglob("*") if file.is_file())
        print(
            f"{count:>6} clips: built in {seconds:.1f} s, peak memory "
            f"{peaks[count] / shared.MIB:.0f} MiB, report of {size / shared.MIB:.1f} MiB"
        )
    more = clips / small
    print(f"{more:.0f} x the clips: {peaks[clips] / peaks[small]:.2f} x the memory")
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
    parser = shared.parser_of(__doc__, clips=25_000, small=2_500)
    shared.add_dir(parser)
    options = parser.parse_args()
    with shared.scratch(options.dir) as folder:
        compare(folder, options.clips, options.small)


if __name__ == "__main__":
    main()
