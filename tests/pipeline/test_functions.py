"""Python has a function for each command, and each command tells its result as JSON."""

import inspect
import json
from typing import Any

import numpy as np
import pytest

import facer
from facer.cli import facer as command_line
from facer.storage import FeatureStore
from tests.support import told

SMALL: dict[str, Any] = {"hidden_size": 8, "dense": 4, "epochs": 2, "learning_rate": 0.01}
ONLY_COMMAND = {  # options that the command's function has under another name, or not at all
    "train-head": {"source"},  # --from: facer.open_run(...).config has the settings
    "evaluate": {"predictions", "form", "no_brackets"},  # the csv; see write_predictions
    "fuse": {"predictions", "form", "no_brackets"},
    "predict": {"output"},
    "train-rec": {"augment"},  # texts; the function takes objects
    "design": {"pattern", "output"},  # one argument for both ways; the table is in memory
    "summarise": {"output"},  # in memory
    "compare": {"output"},  # likewise
    "view": {"browse"},  # .url
}


def function_of(command):
    return getattr(facer, {"import": "import_"}.get(command, command.replace("-", "_")))


@pytest.mark.parametrize("command", command_line.commands)
def test_a_command_has_a_function_of_its_name_and_words(command):
    taken = set(inspect.signature(function_of(command)).parameters)
    given = {p.name for p in command_line.commands[command].params}
    given -= {"config", "print_config", "as_json", "log_to"} | ONLY_COMMAND.get(command, set())
    assert given <= taken
    assert inspect.getdoc(function_of(command))


@pytest.mark.parametrize("command", command_line.commands)
def test_every_command_takes_json(command):
    assert "--json" in {o for p in command_line.commands[command].params for o in p.opts}


def through_json(result):
    return json.loads(json.dumps(result.to_json()))


def json_of(capsys, *arguments, code=0):
    out, _ = told(capsys, *arguments, "--json", code=code)
    return [json.loads(line) for line in out.splitlines()]


def test_extract_tells_each_clip_and_the_summary_last(make_video, face_frames, tmp_path, capsys):
    video = make_video("videos/a.mp4", face_frames(4))
    (video.parent / "broken.mp4").write_bytes(b"no video" * 100)
    arguments = ("extract", video.parent, "-o", tmp_path / "f.zarr", "--workers", 1)
    *clips, summary = json_of(capsys, *arguments, "--device", "cpu", code=3)
    assert {c["clip_id"]: c["status"] for c in clips} == {"a": "ok", "broken": "failed"}
    assert {c["clip_id"]: c["n_frames"] for c in clips} == {"a": 4, "broken": 0}
    assert next(c for c in clips if c["clip_id"] == "broken")["fps"] is None  # nan is no JSON
    assert summary["clips"] == {"ok": 1, "no_face": 0, "failed": 1}
    assert list(summary["failed"]) == ["broken"]
    (again,) = json_of(capsys, *arguments, "--device", "cpu", code=3)  # nothing is left to do
    assert (again["done_before"], again["new_frames"]) == (2, 0)

    found = facer.status(tmp_path / "f.zarr")
    assert json_of(capsys, "status", tmp_path / "f.zarr") == [through_json(found)]
    assert facer.verify(tmp_path / "f.zarr").whole
    with pytest.raises(facer.FacerError, match="did you mean 'repair'"):
        facer.verify(tmp_path / "f.zarr", repai=True)
    (drawn,) = json_of(
        capsys, "picture", tmp_path / "f.zarr", "a", "-o", tmp_path / "a.png", "--videos",
        video.parent,
    )  # fmt: skip
    assert drawn == {"path": str(tmp_path / "a.png")}
    made = facer.annotate(tmp_path / "f.zarr", "a", tmp_path / "a-marked.mp4", videos=video.parent)
    assert made.path.stat().st_size > 0


@pytest.fixture
def options():
    return [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]


