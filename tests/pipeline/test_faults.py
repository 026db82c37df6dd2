"""Faults on purpose: whatever dies, the store is whole, and the same command goes on.

"Same" means every array of every clip, bit for bit, as in a run that nothing disturbed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from facer.pipeline.features import plan
from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import ExtractSummary, extract_folder
from facer.pipeline.features.inspect.status import store_status
from facer.pipeline.runtime.progress import Progress
from facer.stages.features.config import ExtractConfig
from facer.storage import ClipFeatures, FeatureStore
from facer.storage.errors import FacerError
from facer.storage.schema import Record

N_CLIPS = 28
PLACES = ("serial", "processes", "cluster")
DRIVER = Path(__file__).with_name("driver.py")
EXTRACT = ExtractConfig(device="cpu", batch_size=4)  # as in driver.py


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    """Where a test does not say how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def videos() -> Iterator[Path]:
    """Short clips, one of them without a face and one that is no video."""
    import cv2
    from skimage import data

    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for number in range(N_CLIPS - 1):
        path = str(folder / f"clip {number:02d}.mp4")
        writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
        for index in range(5):
            matrix = np.array([[0.4, 0, -30.0 + index], [0, 0.4, -5.0 + number]])
            frame = cv2.warpAffine(data.astronaut(), matrix, (160, 120))
            writer.write(frame[..., ::-1] if number else np.full_like(frame, 90))
        writer.release()
    (folder / "text.mp4").write_text("no video")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The store of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("undisturbed") / "s.zarr"
    extract(videos, path)
    store = FeatureStore.open(path)
    assert {r.status for r in store.records} == {"ok", "no_face", "failed"}
    assert len(store.records) == N_CLIPS
    return store


def extract(videos: Path, store: Path, progress: Progress | None = None, **options: Any) -> Any:
    options = {"workers": 1, "part_size": 1} | options
    return extract_folder(ExtractRunConfig(videos, str(store), EXTRACT, **options), progress)


def assert_same(store: FeatureStore, undisturbed: FeatureStore, complete: bool = True) -> None:
    """Check that the clips of a store are those of the other one, bit for bit."""
    assert set(store.clip_ids) <= set(undisturbed.clip_ids)
    assert not complete or store.clip_ids == undisturbed.clip_ids
    for record in store.records:
        unlike: dict[str, Any] = {"part": "", "start": 0, "seconds": 0, "fps": 0}
        assert replace(record, **unlike) == replace(undisturbed.record(record.clip_id), **unlike)
        if record.status == "failed":
            continue
        found, expected = (s.read(record.clip_id) for s in (store, undisturbed))
        for field in fields(ClipFeatures):
            a, b = (np.asarray(getattr(clip, field.name)) for clip in (found, expected))
            assert a.tobytes() == b.tobytes(), (record.clip_id, field.name)


def drive(mode: str, videos: Path, store: Path, n_times: int, *address: str) -> list[int]:
    """Exit statuses of extractions in processes of their own (driver.py)."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), mode, str(videos), str(store), str(n_times), *address],
        stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
        timeout=400,
    )  # fmt: skip
    statuses: list[int] = json.loads(done.stdout)
    return statuses


class AfterFirstPart(Progress):
    """Does something once, when the first part is committed and others are in flight."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action: Callable[[], object] | None = action

    def part(self, records: Sequence[Record]) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


