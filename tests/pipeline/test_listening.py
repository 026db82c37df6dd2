"""Work on one machine listens on nothing: what an attacker would try, tried."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.utils.data import DataLoader

from facer.pipeline.runtime.processes import ProcessExecutor
from facer.stages.affect.datasets.sampling import collate_arrays

_TCP_LISTENS, _UNIX_LISTENS = "0A", 0x10000  # of include/net/tcp_states.h, linux/net.h

# As another user: take over a process by its pipes or memory, or by a port of Dask's.
ATTACK = """
import asyncio, json, os, sys
from contextlib import suppress
from distributed import Client
import distributed.comm.tcp

async def run_code(port, timeout=2):
    async with Client(f"tcp://127.0.0.1:{port}", asynchronous=True, timeout=timeout) as client:
        return await client.run_on_scheduler(os.getpid)

pids, ports = json.loads(sys.argv[1])
with suppress(OSError):  # all that is imported on the way is, before nobody may read it
    asyncio.run(run_code(1, 0.1))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
taken = []
for pid in pids:
    for name in ("fd/0", "fd/1", "mem", "environ", "cwd/."):
        try:
            with open(f"/proc/{pid}/{name}", "rb" if name == "environ" else "r+b", buffering=0):
                taken.append(f"{pid} {name}")
        except PermissionError:
            pass

for port in ports:
    try:
        taken.append(f"port {port}: ran code in {asyncio.run(run_code(port))}")
    except OSError:
        pass
print(json.dumps(taken))
"""


def listening(pids: set[int]) -> list[str]:
    """What processes listen on: TCP of both kinds, any UDP, and Unix sockets, named or not."""
    inodes = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                target = str(file.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:[") : -1])
    found = [
        f"{kind} {int(row[1].rpartition(':')[2], 16)}"
        for kind in ("tcp", "tcp6", "udp", "udp6")
        for row in table(kind)
        if row[9] in inodes and (kind.startswith("udp") or row[3] == _TCP_LISTENS)
    ]
    unix = [row for row in table("unix") if row[6] in inodes and int(row[3], 16) & _UNIX_LISTENS]
    return found + [f"unix {' '.join(row[7:])}" for row in unix]


def table(kind: str) -> Iterator[list[str]]:
    path = Path(f"/proc/net/{kind}")
    if path.exists():
        yield from (line.split() for line in path.read_text().splitlines()[1:])


def tcp_ports() -> set[int]:
    """Every port of this machine that takes connections."""
    rows = [row for kind in ("tcp", "tcp6") for row in table(kind) if row[3] == _TCP_LISTENS]
    return {int(row[1].rpartition(":")[2], 16) for row in rows}


def tree(pid: int) -> set[int]:
    process = psutil.Process(pid)
    return {pid, *(child.pid for child in process.children(recursive=True))}


def attack(pids: set[int], ports: set[int]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ATTACK, json.dumps([sorted(pids), sorted(ports)])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    taken: list[str] = json.loads(done.stdout)
    return taken


@contextmanager
def held(pids: set[int]) -> Iterator[None]:
    """Processes stopped, so that none ends while it is attacked."""
    with ExitStack() as stack:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            stack.callback(os.kill, pid, signal.SIGCONT)
        yield


@pytest.fixture
def extraction(tmp_path: Path, make_video: Callable[..., Path]) -> Iterator[subprocess.Popen[str]]:
    """`facer extract` on two processes, in the middle of its work."""
    for number in range(24):
        make_video(f"videos/{number}.mp4", 8)
    arguments = [str(tmp_path / "videos"), "-o", str(tmp_path / "s.zarr"), "--workers", "2"]
    arguments += ["--precision", "float32"]
    with subprocess.Popen(
        [sys.executable, "-m", "facer.cli", "extract", *arguments, "--device", "cpu"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "24 of 24 clips to do, on 2 worker(s)" in process.stderr.readline()
        yield process
        process.kill()


def test_an_extraction_listens_on_nothing_and_gives_nobody_a_hand(
    extraction: subprocess.Popen[str],
) -> None:
    ports_before, looked, attacked = tcp_ports(), 0, False
    while extraction.poll() is None:
        try:
            pids = tree(extraction.pid)
            assert listening(pids) == []
            full = len(pids) >= 5  # driver, two workers, each with a decoding process
            looked += full
            if full and not attacked and os.geteuid() == 0:
                ports = tcp_ports() - ports_before
                with held(pids):
                    assert attack(pids, set()) == []
                assert attack(set(), ports) == []
                attacked = True
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # one of them has just ended
        time.sleep(0.02)
    assert extraction.returncode == 0
    assert looked
    assert attacked or os.geteuid() != 0


def test_a_door_would_be_found(tmp_path: Path) -> None:
    doors = [
        socket.create_server(("127.0.0.1", 0)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
    ]
    doors[1].bind(("127.0.0.1", 0))
    doors[2].bind(str(tmp_path / "socket"))
    doors[3].bind("\0facer-test-abstract")
    for door in doors[2:]:
        door.listen()
    try:
        found = listening({os.getpid()})
    finally:
        for door in doors:
            door.close()
    assert len([line for line in found if line.startswith(("tcp", "udp"))]) >= 2
    assert f"unix {tmp_path / 'socket'}" in found
    assert "unix @facer-test-abstract" in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_open_dask_scheduler_would_be_taken(cluster: object) -> None:
    """The attack works where there is a door; without TLS, a cluster of Dask's is one."""
    address = str(getattr(cluster, "address", ""))
    (taken,) = attack(set(), {int(address.rpartition(":")[2])})
    assert "ran code in" in taken


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one core
def test_loaders_of_crops_listen_on_nothing() -> None:
    items: Any = [tuple(torch.full((3,), float(i + n)) for i in range(5)) for n in range(8)]
    loader = DataLoader(items, 2, num_workers=2, collate_fn=collate_arrays)
    seen = 0
    for crops, *_ in loader:
        assert listening(loader_workers()) == []
        seen += len(crops)
    assert seen == 8


def loader_workers() -> set[int]:
    return {child.pid for child in multiprocessing.active_children() if child.pid}


def test_every_map_on_processes_is_as_closed() -> None:
    executor = ProcessExecutor(2)
    for _ in executor.map(time.sleep, [0.01, 0.02, 0.03]):
        workers = {
            c.pid
            for c in psutil.Process().children()
            if "facer.pipeline.runtime.worker" in c.cmdline()
        }
        assert len(workers) == 2
        assert listening(workers) == []
    executor.close()
    assert not any(psutil.pid_exists(pid) for pid in workers)
