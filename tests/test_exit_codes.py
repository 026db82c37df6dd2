"""One rule over all commands: a value that could never be right is wrong usage, exit code 2."""

from __future__ import annotations

from typing import Any

import click
import pytest

from facer import cli
from facer.pipeline.commands import shared
from tests.support import told

ABSENT = "absent"  # a path; what is wrong with an option is told before anything is looked for
# of options that are text: what is no choice, and of numbers: what is out of every range
WRONG: dict[str, list[str]] = {
    "device": ["tpu"], "log_to": ["wandb"], "precision": ["int4"], "face": ["smallest"],
    "changed": ["maybe"], "kind": ["csv2"], "window": ["x"], "windows": ["x"], "baseline": ["x"],
    "threshold": ["au12"], "thresholds": ["au12"], "series": ["tall"], "scale": ["log"],
    "baseline_fallback": ["x"],
    "wide": ["sum"], "width": ["triple"],
    "head": ["resnet"], "loss": ["l1"], "overlong": ["cut"], "missing": ["guess"],
    "cell": ["rnn"], "calibrate": ["all"], "features": [","], "backbone": ["vgg"],
    "coupling": ["some"], "weights": ["ccc=x", "none=1", "ccc=-1"], "augment": ["tint", "tint=-1"],
    "data": ["AffectNet", "kind:path"], "rows": ["table9", ""], "also": ["x", "=s"],
    "form": ["xls"], "format": ["xls"], "split": ["dev"], "gone": ["maybe"], "folds": ["x", "1"],
    "fold_splits": ["dev"], "targets": ["joy,joy"], "train-head by": ["person"],
    "sweep by": ["person"], "normalise": ["clip"], "schedule": ["step"], "set": ["x", "hidden=3"],
    "ablate by": ["person"], "with_": ["x", "=s"], "align": ["median"], "lacking": ["guess"],
    "train-head cache": ["ram"], "ablate cache": ["ram"], "sweep cache": ["ram"],
    "fuse weights": ["most"], "max_failed": ["x", "101%"],
}  # fmt: skip
ANY = {  # names of files, folders and models, and what needs no more than being a word
    "store", "labels", "run", "video_dir", "scheduler", "detector", "rec", "source", "output",
    "predictions", "against", "pictures", "videos", "video", "clips", "cache", "start", "teachers",
    "validation", "teacher", "faces", "scenes", "crops", "folder", "clip_id", "path", "name",
    "tls_ca_file", "tls_cert", "tls_key", "id_column", "subject_column", "split_column",
    "missing_values", "file_id_column", "by", "unit_geometry", "meshes", "people", "people_clips",
    "points", "config", "val", "prefer", "design", "pattern", "events", "marks", "stats",
    "feature", "of", "who", "groups",
}  # fmt: skip
NAMES = {
    "export": "a.h5",
    "export-head": "a.onnx",
    "export-rec": "a.onnx",
    "picture": "a.png",
    "annotate": "a.mp4",
}


def cases() -> list[tuple[str, str, str]]:
    found = []
    for name, command in sorted(cli.facer.commands.items()):
        for option in command.params:
            if not isinstance(option, click.Option) or option.is_flag:
                continue
            if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
                wrong = ["x", "-1"]
                if isinstance(option.type, click.types.FloatParamType):
                    wrong += ["nan"]
            elif found_wrong := WRONG.get(f"{name} {option.name}", WRONG.get(option.name, [])):
                wrong = found_wrong
            else:
                assert option.name in ANY, f"{name} {option.opts[-1]}: say what is wrong for it"
                continue
            found += [(name, option.opts[-1], value) for value in wrong]
    return found


def arguments(name: str, option: str) -> list[str]:
    """What a command needs besides, naming things that are not there."""
    given: list[str] = []
    for parameter in cli.facer.commands[name].params:
        if isinstance(parameter, click.Argument) and parameter.name != "name":
            choices: Any = getattr(parameter.type, "choices", None)
            word = "muse" if parameter.name == "kind" else NAMES.get(name, ABSENT)
            given.append(choices[0] if choices else word)
        elif parameter.required and option not in parameter.opts:
            word = "pack:absent.h5" if parameter.name == "data" else NAMES.get(name, ABSENT)
            given += [parameter.opts[-1], word]
    if name == "evaluate-detector" and option != "--scenes":
        given += ["--scenes", ABSENT]
    if name == "design" and option != "--pattern":
        given += ["--pattern", "{participant}"]
    if name == "sweep" and option != "--set":
        given += ["--set", "hidden_size=8"]
    if name == "fuse":
        given.append("absent-too")
    if name == "train-head" and option != "--labels":
        given += ["--labels", ABSENT]
    return given


@pytest.mark.parametrize(("name", "option", "value"), cases())
def test_a_wrong_value_is_wrong_usage(
    name: str, option: str, value: str, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (name, *arguments(name, option), f"{option}={value}")
    out, err = told(capsys, *command, code=shared.EXIT_USAGE)
    assert err.startswith("facer: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(set(cli.facer.commands) - {"models", "demo", "bench"}))
def test_what_is_not_there_is_a_problem(
    name: str, tmp_path: Any, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    _, err = told(capsys, name, *arguments(name, ""), code=shared.EXIT_PROBLEM)
    assert err.count("\n") == 1
