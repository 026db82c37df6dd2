"""What the tests in a real browser share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from facer.stages.features.decode.frames import VideoReader


def until(browser: Any, script: str, *values: object) -> Any:
    """Wait for a script to give something true, and return that."""
    for _ in range(1200):
        found = browser.execute_script(f"return {script}", *values)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{script} stayed {found!r}")


def times_of(video: Path) -> list[float]:
    """When the frames of a video are."""
    with VideoReader(video) as reader:
        return [frame.timestamp_s for frame in reader]
