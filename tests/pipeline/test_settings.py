"""Python's keywords are the commands' options: same words, defaults and checks."""

import inspect
import tomllib
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import facer
from facer.cli import facer as command_line
from facer.pipeline.affect.train import RecRunConfig, SetRecord
from facer.pipeline.detection.train import DetectorRunConfig, RefinerRunConfig
from facer.pipeline.endtoend.config import FinetuneConfig, FinetuneRunConfig
from facer.pipeline.runtime.run_folder import FORMAT, RunFolder
from facer.pipeline.settings.commands import (
    ABLATE,
    BENCH,
    CHECK,
    COMPARE,
    DATASET,
    EVALUATE,
    EVALUATE_DETECTOR,
    EVALUATE_REC,
    EXPORT,
    EXPORT_HEAD,
    EXTRACT,
    EXTRACT_AUDIO,
    FIGURE,
    FINETUNE,
    PREDICT,
    REPORT,
    SCORE,
    SUMMARISE,
    TRAIN_DETECTOR,
    TRAIN_HEAD,
    TRAIN_POINTS,
    TRAIN_REC,
    VERIFY,
)
from facer.pipeline.settings.configs import extract_run_config, train_head_config
from facer.pipeline.settings.table import Table, make, words
from facer.stages.affect.config import AugmentConfig, LossWeights, RecFitConfig
from facer.stages.detection.config import DetectorTrainConfig, RefinerTrainConfig
from facer.stages.features.config import DetectorConfig
from facer.stages.intensity.config import FitConfig
from facer.stages.summary.config import SummaryConfig
from facer.storage.errors import OptionError
from tests.support import outcome, told

NOT_KEYWORDS = {
    "output",
    "labels",
    "from",
    "config",
    "print_config",
    "json",
    "log",
}  # the first two are positional in Python


def _keyword(name: str) -> str:
    return "with_" if name == "with" else name  # a word of Python's own


def options(command: str) -> dict[str, click.Option]:
    return {
        _keyword(option.opts[-1].removeprefix("--").replace("-", "_")): option
        for option in command_line.commands[command].params
        if isinstance(option, click.Option)
    }


@pytest.mark.parametrize(
    ("command", "keywords", "arguments"),
    [
        ("extract", EXTRACT, ["videos"]),
        ("extract-audio", EXTRACT_AUDIO, ["videos"]),
        ("train-head", TRAIN_HEAD, ["-o", "run"]),
    ],
)
def test_keywords_are_the_options_of_the_command_with_their_defaults(command, keywords, arguments):
    found = options(command)
    assert set(keywords.defaults) == set(found) - NOT_KEYWORDS
    values = command_line.commands[command].make_context(command, arguments).params
    for name, default in keywords.defaults.items():
        value = values[str(found[name].name)]
        assert (tuple(words(value)) if isinstance(default, tuple) else value) == default, name


@pytest.mark.parametrize(
    ("command", "keywords"),
    [("predict", PREDICT), ("evaluate", EVALUATE), ("train-head", DATASET)],
)
def test_keywords_of_methods_are_options_too(command, keywords):
    assert set(keywords.defaults) <= set(options(command))


@pytest.mark.parametrize("function", [facer.extract, facer.train_head, facer.ClipDataset])
def test_a_signature_shows_the_keywords(function):
    parameters = inspect.signature(function).parameters
    assert "settings" not in parameters
    keywords = {facer.extract: EXTRACT, facer.train_head: TRAIN_HEAD}.get(function, DATASET)
    assert set(keywords.defaults) <= set(parameters)


def train(**settings):
    return train_head_config("s.zarr", "l.csv", Path("run"), TRAIN_HEAD.complete(settings))


def extract(**settings):
    return extract_run_config("videos", "s.zarr", EXTRACT, settings)


