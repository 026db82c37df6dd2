"""Commands on stores that were made to do harm: one line, in seconds, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facer.storage import FEATURE_NAMES, ClipFeatures, FeatureStore, Provenance, Record
from facer.storage.layout.documents import sealed_group_json
from facer.storage.verify import verify_store

ADDRESSES_KB = 2_000_000  # a bomb of 2 GB does not fit; CUDA's libraries do not either
if torch.version.cuda is not None:
    ADDRESSES_KB *= 4
N_FRAMES = 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two clips, which each test spoils."""
    ones = np.ones(N_FRAMES, np.float32)
    clip = ClipFeatures(
        features=np.ones((N_FRAMES, len(FEATURE_NAMES)), np.float32),
        timestamp_s=np.arange(N_FRAMES) / 25,
        valid=ones.astype(np.bool_),
        det_score=ones,
        bbox_px=np.ones((N_FRAMES, 4), np.float32),
        keypoints_px=np.ones((N_FRAMES, 5, 2), np.float32),
        n_faces=ones.astype(np.int16),
    )
    made = FeatureStore.create(tmp_path / "s.zarr", Provenance("d", "", "r", ""))
    made.write_part([(Record(name, "ok", N_FRAMES, n_valid=N_FRAMES), clip) for name in "ab"])
    (tmp_path / "labels.csv").write_text("id,split,joy\na,train,0.1\nb,val,0.9\n")
    return tmp_path / "s.zarr"


def part_of(store: Path) -> Path:
    (part,) = (path for path in (store / "parts").iterdir() if path.is_dir())
    return part


def reseal(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a group as someone does who computes the checksum anew."""
    attributes = json.loads(path.read_text())["attributes"]
    del attributes["checksum"]
    change(attributes)
    path.write_bytes(sealed_group_json(attributes))


def with_signs(store: Path) -> None:
    """Names that clear the screen, go on in another line or are a formula."""

    def change(attributes: dict[str, Any]) -> None:
        attributes["records"][0].update(clip_id="=x\x1b[2J\r\nb", reason="\x1b]0;y\x07")

    reseal(part_of(store) / "zarr.json", change)


def with_rows(store: Path) -> None:
    """1e13 frames in records and arrays alike, in a part whose checksums are right."""

    def change(attributes: dict[str, Any]) -> None:
        attributes["records"][1]["stop"] = 10**13
        for name, array in attributes["arrays"].items():
            path = part_of(store) / name / "zarr.json"
            meta = json.loads(path.read_text())
            meta["shape"][0] = 10**13
            path.write_text(json.dumps(meta))
            array["metadata"] = hashlib.sha256(path.read_bytes()).hexdigest()

    reseal(part_of(store) / "zarr.json", change)


def nested(store: Path) -> None:
    (part_of(store) / "zarr.json").write_text('{"attributes":{"records":' + "[" * 10**6)


def with_pipe(store: Path) -> None:
    chunk = part_of(store) / "features/c/0/0"
    chunk.unlink()
    os.mkfifo(chunk)


def with_bomb(store: Path) -> None:
    """64 KB of a frame of zstd that unpacks to 2 GB (RFC 8878: blocks of one repeated byte)."""
    size, n_blocks = 2**17, 2**14
    header = b"\x28\xb5\x2f\xfd\xa0" + (size * n_blocks).to_bytes(4, "little")
    block = (size << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (size << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"
    (part_of(store) / "features/c/0/0").write_bytes(header + block * (n_blocks - 1) + last)


def run(store: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of few addresses."""
    return subprocess.run(
        ["bash", "-c", f'ulimit -v {ADDRESSES_KB} && exec "$@"', "-",
         sys.executable, "-m", "facer", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        cwd=store.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


STATUS, VERIFY = ("status", "s.zarr"), ("verify", "s.zarr")
CHECK = ("check", "s.zarr", "--labels", "labels.csv")
EXPORT = ("export", "s.zarr", "out.csv")
PICTURE = ("picture", "s.zarr", "a", "-o", "a.png")


@pytest.mark.parametrize(
    ("spoil", "command", "code", "said"),
    [
        (with_signs, STATUS, 0, "2 clips"),
        (with_rows, VERIFY, 1, "damaged"),
        (with_rows, CHECK, 1, "this machine has"),
        (nested, STATUS, 0, "nested too deep"),
        (with_pipe, EXPORT, 1, "found a folder, pipe or device, expected a file"),
        (with_bomb, VERIFY, 1, "found 65545 bytes or more, expected"),
        (with_bomb, PICTURE, 1, "found 65545 bytes or more, expected"),
    ],
)
def test_a_hostile_store_does_no_harm(
    store: Path,
    spoil: Callable[[Path], None],
    command: Sequence[str],
    code: int,
    said: str,
) -> None:
    spoil(store)
    done = run(store, *command)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert said in text
    assert "Traceback" not in text
    assert "\x1b" not in text
    assert "\x07" not in text
    assert code == 0 or len(done.stderr.splitlines()) == (command != VERIFY)


def test_the_store_that_is_spoilt_is_whole(store: Path) -> None:
    assert set(verify_store(FeatureStore.open(store), 1).clips.values()) == {"whole"}
    assert run(store, *EXPORT).returncode == 0


def test_millions_of_missing_chunks_are_not_looked_for(store: Path) -> None:
    """Those that are not looked at are said to be unknown."""
    with_rows(store)
    (part,) = verify_store(FeatureStore.open(store), 1).parts
    assert part.state == "absent"
    assert len(part.reasons) < 10_000
    assert any("those after are not looked at" in reason for reason in part.reasons)
