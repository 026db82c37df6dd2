"""Whether there is memory for what a file says that it holds."""

from __future__ import annotations

import os

from facer.storage.errors import FacerError


def affordable(where: str, n_bytes: int, advice: str = "read fewer clips at a time") -> None:
    """Refuse, before anything is allocated, what this machine has no memory for."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if n_bytes > there:
        raise FacerError(
            f"{where}: reading it takes {n_bytes / 2**30:.3g} GiB, and this machine has "
            f"{there / 2**30:.0f} GiB of memory; {advice}"
        )
