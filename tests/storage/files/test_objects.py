from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from facer.storage import FacerError, FeatureStore, Provenance
from facer.storage.files.atomic import write_atomic, write_new, written_whole
from facer.storage.files.objects import LocalObjects, Objects, open_objects
from facer.storage.files.urls import UrlObjects

Make = Callable[..., Any]


@pytest.fixture(params=["local", "memory", "folders"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """A local path, a URL without folders and a URL whose folders must be made."""
    urls = {
        "local": str(tmp_path / "a [1]"),
        "memory": f"memory://{tmp_path.name}/a [1]",
        "folders": f"local://{tmp_path}/a [1]",
    }
    return open_objects(urls[request.param])


def test_every_place_does_the_same(objects: Objects) -> None:
    assert not objects.exists()
    assert objects.get("x/y") is None
    assert objects.children("") == objects.children("x") == []
    objects.put("x/y/z", b"1")
    objects.put("x/a", b"2")
    objects.put("x/a", b"3")
    assert objects.exists()
    assert objects.get_many(["x/y/z", "x/a", "x/b"]) == [b"1", b"3", None]
    assert objects.get("x/a/deeper") is None
    assert objects.children("") == ["x"]
    assert objects.children("x") == ["a", "y"]
    objects.delete("x/y")
    objects.delete("x/none")
    assert objects.get("x/y/z") is None
    assert objects.get("x/a") == b"3"


def test_kinds_of_paths(tmp_path: Path) -> None:
    assert isinstance(open_objects(tmp_path), LocalObjects)
    assert isinstance(open_objects(f"file://{tmp_path}"), LocalObjects)
    assert isinstance(open_objects(tmp_path / "x::y.zarr"), LocalObjects)
    assert isinstance(open_objects("memory://x"), UrlObjects)


def test_a_missing_bucket_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = UrlObjects("memory://bucket/s.zarr")

    def no_bucket(_: Any, path: str, data: bytes) -> None:
        raise FileNotFoundError(2, "The specified bucket does not exist", path)

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", no_bucket)
    with pytest.raises(FacerError, match="cannot write: The specified bucket does not exist"):
        objects.put("x", b"")
    assert not objects.exists()


WRITER = """
import sys
import numpy as np
from facer.storage import ClipFeatures, FeatureStore, Record
store = FeatureStore.open(sys.argv[1])
for index in range(1000):
    n = np.zeros(400, "f4")
    clip = ClipFeatures(
        np.full((400, 26), index, "f4"), np.arange(400.0), n == 0, n, np.zeros((400, 4), "f4"),
        np.zeros((400, 5, 2), "f4"), np.ones(400, "i2"))
    store.write_part([(Record(f"c{index}", "ok", 400, n_valid=400), clip)])
"""


def test_a_writer_that_is_killed_leaves_whole_clips(tmp_path: Path, provenance: Provenance) -> None:
    path = tmp_path / "s.zarr"
    FeatureStore.create(path, provenance)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    deadline = time.monotonic() + 60
    while len(FeatureStore.open(path).clip_ids) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    store = FeatureStore.open(path)
    assert len(store.clip_ids) >= 3
    for clip_id in store.clip_ids:
        assert (store.read(clip_id).features == int(clip_id[1:])).all()
    assert store.load(store.clip_ids).features.shape == (400 * len(store.clip_ids), 26)


def test_a_new_file_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "a.json"
    assert write_new(path, "1")
    assert not write_new(path, "2")
    monkeypatch.setattr(os, "link", partial(_refuse, errno.EPERM))  # as file systems without links
    assert not write_new(path, "3")
    assert write_new(path.with_name("b.json"), "4")
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {
        "a.json": "1", "b.json": "4",
    }  # fmt: skip
    with pytest.raises(FacerError, match="a file is in the way"):
        write_new(path / "c.json", "5")


@pytest.mark.parametrize("suffix", [".json", "." + "x" * 200, ""])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"{'a' * (255 - len(suffix))}{suffix}"
    write_atomic(path, "1")
    assert path.read_text() == "1"
    with pytest.raises(FacerError, match="File name too long; give a shorter name"):
        write_atomic(path.with_name(f"{path.name}a"), "1")


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "link to what is open"])
def test_no_file_takes_the_place_of_a_device(tmp_path: Path, kind: str) -> None:
    """As root, a file in place of /dev/null or /dev/stdout spoils the machine."""
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / kind
    if kind != "pipe":
        path.symlink_to("/proc/self/fd/1" if "open" in kind else "pipe")
    before = path.lstat()
    with pytest.raises(FacerError, match="found a device or a pipe, expected a file"):
        write_atomic(path, "1")
    assert path.lstat() == before


def test_what_is_wrong_aside_is_said_of_the_place_itself(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with pytest.raises(FacerError) as caught, written_whole(path) as aside:
        write_atomic(aside / ("a" * 300), "1")
    assert str(caught.value).startswith(f"{path}/aaa")


def _refuse(number: int, *_: object) -> None:
    raise OSError(number, "refused")
