"""Python's keywords are the commands' options: same words, defaults and checks."""

import inspect
from pathlib import Path

import click
import numpy as np
import pytest

import facer
from facer.cli import facer as command_line
from facer.pipeline.settings import (
    DATASET,
    EXTRACT,
    EXTRACT_MODELS,
    LABELS,
    TRAIN_HEAD,
    extract_run_config,
    in_python,
    train_head_config,
    words,
)
from facer.storage.errors import OptionError

NOT_KEYWORDS = {"log", "output", "labels", "from"}  # the first two are positional in Python


def options(command: str) -> dict[str, click.Option]:
    return {
        option.opts[-1].removeprefix("--").replace("-", "_"): option
        for option in command_line.commands[command].params
        if isinstance(option, click.Option)
    }


@pytest.mark.parametrize(
    ("command", "keywords", "arguments"),
    [("extract", EXTRACT, ["videos"]), ("train-head", TRAIN_HEAD, ["-o", "run"])],
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
    [("predict", EXTRACT_MODELS), ("evaluate", LABELS), ("train-head", DATASET)],
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
    return extract_run_config("videos", "s.zarr", EXTRACT.complete(settings))


def test_settings_reach_their_fields(tmp_path):
    config = train(
        seeds=np.int64(3), t=64, features="va, au", head="gru-last", units=8, cell="lstm",
        learning_rate=1, missing_values=[-1, "n/a"], targets=("joy",), folds=5, by="clip",
        fold_splits="train",
    )  # fmt: skip
    assert (config.seeds, config.sequences.max_frames) == (3, 64)
    assert config.sequences.features == ("va", "au")
    assert (config.fit.head.name, config.fit.head.units, config.fit.head.cell) == (
        "gru-last", 8, "lstm",
    )  # fmt: skip
    assert config.fit.learning_rate == 1.0
    assert config.reading.missing_values == ("-1", "n/a")
    assert config.reading.targets == ("joy",)
    assert config.folds is not None
    assert (config.folds.folds, config.folds.by, config.folds.splits) == ("5", "clip", ("train",))
    assert train(no_mask=True).fit.head.routed is False
    key = tmp_path / "k.pem"
    key.touch()
    run = extract(workers=2, settle=3, detector="x.onnx", tls_key=key, rec=Path("r.onnx"))
    assert (run.workers, run.settle_s, run.extract.rec) == (2, 3.0, "r.onnx")
    assert (run.extract.detector.model, run.extract.detector.size_px) == ("x.onnx", 640)
    assert run.tls is not None
    assert run.tls.key == key


@pytest.mark.parametrize(
    ("call", "settings", "message"),
    [
        (extract, {"worker": 2}, "worker: found no such setting; did you mean 'workers'?"),
        (train, {"learning_rat": 2}, "did you mean 'learning_rate'?"),
        (extract, {"zzz": 2}, "zzz: found no such setting; expected some of rec, device"),
        (train, {"seeds": "3"}, "--seeds: found '3', expected a whole number"),
        (train, {"seeds": True}, "--seeds: found True, expected a whole number"),
        (train, {"seeds": 1.5}, "--seeds: found 1.5, expected a whole number"),
        (train, {"seeds": None}, "--seeds: found None, expected a whole number"),
        (train, {"standardise": 1}, "--standardise: found 1, expected True or False"),
        (train, {"targets": 3}, "--targets: found 3, expected a list of words"),
        (train, {"head": "resnet"}, "--head: found 'resnet', expected one of facernet"),
        (train, {"head": "perceiver", "no_mask": True}, "--head perceiver takes no --no-mask"),
        (train, {"by": "clip"}, "--by: expected --folds beside it"),
        (train, {"fold_splits": ["train"]}, "--fold-splits: expected --folds beside it"),
        (train, {"learning_rate": float("nan")}, "--learning-rate: found nan"),
        (extract, {"det_threshold": "0.5"}, "--det-threshold: found '0.5', expected a number"),
        (extract, {"det_threshold": 1.5}, "--det-threshold"),
        (extract, {"device": 3}, "--device: found 3, expected text"),
        (extract, {"stride": 0}, "--stride: found 0, expected 1 or more"),
        (extract, {"face": "larges"}, "--face: found 'larges'"),
    ],
)
def test_a_wrong_setting_is_told(call, settings, message):
    with pytest.raises(OptionError) as told:
        call(**settings)
    assert message in str(told.value)


def test_an_unknown_keyword_is_a_type_error_too():
    with pytest.raises(TypeError):
        extract(worker=2)


def test_messages_name_keywords():
    assert (
        in_python("--det-size: found 3; use --det-size 32") == "det_size: found 3; use det_size 32"
    )
    kept = "x.zarr: facer verify x.zarr --repair drops it"
    assert in_python(kept, everywhere=False) == kept
    assert in_python("--device cuda: none; use --device cpu", False).startswith("device cuda: ")
    assert in_python("a file--name and ---") == "a file--name and ---"