def test_a_head_is_trained_scored_and_shown(planted, tmp_path, capsys, options):
    store, labels = planted()
    run = tmp_path / "run"
    (trained,) = json_of(
        capsys, "train-head", store, "--labels", labels, "-o", run, "--seeds", 2, *options
    )
    assert trained["run"] == str(run)
    assert [seed["seed"] for seed in trained["seeds"]] == [0, 1]
    assert trained["val_pearson"] == pytest.approx(
        np.mean([seed["val_pearson"] for seed in trained["seeds"]])
    )
    scores = facer.evaluate(run, "val")
    assert json_of(capsys, "evaluate", run, "--split", "val") == [through_json(scores)]
    assert facer.evaluate(facer.open_run(run), "val", against=run).to_json()["comparison"][
        "difference"
    ] == 0  # fmt: skip
    (shown,) = json_of(capsys, "report", run, "-o", tmp_path / "look")
    assert (tmp_path / "look" / "index.html").samefile(shown["index"])
    assert shown["kind"] == "run"
    (onnx,) = json_of(capsys, "export-head", run, tmp_path / "head.onnx")
    assert (onnx["seed"], onnx["path"]) == (0, str(tmp_path / "head.onnx"))
    joined = facer.check(store, labels, t=10)
    assert json_of(capsys, "check", store, "--labels", labels, "--t", 10) == [through_json(joined)]


def test_folds_are_scored_in_json(planted, tmp_path, capsys, options):
    store, labels = planted()
    (found,) = json_of(
        capsys, "train-head", store, "--labels", labels, "-o", tmp_path / "run", "--folds", 2,
        "--loss", "mse", *options,
    )  # fmt: skip
    assert found["predictions"] == str(tmp_path / "run" / "out-of-fold.csv")
    assert found["scores"]["split"] == "out-of-fold"


def test_predictions_of_a_file_are_scored(tmp_path, capsys):
    labels, file = tmp_path / "labels.csv", tmp_path / "theirs.csv"
    labels.write_text("clip_id,joy\n" + "".join(f"c{i},0.{i}\n" for i in range(9)))
    file.write_text("clip_id,joy\n" + "".join(f"c{i},0.{i + 1}\n" for i in range(9)))
    assert json_of(capsys, "score", file, "--labels", labels) == [
        through_json(facer.score(file, labels))
    ]


def test_features_go_out_and_come_back(planted, tmp_path, capsys):
    store, _ = planted()
    (out,) = json_of(capsys, "export", store, tmp_path / "f.h5")
    assert (out["clips"], out["format"], out["failed"]) == (24, "hdf5", {})
    (back,) = json_of(capsys, "import", "hdf5", tmp_path / "f.h5", "-o", tmp_path / "b.zarr")
    assert (back["added"], back["clips"], back["changed"]) == (24, 24, [])
    again = facer.import_("hdf5", tmp_path / "f.h5", tmp_path / "b.zarr")
    assert isinstance(again.store, FeatureStore)
    assert (again.added, again.changed) == (0, ())
    assert facer.export(again.store, tmp_path / "g.csv") == 24


def test_models_are_listed(capsys, tmp_path):
    (found,) = json_of(capsys, "models", "list")
    known = facer.models()
    names = [one["name"] for one in (*found["models"], *found["cards"])]
    assert names == [one.name for one in known]
    assert [m.sha256 for m in known[:3]] == [m["sha256"] for m in found["models"]]
    (told,) = json_of(capsys, "models", "verify", "nobody", code=2)
    assert told["exit_code"] == 2


def test_a_needed_setting_is_asked_for():
    with pytest.raises(facer.FacerError, match=r"^faces: found none, expected: HDF5 of"):
        facer.train_detector("run")


@pytest.mark.parametrize("given", [["a.csv", "b.csv"], {"clip_id": ["a"]}, 3, b"a.csv"])
def test_what_is_no_path_is_told(planted, given):
    store, _ = planted()
    with pytest.raises(facer.FacerError, match=r"^labels: found \w+, expected one path; several"):
        facer.check(store, given)
    with pytest.raises(facer.FacerError, match=r"^labels: found \w+, expected one path; several"):
        facer.ClipDataset(store, given)
    with pytest.raises(facer.FacerError, match=r"^source: found \w+, expected one path; several"):
        facer.design(store, given)
    with pytest.raises(facer.FacerError, match=r"^output: found NoneType, expected one path"):
        facer.picture(store, "clip-00", None)  # type: ignore[arg-type]
    with pytest.raises(facer.FacerError, match="found an empty path"):
        facer.summarise("")
