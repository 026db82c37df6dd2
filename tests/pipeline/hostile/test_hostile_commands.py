"""Every command that reads a store or a run, on ones that were made to do harm.

Memory: tests/pipeline/hostile/test_hostile_stores.py, in processes of few addresses.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facer.cli import main
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.storage import FeatureStore
from facer.storage.files.cells import safe_cell
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from facer.storage.layout.documents import sealed_group_json

FAST = FitConfig(HeadConfig(hidden_size=4, dense=4), learning_rate=3e-3, epochs=1)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(command ...)``: exit code, what went to stdout, and the last line of stderr."""

    def call(*command: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(list(command))
        out, err = capsys.readouterr()
        text = out + err
        assert not set("\x1b\x07\x9b\0") & set(text), command
        assert "Traceback" not in text, command
        assert "please report it" not in text, (command, text)
        return int(end.value.code or 0), out, (err.splitlines() or [""])[-1]

    return call


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves its world for the others to copy."""
    return tmp_path_factory.mktemp("sound") / "world"


@pytest.fixture
def world(
    planted: Callable[..., tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    sound: Path,
) -> Path:  # fmt: skip
    """A store, its labels and a run on them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    if not sound.exists():
        train_head(TrainHeadConfig(*planted(), tmp_path / "run", fit=FAST))
        shutil.copytree(tmp_path, sound)
    else:
        shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
        config = tmp_path / "run" / "config.json"
        record = json.loads(config.read_text())
        record["store"] = str(tmp_path / "planted.zarr")
        record["labels"]["path"] = str(tmp_path / "labels.csv")
        config.write_text(json.dumps(record))
    return tmp_path


def part() -> Path:
    (found,) = (path for path in Path("planted.zarr/parts").iterdir() if path.is_dir())
    return found


def reseal(change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a part's records as someone does who computes the checksum anew."""
    path = part() / "zarr.json"
    attributes = json.loads(path.read_text())["attributes"]
    del attributes["checksum"]
    change(attributes)
    path.write_bytes(sealed_group_json(attributes))


def with_pipe() -> None:
    for chunk in ("features/c/0/0", "valid/c/0", "timestamp_s/c/0"):
        (part() / chunk).unlink()
        os.mkfifo(part() / chunk)


def with_rows() -> None:
    reseal(lambda attributes: attributes["records"][-1].update(stop=10**13))


def without_arrays() -> None:
    for folder in part().iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)


def nested() -> None:
    (part() / "zarr.json").write_text('{"attributes":{"records":' + "[" * 10**6)


def root_is_a_pipe() -> None:
    Path("planted.zarr/zarr.json").unlink()
    os.mkfifo("planted.zarr/zarr.json")


READERS = (
    ("train-head", "planted.zarr", "--labels", "labels.csv", "-o", "new", "--epochs", "1"),
    ("ablate", "planted.zarr", "--labels", "labels.csv", "-o", "table", "--rows", "table2",
     "--seeds", "1", "--epochs", "1"),
    ("check", "planted.zarr", "--labels", "labels.csv"),
    ("evaluate", "run"),
    ("report", "run", "-o", "look"),
    ("picture", "planted.zarr", "clip-00", "-o", "a.png"),
    ("annotate", "planted.zarr", "clip-00", "-o", "a.mp4"),
    ("export", "planted.zarr", "a.h5"),
    ("export", "planted.zarr", "a.csv"),
    ("export", "planted.zarr", "muse", "--format", "muse"),
    ("verify", "planted.zarr"),
    ("finetune", "run", "videos", "-o", "joint"),
    ("predict", "run", "videos", "--store", "planted.zarr", "--workers", "1"),
    ("extract", "videos", "-o", "planted.zarr", "--workers", "1"),
)  # fmt: skip


@pytest.mark.parametrize("spoil", [with_pipe, with_rows, without_arrays, nested, root_is_a_pipe])
def test_a_spoilt_store_is_told_by_each_command(
    world: Path, run: Run, make_video: Callable[..., Path], spoil: Callable[[], None]
) -> None:
    make_video("videos/a.mp4")
    spoil()
    for command in READERS:  # ablate tells row by row, and exits with 3
        code, _, line = run(*command)
        told = code == 1 or (command[0] == "ablate" and code == 3) or "broken part" in line
        assert told, (command, line)


def test_names_that_are_escapes_or_formulas_are_shown_as_they_are(world: Path, run: Run) -> None:
    names = ("=HYPERLINK(1)\x1b[2J\r\n", "@x\x07", "../../up", "+1+1")

    def rename(attributes: dict[str, Any]) -> None:
        for name, record in zip(names, attributes["records"], strict=False):
            record.update(clip_id=name, reason="\x1b]0;title\x07")

    reseal(rename)
    for command in (("status", "planted.zarr"), *READERS[2:4], ("report", "run", "-o", "look")):
        assert run(*command)[0] == 0, command
    assert run("export", "planted.zarr", "a.csv")[0] == 0
    text = Path("a.csv").read_text()
    assert all(f"\n{safe_cell(name)}," in text for name in names[1:])
    assert not any(line.startswith(("=", "@", "+", '"=')) for line in text.splitlines())
    assert run("export", "planted.zarr", "a.h5")[0] == 0
    assert run("export", "planted.zarr", "muse", "--format", "muse")[0] in (0, 1)
    assert not (world.parent / "up.csv").exists()


@pytest.mark.parametrize(
    ("array", "value"),
    [
        *(
            (name, value)
            for name in ("timestamp_s", "features")
            for value in (np.nan, np.inf, 3e38)
        ),
        *((name, 1e30) for name in ("bbox_px", "keypoints_px")),
        ("n_faces", -5),
    ],
)
def test_numbers_that_no_extraction_writes(
    world: Path, run: Run, face_frames: Any, make_video: Any, array: str, value: float
) -> None:
    """Seen: a traceback of the library that draws, for times, points and features like these."""
    make_video("videos/clip-00.mp4", face_frames(4))
    store = FeatureStore.open("planted.zarr")
    entries = []
    for record in store.records:
        clip = store.read(record.clip_id)
        if record.clip_id == "clip-00":
            clip.timestamp_s[:] = np.arange(clip.n_frames) / 25
            getattr(clip, array)[...] = value
        entries.append((record, clip))
    shutil.rmtree("planted.zarr")
    made = FeatureStore.create("planted.zarr", store.provenance)
    made.write_part(entries)
    for command in (READERS[0], *READERS[3:7], READERS[8]):
        code, _, line = run(*command, *(("--videos", "videos") if command[0] == "annotate" else ()))
        assert code in (0, 1, 3), (command, line)


CONFIGS: tuple[dict[str, Any], ...] = (
    {"labels": {}},
    {"labels": {"path": 5, "kind": "plain", "sha256": ""}},
    {"labels": {"path": "a\0b", "kind": "plain", "sha256": ""}},
    {"labels": {"path": "x", "kind": "\x1b", "sha256": ""}},
    {"labels": {"path": "x", "kind": "plain", "sha256": "", "options": []}},
    {"labels": {"path": "x", "kind": "plain", "sha256": "", "options": {"targets": 5}}},
    {"labels": {"path": "x", "kind": "plain", "sha256": "", "files": 5}},
    {"sequences": {"features": 5}},
    {"sequences": {"features": [5]}},
    {"sequences": {"max_frames": -5}},
    {"sequences": {"max_frames": "480"}},
    {"fit": {"head": {"hidden_size": "x"}}},
    {"fit": {"head": 5}},
    {"fit": {"loss": "\x1b[2J"}},
    {"fit": {"learning_rate": "x"}},
    {"fit": {"epochs": [1]}},
    {"names": [1, 2]},
    {"names": [["joy"]]},
    {"columns": [{}]},
    {"train_mean": ["x", "y"]},
    {"train_mean": [1e400, 10**400]},
    {"train_mean": [1.0]},
    {"store": "a\0b"},
    {"store_provenance": {"rec": 5}},
    {"columns": []},
    {"fit": {"seed": 10**40}},
    {"fit": {"head": {"layers": 10**6}}},
    {"seeds": -1},
    {"seeds": 10**30},
    {"folds": 5, "fold": None},
    {"folds": {"folds": "2"}, "fold": "x"},
)


@pytest.mark.parametrize("change", CONFIGS, ids=lambda change: json.dumps(change)[:40])
def test_a_config_that_no_training_wrote(world: Path, run: Run, change: dict[str, Any]) -> None:
    path = Path("run/config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for command in (
        ("evaluate", "run"),
        ("train-head", "--from", "run", "-o", "again"),
    ):
        code, _, line = run(*command)
        assert code == 1, command
        assert "config.json: " in line or "\\x00" in line, (command, line)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "bytes"])
