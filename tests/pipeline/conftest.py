"""Fixtures of several tests of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from facer.pipeline import guard

# Python runs this at its start in every process that imports from the folder. In a decoding
# process it breaks OpenCV at the sixth frame of a video whose name says so.
_FAULTS = """
import sys

if "facer.pipeline.decode_child" in sys.orig_argv:
    import os, signal, time
    from pathlib import Path

    import cv2

    Real = cv2.VideoCapture

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

    class Faulty:
        def __init__(self, name, *arguments):
            self.path, self.real, self.n = Path(name), Real(name, *arguments), 0

        def grab(self):
            self.n += 1
            if self.n == 6:
                fail(self.path)
            return self.real.grab()

        def __getattr__(self, name):
            return getattr(self.real, name)

    cv2.VideoCapture = Faulty
"""


@pytest.fixture
def faulty_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The decoder fails on videos called crash, once, killed, hang, greedy, noisy, ..."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_FAULTS)
    guard.close_idle()
    monkeypatch.syspath_prepend(folder)
    yield
    guard.close_idle()
