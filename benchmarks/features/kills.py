"""SIGKILL of driver, workers and decoders of facer extract, at random moments and inside commits.

    python -m benchmarks.features.kills [--kills 20] [--clips 24] [--workers 2] [--seed 1]
        [--dir DIR]

Each extraction has one kill: a random while after its first clips are at work, or as soon as some
part is seen that has files and no records yet. After it the same command is run again, and the
store's features are compared, bit for bit, with those of a run that nothing disturbed. Kills before
each single write of a part: tests/storage/test_kills.py.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import psutil
from skimage import data

from benchmarks.shared import add_dir, encode, extract_command, parser_of, scratch
from facer.storage import ClipFeatures, FeatureStore

VICTIMS = ("driver", "facer.pipeline.runtime.worker", "facer.pipeline.features.guarded.child")
KINDS = [(victim, inside) for inside in (False, True) for victim in VICTIMS]
N_FRAMES = 40


def write_videos(folder: Path, n_clips: int) -> None:
    """Write clips of a face that moves."""
    folder.mkdir()
    for number in range(n_clips):
        moves = [
            np.array([[0.4, 0, -30.0 + index / 4], [0, 0.4, -5.0 + number]])
            for index in range(N_FRAMES)
        ]
        images = (cv2.warpAffine(data.astronaut(), move, (160, 120)) for move in moves)
        encode(folder / f"clip {number:02d}.mp4", images, "mpeg4", "yuv420p", 25)


def command(videos: Path, store: Path, workers: int) -> list[str]:
    """The command line of an extraction."""
    options = ("--workers", workers, "--part-size", 2, "--device", "cpu")
    return extract_command(videos, store, *options)


def victims(process: psutil.Process, kind: str) -> list[psutil.Process]:
    """Processes of a kind that an extraction consists of at the moment."""
    if kind == "driver":
        return [process] if process.is_running() else []
    found = []
    for child in process.children(recursive=True):
        try:
            found += [child] if kind in child.cmdline() else []
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def in_commit(store: Path) -> bool:
    """Whether some part is being written: it is there, and not its records."""
    parts = [part for part in store.glob("parts/*") if part.is_dir()]
    return any(not (part / "zarr.json").exists() for part in parts)


def extract_with_kill(line: list[str], store: Path, kind: str, inside: bool,
                      rng: random.Random) -> bool:  # fmt: skip
    """Run a command and kill one of its processes; False when it was done before."""
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        process = psutil.Process(run.pid)
        while run.poll() is None and not victims(process, VICTIMS[-1]):
            time.sleep(0.01)
        time.sleep(3 * rng.random())
        chosen = victims(process, kind)
        while inside and run.poll() is None and not in_commit(store):
            chosen = victims(process, kind) or chosen
        chosen = [victim for victim in chosen if run.poll() is None and victim.is_running()]
        children = process.children(recursive=True) if chosen else []
        if chosen:
            rng.choice(chosen).kill()
        run.wait()
        psutil.wait_procs(children, timeout=30)  # those of a killed driver end by themselves
    return bool(chosen)


def bits(store: FeatureStore) -> dict[str, object]:
    """What must be the same after a kill: each clip's record and arrays."""
    unlike = {"part": "", "start": 0, "seconds": 0.0}
    content: dict[str, object] = {}
    for record in store.records:
        clip = store.read(record.clip_id)
        arrays = [getattr(clip, field.name) for field in fields(ClipFeatures)]
        content[record.clip_id] = (
            repr(replace(record, **unlike)),  # type: ignore[arg-type]
            [np.asarray(array).tobytes() for array in arrays],
        )
    return content


def main() -> None:
    """Parse options and run."""
    parser = parser_of(__doc__, kills=20, clips=24, workers=2, seed=1)
    add_dir(parser)
    options = parser.parse_args()
    rng, same, n_stores = random.Random(options.seed), 0, 0
    killed, n_inside, n_left = Counter[str](), 0, 0
    with scratch(options.dir) as root:
        videos = root / "videos"
        write_videos(videos, options.clips)
        os.environ["OMP_NUM_THREADS"] = "1"
        subprocess.run(command(videos, root / "whole.zarr", options.workers), check=True)
        expected = bits(FeatureStore.open(root / "whole.zarr"))
        while sum(killed.values()) < options.kills:
            kind, inside = KINDS[sum(killed.values()) % len(KINDS)]
            store = root / f"{n_stores}.zarr"
            line = command(videos, store, options.workers)
            if not extract_with_kill(line, store, kind, inside, rng):
                print(f"{kind}: the extraction was done before the kill; not counted")
            else:
                killed[kind] += 1
                n_inside += inside
                n_left += in_commit(store)
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            same += bits(FeatureStore.open(store)) == expected
            n_stores += 1
    print(f"{sum(killed.values())} kills: {dict(killed)}; {n_inside} while a part was written, and "
          f"{n_left} left one without records")  # fmt: skip
    print(f"{same} of {n_stores} stores have the same bits as an undisturbed run")
    sys.exit(same != n_stores)


if __name__ == "__main__":
    main()