def test_settings_reach_their_fields(tmp_path):
    config = train(
        seeds=np.int64(3), t=64, features="va, au", head="gru-last", hidden_size=8, cell="lstm",
        learning_rate=1, missing_values=[-1, "n/a"], targets=("joy",), folds=5, by="clip",
        fold_splits="train",
    )  # fmt: skip
    assert (config.seeds, config.sequences.max_frames) == (3, 64)
    assert config.sequences.features == ("va", "au")
    assert (config.fit.head.name, config.fit.head.hidden_size, config.fit.head.cell) == (
        "gru-last", 8, "lstm",
    )  # fmt: skip
    assert config.fit.learning_rate == 1.0
    assert config.reading.missing_values == ("-1", "n/a")
    assert config.reading.targets == ("joy",)
    assert config.folds is not None
    assert (config.folds.folds, config.folds.by, config.folds.splits) == ("5", "clip", ("train",))
    assert train(with_={"audio": Path("a.zarr")}).streams.places == {"audio": "a.zarr"}
    assert train(no_mask=True).fit.head.routed is False
    assert train(targets=np.array(["joy", "awe"])).reading.targets == ("joy", "awe")
    assert train(targets=(name for name in ["joy"])).reading.targets == ("joy",)
    assert train(missing_values=np.array([-1, 9])).reading.missing_values == ("-1", "9")
    assert train(standardise=np.bool_(True)).fit.standardise is True
    key = tmp_path / "k.pem"
    key.touch()
    run = extract(workers=2, settle=3, detector="x.onnx", tls_key=key, rec=Path("r.onnx"))
    assert (run.workers, run.settle_s, run.extract.rec) == (2, 3.0, ("r.onnx",))
    assert (run.extract.detector.model, run.extract.detector.size_px) == ("x.onnx", 640)
    assert run.tls is not None
    assert run.tls.key == key


@pytest.mark.parametrize(
    ("call", "settings", "message"),
    [
        (extract, {"worker": 2}, "worker: found no such setting; did you mean 'workers'?"),
        (train, {"with_": ["audio"]}, "with_: found 'audio', expected NAME=STORE"),
        (train, {"with_": {"va": "x.zarr"}}, "with_ va=...: expected a name of its own"),
        (train, {"with_": ["a=x", "a=y"]}, "with_ a=...: expected a name of its own"),
        (train, {"rate": 10}, "rate: expected with_ beside it"),
        (train, {"rate": 0, "with_": ["a=x"]}, "rate: found 0"),
        (train, {"learning_rat": 2}, "did you mean 'learning_rate'?"),
        (extract, {"zzz": 2}, "zzz: found no such setting; expected some of detector, det_size"),
        (train, {"seeds": "3"}, "seeds: found '3', expected a whole number"),
        (train, {"seeds": True}, "seeds: found True, expected a whole number"),
        (train, {"seeds": 1.5}, "seeds: found 1.5, expected a whole number"),
        (train, {"seeds": None}, "seeds: found None, expected a whole number"),
        (train, {"standardise": 1}, "standardise: found 1, expected True or False"),
        (train, {"targets": 3}, "targets: found 3, expected a list of words"),
        (train, {"targets": {"joy"}}, "targets: found {'joy'}, expected a list of words"),
        (train, {"learning_rate": np.ones(2)}, "learning_rate: found [1.0, 1.0], expected a num"),
        (train, {"epochs": [0] * 99}, "epochs: found list [0, 0"),
        (train, {"head": "resnet"}, "head: found 'resnet', expected one of facernet"),
        (train, {"head": "perceiver", "no_mask": True}, "head perceiver takes no no_mask"),
        (train, {"by": "clip"}, "by: expected folds beside it"),
        (train, {"fold_splits": ["train"]}, "fold_splits: expected folds beside it"),
        (train, {"learning_rate": float("nan")}, "learning_rate: found nan"),
        (extract, {"det_threshold": "0.5"}, "det_threshold: found '0.5', expected a number"),
        (extract, {"det_threshold": 1.5}, "det_threshold"),
        (extract, {"device": 3}, "device: found 3, expected auto, cpu"),
        (extract, {"stride": 0}, "stride: found 0, expected 1 or more"),
        (extract, {"face": "larges"}, "face: found 'larges'"),
    ],
)
def test_a_wrong_setting_is_told(call, settings, message):
    with pytest.raises(OptionError) as told:
        call(**settings)
    assert message in str(told.value)


