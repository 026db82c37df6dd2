"""Cross-validation: nothing of a held-out clip reaches the training that holds it out."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import FoldConfig, TrainHeadConfig
from facer.pipeline.intensity.folds.plan import plan_folds
from facer.pipeline.intensity.folds.train import train_folds
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.seeds import load_models
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.pipeline.views.report.build import build_report
from facer.pipeline.views.report.config import ReportConfig
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import read_labels, read_predictions
from facer.storage.errors import FacerError
from tests.support import some

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2, standardise=True)


@pytest.fixture
def config(planted, tmp_path):
    """24 clips of six subjects, six of them in the test split."""
    store, labels = planted()
    with Path(labels).open() as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        row["subject"] = f"p{i // 4}"
    _write(labels, rows)
    sequences = SequenceConfig(max_frames=24)
    return TrainHeadConfig(
        store, labels, tmp_path / "run", sequences=sequences, fit=FAST, folds=FoldConfig("3")
    )


def _write(path, rows):
    with Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _rows(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def _weights(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("best.safetensors")}


def test_folds_hold_whole_subjects_out_and_leave_the_test_split_alone(config):
    found = train_folds(config)
    rows = _rows(config.run / "folds.csv")
    assert len(rows) == found.n_rows == 18
    assert len({(row["subject"], row["fold"]) for row in rows}) == 6
    tests = {r["clip_id"] for r in _rows(config.labels) if r["split"] == "test"}
    assert not tests & {row["clip_id"] for row in rows}
    assert [(f.n_train + f.n_val) for f in found.folds] == [12, 12, 12]
    assert all(f.n_val >= 3 for f in found.folds)
    assert "3 folds by subject over 18 labelled clips of the splits train, val" in found.rule
    assert found.crossing == ()
    assert found.scores.notes == ()
    build_report(ReportConfig(str(config.run), config.run.parent / "pages", clips=("worst:1",)))
    page = (config.run.parent / "pages" / "index.html").read_text()
    assert all(text in page for text in ("Scores by fold", "Spearman", "MAE", found.rule))
    assert page.count('<th scope="row">deviation</th>') == 1


def test_how_labels_were_read_is_told_before_the_training(config):
    told: list[str] = []
    train_folds(config, lambda *_: told.append("epoch"), told.append)
    assert "read as plain" in told[0]
    assert told[-1] == "epoch"


def test_labels_of_a_fold_do_not_change_the_training_that_holds_it_out(config, tmp_path):
    """Seen: early stopping and calibration on the fold that is then scored."""
    train_folds(config)
    held = {row["clip_id"] for row in _rows(config.run / "folds.csv") if row["fold"] == "0"}
    rows = _rows(config.labels)
    for row in rows:
        if row["clip_id"] in held:
            row["joy"], row["awe"] = f"{1 - float(row['joy']):.4f}", "0.5"
    other = tmp_path / "other.csv"
    _write(other, rows)
    train_folds(replace(config, labels=str(other), run=tmp_path / "blind"))
    before, after = _weights(config.run), _weights(tmp_path / "blind")
    assert before["fold-0/seed-0/best.safetensors"] == after["fold-0/seed-0/best.safetensors"]
    assert before["fold-1/seed-0/best.safetensors"] != after["fold-1/seed-0/best.safetensors"]
    means = [read_run(run / "fold-0").train_mean for run in (config.run, tmp_path / "blind")]
    assert means[0] == means[1]


def test_stopped_folds_go_on_to_the_same_result(config, tmp_path):
    train_folds(config)

    def stop(fold, _seed, row, _epochs):
        if (fold, row.epoch) == (1, 1):
            raise KeyboardInterrupt

    other = replace(config, run=tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        train_folds(other, stop)
    done = other.run / "fold-0" / "seed-0" / "best.safetensors"
    before = done.stat().st_mtime_ns
    with pytest.raises(FacerError, match="holds a run already"):
        train_folds(other)
    train_folds(replace(other, resume=True))
    assert done.stat().st_mtime_ns == before
    assert _weights(other.run) == _weights(config.run)


def test_seeds_are_added_to_folds_and_folds_are_made_again(config, tmp_path):
    train_folds(config)
    train_folds(replace(config, seeds=2))
    whole = replace(config, run=tmp_path / "whole", seeds=2, jobs=2)
    found = train_folds(whole)
    assert [len(fold.seeds) for fold in found.folds] == [2, 2, 2]
    assert _weights(config.run) == _weights(whole.run)
    again = config_of_run(config.run, tmp_path / "again")
    train_folds(again)
    assert _weights(again.run) == _weights(whole.run)


def test_a_run_of_folds_is_not_taken_for_another(config, tmp_path):
    train_folds(config)
    plain = replace(config, folds=None, resume=True)
    with pytest.raises(FacerError, match=r"was made with other .*folds"):
        train_head(plain)
    with pytest.raises(FacerError, match=r"was made with other .*folds"):
        train_folds(replace(config, folds=FoldConfig("2"), resume=True))
    with pytest.raises(FacerError, match="train a model for other clips without folds"):
        load_models(config.run)
    assert load_models(config.run / "fold-1")


def _plan(config, **folds):
    return plan_folds(read_labels(config.labels), FoldConfig(**folds))


def test_one_subject_out(config):
    plan = _plan(config, folds="subjects")
    assert (plan.n_folds, plan.unit) == (6, "subject")
    for fold in range(6):
        splits = np.array(plan.splits(fold))
        assert len({plan.groups[row] for row in np.flatnonzero(splits == "test")}) == 1
        assert set(splits) == {"train", "val", "test", ""}


def test_by_clip_and_all_splits(config):
    assert _plan(config, folds="4", by="clip").unit == "clip"
    everything = _plan(config, folds="4", splits=("train", "val", "test"))
    assert (everything.fold_of >= 0).all()
    found = train_folds(replace(config, folds=FoldConfig("2", "clip")))
    assert found.crossing == tuple(f"p{i}" for i in range(6))
    (note,) = found.scores.notes
    assert note.startswith("clips of 6 subjects are in several folds")


def test_people_in_several_splits_of_the_file_are_no_matter_of_folds(config):
    """Seen: folds by subject were said to flatter, because the file's splits share people."""
    rows = _rows(config.labels)
    for place, row in enumerate(rows):
        row["split"] = ("train", "val", "test")[place % 3]
    _write(config.labels, rows)
    found = train_folds(config)
    assert found.crossing == found.scores.notes == ()


