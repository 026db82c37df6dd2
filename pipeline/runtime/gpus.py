"""One GPU per worker: the workers of a host share its GPUs out among themselves."""

from __future__ import annotations

import fcntl
import os
import tempfile
from functools import lru_cache
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_MAX_SLOTS = 1024


def visible_devices(current: str | None, n_devices: int, slot: int) -> str | None:
    """``CUDA_VISIBLE_DEVICES`` for worker ``slot`` of a host; None: leave it as it is.

    ``current`` is its present value (None: unset) and ``n_devices`` how many GPUs the process
    sees. Worker i takes GPU i modulo their number.
    """
    if n_devices < 2:
        return None
    names = [str(i) for i in range(n_devices)] if current is None else current.split(",")
    return sorted(names)[slot % n_devices]  # some hosts give each worker another order


@lru_cache(maxsize=1)
def host_slot() -> int:
    """The lowest number that no other worker of this user has on this host.

    It is held until the process ends, however it ends; a worker that joins later or replaces a
    dead one takes what is free. What cannot be held, such as a file of another
    user, is passed over; 0 where nothing can.
    """
    for slot in range(_MAX_SLOTS):
        try:
            path = Path(tempfile.gettempdir()) / f"facer-worker-{os.getuid()}-{slot}.lock"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return slot  # the file stays open, and so the lock stays held
    return 0  # nothing can be held here


@lru_cache(maxsize=1)
def take_one_gpu() -> None:
    """Let this process see one GPU; call it in a worker, before anything uses CUDA."""
    import torch

    value = visible_devices(os.environ.get(_VISIBLE), torch.cuda.device_count(), host_slot())
    if value is not None:
        os.environ[_VISIBLE] = value
