"""Any file of predictions is scored as a run's own are, and says what it lacks."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import ScoreConfig, TrainHeadConfig
from facer.pipeline.intensity.scoring.score import score_files
from facer.pipeline.intensity.train import train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.storage import LabelOptions, write_predictions
from facer.storage.errors import FacerError
from tests.support import some, told


@pytest.fixture
def labels(tmp_path):
    """40 clips, the last 20 in val, of ten subjects in two countries."""
    rng = np.random.default_rng(0)
    lines = ["clip_id,split,subject,Country,joy,awe"]
    for i in range(40):
        joy, awe = rng.random(2)
        split, country = ("train", "val")[i // 20], ("South Africa", "USA")[i // 4 % 2]
        lines.append(f"[{i:05d}],{split},p{i // 4},{country},{joy:.4f},{awe:.4f}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _rows(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def predictions(labels, path, noise, ids="videos/{}.mp4", split="val", seed=1):
    """Another program's file: other columns, order and ids."""
    rng = np.random.default_rng(seed)
    lines = ["AWE,frames,Joy,video,comment"]
    for row in _rows(labels)[::-1]:
        joy, awe = (float(row[name]) + noise * rng.normal() for name in ("joy", "awe"))
        if row["split"] == split:
            name = ids.format(row["clip_id"].strip("[]"))
            lines.append(f"{awe:.5f},120,{joy:.5f},{name},seen")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_of_another_program_is_scored(labels, tmp_path):
    file = predictions(labels, tmp_path / "theirs.csv", 0.2)
    found = score_files(ScoreConfig(file, str(labels))).file
    assert (found.scores.split, found.scores.n_scored) == ("val", 20)
    assert found.missing == ()
    by_id = {Path(row["video"]).stem: row for row in _rows(file)}
    pairs = [(row, by_id[row["clip_id"].strip("[]")]) for row in _rows(labels)[20:]]
    for i, (ours, theirs) in enumerate((("joy", "Joy"), ("awe", "AWE"))):
        t, p = (np.array([float(row[k]) for row in rows]) for rows, k in
                (([a for a, _ in pairs], ours), ([b for _, b in pairs], theirs)))  # fmt: skip
        ensemble = some(found.scores.ensemble)
        assert ensemble.pearson[i] == pytest.approx(np.corrcoef(p, t)[0, 1], abs=1e-5)
        assert ensemble.mae[i] == pytest.approx(np.abs(p - t).mean(), abs=1e-5)
    intervals = some(found.scores.intervals)
    assert (intervals.unit, intervals.n_units) == ("subject", 5)


def test_two_files_are_compared_on_the_clips_that_both_predict(labels, tmp_path):
    good = predictions(labels, tmp_path / "good.csv", 0.1)
    bad = predictions(labels, tmp_path / "bad.csv", 2.0, ids="{}")
    lines = bad.read_text().splitlines()
    bad.write_text("\n".join(lines[:-2]) + "\n")
    found = score_files(ScoreConfig(good, str(labels), bad))
    against, pearson = some(found.against), some(found.pearson)
    assert found.file.scores.label_ids == against.scores.label_ids
    assert len(found.file.scores.label_ids) == 18
    assert (len(found.file.missing), len(against.missing)) == (0, 2)
    assert pearson.difference > 0.2
    assert some(pearson.p_value) < 0.05
    expected = found.file.scores.mean("pearson") - against.scores.mean("pearson")
    assert pearson.difference == pytest.approx(expected)
    assert "2 labelled clips have no prediction" in against.warnings[0]


def test_predictions_on_another_scale_are_told(labels, tmp_path):
    path = predictions(labels, tmp_path / "p.csv", 0.1)
    assert not score_files(ScoreConfig(path, str(labels))).file.warnings
    rows = [row.split(",") for row in path.read_text().splitlines()]
    hundred = [[f"{float(row[0]) * 100:.3f}", *row[1:]] for row in rows[1:]]
    path.write_text("\n".join(map(",".join, [rows[0], *hundred])))
    (told,) = score_files(ScoreConfig(path, str(labels))).file.warnings
    assert "predictions of awe go up to" in told
    assert "ccc, mse and mae are wrong if they are on two scales" in told


