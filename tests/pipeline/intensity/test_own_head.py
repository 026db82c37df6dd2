"""--head package.module:Class: trains as any head does, and is imported only when it is named."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import facer
from facer.pipeline.commands.problems import problem_of
from facer.pipeline.intensity.scoring.evaluation import Evaluation
from facer.stages.intensity.heads import own
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint
from tests.support import told

CODE = """
from pathlib import Path
import torch
from torch import nn
import facer

Path(__file__).with_name("imported").touch()


class Mean(facer.Head):
    def __init__(self, config: facer.HeadConfig, shape: facer.HeadShape) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(shape.features, config.hidden_size), nn.ReLU(),
            nn.Linear(config.hidden_size, shape.intensities),
        )

    def forward(self, batch: facer.Batch) -> torch.Tensor:
        features, mask = batch.padded()
        count = mask.sum(1, keepdim=True)
        return self.layers(features.sum(1) / count)


class Padded(Mean):
    def forward(self, batch):
        return self.layers(batch.padded()[0].mean(1))


class Wide(Mean):
    def forward(self, batch):
        return batch.padded()[0].sum(1)


class Broken(Mean):
    def forward(self, batch):
        raise ValueError("no such thing")


class Turned(Mean):
    def forward(self, batch):
        return super().forward(batch)[torch.from_numpy(batch.clips).argsort()]


class NotANumber(Mean):
    def forward(self, batch):
        return super().forward(batch) * float("nan")


class Fixed(Mean):
    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.requires_grad_(False)


class Detached(Mean):
    def forward(self, batch):
        return super().forward(batch).detach()


class Extra(Mean):
    def get_extra_state(self):
        return {}


class Ungraded(Mean):
    def forward(self, batch):
        with torch.set_grad_enabled(self.training):
            return super().forward(batch)


class Brain(Mean):
    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.layers.to(torch.bfloat16)


class Lazy(Mean):
    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.layers = nn.LazyLinear(shape.intensities)


class Later(Mean):
    def forward(self, batch):
        if self.training:
            raise RuntimeError("only in training")
        return super().forward(batch)


class Unmade(facer.Head):
    def __init__(self, config, shape):
        raise ValueError("cannot be")


def function(config, shape):
    return None
"""
FAST: dict[str, Any] = {"hidden_size": 8, "epochs": 2, "learning_rate": 0.01}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module of heads that nothing has imported; it marks when it is."""
    name = f"own_heads_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(folder)
    yield name
    forget(name)


def forget(module):
    """As in a new process, for what facer and Python have imported."""
    sys.modules.pop(module, None)
    own.imported_heads.clear()


def imported(tmp_path):
    marker = tmp_path / "code" / "imported"
    there = marker.exists()
    marker.unlink(missing_ok=True)
    return there


def test_it_trains_and_opens_again_by_its_name_alone(module, planted, tmp_path):
    store, labels = planted()
    head = f"{module}:Mean"
    run = facer.train_head(store, labels, tmp_path / "run", head=head, seeds=2, jobs=2, **FAST)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["fit"]["head"]["name"] == head
    assert len(record["head_sha256"]) == 64
    expected = run.evaluate("val").predictions
    forget(module)
    imported(tmp_path)
    for name in (None, f"{module}:Padded", "json:JSONDecoder"):
        with pytest.raises(FacerError, match=rf"head {head}: is code .* add head|expected a sub"):
            run.evaluate("val", head=name)
    assert np.array_equal(run.evaluate("val", head=head).predictions, expected)
    again = facer.evaluate(run, "val", head=head)
    assert isinstance(again, Evaluation)
    assert np.array_equal(again.predictions, expected)


def test_a_run_cannot_have_code_imported(module, planted, tmp_path, capsys):
    """A stranger's run says that its head is a class of a module that can be imported."""
    store, labels = planted()
    run, head = tmp_path / "run", f"{module}:Mean"
    facer.train_head(store, labels, run, head=head, **FAST)
    forget(module)
    imported(tmp_path)
    settings = tmp_path / "a.toml"
    settings.write_text(f'head = "{head}"\n')
    data = (store, "--labels", labels)
    for arguments in (
        ("evaluate", run),
        ("predict", run, tmp_path),
        ("export-head", run, tmp_path / "a.onnx"),
        ("finetune", run, tmp_path, "-o", tmp_path / "tuned"),
        ("report", run, "-o", tmp_path / "report"),
        ("train-head", "--from", run, "-o", tmp_path / "again"),
        ("train-head", *data, "--config", run, "-o", tmp_path / "b"),
        ("train-head", *data, "--config", settings, "-o", tmp_path / "c"),
        ("evaluate", run, "--config", settings),
    ):
        _, err = told(capsys, *arguments, code=1)
        assert head in err or arguments[0] in ("predict", "finetune"), (arguments, err)
        assert len(err.splitlines()) <= 3
        assert not imported(tmp_path), arguments
        assert module not in sys.modules


def test_weights_cannot_have_code_imported(module, planted, tmp_path):
    store, labels = planted()
    run = facer.train_head(store, labels, tmp_path / "run", head="stats-mlp", **FAST)
    path = tmp_path / "run" / "seed-0" / "best.safetensors"
    arrays, meta = load_checkpoint(path)
    meta["head"]["name"] = f"{module}:Mean"
    save_checkpoint(path, arrays, meta)
    with pytest.raises(FacerError, match="is code that is not facer's"):
        run.evaluate("val")
    assert not imported(tmp_path)


