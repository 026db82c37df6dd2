"""A cluster of which one worker cannot do the work is refused, by the worker's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facer import __version__
from facer.pipeline.features.preflight import Probe, check_cluster, check_worker, differing
from facer.pipeline.features.sources import Source
from facer.pipeline.runtime.executors import DaskExecutor
from facer.storage.errors import FacerError
from facer.storage.files.objects import LocalObjects

NO_FACER = """
import importlib.metadata as metadata
def version(name, real=metadata.version):
    if name == "facer":
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
"""
OLD_FACER = NO_FACER.replace("raise metadata.PackageNotFoundError(name)", "return '0.0.9'")
BROKEN_FACER = """
import sys
class Finder:
    def find_spec(self, name, *_):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")
sys.meta_path.insert(0, Finder())
"""
NO_VIDEOS = """
import os
def stat(path, *arguments, real=os.stat, **options):
    if str(path).endswith("a.mp4"):
        raise FileNotFoundError(2, "No such file or directory", path)
    return real(path, *arguments, **options)
os.stat = stat
"""
NO_STORE = """
import os
def lstat(path, *arguments, real=os.lstat, **options):
    if "/.check-" in str(path):
        raise FileNotFoundError(2, "No such file or directory", path)
    return real(path, *arguments, **options)
os.lstat = lstat
"""


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, Source, str]:
    """A folder with a video, the video, and where the store shall be."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"12345")
    return str(tmp_path / "videos"), Source("a", "a.mp4", 5, 0), str(tmp_path / "s.zarr")


@pytest.fixture
def probe(place: tuple[str, Source, str]) -> Probe:
    videos, source, store = place
    folder = Path(store) / ".check-1"
    folder.mkdir(parents=True)
    (folder / "client").write_text("token")
    return Probe(videos, source.path, source.size, store, ".check-1", "token")


def test_a_worker_that_sees_everything(probe: Probe) -> None:
    assert {"python", "torch", "numpy"} <= set(check_worker(probe))


def test_a_worker_writes_where_its_parts_will_lie(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: one of another user was refused the driver's folder, in a store open to both."""
    written: list[str] = []
    monkeypatch.setattr(LocalObjects, "put", lambda _, key, data: written.append(key))
    check_worker(probe)
    assert [key.rpartition("-")[0] for key in written] == ["parts/.check"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_dir": "/nowhere"}, "/nowhere: the videos are not visible from this host"),
        ({"path": "b.mp4"}, "videos: the videos are not visible from this host .*; mount"),
        ({"size": 6}, "found 5 bytes in a.mp4, expected 6; mount the folder under the same path"),
        ({"store": "/nowhere"}, "/nowhere: the store is not visible from this host; give"),
        ({"token": "other"}, "s.zarr: the store is not visible from this host"),
    ],
)
def test_what_a_worker_does_not_see(probe: Probe, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FacerError, match=message):
        check_worker(replace(probe, **change))


class NoCredentials(Exception):
    """What storage libraries raise is not always an OSError."""


def test_a_worker_without_credentials(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise NoCredentials("unable to locate credentials")

    monkeypatch.setattr("facer.pipeline.features.sources.UrlVideos.stat", refuse)
    message = r"not visible from this host \(unable to locate.*\); give this host access"
    with pytest.raises(FacerError, match=message):
        check_worker(replace(probe, video_dir="memory://videos"))


def test_other_versions_are_told_by_host() -> None:
    here = {"python": "3.11", "torch": "2.9.0"}
    there = {"worker a": here, "worker b": {"python": "3.12", "torch": "2.9.0"}}
    (line,) = differing(there, here)
    assert line.startswith("worker b: python 3.12 (3.11 here); results may differ")


def test_a_cluster_that_can_do_the_work(cluster: Any, place: tuple[str, Source, str]) -> None:
    told: list[str] = []
    executor = DaskExecutor(cluster.address)
    check_cluster(executor, *place, told.append)
    executor.close()
    assert told == []
    assert [path.name for path in Path(place[2]).rglob("*")] == ["parts"]


def test_a_worker_that_cannot_do_the_work_is_named(
    new_cluster: Callable[[int], Any], place: tuple[str, Source, str]
) -> None:
    with new_cluster(1) as cluster:
        for prelude, message in (
            (NO_FACER, rf"found no facer \(.*\); install facer {__version__} there"),
            (OLD_FACER, rf"found facer 0\.0\.9, expected {__version__} as here; install"),
            (BROKEN_FACER, r"facer does not load \(.*libGL.*\); install facer"),
            (NO_VIDEOS, r"\S+/videos: the videos are not visible from this host \(.*; mount the"),
            (NO_STORE, r"\S+/s\.zarr: the store is not visible from this host; give a path"),
        ):
            cluster.add_worker(prelude)
            executor = DaskExecutor(cluster.address)
            with pytest.raises(FacerError, match=rf"worker \S+ \(tcp://127\S+\): {message}"):
                check_cluster(executor, *place, lambda _: None)
            executor.close()
            cluster.stop(cluster.workers.pop())
    assert [path.name for path in Path(place[2]).rglob("*")] == ["parts"]