def test_a_clip_predicted_as_a_code_or_twice_is_told(labels, tmp_path):
    """Seen: -1 for "no prediction" scored as one, and [00024] beside 00024 without a word."""
    path = predictions(labels, tmp_path / "p.csv", 0.1, ids="[{}]")
    header, *rows = path.read_text().splitlines()
    clip = header.split(",").index("video")
    cells = [row.split(",") for row in rows]
    coded = [
        c if c is not cells[3] else [x if k == clip else "-1" for k, x in enumerate(c)]
        for c in cells
    ]
    path.write_text("\n".join([header, *map(",".join, coded)]))
    (told,) = score_files(ScoreConfig(path, str(labels))).file.warnings
    assert told.endswith("leave the cell empty where nothing is predicted")
    assert "joy (1 clips), awe (1 clips) are -1" in told
    again = [x.strip("[]") for x in cells[0]]
    path.write_text("\n".join([header, *rows, ",".join(again)]))
    with pytest.raises(FacerError, match=r"p\.csv:\d+: found id '\d+' again"):
        score_files(ScoreConfig(path, str(labels)))


def test_what_may_be_a_label_is_no_code(tmp_path):
    """Seen: valence of -1, where all other predictions were positive."""
    (tmp_path / "l.csv").write_text(
        "id,valence\n" + "".join(f"c{n},{n / 8 - 0.9}\n" for n in range(16))
    )
    predicted = ["c0,-1", *(f"c{n},{n / 16}" for n in range(1, 16))]
    (tmp_path / "p.csv").write_text("\n".join(["id,valence", *predicted]))
    assert not score_files(ScoreConfig(tmp_path / "p.csv", str(tmp_path / "l.csv"))).file.warnings


def test_predictions_of_a_run_score_as_the_run_does(planted, tmp_path):
    store, labels = planted()
    fit = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)
    config = TrainHeadConfig(store, labels, tmp_path / "a", fit=fit)
    for name, other in (("a", fit), ("b", replace(fit, loss="mse"))):
        run = tmp_path / name
        train_head(replace(config, run=run, fit=other))
        found = evaluate(run)
        write_predictions(f"{run}.csv", "plain", found.label_ids, found.names, found.predictions)
    files = score_files(ScoreConfig(tmp_path / "a.csv", labels, tmp_path / "b.csv", split="val"))
    runs = evaluate(tmp_path / "a", against=tmp_path / "b")
    ours, theirs = files.file.to_json(), runs.first.to_json()
    assert ours["mean"] == theirs["mean"]
    assert ours["per_emotion"] == theirs["per_emotion"]
    assert files.pearson == runs.pearson


def test_missing_and_empty_predictions_are_told_and_not_scored(labels, tmp_path):
    file = predictions(labels, tmp_path / "few.csv", 0.2)
    lines = file.read_text().splitlines()
    lines[1] = "," + lines[1].partition(",")[2]
    file.write_text("\n".join(lines[:-1]) + "\n")
    found = score_files(ScoreConfig(file, str(labels))).file
    assert set(found.missing) == {"[00039]", "[00020]"}
    assert found.scores.n_scored == 18
    with pytest.raises(FacerError, match="found no labelled clip of train with a prediction of"):
        score_files(ScoreConfig(file, str(labels), split="train"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("clip_id,joy", r"found no column awe, .* its columns: clip_id, joy; targets"),
        ("clip_id,anger,fear", r"found no column joy, awe"),
    ],
)
def test_columns_that_differ_are_named(labels, tmp_path, columns, message):
    file = tmp_path / "other.csv"
    row = ",".join(["00020", *["0.5"] * columns.count(",")])
    file.write_text(f"{columns}\n{row}\n")
    with pytest.raises(FacerError, match=message):
        score_files(ScoreConfig(file, str(labels)))


def test_a_file_with_some_of_the_intensities_is_scored_on_those(labels, tmp_path):
    file = tmp_path / "joy.csv"
    rows = [f"{row['clip_id']},{float(row['joy']) / 2}" for row in _rows(labels)]
    file.write_text("\n".join(["clip_id,joy", *rows]) + "\n")
    found = score_files(ScoreConfig(file, str(labels), reading=LabelOptions(targets=("joy",))))
    assert found.file.scores.names == ("joy",)
    assert found.file.scores.mean("pearson") == pytest.approx(1)
    assert found.file.scores.split == "train, val"
    assert found.file.scores.n_scored == 40


