"""A program for tests/pipeline/test_faults.py: extractions in processes that die by plan.

The models are loaded once; every extraction runs in a fork of this process, so that a kill
costs no start. Prints the exit status of each, negative for a signal, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import distributed

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.features.part import ModelsAsked, find_models
from facer.pipeline.runtime.progress import Progress
from facer.stages.features.config import ExtractConfig
from facer.storage.schema import Record

# small batches: a batch is filled up with empty crops, and these clips are short
EXTRACT = ExtractConfig(device="cpu", batch_size=4)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DiesAfter(Progress):
    """Dies a little after the n-th part; after 0 parts, a little after the start."""

    def __init__(self, n_parts: int, delay_s: float) -> None:
        self.n_parts, self.delay_s = n_parts, delay_s

    def start(self, n_clips: int, n_done: int, workers: int) -> None:
        if self.n_parts == 0:
            threading.Timer(self.delay_s, die).start()

    def part(self, records: Sequence[Record]) -> None:
        self.n_parts -= 1
        if self.n_parts == 0:
            threading.Timer(self.delay_s, die).start()


def die_at_write(n: int) -> None:
    """Die at the n-th write from now: the bytes are on the disk, their name is not yet."""
    left = iter(range(n, 0, -1))
    os.fsync = lambda fd: die() if next(left) == 1 else None


def forked(function: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        function()
        os._exit(0)
    return pid


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(mode: str, videos: str, store: str, n_times: int, address: str | None) -> list[int]:
    def extract(n_parts: int = -1, delay_s: float = 0) -> None:
        workers = 2 if mode.endswith("processes") else 1
        config = ExtractRunConfig(
            Path(videos), store, EXTRACT, workers=workers, scheduler=address, part_size=1
        )
        extract_folder(config, DiesAfter(n_parts, delay_s))

    def extract_and_die_writing(n_writes: int) -> None:
        die_at_write(n_writes)
        extract()

    rng = random.Random(5)
    if mode.startswith("twice"):
        pids = [forked(extract) for _ in range(n_times)]
        return [wait(pid) for pid in pids]
    if mode == "serial":  # a part is 39 writes
        writes = [rng.randint(2, 100) for _ in range(n_times)]
        return [wait(forked(partial(extract_and_die_writing, n))) for n in writes]
    moments = [(rng.randint(0, 1), rng.random() / 100) for _ in range(n_times)]
    return [wait(forked(partial(extract, *moment))) for moment in moments]


if __name__ == "__main__":
    assert distributed  # loaded once, before the forks
    find_models(ModelsAsked(EXTRACT, None))  # in the precision that an extraction chooses
    mode, videos, store, n_times, *address = sys.argv[1:]
    statuses = main(mode, videos, store, int(n_times), address[0] if address else None)
    sys.stdout.write(json.dumps(statuses))
