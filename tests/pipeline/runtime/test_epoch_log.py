"""Learning curves as TensorBoard reads them."""

import math
import sys

import pytest

from facer.pipeline.runtime.epoch_log import epoch_log, numbers
from facer.stages.intensity.fit import EpochRow
from facer.storage.errors import FacerError


def test_the_numbers_of_a_row_have_names():
    row = {
        "epoch": 2, "loss": {"total": 1.5, "ccc": math.nan}, "best": True,
        "val": [{"data": "own", "expression": {"accuracy": 0.5}, "au": {"au12": None}}],
    }  # fmt: skip
    expected = {"epoch": 2, "loss/total": 1.5, "val/own/expression/accuracy": 0.5}
    assert dict(numbers(row)) == expected


def test_tensorboard_reads_what_was_noted(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with epoch_log("tensorboard", tmp_path) as note:
        for epoch in (1, 2):
            note(EpochRow(epoch, 3, 0.5 / epoch, 0.1, 0.2, 0.3, True, 1.0, 2.0), "seed-0")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "seed-0")).Reload()
    scalars = events.Scalars("train_loss")
    assert [(one.step, one.value) for one in scalars] == [(1, 0.5), (2, 0.25)]


def test_without_a_log_nothing_is_written(tmp_path):
    with epoch_log(None, tmp_path) as note:
        note({"epoch": 1})
    assert not list(tmp_path.iterdir())


def test_without_the_extra_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(FacerError, match=r"pip install 'facer\[tensorboard\]'"),
        epoch_log("tensorboard", tmp_path),
    ):
        pass