def test_rows_without_labels_take_no_part_and_files_without_splits_do(config):
    rows = _rows(config.labels)
    for row in rows:
        del row["split"]
    rows[0] |= {"joy": "", "awe": ""}
    _write(config.labels, rows)
    assert (_plan(config, folds="3").fold_of >= 0).tolist() == [False] + [True] * 23


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ({"folds": "seven"}, "folds: found 'seven', expected a number from 2 on, or subjects"),
        ({"folds": "7"}, "folds: found 6 subjects or clips to divide into 7"),
        ({"folds": "1"}, "folds: found '1'"),
        ({"folds": "3", "by": "face"}, "by: found 'face', expected one of auto, subject, clip"),
        ({"folds": "subjects", "by": "clip"}, "expected by subject"),
        ({"folds": "3", "splits": ("dev",)}, "fold_splits: found 'dev'"),
    ],
)
def test_folds_that_cannot_be_made_are_told(config, folds, message):
    with pytest.raises(FacerError, match=message):
        _plan(config, **folds)


def test_a_fold_that_cannot_be_trained_is_named(config):
    rows = _rows(config.labels)
    for i, row in enumerate(rows):  # what holds p0 out has one other to train on
        row |= {"subject": "p0" if i > 1 else f"p{i + 1}", "split": "train"}
    _write(config.labels, rows)
    with pytest.raises(FacerError, match="fold 0: split train: found 1 labelled clips"):
        train_folds(config)


def test_a_file_without_subjects_is_divided_by_clip_or_told(config):
    _write(
        config.labels, [{k: row[k] for k in row if k != "subject"} for row in _rows(config.labels)]
    )
    with pytest.raises(FacerError, match=r"by subject: .* names no subject; .* by clip"):
        _plan(config, folds="3", by="subject")
    assert _plan(config, folds="3").unit == "clip"


def test_every_clip_is_scored_by_the_fold_that_holds_it_out(config):
    found = train_folds(replace(config, seeds=2)).scores
    assert found.split == "out-of-fold"
    assert (found.n_scored, found.n_seeds) == (18, 2)
    assert some(found.intervals).unit == "subject"
    fold_of = {row["clip_id"]: row["fold"] for row in _rows(config.run / "folds.csv")}
    for fold in range(3):
        alone = evaluate(config.run / f"fold-{fold}", "test")
        assert set(alone.label_ids) == {c for c, f in fold_of.items() if f == str(fold)}
        rows = [found.label_ids.index(clip) for clip in alone.label_ids]
        np.testing.assert_allclose(found.predictions[rows], alone.predictions, rtol=1e-6)
        one = some(found.folds).scores[fold]
        assert (one.group, one.n) == (str(fold), 6)
        assert one.mean("pearson") == pytest.approx(alone.mean("pearson"))
    pooled = [np.corrcoef(found.predictions[:, i], found.targets[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(some(found.ensemble).pearson, pooled, rtol=1e-4)
    written = read_predictions(config.run / "out-of-fold.csv")
    np.testing.assert_array_equal(written.values, found.predictions)


def test_json_of_folds_keeps_the_keys_of_evaluate_and_adds_the_folds(config):
    train_folds(config)
    plain = replace(config, folds=None, run=config.run.with_name("plain"))
    train_head(plain)
    found = evaluate(config.run).to_json()
    assert set(found) == set(evaluate(plain.run).to_json()) | {"folds"}
    folds = found["folds"]
    each = [folds["groups"][str(k)]["mean"]["pearson"] for k in range(3)]
    assert folds["mean_over_groups"]["pearson"] == pytest.approx(np.mean(each))
    assert folds["std_over_groups"]["pearson"] == pytest.approx(np.std(each, ddof=1))


def test_two_runs_of_the_same_folds_are_compared_in_pairs(config):
    train_folds(config)
    other = replace(config, run=config.run.with_name("mse"), fit=replace(FAST, loss="mse"))
    train_folds(other)
    found = evaluate(config.run, against=other.run)
    assert found.pearson.unit == "subject"
    assert evaluate(config.run, against=config.run).pearson.difference == 0


def test_labels_that_divide_otherwise_are_refused(config, tmp_path):
    """Else held-out clips could be ones that the fold was trained on."""
    train_folds(config)
    rows = _rows(config.labels)
    other = tmp_path / "other.csv"
    _write(other, [{**row, "subject": row["subject"][::-1] + "x"} for row in rows])
    with pytest.raises(FacerError, match="divides into other folds than the run's"):
        evaluate(config.run, labels=str(other))
    with pytest.raises(FacerError, match="divides into other folds than the run's"):
        evaluate(config.run / "fold-0", "test", labels=str(other))
    with pytest.raises(FacerError, match=r"split val: .* is a run of folds"):
        evaluate(config.run, "val")
