"""Workers of one host share its GPUs out, without a GPU in the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from facer.pipeline.runtime.gpus import host_slot, visible_devices


@pytest.mark.parametrize(
    ("current", "n_devices", "devices"),
    [
        (None, 0, [None, None, None]),  # no GPU: nothing to share
        (None, 1, [None, None, None]),  # all on the only one
        (None, 2, ["0", "1", "0"]),
        ("2,5", 2, ["2", "5", "2"]),  # what a batch system granted
        ("GPU-aa,GPU-bb,GPU-cc", 3, ["GPU-aa", "GPU-bb", "GPU-cc"]),
        ("7", 1, [None, None, None]),
        ("5,2", 2, ["2", "5", "2"]),  # each worker may have been given another order
        ("", 0, [None, None, None]),
    ],
)
def test_worker_i_takes_gpu_i_modulo_their_number(
    current: str | None, n_devices: int, devices: list[str | None]
) -> None:
    assert [visible_devices(current, n_devices, slot) for slot in range(3)] == devices


WORKER = """
import sys
from facer.pipeline.runtime.gpus import host_slot
print(host_slot(), host_slot(), flush=True)
sys.stdin.read()
"""


def environment(folder: Path) -> dict[str, str]:
    return {"TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def test_slots_are_the_lowest_free_ones(tmp_path: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER], text=True, env=environment(tmp_path),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    started = [start() for _ in range(3)]
    assert [slots for _, slots in started] == ["0 0", "1 1", "2 2"]
    started[1][0].kill()
    started[1][0].communicate()
    started.append(start())
    assert started[-1][1] == "1 1"  # a dead worker's place is taken again
    for process, _ in started:
        process.kill()
        if process.stdin is not None and not process.stdin.closed:
            process.communicate()


@pytest.mark.parametrize(("n_taken", "slot"), [(1, "1 1"), (1024, "0 0")])
def test_a_slot_that_cannot_be_held_is_passed_over(tmp_path: Path, n_taken: int, slot: str) -> None:
    """Seen: another user's file in its place ended every worker."""
    for taken in range(n_taken):  # links are refused to everyone, root too
        (tmp_path / f"facer-worker-{os.getuid()}-{taken}.lock").symlink_to("elsewhere")
    done = subprocess.run(
        [sys.executable, "-c", WORKER], text=True, env=environment(tmp_path), input="",
        check=True, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert done.stdout.strip() == slot


def test_no_folder_for_temporary_files_is_no_fault_of_a_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seen: each clip of a worker without one was recorded as failed."""
    monkeypatch.setattr("tempfile.gettempdir", Mock(side_effect=FileNotFoundError))
    assert host_slot.__wrapped__() == 0