def test_named_on_the_command_line_a_run_is_made_again_and_scored(
    module, planted, tmp_path, capsys
):
    store, labels = planted()
    run, head = tmp_path / "run", f"{module}:Mean"
    facer.train_head(store, labels, run, head=head, **FAST)
    forget(module)
    again = ("train-head", "--from", run, "--head", head, "-o", tmp_path / "again")
    other = ("train-head", "--from", run, "--head", "perceiver", "-o", tmp_path / "other")
    for arguments, code in ((again, 0), (other, 2), (("evaluate", run, "--head", head), 0)):
        told(capsys, *arguments, code=code)
    first, second = (facer.open_run(tmp_path / name) for name in ("run", "again"))
    scores = first.evaluate(head=head).mean("pearson")
    assert second.evaluate(head=head).mean("pearson") == scores


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Padded", "predicts a clip otherwise when others are in the batch"),
        ("Wide", r"found \(3, 26\), expected \(3, 2\)"),
        ("Broken", "no such thing"),
        ("Turned", "and clips in the batch's order"),
        ("NotANumber", "predicts numbers that are not finite"),
        ("Fixed", "has no weights that its predictions could teach"),
        ("Detached", "has no weights that its predictions could teach"),
        ("Extra", "_extra_state is dict, expected a tensor"),
        ("Brain", r"layers\.0\.weight is torch\.bfloat16, expected torch\.float32"),
        ("Lazy", r"layers\.weight is made by the first batch"),
        ("Unmade", "cannot be"),
        ("function", r"expected a subclass of facer\.Head"),
        ("Absent", "cannot be imported"),
    ],
)
def test_what_is_wrong_with_a_head_is_told_before_training(
    module, planted, tmp_path, kind, message
):
    store, labels = planted()
    with pytest.raises(FacerError, match=message):
        facer.train_head(store, labels, tmp_path / "run", head=f"{module}:{kind}", **FAST)
    assert not (tmp_path / "run").exists()


def test_one_without_gradients_where_it_predicts_is_trained(module, planted, tmp_path):
    store, labels = planted()
    facer.train_head(store, labels, tmp_path / "run", head=f"{module}:Ungraded", **FAST)


def test_what_it_raises_in_training_names_it(module, planted, tmp_path):
    store, labels = planted()
    with pytest.raises(FacerError, match=rf"head {module}:Later: only in training"):
        facer.train_head(store, labels, tmp_path / "run", head=f"{module}:Later", **FAST)


@pytest.mark.parametrize("size", [1 << 60, 1 << 62])
def test_it_is_not_blamed_for_memory_that_is_lacking(size):
    with pytest.raises(RuntimeError) as told, own.blamed("module:Mean"):
        torch.empty(size)
    assert problem_of(told.value)[0].startswith("there is not enough memory for it")
    with pytest.raises(MemoryError), own.blamed("module:Mean"):
        raise MemoryError
    with pytest.raises(torch.OutOfMemoryError), own.blamed("module:Mean"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_the_command_that_comes_next_names_it(module, planted, tmp_path, capsys):
    """Seen: the line that was printed was refused when it was typed."""
    store, labels = planted()
    arguments = (store, "--labels", labels, "-o", tmp_path / "run", "--epochs", 1)
    out, _ = told(capsys, "train-head", *arguments, "--head", f"{module}:Mean")
    line = out.splitlines()[-1]
    assert line.endswith(f"run --split val --head {module}:Mean")
    told(capsys, *line.split()[2:])


def test_the_command_after_a_sweep_of_folds_names_it(module, planted, tmp_path, capsys):
    """Seen: the training that was printed as next was refused, also where a path has a space."""
    store, labels = planted()
    out, _ = told(
        capsys, "sweep", store, "--labels", labels, "-o", tmp_path / "a sweep", "--folds", 2,
        "--head", f"{module}:Mean", "--set", "epochs=1", "--seeds", 1,
    )  # fmt: skip
    words = shlex.split(out.splitlines()[-1].partition("next: facer ")[2])
    words[words.index("RUN")] = str(tmp_path / "run")
    told(capsys, *words)
    assert (tmp_path / "run" / "seed-0" / "best.safetensors").is_file()


@pytest.mark.parametrize("name", ["resnet", "a b:C", ":C", "a:", "a:b:c", "../a:C", "a;b:C"])
def test_names_that_are_none(name):
    with pytest.raises(FacerError, match=r"expected one of facernet, .* or package\.module:Class"):
        facer.HeadConfig(name)


def test_changed_code_is_told(module, planted, tmp_path, caplog):
    store, labels = planted()
    run = facer.train_head(store, labels, tmp_path / "run", head=f"{module}:Mean", **FAST)
    path = tmp_path / "code" / f"{module}.py"
    Path(path).write_text(path.read_text() + "# changed\n")
    run.evaluate("val")
    assert "has changed since the training" in caplog.text
    with pytest.raises(FacerError, match="head_sha256"):
        facer.train_head(
            store, labels, tmp_path / "run", head=f"{module}:Mean", resume=True, **FAST
        )


def test_a_head_without_clip_is_not_exported(module, planted, tmp_path):
    store, labels = planted()
    facer.train_head(store, labels, tmp_path / "run", head=f"{module}:Mean", **FAST)
    with pytest.raises(FacerError, match=r"has no clip\(\), which an export needs"):
        facer.export_head(tmp_path / "run", tmp_path / "a.onnx")