def test_a_table_where_its_file_is_expected_is_told():
    """Seen: "The truth value of a DataFrame is ambiguous"."""
    pandas = pytest.importorskip("pandas")
    with pytest.raises(OptionError, match=r"labels: found .*, expected text"):
        facer.evaluate("run", labels=pandas.DataFrame({"joy": [1, 2]}))


def test_an_unknown_keyword_is_a_type_error_too():
    with pytest.raises(TypeError):
        extract(worker=2)


def test_messages_name_keywords_in_python_and_options_on_the_command_line():
    with pytest.raises(OptionError) as told:
        train(batch_size=2)
    assert str(told.value).startswith("batch_size: found 2, expected 3 or more")
    assert str(told.value).endswith("use a larger batch or loss mse")
    assert told.value.with_options().startswith("--batch-size: found 2")
    assert told.value.with_options().endswith("or --loss mse")


COMMANDS = {
    "ablate": ABLATE, "bench": BENCH, "check": CHECK, "compare": COMPARE, "evaluate": EVALUATE,
    "export": EXPORT,
    "export-head": EXPORT_HEAD,
    "evaluate-detector": EVALUATE_DETECTOR, "evaluate-rec": EVALUATE_REC, "extract": EXTRACT,
    "extract-audio": EXTRACT_AUDIO,
    "figure": FIGURE, "summarise": SUMMARISE,
    "finetune": FINETUNE, "predict": PREDICT, "report": REPORT, "score": SCORE,
    "train-detector": TRAIN_DETECTOR, "train-head": TRAIN_HEAD, "train-points": TRAIN_POINTS,
    "train-rec": TRAIN_REC, "verify": VERIFY,
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_and_choices_of_a_command_are_those_of_its_configs(command):
    found = {option.name: option for option in options(command).values()}
    for name, one in COMMANDS[command].declared.items():
        option = found[name]
        text = str(option.help) + str(option.metavar)
        assert all(choice in text for choice in one.choices), name
        assert one.setting.help in str(option.help)
        default = option.to_info_dict()["default"]  # None where there is none
        value = None if one.value is MISSING or one.value == {} else one.value
        if isinstance(value, tuple) or tuple in one.types:
            assert tuple(words(default)) == (value or ()), name  # none of a repeated option
        else:
            assert default == value, name


def test_no_two_settings_of_a_table_have_one_name():
    with pytest.raises(ValueError, match="SummaryConfig: found settings of another"):
        Table(FitConfig, SummaryConfig)


def config_of(capsys, *arguments):
    return told(capsys, *arguments, "--print-config")[0]


def test_a_printed_config_given_back_is_the_same(tmp_path, capsys):
    given = ["train-head", "s.zarr", "--labels", "l.csv", "-o", "run", "--features", "va,au12",
             "--folds", "5", "--learning-rate", "3e-05", "--no-mask"]  # fmt: skip
    printed = config_of(capsys, *given)
    path = tmp_path / "config.toml"
    path.write_text(printed)
    assert config_of(capsys, "train-head", "--config", str(path)) == printed
    path.write_text(printed, encoding="utf-8-sig")  # as editors on Windows do
    assert config_of(capsys, "train-head", "--config", str(path)) == printed
    changed = config_of(capsys, "train-head", "--config", str(path), "--dense", "64")
    assert changed == printed.replace("dense = 32", "dense = 64")


def test_an_argument_of_several_paths_goes_through_a_file(tmp_path, capsys):
    """Seen: "PosixPath is not JSON serializable"."""
    printed = config_of(capsys, "fuse", "runs/a", "runs/b", "--weights", "val")
    assert 'runs = ["runs/a", "runs/b"]' in printed
    path = tmp_path / "config.toml"
    path.write_text(printed)
    assert config_of(capsys, "fuse", "--config", str(path)) == printed


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (
            ["summarise", "s.zarr", "-o", "stats", "--design", "{participant}"],
            "output design format",
        ),
        (["evaluate", "run", "--format", "eri"], "run format"),
        (["train-head", "s.zarr", "--labels", "l.csv", "-o", "r", "--from", "b"], "output from"),
    ],
)
def test_names_in_a_config_are_the_long_options(tmp_path, capsys, given, names):
    printed = config_of(capsys, *given)
    assert set(names.split()) <= {line.partition(" = ")[0] for line in printed.splitlines()}
    path = tmp_path / "config.toml"
    path.write_text(printed)
    assert config_of(capsys, given[0], "--config", str(path)) == printed
    before = {"output": "run", "from": "source"} if given[0] == "train-head" else {}
    for name, earlier in before.items():  # what was printed is still read
        printed_then = printed.replace(f"\n{name} = ", f"\n{earlier} = ")
        path.write_text(printed_then)
        assert printed_then != printed
        assert config_of(capsys, given[0], "--config", str(path)) == printed