@pytest.fixture
def where(place: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of an extraction at a place."""
    if place == "cluster":
        return {"scheduler": request.getfixturevalue("cluster").address}
    return {"workers": 2 if place == "processes" else 1}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("place", "n_times"), [("serial", 10), ("processes", 5), ("cluster", 5)])
def test_a_driver_that_is_killed_many_times(
    place: str, n_times: int, where: dict[str, Any], videos: Path, undisturbed: FeatureStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    address = [where["scheduler"]] if place == "cluster" else []
    statuses = drive(place, videos, tmp_path / "s.zarr", n_times, *address)
    assert statuses == [-signal.SIGKILL] * n_times
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert_same(store, undisturbed, complete=False)
    n_whole = len(list((tmp_path / "s.zarr" / "parts").glob("*/zarr.json")))
    n_parts = len([path for path in (tmp_path / "s.zarr" / "parts").iterdir() if path.is_dir()])
    assert place != "serial" or n_whole < n_parts  # some died writing
    summary = extract(videos, tmp_path / "s.zarr", **where)
    assert 0 < summary.n_done_before < N_CLIPS
    store.refresh()
    assert_same(store, undisturbed)


def test_a_worker_process_that_is_killed(
    videos: Path, undisturbed: FeatureStore, tmp_path: Path
) -> None:
    def kill_one() -> None:
        children = psutil.Process().children(recursive=True)
        workers = [c for c in children if "facer.pipeline.runtime.worker" in c.cmdline()]
        assert len(workers) == 2
        workers[0].kill()

    extract(videos, tmp_path / "s.zarr", AfterFirstPart(kill_one), workers=2)
    assert_same(FeatureStore.open(tmp_path / "s.zarr"), undisturbed)


class Killer:
    """Kills processes of these modules in turn, each a random while after the last one."""

    def __init__(self, modules: Sequence[str], seed: int) -> None:
        self._left = list(modules)
        self._rng = random.Random(seed)
        self.stop = threading.Event()
        self.n_killed = 0

    def run(self) -> None:
        while self._left and not self.stop.wait(self._rng.random() / 10):
            victims = [c for c in psutil.Process().children(recursive=True) if self._is_next(c)]
            if victims:
                self._rng.choice(victims).kill()
                self._left.pop()
                self.n_killed += 1

    def _is_next(self, child: psutil.Process) -> bool:
        try:
            return self._left[-1] in child.cmdline()
        except psutil.Error:  # it ended meanwhile
            return False


def test_workers_and_decoders_that_are_killed_at_random(
    videos: Path, undisturbed: FeatureStore, tmp_path: Path
) -> None:
    killer = Killer(
        ["facer.pipeline.features.guarded.child", "facer.pipeline.runtime.worker"] * 3, seed=1
    )
    thread = threading.Thread(target=killer.run)
    try:
        extract(videos, tmp_path / "s.zarr", AfterFirstPart(thread.start), workers=2)
    finally:  # or it goes on in other tests
        killer.stop.set()
    thread.join()
    assert killer.n_killed >= 4
    extract(videos, tmp_path / "s.zarr", workers=2)
    assert_same(FeatureStore.open(tmp_path / "s.zarr"), undisturbed)


def test_a_worker_of_a_cluster_that_is_killed(
    videos: Path, undisturbed: FeatureStore, tmp_path: Path, new_cluster: Callable[[int], Any]
) -> None:
    with new_cluster(2) as cluster:
        progress = AfterFirstPart(cluster.workers[0].kill)
        extract(videos, tmp_path / "s.zarr", progress, scheduler=cluster.address)
    assert_same(FeatureStore.open(tmp_path / "s.zarr"), undisturbed)


def test_a_scheduler_that_is_killed(
    videos: Path, undisturbed: FeatureStore, tmp_path: Path, new_cluster: Callable[[int], Any]
) -> None:
    with new_cluster(1) as cluster:
        progress = AfterFirstPart(cluster.scheduler.kill)
        with pytest.raises(FacerError, match=r"scheduler was lost; what was committed is safe"):
            extract(videos, tmp_path / "s.zarr", progress, scheduler=cluster.address)
    assert_same(FeatureStore.open(tmp_path / "s.zarr"), undisturbed, complete=False)
    assert extract(videos, tmp_path / "s.zarr").n_done_before > 0
    assert_same(FeatureStore.open(tmp_path / "s.zarr"), undisturbed)


@pytest.mark.parametrize("place", PLACES)
def test_two_extractions_at_once(
    place: str, where: dict[str, Any], videos: Path, undisturbed: FeatureStore, tmp_path: Path
) -> None:
    address = [where["scheduler"]] if place == "cluster" else []
    assert drive(f"twice {place}", videos, tmp_path / "s.zarr", 2, *address) == [0, 0]
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert_same(store, undisturbed)
    n_parts = len(list((tmp_path / "s.zarr" / "parts").glob("*/zarr.json")))
    assert n_parts < 2 * N_CLIPS  # they shared the work
    assert store.load(store.clip_ids).features.shape[0] == 5 * (N_CLIPS - 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some of the parts."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or not mount(disk, "size=200k", "-t", "tmpfs"):
        pytest.skip("needs root and mount, for a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def mount(disk: Path, how: str, *more: str) -> bool:
    """Mount, or mount otherwise; False when the system refuses."""
    command = ["mount", *more, "-o", how, "tmpfs", str(disk)]
    return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_fills_up(
    place: str, where: dict[str, Any], videos: Path, undisturbed: FeatureStore, small_disk: Path
) -> None:
    with pytest.raises(FacerError, match=r"s\.zarr.*: No space left on device; free some space"):
        extract(videos, small_disk / "s.zarr", **where)
    assert_same(FeatureStore.open(small_disk / "s.zarr"), undisturbed, complete=False)
    assert mount(small_disk, "remount,size=20m")
    summary: ExtractSummary = extract(videos, small_disk / "s.zarr", **where)
    assert summary.n_done_before > 0
    assert_same(FeatureStore.open(small_disk / "s.zarr"), undisturbed)


@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_turns_read_only(
    place: str, where: dict[str, Any], videos: Path, undisturbed: FeatureStore, small_disk: Path
) -> None:
    """The permission to write is lost for everybody, root too."""
    assert mount(small_disk, "remount,size=20m")

    def lock() -> None:
        while not mount(small_disk, "remount,ro"):  # while a worker writes, it is busy
            time.sleep(0.01)

    with pytest.raises(FacerError, match=r"s\.zarr.*: cannot write: Read-only file system"):
        extract(videos, small_disk / "s.zarr", AfterFirstPart(lock), **where)
    assert_same(FeatureStore.open(small_disk / "s.zarr"), undisturbed, complete=False)
    assert mount(small_disk, "remount,rw")
    assert extract(videos, small_disk / "s.zarr", **where).n_done_before > 0
    assert_same(FeatureStore.open(small_disk / "s.zarr"), undisturbed)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_in_one_line_and_loses_nothing(
    kind: signal.Signals, videos: Path, undisturbed: FeatureStore, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "facer.cli", "extract", str(videos), "--workers", "2"]
    command += ["-o", str(tmp_path / "s.zarr"), "--batch-size", "4", "--device", "cpu"]
    command += ["--precision", "float32"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        assert "clips to do" in process.stderr.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, kind)  # as a terminal and batch systems do, to workers too
        if kind == signal.SIGTERM:
            process.send_signal(kind)  # `timeout` sends two
        _, errors = process.communicate(timeout=60)
        assert psutil.wait_procs(children, timeout=10)[1] == []
    assert process.returncode == 130
    assert errors.strip() == "facer: interrupted; run it again to go on (trainings with --resume)"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3  # text.mp4
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store.clip_ids == undisturbed.clip_ids


def test_a_permission_that_is_lost(videos: Path, undisturbed: FeatureStore) -> None:
    folder = Path(tempfile.mkdtemp())
    store = folder / "s.zarr"

    def revoke() -> None:
        folder.chmod(0o755)
        (store / "parts").chmod(0o555)
        if os.geteuid() == 0:  # who may write anywhere
            os.seteuid(65534)

    try:
        with pytest.raises(FacerError, match=r"cannot write: Permission denied; change its perm"):
            extract(videos, store, AfterFirstPart(revoke))
        os.seteuid(os.getuid())
        assert_same(FeatureStore.open(store), undisturbed, complete=False)
        (store / "parts").chmod(0o755)
        assert extract(videos, store).n_done_before == 1
        assert_same(FeatureStore.open(store), undisturbed)
    finally:
        os.seteuid(os.getuid())
        shutil.rmtree(folder)


def test_the_status_of_a_live_store_is_right_at_any_moment(videos: Path, tmp_path: Path) -> None:
    counts = []

    class Looks(Progress):
        def part(self, records: Sequence[Record]) -> None:
            found = store_status(FeatureStore.open(tmp_path / "s.zarr"))
            counts.append(sum(found.clips.values()))

    extract(videos, tmp_path / "s.zarr", Looks())
    assert counts == list(range(1, N_CLIPS + 1))
