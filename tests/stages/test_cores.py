"""How many cores there are for this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facer.stages.common import cores
from facer.stages.common.cores import usual_threads


def _system(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "quotas"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, []),
        # in a container that sees the host's path
        ("0::/kubepods/pod7/c1\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, [2]),
        # a slice of systemd around a session of one's own
        (
            "0::/user.slice/run.scope\n",
            {
                "sys/fs/cgroup/user.slice/run.scope/cpu.max": "max 100000\n",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
            },
            [3],
        ),
        # version 1, of docker, and beside a version 2 without controllers
        (
            "4:cpu,cpuacct:/docker/ab\n3:memory:/docker/ab\n0::/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            [0.5],
        ),
        (
            "1:cpu:/\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            [],
        ),
        ("", {}, []),
    ],
)
def test_the_quota_of_a_control_group(
    tmp_path: Path, groups: str, files: dict[str, str], quotas: list[float]
) -> None:
    assert cores._quotas(_system(tmp_path, groups, files)) == quotas


def test_cores_are_counted_by_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_quotas", lambda _: [2.5])
    assert cores.cpu_count() == usual_threads() == 3
    cores.threads_within_quota()
    assert os.environ.pop("OMP_NUM_THREADS") == "3"
    monkeypatch.setattr(cores, "_quotas", lambda _: [])
    assert cores.cpu_count() == usual_threads() == 8
    cores.threads_within_quota()
    assert "OMP_NUM_THREADS" not in os.environ


def test_torch_goes_on_in_a_process_that_was_forked():
    code = (
        "import os, torch\n"
        "from facer.stages.common.threads import on_threads\n"
        "torch.set_num_threads(2)\n"
        "work = lambda: torch.zeros(10_000_000).add_(1)\n"
        "work()\n"
        "if child := os.fork():\n"
        "    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "import signal\n"
        "signal.alarm(20)\n"
        "with on_threads(2):\n"
        "    work()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
