"""Writes a part and dies at the n-th thing that it asks of the file system; see test_kills."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr.codecs
import zarr.storage  # noqa: F401  (before the forks, so that each of them is fast)

from facer.storage import ClipFeatures, FeatureStore, Provenance, Record

CALLS = {"mkdir", "open", "fsync", "replace", "rename", "close", "unlink"}


def entries() -> list[tuple[Record, ClipFeatures | None]]:
    """Return the same two clips each time."""
    made: list[tuple[Record, ClipFeatures | None]] = []
    for number, clip_id in enumerate(("one", "two")):
        rng = np.random.default_rng(number)
        clip = ClipFeatures(
            features=rng.standard_normal((6, 3)).astype(np.float32),
            timestamp_s=np.arange(6) / 25,
            valid=np.ones(6, np.bool_),
            det_score=rng.random(6).astype(np.float32),
            bbox_px=rng.random((6, 4)).astype(np.float32),
            keypoints_px=rng.random((6, 5, 2)).astype(np.float32),
            n_faces=np.ones(6, np.int16),
        )
        made.append((Record(clip_id, "ok", 6, n_valid=6), clip))
    return made


def write(path: Path, die_at: int | None) -> int:
    """Write the part, dying by SIGKILL before call ``die_at``; return how many calls it took."""
    calls = 0

    def count(event: str, arguments: Iterable[Any]) -> None:
        nonlocal calls
        name = event.removeprefix("os.")
        written = any(str(path) in str(argument) for argument in arguments)
        if name in CALLS and (written or name in ("fsync", "close")):
            calls += 1
            if calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    store = FeatureStore.open_or_create(
        path, Provenance("d", "1", "r", "2"), feature_names=("a", "b", "c")
    )
    made = entries()
    hooks.append(count)
    fsync = os.fsync

    def counted_fsync(fd: Any) -> None:  # which raises no audit event of its own
        count("fsync", ())
        fsync(fd)

    os.fsync = counted_fsync
    try:
        store.write_part(made)
    finally:
        hooks.clear()
        os.fsync = fsync
    return calls


hooks: list[Any] = []  # what the one audit hook, which cannot be taken out, calls


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    for hook in hooks:
        hook(event, arguments)


def main() -> None:
    """Try every call, each in a process that is forked off before zarr starts any thread."""
    sys.addaudithook(_audit)
    folder = Path(sys.argv[1])
    die_at, killed = 1, True
    while killed:
        child = os.fork()
        if not child:
            write(folder / f"{die_at:03d}.zarr", die_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        die_at += 1
    sys.stdout.write(str(die_at - 2))


if __name__ == "__main__":
    main()
