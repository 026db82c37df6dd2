"""The command line: one line for a problem, the right exit code, JSON alone on stdout."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import numpy as np
import pytest

from facer.cli import main
from facer.pipeline.commands import terminal
from facer.storage import FeatureStore, Provenance, Record, read_predictions
from tests.support import exit_code, outcome, told


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_console_shows_names_in_characters_that_it_lacks(encoding, tmp_path, monkeypatch):
    path, name = str(tmp_path / "s.zarr"), "broken_☺_\udcff"
    store = FeatureStore.create(path, Provenance("det", "d" * 64, "rec", "r" * 64))
    store.write_part([(Record("broken_☺", "failed", 0, "broken_☺.mp4: empty file"), None)])
    shown = {}
    for stream in ("stdout", "stderr"):
        shown[stream] = io.BytesIO()
        wrapper = io.TextIOWrapper(shown[stream], encoding, write_through=True)
        monkeypatch.setattr(f"sys.{stream}", wrapper)
    codes = []
    for arguments in (["status", path], ["status", path, "--json"], ["extract", name]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        codes.append(exit_.value.code)
    assert codes == [0, 0, 1]
    out, err = (shown[stream].getvalue().decode(encoding) for stream in shown)
    text, as_json = out.rsplit("\n", 2)[:2]
    face = "☺" if encoding == "utf-8" else "?"
    assert f"  broken_{face}: broken_{face}.mp4: empty file" in text
    assert json.loads(as_json)["failures"] == {"broken_☺": "broken_☺.mp4: empty file"}
    assert f"broken_{face}_\\udcff: no such folder" in err


@pytest.mark.parametrize("closed", ["<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_no_command(closed, make_video, face_frames, tmp_path):
    """Seen: the video was recorded as failed, or the command ended and said nothing."""
    make_video("videos/a.mp4", face_frames(2))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "facer", "extract", "videos", "-o", "s.zarr", "--workers", "1"]
    subprocess.run(
        ["bash", "-c", f'exec "$@" {closed}', "-", *command],
        env=environment, cwd=tmp_path, check=True, timeout=240,
    )  # fmt: skip
    assert FeatureStore.open(tmp_path / "s.zarr").record("a").n_frames == 2


@pytest.mark.parametrize("arguments", [["--help"], ["status", "s.zarr", "--json"]])
def test_output_to_a_full_disk_is_one_line(capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    FeatureStore.create("s.zarr", Provenance("det", "d" * 64, "rec", "r" * 64))
    with monkeypatch.context() as patched, open("/dev/full", "w") as full:  # noqa: PTH123
        patched.setattr("sys.stdout", full)
        assert exit_code(*arguments) == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # what it holds is lost
    line = "facer: output: cannot go on: No space left on device; free some space and run the same"
    assert capsys.readouterr().err == f"{line} command again\n"


TWO_AT_ONCE = """
import os, signal
from facer.pipeline.commands.terminal import ends_as_interrupts
both = {signal.SIGTERM, signal.SIGHUP}
with ends_as_interrupts():
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for kind in both:
            os.kill(os.getpid(), kind)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_two_signals_at_once_interrupt_once_and_say_nothing():
    done = subprocess.run([sys.executable, "-c", TWO_AT_ONCE], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"interrupted\n", b"")


def test_a_signal_long_after_the_first_interrupts_again(monkeypatch):
    """A callback of a library may have swallowed the first, and nothing would end the command."""
    monkeypatch.setattr(terminal, "_ONCE_S", 0.2)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with terminal.ends_as_interrupts():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("command", [["evaluate"], ["report", "-o", "look"]])
def test_a_path_that_is_longer_than_any_is_one_line(capsys, command):
    assert exit_code(*command, "/".join(["c" * 200] * 21)) == 1
    assert capsys.readouterr().err.endswith("File name too long; give a shorter name\n")


def test_a_library_that_finds_no_memory_is_a_line(capsys, monkeypatch, tmp_path):
    lacking = Mock(side_effect=ImportError("libav.so: failed to map segment from shared object"))
    monkeypatch.setattr("facer.pipeline.features.extract.extract_folder", lacking)
    code, _, err = outcome(capsys, "extract", tmp_path, "-o", tmp_path / "s.zarr")
    assert (code, err.count("\n"), "raise the limit on its memory (ulimit -v)" in err) == (
        1,
        1,
        True,
    )


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
        OSError("Matplotlib requires ..., and a temporary directory could not be created"),
    ],
)
def test_no_folder_for_temporary_files_is_told(capsys, monkeypatch, error):
    monkeypatch.setattr(FeatureStore, "open", Mock(side_effect=error))
    _, err = told(capsys, "status", "s.zarr", code=1)
    said = error.strerror or str(error)
    assert err == f"facer: {said}; set TMPDIR to a folder that can be written\n"


