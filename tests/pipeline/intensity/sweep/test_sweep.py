"""A sweep finds the settings that a planted signal needs, by val alone, and goes on."""

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facer
from facer.pipeline.intensity.ablation import trials
from facer.pipeline.intensity.sweep.table import SweepRow, SweepTable
from facer.storage.errors import FacerError, OptionError
from tests.support import exit_code, told

FAST: dict[str, Any] = {"head": "stats-mlp", "epochs": 4, "learning_rate": 0.01, "hidden_size": 8}
FEATURES: dict[str, Any] = {"features": [("au12", "au26"), ("au01",)]}


@pytest.fixture
def data(planted):
    return planted()


@pytest.fixture
def sweep(data):
    """``sweep(folder, **options)``: over features, if nothing else is said, of a small head."""
    store, labels = data
    settings = {"set": FEATURES, **FAST}
    return lambda folder, **options: facer.sweep(store, labels, folder, **{**settings, **options})


def test_the_columns_that_show_the_label_win(sweep, tmp_path):
    """au12 shows joy and au26 awe; au01 shows nothing."""
    out = tmp_path / "sweep"
    found = sweep(out, set={**FEATURES, "hidden_size": [8, 16]}, seeds=2)
    assert len(found.rows) == 4
    assert found.best.settings["features"] == ("au12", "au26")
    assert found.best.mean > found.rows[-1].mean + 0.2
    assert found.best.n == 6
    assert len(found.best.by_seed) == 2
    means = [row.mean for row in found.rows]
    assert means == sorted(means, reverse=True)
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["features"] == "au12+au26"
    assert float(rows[0]["pearson"]) == pytest.approx(found.best.mean)
    assert json.loads((out / "table.json").read_text()) == json.loads(json.dumps(found.to_json()))
    assert (out / "table.md").read_text().count("au12+au26") == 2
    assert (out / "table.png").read_bytes()[:4] == b"\x89PNG"


def test_without_pandas_the_table_is_told_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    row = SweepRow(id="0", settings={"epochs": 1})
    with pytest.raises(FacerError, match=r"found no pandas, .*pip install"):
        SweepTable(("joy",), "val", 1, (row,)).to_dataframe()


def test_a_folder_of_anything_else_is_left_as_it_is(sweep, data, tmp_path):
    store, labels = data

    def ablate(folder):
        return facer.ablate(
            store, labels, folder, rows=(), also={"copy": store}, seeds=1, epochs=1, t=8
        )

    mine, swept, ablated = (tmp_path / name for name in ("mine", "swept", "ablated"))
    (mine / "rows").mkdir(parents=True)
    (mine / "table.csv").write_text("id,mine\n")
    sweep(swept, epochs=1)
    ablate(ablated)
    assert sweep(swept, epochs=1).rows
    assert ablate(ablated).rows
    for make, folders in ((sweep, (mine, ablated)), (ablate, (mine, swept))):
        for folder in folders:
            before = (folder / "table.csv").read_bytes()
            with pytest.raises(FacerError, match="is there already and was not begun by facer"):
                make(folder)
            assert (folder / "table.csv").read_bytes() == before
    shutil.rmtree(mine / "rows")
    (mine / "table.csv").rename(mine / "notes.txt")
    for make in (sweep, ablate):
        with pytest.raises(FacerError, match="is there already and was not begun by facer"):
            make(mine)
        with pytest.raises(FacerError, match="s3:/b/x: found a URL, expected a place on this"):
            make("s3://b/x")
    with pytest.raises(FacerError, match="s3:/b/x: found a URL, expected a place on this"):
        facer.train_head(store, labels, "s3://b/x", **FAST)
    with pytest.raises(FacerError, match="~/x: found ~, which is a home folder to a shell alone"):
        facer.train_head(store, labels, "~/x", **FAST)


@pytest.mark.parametrize(
    "changes",
    [
        {"pearson": 0.5},
        {"pearson": {}},
        {"pearson_95": [0.5]},
        {"pearson_95": {"low": 0}},
        {"per_emotion": ["joy"]},
        {"n": "x"},
        {"n": None},
    ],
)
def test_scores_that_no_trial_wrote_are_refused_by_name(sweep, tmp_path, changes):
    path = tmp_path / "sweep" / "rows" / sweep(tmp_path / "sweep", epochs=1).best.id / "row.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FacerError, match=rf"row\.json: {next(iter(changes))}.*: found .*expected"):
        sweep(tmp_path / "sweep", epochs=1)


def test_the_best_is_trained_again_from_its_toml(sweep, data, tmp_path):
    out, again = tmp_path / "sweep", tmp_path / "again"
    best = sweep(out).best
    arguments = ("train-head", data[0], "--labels", data[1], "-o", again)
    assert exit_code(*arguments, "--config", out / "best.toml") == 0
    runs = [facer.open_run(path) for path in (again, out / "rows" / best.id)]
    assert runs[0].evaluate("test").mean("pearson") == runs[1].evaluate("test").mean("pearson")


