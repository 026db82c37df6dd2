"""Stores whose numbers are known, and a browser that tells what went wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facer.pipeline.intensity.ablation.report import AblationTable, TableRow, write_table
from facer.pipeline.intensity.ablation.rows import ablation_rows
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.layout.parts import Entry
from facer.storage.schema import Status
from tests.support import some

HOSTILE = 'a/"><img src=x onerror="window.hit=1"></script><script>window.hit=2</script>#%?\'ü'
MakeStore = Callable[..., FeatureStore]


@pytest.fixture
def clip_of() -> Callable[..., ClipFeatures]:
    """``clip_of(n, gaps, seed)``: see :func:`made_clip`."""
    return made_clip


@pytest.fixture
def entry_of() -> Callable[..., Entry]:
    """``entry_of(clip_id, clip or reason, source)``: what a store writes of a clip."""
    return made_entry


@pytest.fixture
def hostile_id() -> str:
    """A clip id that would run a script, break a path or a URL, if anything let it."""
    return HOSTILE


def made_clip(n: int, gaps: Sequence[tuple[int, int]] = (), seed: int = 0) -> ClipFeatures:
    """n frames of random features at uneven times; the face is 50 px high, its score 0.9."""
    rng = np.random.default_rng(seed)
    valid = np.ones(n, bool)
    for start, stop in gaps:
        valid[start:stop] = False
    shares = rng.dirichlet(np.ones(7), n)
    others = rng.random((n, 19))
    features = np.concatenate([2 * others[:, :2] - 1, shares, others[:, 2:]], axis=1)
    boxes = np.tile([10.0, 20.0, 45.0, 70.0], (n, 1))
    points = np.tile([[20, 35], [35, 35], [28, 45], [22, 58], [34, 58]], (n, 1, 1)).astype(float)
    for values in (features, boxes, points):
        values[~valid] = np.nan
    return ClipFeatures(
        features=features.astype(np.float32),
        timestamp_s=np.concatenate([[0.0], np.cumsum(rng.uniform(0.03, 0.05, max(n - 1, 0)))])[:n],
        valid=valid,
        det_score=np.where(valid, 0.9, np.nan).astype(np.float32),
        bbox_px=boxes.astype(np.float32),
        keypoints_px=points.astype(np.float32),
        n_faces=valid.astype(np.int16),
    )


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """``make_store({clip_id: clip or reason of failure})``; ``sources`` are their videos."""

    def make(
        clips: dict[str, ClipFeatures | str],
        sources: dict[str, str] | None = None,
        names: tuple[str, ...] = FEATURE_NAMES,
    ) -> FeatureStore:
        provenance = Provenance("det", "d" * 64, "rec", "r" * 64)
        weak = tuple(name for name in ("valence", "au24") if name in names)
        store = FeatureStore.create(
            tmp_path / "s.zarr", provenance, feature_names=names, weak_features=weak
        )
        store.write_part([made_entry(i, c, (sources or {}).get(i, "")) for i, c in clips.items()])
        return store

    return make


def made_entry(clip_id: str, clip: ClipFeatures | str, source: str = "") -> Entry:
    if isinstance(clip, str):
        return Record(clip_id, "failed", 0, clip, source=source), None
    n, n_valid = clip.n_frames, int(clip.valid.sum())
    status: Status = "ok" if n_valid else "no_face"
    return Record(clip_id, status, n, fps=25.0, n_valid=n_valid, source=source), clip


@pytest.fixture
def ablation(tmp_path: Path) -> Path:
    """The folder of an ablation of two rows, one of them not run."""
    full, va = ablation_rows(("table2",), ())[:2]
    rows = (
        TableRow(by_seed={"0": 0.25, "1": 0.5}, n=7, row=full),
        TableRow(row=va, reason="store lacks <valence>"),
    )
    folder = tmp_path / "ablation"
    write_table(AblationTable(("joy",), "val", 2, rows), folder)
    (folder / "rows" / "full").mkdir(parents=True)
    scores = '{"n": 7, "pearson": {"0": 0.25, "1": 0.5}, "per_emotion": {"joy": 0.375}}'
    (folder / "rows/full/row.json").write_text(scores)
    return folder


@pytest.fixture
def run(planted: Callable[..., tuple[str, str]], tmp_path: Path) -> Path:
    """A run of two seeds, two epochs each."""
    store, labels = planted()
    fit = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", fit=fit, seeds=2))
    return tmp_path / "run"


@pytest.fixture(scope="session")
def browser(
    tmp_path_factory: pytest.TempPathFactory, absent: Callable[[str, str], None]
) -> Iterator[object]:
    """A headless Chromium; the tests that want one are skipped where it is not installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        absent("chromium", "Debian's chromium and chromium-driver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = some(chromium)
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic",
                 "no-first-run", "disable-background-networking", "disable-component-update",
                 "disable-sync", "autoplay-policy=no-user-gesture-required",
                 f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.page_load_strategy = "eager"  # a video that is still loading is waited for by name
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_window_size(1366, 900)
    opened.set_script_timeout(120)  # a page that draws answers late on a busy machine
    yield opened
    opened.quit()


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    """The browser as a phone of 390 x 844 px, dark."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