@pytest.mark.parametrize("name", ["config.json", "seed-0/best.safetensors", "seed-0/curve.csv"])
def test_a_file_of_a_run_that_is_none(world: Path, run: Run, name: str, kind: str) -> None:
    """Seen: a report that waited for whoever would write into a pipe called curve.csv."""
    path = Path("run") / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(os.urandom(3000))
    assert run("report", "run", "-o", "look")[0] == 1
    assert run("evaluate", "run")[0] == (name != "seed-0/curve.csv")


def test_labels_of_a_run_that_are_a_pipe(world: Path, run: Run) -> None:
    Path("labels.csv").unlink()
    os.mkfifo("labels.csv")
    for command in (("evaluate", "run"), READERS[0], READERS[2], ("score", "labels.csv",
                    "--labels", "labels.csv")):  # fmt: skip
        code, _, line = run(*command)
        assert code == 1, command
        assert "a pipe (FIFO), expected csv text" in line


def test_a_state_of_another_training(world: Path, run: Run) -> None:
    tensors, meta = load_checkpoint("run/seed-0/best.safetensors")
    save_checkpoint("run/seed-0/last.safetensors", tensors, meta)
    Path("run/seed-0/curve.csv").unlink()
    code, _, line = run("train-head", "--from", "run", "-o", "again")
    assert code == 0, line  # which reads the config alone
    shutil.copy("run/seed-0/last.safetensors", "again/seed-0/last.safetensors")
    Path("again/seed-0/curve.csv").unlink()
    code, _, line = run("train-head", "--from", "run", "-o", "again", "--resume")
    assert code == 1
    assert "found no state that facer train-head wrote" in line