def test_no_label_of_test_is_looked_at(sweep, data, tmp_path):
    a = sweep(tmp_path / "a")
    path = Path(data[1])
    lines = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(f"{a},{b},{'0.5' if b == 'test' else c},{d}\n" for a, b, c, d in lines))
    b = sweep(tmp_path / "b")
    assert a.to_json() == b.to_json()


def test_done_trials_are_kept_and_more_are_added(sweep, tmp_path, monkeypatch):
    out, original = tmp_path / "sweep", trials.run_trial
    ran: list[str] = []

    def counted(trial):
        if len(ran) == 1:
            raise KeyboardInterrupt
        ran.append(trial.title)
        return original(trial)

    monkeypatch.setattr(trials, "run_trial", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep(out)
    monkeypatch.setattr(trials, "run_trial", original)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("row.json")}
    assert len(before) == 1
    found = sweep(out)
    wider = {"features": [*FEATURES["features"], ("au26",)]}
    more = sweep(out, set=wider)
    assert {row.id for row in found.rows} < {row.id for row in more.rows}
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_other_settings_in_the_same_folder_are_refused(sweep, tmp_path):
    sweep(tmp_path / "sweep")
    with pytest.raises(FacerError, match=r"was made with other epochs \(was 4, now 3\)"):
        sweep(tmp_path / "sweep", epochs=3)


def test_settings_that_do_not_go_together_fail_their_trial_alone(sweep, tmp_path):
    space = {"head": ["stats-mlp", "gru-last"], "dense": [32, 16]}
    found = sweep(tmp_path / "sweep", set=space)
    assert [row.reason for row in found.failed] == [
        "head stats-mlp takes no dense", "head gru-last takes no dense",
    ]  # fmt: skip
    assert all(np.isfinite(row.mean) for row in found.rows[:2])
    with pytest.raises(FacerError, match="no trial could be trained: head stats-mlp takes no"):
        sweep(tmp_path / "none", set={"dense": [8, 16]})
    with pytest.raises(
        OptionError, match="set hidden_siz: found no such setting; did you mean 'hidden_size'"
    ):
        sweep(tmp_path / "none", set={"hidden_siz": [8]})


def test_the_command_line_on_processes_with_random_trials(data, tmp_path, capsys):
    arguments = ("sweep", data[0], "--labels", data[1], "--epochs", 2, "--head", "stats-mlp",
                 "--set", "learning_rate=log:1e-3..1e-1", "--set", "hidden_size=4,8", "--trials", 3,
                 "--json")  # fmt: skip
    results = []
    for jobs in (1, 2):
        code = exit_code(*arguments, "-o", tmp_path / f"sweep-{jobs}", "--jobs", jobs)
        told = capsys.readouterr()
        assert code == 0, told.err
        results.append(json.loads(told.out))
    assert results[0] == results[1]
    assert results[0]["best"]["pearson"] == max(row["pearson"] for row in results[0]["rows"])
    assert len(results[0]["rows"]) == 3


def test_after_folds_the_best_is_trained_next(data, tmp_path, capsys):
    """Seen: evaluate --split test was printed, which a run of folds refuses."""
    store, labels = data
    out, _ = told(
        capsys, "sweep", store, "--labels", labels, "-o", tmp_path / "sweep", "--folds", 2,
        "--set", "epochs=1,2", "--head", "stats-mlp",
    )  # fmt: skip
    line = out.splitlines()[-1].partition("next: facer ")[2].replace(" RUN ", f" {tmp_path}/run ")
    told(capsys, *line.split())
    assert (tmp_path / "run" / "seed-0" / "best.safetensors").is_file()


def test_folds_score_out_of_fold(sweep, tmp_path):
    found = sweep(tmp_path / "sweep", folds=2)
    assert found.split == "out-of-fold"
    assert found.best.settings["features"] == ("au12", "au26")


def test_a_file_of_settings_cannot_name_code(data, tmp_path, capsys):
    (tmp_path / "a.toml").write_text('set = ["head=os:system,facernet"]\n')
    arguments = ("sweep", data[0], "--labels", data[1], "-o", tmp_path / "sweep")
    assert exit_code(*arguments, "--config", tmp_path / "a.toml") == 1
    assert "set: found head=os:system,facernet, code that is not" in capsys.readouterr().err
    (tmp_path / "a.toml").write_text('set = ["hidden_size=4,8"]\nhead = "stats-mlp"\nepochs = 1\n')
    assert exit_code(*arguments, "--config", tmp_path / "a.toml") == 0