def test_ids_that_join_nothing_are_shown(labels, tmp_path):
    file = predictions(labels, tmp_path / "other.csv", 0.2, ids="x-{}")
    with pytest.raises(FacerError, match=r"none of its 20 ids matches .*'x-00039'.*'\[00000\]'"):
        score_files(ScoreConfig(file, str(labels)))


def test_scores_by_a_column_and_by_subject(labels, tmp_path):
    file = predictions(labels, tmp_path / "theirs.csv", 0.2)
    found = score_files(ScoreConfig(file, str(labels), by="country")).file.scores
    countries = {row["clip_id"]: row["Country"] for row in _rows(labels)}
    by = some(found.by).scores
    assert [one.group for one in by] == ["South Africa", "USA"]
    for one in by:
        rows = [i for i, clip in enumerate(found.label_ids) if countries[clip] == one.group]
        rho = [
            np.corrcoef(found.predictions[rows, i], found.targets[rows, i])[0, 1] for i in (0, 1)
        ]
        assert one.n == len(rows)
        assert one.mean("pearson") == pytest.approx(np.mean(rho), abs=1e-5)
        assert one.interval is None  # of two or three subjects
    subjects = some(score_files(ScoreConfig(file, str(labels), by="subject")).file.scores.by)
    each = [one.mean("pearson") for one in subjects.scores]
    assert [one.n for one in subjects.scores] == [4] * 5
    assert subjects.mean("pearson") == pytest.approx(np.mean(each))
    assert subjects.std("pearson") == pytest.approx(np.std(each, ddof=1))
    (val,) = some(score_files(ScoreConfig(file, str(labels), by="split")).file.scores.by).scores
    interval = some(val.interval)
    assert interval.low <= val.mean("pearson") <= interval.high
    with pytest.raises(FacerError, match=r"by Region: .* expected one of clip_id, split, subj"):
        score_files(ScoreConfig(file, str(labels), by="Region"))


def test_a_column_is_found_in_either_unicode_form(labels, tmp_path):
    file = predictions(labels, tmp_path / "theirs.csv", 0.2)
    text = labels.read_text("utf-8").replace("Country", "Pai\u0301s")  # as some Macs write it
    labels.write_text(text, "utf-8")
    by = some(score_files(ScoreConfig(file, str(labels), by="pa\u00eds")).file.scores.by)
    assert [one.group for one in by.scores] == ["South Africa", "USA"]


def test_the_command_prints_figures_and_json(labels, tmp_path, capsys):
    good = predictions(labels, tmp_path / "good.csv", 0.1)
    bad = predictions(labels, tmp_path / "bad.csv", 2.0)
    command = ("score", good, "--labels", labels, "--against", bad)
    out, _ = told(capsys, *command, "--by", "Country")
    assert "spearm." in out
    assert "BCa bootstrap (with so few still too narrow) intervals by subject, n = 5" in out
    assert "South Africa" in out
    assert "less that of" in out
    assert "(by subject, n = 5, with so few still too narrow, p = " in out
    found = json.loads(told(capsys, *command, "--json")[0])
    assert set(found) == {"file", "against", "comparison"}
    assert {"split", "n", "mean", "per_emotion", "missing_predictions"} <= set(found["file"])
    alone = json.loads(told(capsys, *command[:4], "--json")[0])
    assert set(alone) == set(found["file"]) == set(found["against"])
    assert (alone["path"], found["against"]["path"]) == (str(good), str(bad))


def test_splits_that_facer_makes_are_told(labels, tmp_path):
    file = predictions(labels, tmp_path / "theirs.csv", 0.2)
    bare = LabelOptions(split_column="none")
    assert score_files(ScoreConfig(file, str(labels), reading=bare)).file.scores.warnings == ()
    found = score_files(ScoreConfig(file, str(labels), split="val", reading=bare)).file.scores
    assert "names no splits: val is made by facer" in str(found.warnings)
