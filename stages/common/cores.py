"""How many cores there are for this process."""

from __future__ import annotations

import os
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath

_FILES = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
"""Where a control group says its quota and its period: of version 2, and of version 1."""


def cpu_count() -> int:
    """Cores that this process may use.

    No more than its affinity (``taskset``, Slurm) and the quota of its control group or of one
    above it (``docker run --cpus``, Kubernetes, systemd's ``CPUQuota``), rounded up.
    """
    return min([_affinity(), *map(ceil, _quotas(Path("/")))])


def usual_threads() -> int:
    """Of networks on the CPU: what ``OMP_NUM_THREADS`` says; else one a core."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() and int(said) else cpu_count()


def threads_within_quota() -> None:
    """Have libraries that are imported later start no more threads than the quota has cores.

    Affinity they know themselves.
    """
    if (count := cpu_count()) < _affinity():
        os.environ.setdefault("OMP_NUM_THREADS", str(count))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> list[float]:
    """In cores, of the control groups that this process is in, below a file system's root."""
    quotas = []
    for folder in _groups(root):
        for files in _FILES:
            with suppress(OSError, ValueError):
                quota, period = " ".join((folder / name).read_text() for name in files).split()
                if int(quota) > 0:  # version 1 says -1 for none, version 2 "max"
                    quotas.append(int(quota) / int(period))
    return quotas


def _groups(root: Path) -> set[Path]:
    """Folders of the control groups of this process and of those above them.

    In a container a group's path may be that of the host, and the group itself at the top.
    """
    folders = set()
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers or "cpu" in controllers.split(","):
                top = root / "sys/fs/cgroup" / controllers  # no controllers: version 2
                path = PurePosixPath(group.lstrip("/"))
                folders |= {top / above for above in (path, *path.parents)}
    return folders