def test_windows_and_thresholds_are_settings_like_others(tmp_path, capsys):
    given = ["summarise", "s.zarr", "-o", "stats", "--window", "after=0:4", "--window", "w=4:8.5",
             "--baseline", "-2:0", "--threshold", "au12=.4"]  # fmt: skip
    printed = config_of(capsys, *given)
    assert 'windows = ["after=0:4", "w=4:8.5"]' in printed
    path = tmp_path / "config.toml"
    path.write_text(printed)
    assert config_of(capsys, "summarise", "--config", str(path)) == printed
    texts = {"windows": ["after=0:4", "w=4:8.5"], "baseline": "-2:0", "thresholds": "au12=.4"}
    values = {"windows": {"after": (0, 4), "w": (4, 8.5)}, "baseline": [-2, 0],
              "thresholds": {"au12": 0.4}}  # fmt: skip
    first, second = (make(SummaryConfig, SUMMARISE.complete(one)) for one in (texts, values))
    assert first == second
    assert make(SummaryConfig, SUMMARISE.complete({})) == SummaryConfig()
    for wrong, message in (
        ({"windows": "after"}, "window: found 'after', expected NAME=VALUE"),
        ({"windows": {"after": 4}}, "window: found 4, expected a start and a stop"),
        ({"windows": {"after": (4, 0)}}, "expected a start before its stop"),
        ({"baseline": (0, 1, 2)}, "baseline: found"),
        ({"thresholds": {"au12": "x"}}, "expected FEATURE=NUMBER"),
        ({"thresholds": ["au12=nan"]}, "threshold au12: found nan"),
    ):
        with pytest.raises(OptionError) as told:
            make(SummaryConfig, SUMMARISE.complete(wrong))
        assert message in str(told.value)


def test_a_file_that_is_not_there_is_named_as_it_was_given(tmp_path, capsys):
    """Seen: of runs/a/x.toml, "x.toml: no such file"."""
    (tmp_path / "a.wav").touch()
    for arguments, shown in (
        (("train-head", "--config", "no/x.toml"), "--config no/x.toml"),
        (("extract-audio", tmp_path, "--features", "no/x.toml"), "no/x.toml"),
    ):
        assert told(capsys, *arguments, code=1)[1].startswith(f"facer: {shown}: no such file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 2", "worker: found no such setting; did you mean 'workers'?"),
        ("workers = [", "found no TOML"),
        ("workers = 'x'", "'x' is not a valid integer"),
        ("[workers]\na = 1", "workers: found a table, expected a value"),
        ("workers = 0", "--workers: found 0, expected 1 or more"),
        ("as_json = true", "as_json: found no such setting"),
        ("\x00", "found no TOML"),
        ("rec = " + "[" * 100_000, "found no TOML"),
        ("workers = 3.7", "'3.7' is not a valid integer"),
        ("workers = 1e400", "'inf' is not a valid integer"),
        ("tls_cert = 5", "--tls-cert 5: no such file"),
        ("workers = 2026-01-02", "'2026-01-02' is not a valid integer"),
    ],
)
def test_a_wrong_config_is_told_in_a_line(tmp_path, capsys, text, message):
    path = tmp_path / "config.toml"
    path.write_text(text)
    code, _, err = outcome(capsys, "extract", tmp_path, "-o", tmp_path / "s.zarr", "--config", path)
    assert code in (1, 2)
    assert message in err
    assert err.count("\n") == 1


