"""Fixtures of several tests of the pipeline."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facer.pipeline.features.guarded import guard

# Python runs this at its start in every process that imports from the folder. In a decoding
# process it breaks at the sixth frame of a video whose name says so.
_FAULTS = """
import sys

if "facer.pipeline.features.guarded.child" in sys.orig_argv:
    import itertools, os, signal, time
    from pathlib import Path

    from facer.stages.features.audio.reader import AudioReader
    from facer.stages.features.decode.frames import VideoReader

    def fail(path):
        name, marker = path.name, path.with_suffix(".failed-once")
        if name.startswith("crash") or name.startswith("once") and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        if name.startswith("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("hang"):
            time.sleep(3600)
        if name.startswith("greedy"):
            bytearray(1 << 40)
        if name.startswith("noisy"):
            print("what a decoder prints", flush=True)
            os.write(1, b"{ to fd 1")
            os.write(2, b"{ to fd 2")

    def faulty(decoded, at):
        def decode(self, *arguments):
            numbers = itertools.count()
            def count(frame):
                if next(numbers) == at:
                    fail(self.path)
                return frame
            return map(count, decoded(self, *arguments))  # holds no frame longer than libav does
        return decode

    # five frames are out: the sixth waits for its successor's time
    VideoReader.decoded = faulty(VideoReader.decoded, 6)
    AudioReader.decoded = faulty(AudioReader.decoded, 100)
"""


@pytest.fixture
def faulty_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The decoder fails on videos called crash, once, killed, hang, greedy, noisy, ...

    The folder is what a process must import from for that.
    """
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS)
    guard.close_idle()
    monkeypatch.syspath_prepend(folder)
    yield folder
    guard.close_idle()


@pytest.fixture
def odd_file(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``odd_file(kind)``: something called odd/KIND.mp4 that is no regular file.

    A link to a device, a fifo, a socket, a folder or a link to one.
    """
    open_sockets: list[socket.socket] = []

    def make(kind: str) -> Path:
        path = tmp_path / "odd" / f"{kind}.mp4"
        path.parent.mkdir(exist_ok=True)
        if kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            open_sockets.append(socket.socket(socket.AF_UNIX))
            open_sockets[-1].bind(str(path))
        elif kind == "folder":
            path.mkdir()
        else:
            (tmp_path / "elsewhere").mkdir()
            path.symlink_to(tmp_path / "elsewhere")
        return path

    yield make
    for opened in open_sockets:
        opened.close()


class Cluster:
    """A `dask scheduler` and `dask worker` processes on loopback, started by hand."""

    def __init__(self, *options: str) -> None:
        self.options = options  # of scheduler and workers
        command = ("scheduler", "--port", "0", "--host", "127.0.0.1", *options)
        self.scheduler, self.address = _dask(*command, until=r"t(?:cp|ls)://127\.0\.0\.1:\d+")
        self.workers: list[subprocess.Popen[bytes]] = []

    def add_worker(self, prelude: str = "") -> None:
        """Start a worker and wait until it is there; ``prelude`` runs in it before anything."""
        command = ("worker", self.address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1",
                   *self.options)  # fmt: skip
        ready = "Starting established connection|Registered to"
        self.workers.append(_dask(*command, until=ready, prelude=prelude)[0])

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process of the cluster, unless it is dead."""
        process.kill()
        process.wait()


def _dask(
    command: str, *arguments: str, until: str, prelude: str = ""
) -> tuple[subprocess.Popen[bytes], str]:
    """A process that has logged what ``until`` matches, and that match.

    It logs to a file: a pipe that nobody reads any more stops it when it is full.
    """
    code = f"{prelude}\nfrom distributed.cli.dask_{command} import main; main()"
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments, "--no-dashboard"], stderr=log
        )
        while not (found := re.search(until, Path(log.name).read_text())):
            assert process.poll() is None, Path(log.name).read_text()
            time.sleep(0.05)
    return process, found[0]


@contextmanager
def running_cluster(workers: int, *options: str) -> Iterator[Cluster]:
    """A cluster for as long as the context lasts; ``options`` are of all its commands."""
    cluster = Cluster(*options)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        for process in (*cluster.workers, cluster.scheduler):
            cluster.stop(process)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of two workers; a test that harms it makes one of its own."""
    with running_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def new_cluster() -> Callable[..., object]:
    """``with new_cluster(workers) as cluster``: one to be harmed."""
    return running_cluster
