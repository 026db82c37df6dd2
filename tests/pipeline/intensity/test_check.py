"""``facer check``: targets, splits, people, features; and what trainings make of them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.ablation.ablate import ablate
from facer.pipeline.intensity.check import check_labels
from facer.pipeline.intensity.config import AblateConfig, TrainHeadConfig
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.sources.labels import labels_sha256
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.storage import FeatureStore, LabelOptions, read_labels
from facer.storage.errors import FacerError
from facer.storage.labels.challenges import CHALLENGES
from tests.support import outcome, some

FAST = FitConfig(HeadConfig(hidden_size=4, dense=4), learning_rate=3e-3, epochs=1)


def rows_of(labels):
    """The header and the rows of a label file, cell by cell."""
    lines = [line.split(",") for line in Path(labels).read_text().splitlines()]
    return lines[0], lines[1:]


def write(labels, header, rows):
    Path(labels).write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


@pytest.fixture
def unlabelled_in_train(planted):
    """Labels in which fear has none in train, and disgust is always 0."""
    store, labels = planted(24)
    header, rows = rows_of(labels)
    added = [[*row, "" if row[1] == "train" else "0.5", "0"] for row in rows]
    write(labels, [*header, "fear", "disgust"], added)
    return store, labels


def test_each_target_shows_its_labels(unlabelled_in_train):
    store, labels = unlabelled_in_train
    table = read_labels(labels)
    found = check_labels(FeatureStore.open(store), table)
    joy, fear, disgust = (found.targets[name] for name in ("joy", "fear", "disgust"))
    assert (joy.n, joy.absent_share, joy.trained) == (24, 0, True)
    assert joy.min == pytest.approx(table.values[:, 0].min())
    assert joy.mean == pytest.approx(table.values[:, 0].mean())
    assert joy.max == pytest.approx(table.values[:, 0].max())
    assert (fear.n, fear.absent_share, fear.trained) == (12, 0.5, False)
    assert fear.no_label_in == ("train",)
    assert fear.does_not_vary_in == ("val", "test")
    assert disgust.does_not_vary_in == ("train", "val", "test")
    assert json.loads(json.dumps(found.to_json()))["targets"]["fear"]["trained"] is False


def test_check_says_all_that_in_words(capsys, unlabelled_in_train):
    store, labels = unlabelled_in_train
    code, out, _ = outcome(capsys, "check", store, "--labels", labels)
    assert code == 0
    assert "read as plain, comma-separated, UTF-8" in out
    assert "does not vary in val, test: Pearson is not defined there; no label in train" in out
    assert "train-head uses train 12 clips, val 6 clips, test 6 clips" in out


def test_an_empty_val_and_a_clip_that_is_named_twice_are_said(capsys, planted):
    store, labels = planted(12)
    header, rows = rows_of(labels)
    rows = [[row[0], "train", *row[2:]] for row in rows]
    write(labels, header, [*rows, [f"x/{rows[0][0]}.mp4", *rows[0][1:]]])
    code, out, _ = outcome(capsys, "check", store, "--labels", labels)
    assert code == 0
    assert "train-head uses train 12 clips, val 0 clips\n" in out
    twice = "ids that could mean several clips, or one that another id means (1):\n"
    assert f"{twice}  x/{rows[0][0]}.mp4: {rows[0][0]}" in out


def test_a_target_without_a_label_in_train_is_not_predicted(capsys, unlabelled_in_train, tmp_path):
    store, labels = unlabelled_in_train
    code, _, err = outcome(
        capsys, "train-head", store, "--labels", labels, "-o", tmp_path / "run", "--epochs", 1,
        "--hidden-size", 4, "--dense", 4,
    )  # fmt: skip
    assert code == 0
    assert "no clip of train has a label of fear: not trained, and not predicted" in err
    assert "fear (no label in train)" in err
    assert read_run(tmp_path / "run").names == ("joy", "awe", "disgust")
    assert evaluate(tmp_path / "run", "test").names == ("joy", "awe", "disgust")
    opened = FeatureStore.open(store)
    assert predict_store(tmp_path / "run", opened, ["clip-00"]).names == ("joy", "awe", "disgust")


def test_rows_of_an_ablation_leave_it_out_alike(unlabelled_in_train, tmp_path):
    store, labels = unlabelled_in_train
    config = AblateConfig(store, labels, tmp_path / "rows", ("table2",), fit=FAST, seeds=1)
    table = ablate(config)
    assert table.names == ("joy", "awe", "disgust")
    assert not table.failed
    assert any("fear" in note for note in table.notes)


@pytest.fixture
def people(planted):
    """Labels with a column of people, of whom two are in train and val."""
    store, labels = planted(24)
    header, rows = rows_of(labels)
    names = [f"p{int(row[0][-2:]) % 4}" for row in rows]
    names[2], names[6] = "P0", "p1"  # of val
    write(labels, [*header, "Subject_ID"], [[*r, n] for r, n in zip(rows, names, strict=True)])
    return store, labels


def test_people_in_several_splits_are_said_wherever_labels_are_read(capsys, people, tmp_path):
    store, labels = people
    found = check_labels(FeatureStore.open(store), read_labels(labels))
    assert found.shared_subjects == {"p0": ("train", "val"), "p1": ("train", "val")}
    said = "2 of 4 subjects are in more than one split (p0 in train and val, p1 in train and val)"
    folder = tmp_path / "run"
    commands = [
        ("check", store, "--labels", labels),
        ("train-head", store, "--labels", labels, "-o", folder, "--epochs", 1, "--hidden-size", 4),
        ("evaluate", folder),
        ("ablate", store, "--labels", labels, "-o", tmp_path / "a", "--rows", "table2",
         "--seeds", 1, "--epochs", 1),
    ]  # fmt: skip
    for command in commands:
        code, _, err = outcome(capsys, *command)
        assert code == 0
        assert said in err, command[0]
    _, out, _ = outcome(capsys, "evaluate", folder, "--json")
    assert any(said in warning for warning in json.loads(out)["warnings"])
    _, out, _ = outcome(capsys, "check", store, "--labels", labels, "--json")
    assert json.loads(out)["shared_subjects"]["p0"] == ["train", "val"]


def test_splits_made_by_facer_keep_a_person_together(planted):
    store, labels = planted(24)
    header, rows = rows_of(labels)
    people = [f"{'pP'[i % 2]}{i // 2 % 8:02d}" for i in range(24)]
    write(labels, ["clip_id", "participant", *header[2:]],
          [[r[0], n, *r[2:]] for r, n in zip(rows, people, strict=True)])  # fmt: skip
    found = check_labels(FeatureStore.open(store), read_labels(labels))
    assert found.split_rule.endswith("sha256 of the subject")
    assert found.shared_subjects == {}
    assert sum(some(used.subjects) for used in found.used_splits.values()) == 8
    assert any("'p00' = 'P00'" in note for note in found.notes)


def test_clips_and_columns_without_features_are_named(planted, copy_store, tmp_path, capsys):
    store, labels = planted(24)

    def emptied(clip):
        features = clip.features.copy()
        features[:, 3] = np.nan
        if clip.n_frames == first.n_frames:
            features[:, 0] = np.nan
        features[0, 1] = np.nan
        return replace(clip, features=features)

    first = FeatureStore.open(store).read("clip-00")
    emptied_store = FeatureStore.open(copy_store(store, tmp_path / "e.zarr", emptied))
    names = emptied_store.feature_names
    same = [r.clip_id for r in emptied_store.records if r.n_frames == first.n_frames]
    found = check_labels(emptied_store, read_labels(labels), features=names[:2]).features
    assert found.empty_columns == ()
    assert sorted(found.empty_clips) == sorted(same)
    lost = 24 - len(same) + first.n_frames * len(same)
    assert found.filled_share == pytest.approx(lost / found.frames)
    code, out, err = outcome(
        capsys, "check", emptied_store.path, "--labels", labels, "--features", f"va,{names[3]}"
    )
    assert code == 0
    assert f"no clip has a value of {names[3]}" in err
    assert "100.0% of them filled" in out


def test_a_run_is_evaluated_on_labels_read_as_its_own(planted, tmp_path):
    store, labels = planted(24)
    header, rows = rows_of(labels)
    rows = [[f"k{r[0]}", r[0], r[1], *r[2:], "-1" if i % 5 == 0 else r[2], str(i % 3)]
            for i, r in enumerate(rows)]  # fmt: skip
    write(labels, ["clip_id", "key", "part", *header[2:], "fear", "age"], rows)
    with pytest.raises(FacerError, match="missing_values -1"):
        read_labels(labels)
    reading = LabelOptions(
        id_column="key", split_column="part", targets=("fear", "joy", "age"), missing_values=("-1",)
    )
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", reading=reading, fit=FAST))
    record = read_run(tmp_path / "run")
    assert record.labels.reading == reading
    assert evaluate(tmp_path / "run").names == ("fear", "joy", "age")
    moved = shutil.copy(labels, tmp_path / "moved.csv")
    found = evaluate(tmp_path / "run", labels=str(moved))
    assert (found.names, found.n_scored) == (("fear", "joy", "age"), 6)
    with pytest.raises(FacerError, match="none of its 24 ids matches"):
        evaluate(tmp_path / "run", id_column="clip_id")


def test_a_run_is_not_scored_on_splits_that_are_made_otherwise(planted, tmp_path):
    """As of a column that says who is seen, and that was not known when the run was made."""
    store, labels = planted(24)
    header, rows = rows_of(labels)
    rows = [[row[0], f"p{i // 3}", *row[1:]] for i, row in enumerate(rows)]
    write(labels, ["clip_id", "participante", "part", *header[2:]], rows)
    by_clip = LabelOptions(subject_column="none", split_column="none")
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", reading=by_clip, fit=FAST))
    assert evaluate(tmp_path / "run").n_scored
    for other in ({"subject_column": "participante"}, {"split_column": "part"}):
        for own in ({}, {"labels": str(labels)}):
            with pytest.raises(FacerError, match=r"found splits: .*the head may have seen"):
                evaluate(tmp_path / "run", **other, **own)


def test_other_labels_without_splits_are_not_divided_anew(planted, tmp_path):
    """As those of the test split alone, of which one clip would be "test"."""
    store, labels = planted(24)
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", fit=FAST))
    header, rows = rows_of(labels)
    bare = tmp_path / "bare.csv"
    write(bare, ["clip_id", *header[2:]], [[r[0], *r[2:]] for r in rows if r[1] == "test"])
    with pytest.raises(FacerError, match=r"found splits: made by facer.*write the splits into"):
        evaluate(tmp_path / "run", split="test", labels=str(bare))
    train_head(TrainHeadConfig(store, str(bare), tmp_path / "few", fit=FAST))
    assert evaluate(tmp_path / "few", labels=str(bare)).n_scored
    write(bare, ["clip_id", *header[2:]], [[r[0], *r[2:]] for r in rows])
    with pytest.raises(FacerError, match="the head may have seen"):  # more clips than then
        evaluate(tmp_path / "few", labels=str(bare))


def test_other_labels_may_have_more_targets(planted, tmp_path):
    store, labels = planted(24)
    train_head(TrainHeadConfig(store, labels, tmp_path / "run", fit=FAST))
    header, rows = rows_of(labels)
    more = tmp_path / "more.csv"
    write(more, ["clip_id", "split", "Awe", "calm", "JOY"],
          [[r[0], r[1], r[3], "0.5", r[2]] for r in rows])  # fmt: skip
    expected = evaluate(tmp_path / "run")
    found = evaluate(tmp_path / "run", labels=str(more))
    assert found.names == ("joy", "awe")
    assert found.mean("pearson") == expected.mean("pearson")
    write(more, header[:3], [row[:3] for row in rows])
    with pytest.raises(FacerError, match="has intensities joy, expected joy, awe"):
        evaluate(tmp_path / "run", labels=str(more))


@pytest.mark.parametrize("place", ["", "labels.csv"])
def test_the_digest_covers_the_files_that_were_read_and_no_others(planted, tmp_path, place):
    store, labels = planted(24)
    _, rows = rows_of(labels)
    folder = tmp_path / "mimic"
    folder.mkdir()
    write(folder / "labels.csv", ["filename", "Approval", "Disappointment", "Uncertainty"],
          [[r[0], r[2], r[3], r[2]] for r in rows])  # fmt: skip
    write(folder / "partition.csv", ["filename", "partition"], [row[:2] for row in rows])
    source = str(folder / place)
    train_head(TrainHeadConfig(store, source, tmp_path / "run", fit=FAST))
    (folder / "notes.csv").write_text("a,b\n1,2\n")
    assert evaluate(tmp_path / "run").n_scored == 6
    digest = labels_sha256(read_labels(source))
    swapped = {"train": "val", "val": "train", "test": "test"}
    write(
        folder / "partition.csv", ["filename", "partition"], [[r[0], swapped[r[1]]] for r in rows]
    )
    assert labels_sha256(read_labels(source)) != digest
    with pytest.raises(FacerError, match=r"changed since .* was made; expected it as it was"):
        evaluate(tmp_path / "run")


@pytest.mark.parametrize("command", ["check", "train-head", "evaluate", "ablate", "finetune"])
def test_every_command_that_reads_labels_takes_the_same_options(capsys, command):
    _, out, _ = outcome(capsys, command, "--help")
    for option in ("kind", "id-column", "targets", "subject-column", "split-column"):
        assert f"--{option} " in out
    assert "--missing-values A,B" in out


def test_a_file_that_is_gone_from_a_folder_of_labels_is_named(planted, tmp_path):
    """Seen: the folder was called changed, and nobody knew which file to look for."""
    store, labels = planted(24)
    _, rows = rows_of(labels)
    folder, run_folder = tmp_path / "emi", tmp_path / "run"
    folder.mkdir()
    names = CHALLENGES["emi"].names
    for split in ("train", "valid", "test"):
        own = [
            [row[0], *[row[2]] * len(names)] for row in rows if row[1] == split.removesuffix("id")
        ]
        write(folder / f"{split}_split.csv", ["Filename", *names], own)
    config = TrainHeadConfig(store, str(folder), run_folder, fit=FAST)
    train_head(config)
    (folder / "test_split.csv").rename(tmp_path / "kept")
    told = (
        r"emi: found no test_split\.csv, expected the files that .*run was made of \(test_split"
        r"\.csv, train_split\.csv, valid_split\.csv\); put back what is missing"
    )
    for again in (
        lambda: evaluate(run_folder),
        lambda: train_head(replace(config, resume=True)),
        lambda: train_head(config_of_run(run_folder, tmp_path / "again")),
    ):
        with pytest.raises(FacerError, match=told):
            again()
    (tmp_path / "kept").rename(folder / "test_split.csv")
    assert evaluate(run_folder).n_scored == 6
    record = json.loads((run_folder / "config.json").read_text())
    del record["labels"]["files"]  # as an earlier facer wrote it
    (run_folder / "config.json").write_text(json.dumps(record))
    train_head(replace(config, resume=True))
    (folder / "test_split.csv").unlink()
    with pytest.raises(FacerError, match="changed since"):
        evaluate(run_folder)


def test_splits_on_different_scales_are_told(planted):
    store, labels = planted(48)
    header, rows = rows_of(labels)
    for row in rows:
        row[2] = f"{float(row[2]) * (100 if row[1] == 'val' else 1):.2f}"
    write(labels, header, rows)
    (note,) = check_labels(FeatureStore.open(store), read_labels(labels)).notes
    assert "labels of joy go up to" in note
    assert " in val and " in note


def test_labels_that_are_one_value_in_train_are_told(planted, tmp_path):
    store, labels = planted(24)
    header, rows = rows_of(labels)
    for row in rows:
        row[2] = "0.5" if row[1] == "train" else row[2]
    write(labels, header, rows)
    notes = train_head(TrainHeadConfig(store, labels, tmp_path / "run", fit=FAST)).notes
    assert any("all labels of joy in train are one value" in note for note in notes)
