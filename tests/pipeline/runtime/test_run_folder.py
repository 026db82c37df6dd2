"""A run folder: claimed, compared, resumed, whatever is trained in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from facer.pipeline.endtoend.config import FinetuneRunConfig
from facer.pipeline.runtime import run_folder
from facer.pipeline.runtime.run_folder import RunFolder
from facer.storage.errors import FacerError
from facer.storage.files.atomic import write_atomic, write_new
from facer.storage.files.checkpoints import save_checkpoint
from facer.storage.text.typed_json import plain


@dataclass(frozen=True)
class Config:
    COMMAND: ClassVar[str] = "facer train-x"
    OPTIONS: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int
    note: str = ""

    def deciding(self) -> Mapping[str, Any]:
        return {"steps": self.steps}


class Sum:
    """Adds its epoch to a number."""

    def __init__(self, epochs: int = 3) -> None:
        self.total, self.epochs_done, self.epochs = 0.0, 0, epochs

    @property
    def finished(self) -> bool:
        return self.epochs_done >= self.epochs

    def epoch(self, on_step=None):
        self.epochs_done += 1
        self.total += self.epochs_done
        if on_step is not None:
            on_step(self.epochs_done, 1, 1)
        return {"epoch": self.epochs_done, "total": self.total}

    def state(self):
        return {"total": np.array(self.total)}, {"epoch": self.epochs_done}

    def load_state(self, arrays, meta):
        self.total, self.epochs_done = float(arrays["total"]), int(meta["epoch"])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder[Config]:
    return RunFolder(tmp_path / "run", Config)


def test_a_new_run_is_claimed_and_an_old_one_refused_or_compared(folder):
    folder.claim(Config(3, "first"), resume=False)
    assert folder.read() == Config(3, "first")
    with pytest.raises(FacerError, match="is there already and not empty"):
        folder.claim(Config(3), resume=False)
    folder.claim(Config(3, "other"), resume=True)
    assert folder.read().note == "first"
    with pytest.raises(FacerError, match=r"was made with other steps \(was 3, now 4\); resume"):
        folder.claim(Config(4), resume=True)


def test_a_file_is_no_run(folder):
    folder.path.write_text("")
    with pytest.raises(FacerError, match="is a file, expected the name of a new folder"):
        folder.claim(Config(3), resume=True)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_stopped_anywhere_it_ends_the_same(folder, stop):
    class Stop(Exception):
        pass

    def keep(row):
        folder.append(row)
        if row["epoch"] == stop:
            raise Stop  # the row is written, the state is not

    with pytest.raises(Stop):
        folder.train(Sum(), keep=keep)
    trainer = Sum()
    heard: list[Any] = []
    steps: list[Any] = []
    folder.resume(trainer)
    assert trainer.epochs_done == stop - 1
    folder.train(trainer, heard.append, lambda *step: steps.append(step), folder.append)
    assert trainer.total == 6
    assert [row["epoch"] for row in folder.read_curve()] == [1, 2, 3]
    assert [row["epoch"] for row in heard] == list(range(stop, 4))
    assert steps == [(epoch, 1, 1) for epoch in range(stop, 4)]


def test_states_are_saved_when_due_and_at_the_end(folder, monkeypatch):
    saved = []
    monkeypatch.setattr(RunFolder, "save", lambda _, trainer: saved.append(trainer.epochs_done))
    folder.train(Sum(5), due=lambda row: row["epoch"] == 2)
    assert saved == [2, 5]


def test_another_state_is_told_in_a_line(folder):
    save_checkpoint(folder.last, {}, {"epoch": 2})
    with pytest.raises(FacerError, match="found no state that facer train-x wrote"):
        folder.resume(Sum())


def test_a_curve_without_a_state_starts_again(folder):
    folder.append({"epoch": 1})
    folder.resume(Sum())
    assert folder.read_curve() == []


def test_settings_of_an_older_finetune_are_read(tmp_path):
    old = Path(__file__).parents[2] / "data" / "runs-v1" / "joint"
    run = Path(shutil.copytree(old, tmp_path / "run"))
    found = RunFolder(run, FinetuneRunConfig, "finetune.json").read()
    assert (found.run, found.epochs, found.reading.kind) == (Path("/runs/fhead"), 2, "auto")
    stored = json.loads((run / "finetune.json").read_text())
    assert plain(found)["learning_rate"] == stored["learning_rate"]


def test_the_state_of_another_run_is_not_resumed(folder, tmp_path):
    other = RunFolder(tmp_path / "other", Config)
    for one, steps in ((folder, 3), (other, 4)):
        one.claim(Config(steps), resume=False)
        one.save(Sum())
    folder.resume(Sum())
    shutil.copy(other.last, folder.last)
    with pytest.raises(FacerError, match=r"another training, made with other steps \(was 4, now 3"):
        folder.resume(Sum())
    folder.last.write_bytes(b"")
    with pytest.raises(FacerError, match="remove it to train from the start"):
        folder.resume(Sum())


def test_of_two_runs_that_begin_at_once_one_is_refused(folder, monkeypatch):
    def late(path, text):
        write_atomic(path, json.dumps(plain(Config(4))))  # by another process, since the look
        return write_new(path, text)

    monkeypatch.setattr(run_folder, "write_new", late)
    with pytest.raises(FacerError, match="is there already and not empty"):
        folder.claim(Config(3), resume=False)
    assert folder.read() == Config(4)
    assert [path.name for path in folder.path.iterdir()] == ["config.json"]


def test_two_processes_do_not_train_in_one_folder(folder):
    """Seen: both wrote the curve, which had each epoch twice."""
    folder.claim(Config(3), resume=False)
    refused = pytest.raises(FacerError, match="another process is training there")
    with folder.alone(), refused, folder.alone():
        pass
    with folder.alone():
        pass


def test_a_curve_that_lacks_rows_is_told_before_the_training_goes_on(folder):
    """Seen: the training ended well, its curve without these epochs."""
    folder.claim(Config(3), resume=False)
    with pytest.raises(KeyboardInterrupt):
        folder.train(Sum(), lambda row: stop_after(row, 2), keep=folder.append)
    folder.resume(Sum(), curve=True)
    first, _ = folder.curve.read_text().splitlines()
    for text, found in ((first, "found 1 rows, expected 2"), ("[", "not lines of JSON")):
        folder.curve.write_text(text)
        with pytest.raises(FacerError, match=f"{found}.*; put the run's own file there, or remove"):
            folder.resume(Sum(), curve=True)


def stop_after(row, epoch):
    if row["epoch"] == epoch:
        raise KeyboardInterrupt


def test_a_folder_of_something_else_is_no_run_to_resume(folder):
    """Seen: settings were written into it, and a file called curve.jsonl was emptied."""
    folder.path.mkdir()
    folder.curve.write_text("mine")
    with pytest.raises(
        FacerError, match=r"found curve.jsonl and no config.json, expected a run of"
    ):
        folder.claim(Config(3), resume=True)
    assert [path.name for path in folder.path.iterdir()] == ["curve.jsonl"]
