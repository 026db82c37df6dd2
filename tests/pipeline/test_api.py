"""Python's way in, as a notebook uses it: the same results as the commands."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facer
from facer.pipeline.intensity.scoring.evaluation import Prediction
from facer.storage import FEATURE_NAMES
from tests.support import told

SMALL: dict[str, Any] = {"hidden_size": 8, "dense": 4, "epochs": 2, "learning_rate": 0.01}


@pytest.fixture
def trained(planted, tmp_path):
    store, labels = planted()
    run = facer.train_head(facer.open_store(store), labels, tmp_path / "run", seeds=2, **SMALL)
    return run, store, labels


def test_extract_train_and_predict_a_folder(make_video, face_frames, tmp_path, capfd, caplog):
    video = make_video("videos/anna/clip.mp4", face_frames(6))
    (video.parent / "broken.mp4").write_bytes(b"no video" * 100)
    store = facer.extract(tmp_path / "videos", tmp_path / "f.zarr", workers=1, device="cpu")
    assert list(store) == ["anna/broken", "anna/clip"]
    assert store["anna/clip"]["valence"].shape == (6,)
    assert "1 of 2 clips failed, such as anna/broken" in caplog.text
    again = facer.extract(video.parents[1], store, workers=1, device="cpu")
    assert again.record("anna/clip") == store.record("anna/clip")
    assert capfd.readouterr() == ("", "")  # silent, unless it is asked to tell
    facer.extract(
        video.parents[1], store, workers=1, device="cpu", retry_failed=True, progress=True
    )
    assert "clips to do" in capfd.readouterr().err

    labels = tmp_path / "labels.csv"
    labels.write_text("clip_id,split,joy\nanna/clip,train,0.5\nanna/clip2,val,0.1\n")
    make_video("videos/anna/clip2.mp4", face_frames(5))
    store = facer.extract(video.parents[1], store, workers=1, device="cpu")
    run = facer.train_head(store, labels, tmp_path / "run", loss="mse", **SMALL)
    kept = tmp_path / "new.zarr"
    found = run.predict(video.parent, workers=1, store=kept, device="cpu")
    assert found.clip_ids == ("clip", "clip2")
    assert list(found.failed) == ["broken"]
    assert "<Prediction joy of 2 clips, 1 failed>" in repr(found)
    assert list(facer.open_store(kept)) == ["broken", "clip", "clip2"]
    pandas = pytest.importorskip("pandas")
    table = found.to_dataframe()
    assert list(table.columns) == ["clip_id", "status", "joy"]
    assert list(table.status) == ["ok", "ok", "failed"]
    assert pandas.isna(table.joy[2])
    assert "broken.mp4" in found._repr_html_()


def test_a_run_is_that_of_the_command(trained, tmp_path, capsys):
    run, store, labels = trained
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    options += ["--labels", labels, "-o", tmp_path / "cli", "--seeds=2"]
    told(capsys, "train-head", store, *options)
    theirs = facer.open_run(tmp_path / "cli")
    assert theirs.config == run.config
    assert [s.val_pearson for s in theirs.seeds] == [s.val_pearson for s in run.seeds]
    scores = json.loads(told(capsys, "evaluate", run.path, "--split", "test", "--json")[0])
    assert run.evaluate("test").to_json() == scores


def test_a_run_is_made_again_as_from_does(trained, tmp_path, capsys):
    run, store, labels = trained
    again = run.again(tmp_path / "again", store=store, labels=labels)
    assert again.config == run.config
    assert [s.val_pearson for s in again.seeds] == [s.val_pearson for s in run.seeds]
    told(capsys, "train-head", "--from", run.path, "-o", tmp_path / "cli")
    assert facer.open_run(tmp_path / "cli").config == again.config
    with pytest.raises(facer.FacerError, match="no such setting"):
        run.again(tmp_path / "other", joobs=2)
    with pytest.raises(facer.FacerError, match=r"epochs: .* expected some of jobs, device"):
        run.again(tmp_path / "other", epochs=7)  # the run's own would be kept, unsaid


def test_scores_as_a_table(trained):
    pytest.importorskip("pandas")
    run, _, _ = trained
    found = run.evaluate("val")
    table = found.to_dataframe()
    assert list(table.index) == ["joy", "awe"]
    for name in ("joy", "awe"):
        expected = found.to_json()["per_emotion"][name]
        assert table.pearson[name] == expected["pearson"]
        assert [table.pearson_low[name], table.pearson_high[name]] == expected["pearson_95"]
        assert table.n[name] == expected["n"] == 6
    assert "<td>joy</td>" in found._repr_html_()
    assert repr(found).startswith("<Evaluation val: 6 clips, 2 seed(s), mean Pearson ")
    unlabelled = replace(found, ensemble=None, intervals=None, seeds={})
    assert len(unlabelled.to_dataframe()) == 0
    assert "no labels" in repr(unlabelled)


def test_a_run_shows_its_scores(trained):
    run, _, _ = trained
    assert run.names == ("joy", "awe")
    shown = run._repr_html_()
    assert shown.count("<tr>") == 3
    assert f"{run.seeds[1].val_pearson:.4f}" in shown
    assert "facernet for joy, awe, 2 trainings finished, mean val Pearson" in repr(run)


def test_a_run_of_folds_is_scored_on_what_they_hold_out(planted, tmp_path):
    store, labels = planted()
    run = facer.train_head(store, labels, tmp_path / "folds", folds=2, loss="mse", **SMALL)
    assert len(run.seeds) == 2
    found = run.evaluate()
    assert found.split == "out-of-fold"
    assert found.folds is not None


def test_labels_and_store_may_be_others(trained, copy_store, tmp_path):
    run, store, labels = trained
    other = facer.open_store(copy_store(store, tmp_path / "other.zarr"))
    moved = tmp_path / "moved.csv"
    moved.write_text(Path(labels).read_text().replace("clip_id", "who"))
    found = run.evaluate("test", labels=moved, store=other, id_column="who", by="split")
    np.testing.assert_array_equal(found.predictions, run.evaluate("test").predictions)
    assert found.by is not None


def test_a_callback_hears_each_epoch_and_stops_a_training(trained, tmp_path):
    _, store, labels = trained

    class Stop(Exception):
        pass

    heard: list[Any] = []

    def stop(seed, row, epochs):
        heard.append((seed, row.epoch, epochs))
        if row.epoch == 2:
            raise Stop

    settings: dict[str, Any] = {"epochs": 3, "hidden_size": 4, "dense": 4}
    with pytest.raises(Stop):
        facer.train_head(store, labels, tmp_path / "stopped", on_epoch=stop, **settings)
    assert heard == [(0, 1, 3), (0, 2, 3)]
    run = facer.train_head(store, labels, tmp_path / "stopped", resume=True, **settings)
    assert run.seeds[0].epochs == 3
    facer.train_head(
        store, labels, tmp_path / "folds", folds=2, on_epoch=lambda *row: heard.append(row),
        **settings,
    )  # fmt: skip
    assert {fold for fold, _, row, _ in heard[2:] if row.epoch == 1} == {0, 1}


def test_errors_name_the_keyword(trained, tmp_path):
    run, store, labels = trained
    for call, message in (
        (lambda: facer.extract("x", "y", workers=0), "workers: found 0"),
        (lambda: facer.train_head(store, labels, run.path), "holds a run already"),
        (lambda: facer.train_head(store, labels, tmp_path, features="au99"), "features au99: the"),
        (lambda: run.evaluate("dev"), "split: found 'dev'"),
        (lambda: run.evaluate("val", kin="eri"), "did you mean 'kind'"),
        (lambda: run.predict(tmp_path, fac="all"), "did you mean 'face'"),
        (lambda: facer.load_rec(device="tpu"), "device: found 'tpu'"),
        (lambda: facer.open_run(tmp_path / "none"), "found no config.json"),
        (lambda: facer.open_store(tmp_path / "none"), "expected a feature store"),
    ):
        with pytest.raises(facer.FacerError) as told:
            call()
        assert message in str(told.value)
        assert not str(told.value).startswith("-")


def test_rec_on_crops():
    crops = np.zeros((2, 112, 112, 3), np.uint8)
    assert facer.load_rec("rec-small", device="cpu").predict(crops).shape == (2, len(FEATURE_NAMES))
    with pytest.raises(facer.FacerError, match="crops"):
        facer.load_rec(device="cpu").predict(crops[0])


def test_predictions_cannot_take_the_names_of_a_table():
    pytest.importorskip("pandas")
    values = np.zeros((1, 1), np.float32)
    with pytest.raises(facer.FacerError, match="intensities named status"):
        Prediction(("status",), ("a",), values, ("ok",)).to_dataframe()


def test_a_script_needs_no_main_guard(make_video, face_frames, planted, tmp_path):
    for name in "ab":
        make_video(f"videos/{name}.mp4", face_frames(3))
    store, labels = planted()
    script = tmp_path / "script.py"
    script.write_text(
        "import facer\n"
        "store = facer.extract('videos', 'f.zarr', workers=2, device='cpu')\n"
        f"run = facer.train_head({store!r}, {labels!r}, 'run', seeds=2, jobs=2, epochs=1)\n"
        "print(len(store), len(run.seeds))\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 2\n", "")


def test_an_open_store_and_run_stay_where_they_were_opened(trained, tmp_path, monkeypatch):
    place = Path(trained[1]).relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    store, run = facer.open_store(place), facer.open_run("run")
    assert (store.path, str(run.path)) == (str(place), "run")  # as they were given
    before = run.evaluate("val").mean("pearson")
    first = store[store.clip_ids[0]].features
    facer.train_head(store, trained[2], "other/run", seeds=1, **SMALL)
    monkeypatch.chdir(tmp_path / "other")  # where another run has the same name
    np.testing.assert_array_equal(store[store.clip_ids[0]].features, first)
    assert facer.verify(store).whole
    assert len(facer.open_run("run").seeds) == 1
    assert (len(run.seeds), run.evaluate("val").mean("pearson")) == (2, before)
    assert run == facer.open_run(tmp_path / "run") != facer.open_run("run")


def test_what_is_no_path_no_list_and_no_name_is_one_line(trained, tmp_path):
    run, place, labels = trained
    store = facer.open_store(place)
    untyped: Any = facer  # arguments of other types are the subject
    crops = [np.zeros((112, 112, 3), np.uint8)]
    for call, message in (
        (lambda: untyped.open_store(None), "store: found NoneType, expected one path"),
        (lambda: untyped.ClipDataset(run, labels), "store: found Run, expected one path"),
        (lambda: untyped.Run(3), "path: found int, expected one path"),
        (lambda: untyped.storage.read_labels([labels]), "labels: found list, expected one path"),
        (lambda: untyped.storage.read_predictions(None), "path: found NoneType, expected one path"),
        (lambda: run.evaluate("val").write(None), "path: found NoneType, expected one path"),
        (lambda: run.again(5), "run: found int, expected one path"),
        (lambda: untyped.load_rec(None), "name_or_path: found NoneType, expected one path"),
        (lambda: untyped.load_rec(device=None), "device: found None, expected auto"),
        (lambda: untyped.load_rec(device="cpu").predict(crops), "found crops of type list"),
        (lambda: run.evaluate("val", against=run), "facer.evaluate compares two runs"),
        (lambda: run.evaluate("val").mean("pearsn"), "metric: found 'pearsn', expected one of"),
        (lambda: run.evaluate("val").per_emotion("r"), "metric: found 'r', expected one of"),
        (lambda: untyped.fuse(str(run.path)), "runs: found 1, expected two or more"),
        (lambda: untyped.fuse(None), "runs: found NoneType, expected a list"),
        (lambda: untyped.fuse([run, 5]), "path: found int, expected one path"),
        (
            lambda: untyped.ablate(store, labels, tmp_path / "a", also=["x"]),
            "also: found ['x'], exp",
        ),
        (
            lambda: untyped.sweep(store, labels, tmp_path / "s", set=5),
            "set: found int, expected a l",
        ),
        (
            lambda: untyped.sweep(store, labels, tmp_path / "s", set={"learning_rate": ["x"]}),
            "learning_rate: found 'x', expected a number",
        ),
        (lambda: untyped.summarise(store, windows=5), "window: found int, expected a list"),
        (lambda: untyped.summarise(store, windows={"a": None}), "window a: found None, expected a"),
        (
            lambda: untyped.summarise(store, thresholds=0.5),
            "threshold: found float, expected a list",
        ),
        (
            lambda: untyped.import_("pyfeat", labels, tmp_path / "i.zarr", fps="25"),
            "fps: found 25, expected a positive number",
        ),
        (
            lambda: untyped.train_rec(tmp_path / "r", data="pack:a.h5", weights={"cc": 1}),
            "weights: found 'cc', expected one of ccc, cce",
        ),
        (
            lambda: untyped.train_rec(tmp_path / "r", data="pack:a.h5", augmentation={"tint": "x"}),
            "augmentation tint: found 'x', expected a number",
        ),
        (
            lambda: untyped.train_rec(tmp_path / "r", data="pack:a.h5", weights=5),
            "weights: found 5, expected numbers by name",
        ),
    ):
        with pytest.raises(facer.FacerError) as told:
            call()
        assert message in str(told.value)
    assert not (tmp_path / "s").exists()


def test_numbers_of_terms_are_a_mapping(tmp_path):
    with pytest.raises(facer.FacerError, match=r"a\.h5: no such file"):  # all else is right
        facer.train_rec(
            tmp_path / "r", data="pack:a.h5", weights={"dm": float(np.float32(0.5))},
            augmentation={"smallest_px": 20, "tint": 1},
        )  # fmt: skip