def test_messages_to_a_full_disk_end_no_command(make_video, face_frames, monkeypatch, tmp_path):
    make_video("videos/a.mp4", face_frames(2))
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patched, open("/dev/full", "w") as full:  # noqa: PTH123
        patched.setattr("sys.stderr", full)
        assert exit_code("extract", "videos", "-o", "s.zarr", "--workers", 1) == 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_what_is_odd_about_a_clip_is_said_when_it_is_extracted(
    capsys, make_video, face_frames, monkeypatch, tmp_path
):
    make_video("videos/a.mp4", [np.rot90(frame) for frame in face_frames(3)])
    monkeypatch.chdir(tmp_path)
    code, _, err = outcome(capsys, "extract", "videos", "-o", "s.zarr", "--workers", 1)
    assert code == 0
    assert "notes on 1 clips, such as a: its faces are upright only when it is turned by 90" in err
    assert "90 degrees to the right: features" in err
    assert "; facer status s.zarr lists them" in err


def test_a_current_folder_that_was_deleted_is_told(capsys, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, _, err = outcome(capsys, "extract", tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert "current folder: found none to work in (No such file" in err


def test_an_interrupt_while_facer_is_loaded_exits_with_130(tmp_path):
    """Seen: a traceback, and an end by the signal."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")  # loaded first
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "facer"], check=False, capture_output=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_user_without_a_home_folder_is_told_where_one_is_needed(capsys, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "FACER_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", Mock(side_effect=KeyError("uid not found")))
    assert outcome(capsys, "train-rec", "--help")[0] == 0
    code, _, err = outcome(capsys, "models", "list")
    assert (code, err.count("\n")) == (1, 1)
    assert "has no home folder, expected one for facer's cache; set HOME" in err


@pytest.fixture
def run_folder(planted, tmp_path, capsys):
    store, labels = planted()
    code, out, err = outcome(
        capsys, "train-head", store, "--labels", labels, "-o", tmp_path / "run", "--epochs", 3,
        "--hidden-size", 8, "--dense", 4, "--learning-rate", 0.01,
    )  # fmt: skip
    assert code == 0, err
    assert "val Pearson" in out
    return tmp_path / "run", store, labels


def test_every_command_has_help_with_an_example(capsys):
    code, out, _ = outcome(capsys, "--help")
    assert code == 0
    for name in ("extract", "train-head", "evaluate", "predict", "status", "check", "demo"):
        assert name in out
        code, text, _ = outcome(capsys, name, "--help")
        assert code == 0
        assert "Example" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["extract", "no-such-folder"], 1, "no-such-folder: no such folder, expected a folder"),
        (["extract", "no-such.mp4"], 1, "no-such.mp4: no such file, expected a video or a folder"),
        (["extract", "."], 1, "no video found"),
        (["annotate", "no-store.zarr", "a", "-o", "a.mp4"], 1, "expected a feature store"),
        (["bench", "no-such.mp4"], 1, "no-such.mp4: no such file"),
        (["bench", "/"], 1, "a folder, expected a video"),
        (["bench", "--folder", ".", "--clips", "3"], 2, "expected --folder, or --clips"),
        (["models", "fetch"], 2, "or an insightface pack"),
        (["extract", ".", "--face", "best"], 2, "--face: found 'best', expected one of track"),
        (["extract", ".", "--workers", "0"], 2, "--workers: found 0"),
        (["extract"], 2, "Missing argument 'VIDEO_DIR'; see facer extract --help"),
        (["extract", ".", "--bad"], 2, "No such option"),
        (["status", "no-store.zarr"], 1, "expected a feature store"),
        (["evaluate", "no-run"], 1, "no-run: found no config.json"),
        (["predict", "no-run", "."], 1, "no-run: found no config.json"),
        (["check", "no-store.zarr", "--labels", "x.csv"], 1, "expected a feature store"),
        (
            ["train-head", "s", "--labels", "l", "-o", "r", "--head", "perceiver", "--no-mask"],
            2,
            "--head perceiver takes no --no-mask",
        ),
        (["check", "s", "--labels", "l", "--t", "0"], 2, "--t: found 0, expected 1 or more"),
        (
            ["train-head", "s", "--labels", "l", "-o", "r", "--threads", "100000"],
            2,
            "--threads: found 100000, expected 1 to 1024",
        ),
        (["train-head", "-o", "run"], 2, "expected STORE and --labels, or --from RUN"),
        (
            ["train-rec", "--data", "pack:a.h5", "-o", "r", "--weight", "x=1"],
            2,
            "--weight: found 'x=1', expected ccc or cce",
        ),
        (
            ["train-rec", "--data", "pack:a.h5", "-o", "r", "--augment", "tint=red"],
            2,
            "--augment: found 'tint=red', expected flip or",
        ),
        (
            ["train-rec", "--data", "pack:a.h5", "-o", "r", "--augment", "tint=2"],
            2,
            "augment tint: found 2.0, expected 0 to 1",
        ),
        (
            ["extract", ".", "-o", ""],
            2,
            "found an empty path, expected one; the current folder is .",
        ),
        (["import", "openface", "", "-o", "s.zarr"], 2, "found an empty path"),
        (["predict", "run", ""], 2, "found an empty path"),
        (["evaluate", "run", "--labels", ""], 2, "--labels: found an empty path"),
        (["evaluate", "run", "--store", ""], 2, "--store: found an empty path"),
        (["summarise", "s.zarr", "-o", "x", "--design", ""], 2, "--design: found an empty path"),
        (["frobnicate"], 2, "No such command 'frobnicate'"),
    ],
)
def test_a_problem_is_one_line(capsys, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found, out, err = outcome(capsys, *arguments)
    assert found == code
    assert message in err
    assert err.count("\n") == 1
    assert out == ""


def test_debug_shows_the_traceback():
    from facer.storage.errors import FacerError

    with pytest.raises(FacerError):
        main(["extract", "no-such-folder", "--debug"])


def test_extract_of_a_broken_clip_exits_with_3(capsys, make_video, face_frames, tmp_path):
    make_video("videos/good.mp4", face_frames(4))
    (tmp_path / "videos" / "text.mp4").write_text("not a video")
    store = tmp_path / "s.zarr"
    code, out, _ = outcome(capsys, "extract", tmp_path / "videos", "-o", store, "--workers", 1)
    assert code == 3
    assert "1 clips with a face, 0 without, 1 failed, of 2" in out
    assert "text: text.mp4: not a video" in out
    code, out, _ = outcome(capsys, "status", store, "--json")
    found = json.loads(out)
    assert (found["ok"], found["failed"], found["frames"]) == (1, 1, 4)
    picture = tmp_path / "p.png"
    arguments = ("picture", store, "good", "--videos", tmp_path / "videos", "-o", picture)
    assert outcome(capsys, *arguments)[0] == 0
    assert picture.stat().st_size > 10_000


def test_evaluate_json_is_one_object_and_nothing_else(capsys, run_folder, tmp_path):
    folder, _, _ = run_folder
    csv = tmp_path / "p.csv"
    code, out, _ = outcome(capsys, "evaluate", folder, "--predictions", "-")
    assert (code, out.splitlines()[0].partition(",")[0]) == (0, "clip_id")
    assert outcome(capsys, "evaluate", folder, "--predictions", "-", "--json")[0] == 2
    code, out, _ = outcome(capsys, "evaluate", folder, "--json", "--predictions", csv)
    found = json.loads(out)
    assert code == 0
    assert found["split"] == "val"
    assert found["n"] == 6
    assert set(found["per_emotion"]) == {"joy", "awe"}
    assert -1 <= found["mean"]["pearson"] <= 1
    assert len(csv.read_text().splitlines()) == 7


def test_check_tells_what_does_not_join(capsys, planted):
    store, labels = planted()
    with open(labels, "a") as file:  # noqa: PTH123
        file.write("ghost,val,0.5,0.5\n")
    code, out, _ = outcome(capsys, "check", store, "--labels", labels, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["labels_without_clip"] == ["ghost"]
    assert found["usable"] == {"train": 12, "val": 6, "test": 6}
    code, out, _ = outcome(capsys, "check", store, "--labels", labels)
    assert "read as plain" in out
    assert "ghost" in out


def test_train_head_from_a_run_needs_nothing_else(capsys, run_folder, tmp_path):
    folder, _, _ = run_folder
    code, _, err = outcome(capsys, "train-head", "--from", folder, "-o", tmp_path / "again")
    assert code == 0, err
    first, again = (
        (p / "seed-0" / "best.safetensors").read_bytes() for p in (folder, tmp_path / "again")
    )
    assert first == again


def test_from_goes_with_json(capsys, run_folder, tmp_path):
    """Seen: --json was refused as a setting beside --from."""
    folder, _, _ = run_folder
    code, out, err = outcome(capsys, "train-head", "--from", folder, "-o", tmp_path / "a", "--json")
    assert code == 0, err
    assert json.loads(out)["run"] == str(tmp_path / "a")


def test_from_takes_no_settings_beside_it(capsys, run_folder, tmp_path):
    folder, _, _ = run_folder
    again = ("train-head", "--from", folder, "-o", tmp_path / "again")
    code, out, err = outcome(capsys, *again, "--seeds", 2, "--loss", "mse")
    assert (code, out) == (2, "")
    assert "--from takes all settings from the run; found also --loss, --seeds" in err


def test_settings_of_a_training_reach_the_run(capsys, planted, tmp_path):
    store, labels = planted()
    code, out, err = outcome(
        capsys, "train-head", store, "--labels", labels, "-o", tmp_path / "run", "--epochs", 4,
        "--head", "stats-mlp", "--hidden-size", 8, "--dropout", 0.2, "--standardise",
        "--patience", 2,
        "--calibrate", "val", "--features", "va,au12", "--seeds", 2,
    )  # fmt: skip
    assert code == 0, err
    assert "3 columns read" in out
    assert "mean of 2 seeds: " in out
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    fit = {key: record["fit"][key] for key in ("standardise", "patience", "calibrate")}
    assert fit == {"standardise": True, "patience": 2, "calibrate": "val"}
    assert record["fit"]["head"]["dropout"] == 0.2
    assert record["columns"] == ["valence", "arousal", "au12"]
    code, out, err = outcome(capsys, "evaluate", tmp_path / "run")
    assert "warning: the calibration was fitted on val" in err


def test_features_go_out_and_come_back(capsys, planted, copy_store, tmp_path):
    store, _ = planted()
    code, out, _ = outcome(capsys, "export", store, tmp_path / "f.h5")
    assert (code, out) == (0, f"{tmp_path / 'f.h5'}: 24 clips\n")
    made = Provenance("det", "d" * 64, "rec", "r" * 64, settings={"embedding": 256})
    embedded = copy_store(store, tmp_path / "embedded.zarr", provenance=made)
    left_out = "the embedding is left out; hdf5 has it, and parquet and feather without --long"
    for name, options, said in (
        ("muse", ["--format", "muse"], left_out), ("h.h5", [], ""), ("f.feather", [], ""),
        ("p.parquet", [], ""), ("long.parquet", ["--long"], left_out), ("c.csv", [], left_out),
    ):  # fmt: skip
        code, _, err = outcome(capsys, "export", embedded, tmp_path / name, *options)
        assert (code, err) == (0, f"facer: {said}\n" if said else ""), name
    code, out, _ = outcome(
        capsys, "import", "hdf5", tmp_path / "f.h5", "-o", tmp_path / "again.zarr"
    )
    assert code == 0
    assert "24 clips added, 24 in all" in out
    code, _, err = outcome(capsys, "import", "praat", tmp_path / "f.h5", "-o", tmp_path / "x.zarr")
    assert code == 2
    assert "found 'praat', expected one of muse, openface, pyfeat, hdf5" in err


def test_runs_are_compared_and_exported(capsys, run_folder, tmp_path):
    folder, _, _ = run_folder
    code, out, _ = outcome(capsys, "evaluate", folder, "--against", folder, "--json")
    assert code == 0
    assert json.loads(out)["comparison"]["difference"] == 0
    code, out, _ = outcome(capsys, "export-head", folder, tmp_path / "head.onnx")
    assert code == 0
    assert "differs from torch" in out


def test_models_are_listed_and_verified(capsys, tmp_path, monkeypatch):
    from facer.pipeline import models

    code, listed, _ = outcome(capsys, "models", "list")
    assert code == 0
    code, out, _ = outcome(capsys, "models", "verify")
    assert code == 0
    shipped = models.shipped_models()
    assert out.count("  works\n") == len(shipped) == 3
    assert all(model.sha256 in out and model.sha256 in listed for model in shipped)
    code, out, _ = outcome(capsys, "models", "verify", "facer-det")
    assert [line.split("  ")[0] for line in out.splitlines()] == ["facer-det", "facer-det points"]
    code, out, _ = outcome(capsys, "models", "list", "rec-small")
    assert out.splitlines()[0].startswith("rec-small")
    assert outcome(capsys, "models", "verify", "rec-large")[0] == 2
    broken = models.ModelFile("facer-det", tmp_path / "detector.onnx", "", "cannot be read")
    monkeypatch.setattr(models, "verify_models", lambda name: (broken, *shipped[1:]))
    code, out, err = outcome(capsys, "models", "verify")
    assert code == 1
    assert "facer-det         sha256 unknown  BROKEN: cannot be read" in out
    assert str(broken.path) in err


def test_annotate_and_bench(capsys, make_video, face_frames, tmp_path):
    video = make_video("videos/clip.mp4", face_frames(4))
    store, out = tmp_path / "s.zarr", tmp_path / "out.mp4"
    outcome(capsys, "extract", video, "-o", store, "--workers", 1)
    arguments = ("annotate", store, "clip", "-o", out, "--videos", video.parent)
    assert outcome(capsys, *arguments)[:2] == (0, f"{out}\n")
    assert out.stat().st_size > 1000
    code, text, _ = outcome(capsys, "bench", video, "--clips", 7, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["estimate"]["clips"] == 7
    assert set(found["steps"]) == {"decode", "detect", "align", "rec", "write"}


SMALL = ("--hidden-size", 4, "--dense", 4, "--epochs", 1, "--t", 24)


def test_ablate_from_another_folder(capsys, planted, tmp_path, monkeypatch):
    planted()
    monkeypatch.chdir(tmp_path)  # paths are relative to it
    arguments = ("planted.zarr", "--labels", "labels.csv", "-o", "rows", "--rows", "heads")
    code, out, err = outcome(capsys, "ablate", *arguments, "--seeds", 1, "--epochs", 1, "--json")
    assert code == 0, err
    assert len(json.loads(out)["rows"]) >= 5
    assert (tmp_path / "rows" / "table.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("status", "nowhere.zarr"), 1, "nowhere.zarr"),
        (("check", "nowhere.zarr", "--labels", "l.csv"), 1, "nowhere.zarr"),
        (("evaluate", "nowhere"), 1, "expected a folder of facer train-head"),
        (("evaluate", "nowhere", "--nope"), 2, "--nope"),
        (("predict", "nowhere", "videos"), 1, "expected a folder of facer train-head"),
        (("ablate", "nowhere.zarr", "--labels", "l.csv", "-o", "x"), 1, "nowhere.zarr"),
        (("evaluate-rec", "rec-small", "--data", "pack:no.h5"), 1, "no.h5"),
        (("bench", "nowhere.mp4"), 1, "nowhere.mp4"),
        (("bench", "--clips", "1", "--folder", "x"), 2, "expected --folder, or --clips"),
    ],
)
def test_a_problem_under_json_is_an_object(capsys, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found, out, err = outcome(capsys, *arguments, "--json")
    assert found == code
    result = json.loads(out)
    assert set(result) == {"error", "exit_code"}
    assert message in result["error"]
    assert result["exit_code"] == code
    assert message in err


def test_labels_that_are_given_twice_are_not_read_in_part(capsys, planted, tmp_path):
    """Seen: the last file alone was read, and a head trained on half of the study."""
    store, labels = planted()
    for command in (("check", store), ("evaluate", tmp_path), ("fuse", tmp_path, tmp_path)):
        code, _, err = outcome(capsys, *command, "--labels", "train.csv", "--labels", labels)
        assert (code, f"--labels: found train.csv, {labels}, expected one" in err) == (2, True)
    config = tmp_path / "check.toml"
    config.write_text("labels = 'elsewhere.csv'")
    assert outcome(capsys, "check", store, "--labels", labels, "--config", config)[0] == 0


@pytest.mark.parametrize("rows", ["", " , "])
def test_ablate_takes_other_stores_alone(capsys, planted, tmp_path, rows):
    store, labels = planted()
    arguments = (store, "--labels", labels, "-o", tmp_path / "rows", "--rows", rows)
    settings = ("--also", f"copy={store}", "--seeds", 1, "--epochs", 1)
    code, out, err = outcome(capsys, "ablate", *arguments, *settings)
    assert code == 0, err
    assert "| full model, all features |" in out
    assert "| copy features |" in out
    code, _, err = outcome(capsys, "ablate", *arguments, *settings, "--also", "copy=elsewhere")
    assert (code, "--also: found a name twice" in err) == (2, True)


def test_predict_prints_one_object(capsys, make_video, face_frames, tmp_path):
    for name in "abc":
        make_video(f"videos/{name}.mp4", face_frames(3, scale=0.7 + ord(name) / 1000))
    labels, store = tmp_path / "l.csv", tmp_path / "s.zarr"
    labels.write_text("clip_id,split,joy\na,train,0.1\nb,train,0.3\nc,val,0.2\n")
    videos = tmp_path / "videos"
    assert outcome(capsys, "extract", videos, "-o", store, "--workers", 1)[0] == 0
    arguments = ("train-head", store, "--labels", labels, "-o", tmp_path / "run", *SMALL)
    code, out, err = outcome(capsys, *arguments, "--loss", "mse")
    assert code == 0, err
    assert "labels read as plain" in out
    make_video("videos/bars.mp4")
    (videos / "text.mp4").write_text("no video")
    out_csv = tmp_path / "p.csv"
    code, out, _ = outcome(
        capsys, "predict", tmp_path / "run", videos, "--workers", 1, "--json", "-o", out_csv
    )
    assert code == 3  # one clip failed
    found = json.loads(out)
    assert set(found["predictions"]) == {*"abc", "bars"}
    assert found["status"] == {"a": "ok", "b": "ok", "c": "ok", "bars": "no_face"}
    assert found["without_face"] == ["bars"]
    rows = [line.split(",") for line in out_csv.read_text().splitlines()]
    assert rows[0] == ["clip_id", "joy", "status"]
    assert [row[2] for row in rows[1:]] == ["ok", "ok", "no_face", "ok"]
    assert read_predictions(out_csv).names == ("joy",)
    assert list(found["failed"]) == ["text"]
    code, out, _ = outcome(capsys, "predict", tmp_path / "run", videos / "a.mp4", "--workers", 1)
    assert len({len(line) for line in out.splitlines()}) == 1  # a number ends below its name
    once_more = ("predict", tmp_path / "run", videos / "a.mp4", "--workers", 1, "-o", "-")
    code, out, _ = outcome(capsys, *once_more)
    assert (code, out.splitlines()[0], len(out.splitlines())) == (0, "clip_id,joy,status", 2)
    assert outcome(capsys, *once_more, "--json")[0] == 2


def test_an_unknown_head_is_told_before_its_options(capsys, planted, tmp_path):
    store, labels = planted()
    arguments = ("--labels", labels, "-o", tmp_path / "run", "--head", "resnet", "--dense", 3)
    code, _, err = outcome(capsys, "train-head", store, *arguments)
    assert code == 2
    assert "found 'resnet', expected one of facernet" in err


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["extrct", "."], "'extract' or 'export'?"),
        (["extract", ".", "--worker", "2"], "did you mean '--workers'?"),
        (["extract", ".", "--precison", "bf16"], "did you mean '--precision'?"),
        (["train-head", "s", "--eposhs", "2"], "did you mean '--epochs'?"),
        (["picture", "STORE", "clip_07", "-o", "x.png"], "'clip-07'"),
        (["annotate", "STORE", "CLIP-07 ", "-o", "x.mp4", "--videos", "."], "'clip-07'"),
    ],
)
def test_what_is_mistyped_is_told_with_the_nearest(arguments, nearest, planted, capsys):
    store, _ = planted()
    code, _, err = outcome(capsys, *(store if word == "STORE" else word for word in arguments))
    assert code in (1, 2)
    assert nearest in err
    assert err.count("\n") == 1


def test_the_shell_completes_commands_options_and_paths(monkeypatch, capsys):
    """Seen: with facer's completion on, the Tab key found no video folder and no store."""
    monkeypatch.setenv("_FACER_COMPLETE", "bash_complete")
    for words, place, expected in (
        ("facer finet", "1", "plain,finetune"), ("facer extract --work", "2", "plain,--workers"),
        ("facer extract --face ce", "3", "plain,central"), ("facer extract vid", "2", "file,vid"),
        ("facer train-head --labels la", "3", "file,la"), ("facer fuse a b", "3", "file,b"),
    ):  # fmt: skip
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", place)
        code, out, _ = outcome(capsys)
        assert (code, out) == (0, f"{expected}\n")
