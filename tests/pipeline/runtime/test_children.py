"""What goes through the pipes between processes comes out as it went in, and nothing else does."""

import json
import math
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from facer.pipeline.features.part import PartTask
from facer.pipeline.features.pending import ClipTask
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.train import SeedTask, train_seed
from facer.pipeline.runtime.children import (
    describe_error,
    dumps,
    function_name,
    import_path,
    loads,
    module_command,
    raised,
)
from facer.stages.features.config import ExtractConfig
from facer.storage import Provenance, Record
from facer.storage.study.faces import FacePoint
from tests.support import some


@pytest.mark.parametrize(
    "value",
    [
        PartTask(
            "/videos", "/s.zarr", Provenance("d", "0", "r", "1", settings={"a": [1, None]}),  # type: ignore[dict-item]
            ExtractConfig(device="cpu"),
            (ClipTask("a/b\udc80", "a/b\udc80.mp4", points=(FacePoint(0.5, 3.0, 4.0),)),), 1, True,
        ),
        SeedTask(TrainHeadConfig("s", "l", Path("run")), 3),
        (Record("a", "ok", 3, reason="tail\nbroken", fps=29.97),),
        {"fields": 1, 2: ["class", {"tuple": ()}], "path": {}},
        [0.1, 1e300, -0.0, float("inf"), True, None, "\u2028"],
    ],
)  # fmt: skip
def test_values_come_out_as_they_went_in(value):
    line = dumps(value)
    assert "\n" not in line
    assert line.isascii()
    assert loads(line) == value
    assert type(loads(line)) is type(value)
    assert repr(loads(line)) == repr(value)  # seen: points as plain tuples, which are equal


def test_what_is_not_a_number_stays_so():
    assert math.isnan(loads(dumps(float("nan"))))


@dataclass(frozen=True)
class NotOurs:
    command: str


class NotOursEither(NamedTuple):
    command: str


@pytest.mark.parametrize("value", [NotOurs("x"), NotOursEither("x"), b"bytes", {1}, object()])
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="cannot be handed to another process"):
        dumps(value)


@pytest.mark.parametrize(
    "name",
    [
        "subprocess:Popen",
        "facer.storage:FeatureStore",
        "facer.pipeline.features.guarded.process:subprocess",
    ],
)
def test_a_line_makes_dataclasses_and_named_tuples_of_facer_and_nothing_else(name):
    with pytest.raises(TypeError, match="no dataclass or named tuple of facer"):
        loads(json.dumps({"class": name, "fields": {"args": "true"}}))


def test_functions_are_found_by_name():
    assert function_name(train_seed) == "facer.pipeline.intensity.train:train_seed"

    def inside():
        pass

    for function in (inside, lambda: None, loads("1").__add__):
        with pytest.raises(TypeError, match="expected a function at the top level"):
            function_name(function)


class OfALibrary(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"), KeyError("a"), FileNotFoundError(2, "No such file", "/a"), OfALibrary(),
        OfALibrary("two\nlines"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), MemoryError(),
    ],
)  # fmt: skip
def test_exceptions_keep_their_name_and_text(error):
    again = raised(json.loads(json.dumps(describe_error(error))))
    assert (type(again).__name__, str(again)) == (type(error).__name__, str(error))
    if isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError):
        assert isinstance(again, type(error))


@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_interrupts_a_worker_but_under_nohup(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        worker = subprocess.Popen(
            module_command("facer.pipeline.runtime.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": import_path()},
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    with worker:
        assert loads(some(worker.stdout).readline()) == {"ready": True}
        some(worker.stdin).write(dumps({"function": "time:sleep", "item": 1}).encode() + b"\n")
        some(worker.stdin).flush()
        worker.send_signal(signal.SIGHUP)
        assert bool(some(worker.stdout).readline()) == ignored  # its answer
        worker.kill() if ignored else None
        assert worker.wait(20) == (-signal.SIGKILL if ignored else 0)