def test_a_config_that_is_not_there_is_told(tmp_path, capsys):
    _, err = told(capsys, "extract", "videos", "--config", tmp_path / "absent.toml", code=1)
    assert "absent.toml: no such file" in err


def test_a_run_is_a_config(planted, tmp_path, capsys):
    store, labels = planted()
    told(capsys, "train-head", store, "--labels", labels, "-o", tmp_path / "run",
         "--epochs", 2, "--t", 32, "--hidden-size", 8, "--dense", 4)  # fmt: skip
    for place in (tmp_path / "run", tmp_path / "run" / "config.json"):
        printed = config_of(capsys, "train-head", "--config", str(place), "-o", "again")
        assert 'output = "again"\n' in printed
        for line in ("epochs = 2", "t = 32", "hidden_size = 8", "dense = 4"):
            assert f"{line}\n" in printed


def of_run(capsys, command, folder, *more):
    """Settings that ``--config FOLDER`` gives a command."""
    return tomllib.loads(config_of(capsys, command, "--config", str(folder), *more))


def test_runs_of_networks_are_configs_too(tmp_path, capsys):
    run, points = tmp_path / "detector", tmp_path / "points"
    paths: dict[str, Any] = dict.fromkeys(("faces", "scenes", "clips", "teacher"), Path("x"))
    config = DetectorTrainConfig(**paths, steps=7, seed=3)
    RunFolder(run, DetectorRunConfig).write(DetectorRunConfig(**vars(config)))
    found = of_run(capsys, "train-detector", run, "-o", "again")
    assert (found["steps"], found["seed"], found["faces"], found["output"]) == (7, 3, "x", "again")
    refiner = RefinerTrainConfig(**paths, crops=(Path("y"),), steps=5)
    RunFolder(points, RefinerRunConfig).write(RefinerRunConfig(**vars(refiner)))
    found = of_run(capsys, "train-points", points / "config.json", "-o", "again", "--steps", "6")
    assert (found["steps"], found["crops"]) == (6, ["y"])

    fit = RecFitConfig(epochs=4, loss=LossWeights(dm=0.5), augment=AugmentConfig(tint=0.1))
    sets = tuple(
        SetRecord(spec, split, 1, {}, False, "0" * 64, ())
        for spec, split in (("pack:a.h5", "train"), ("pack:b.h5", "train"), ("pack:c.h5", "val"))
    )
    record = RecRunConfig(FORMAT, "0.1", sets, fit, detector=DetectorConfig(score=0.4).in_use())
    RunFolder(tmp_path / "rec", RecRunConfig).write(record)
    found = of_run(capsys, "train-rec", tmp_path / "rec", "-o", "again")
    assert found["data"] == ["pack:a.h5", "pack:b.h5"]
    assert (found["val"], found["epochs"], found["det_threshold"]) == (["pack:c.h5"], 4, 0.4)
    assert {"dm=0.5", "tint=0.1"} <= {*found["weights"], *found["augment"]}


def test_an_output_of_finetune_is_a_config(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.safetensors").touch()
    config = FinetuneConfig(
        Path("head"), Path("videos"), "my.safetensors", output=tmp_path, epochs=2, seed=9
    )
    RunFolder(tmp_path, FinetuneRunConfig, "finetune.json").write(config.of_run)
    found = of_run(capsys, "finetune", tmp_path, "-o", "again")
    assert (found["epochs"], found["seed"], found["output"]) == (2, 9, "again")
    assert (found["run"], found["video_dir"]) == (str(Path("head").absolute()),
                                                  str(Path("videos").absolute()))  # fmt: skip
    assert found["rec"] == str(Path("my.safetensors").absolute())
    assert FinetuneConfig(Path("head"), Path("v"), output=tmp_path).of_run.rec == "rec-small"
