"""Run folders: what is in them, that they come out the same again, and honest scores."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.pipeline.runtime.processes import ProcessExecutor, WorkerDiedError
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FEATURE_NAMES, FeatureStore, Record
from facer.storage.errors import FacerError

FAST = FitConfig(HeadConfig(hidden_size=16, dense=8), learning_rate=3e-3, epochs=12)


@pytest.fixture
def config(planted, tmp_path):
    store, labels = planted()
    return TrainHeadConfig(store, labels, tmp_path / "run", fit=FAST)


def test_a_planted_signal_is_learnt_and_the_run_is_complete(config):
    result = train_head(replace(config, seeds=2))
    assert (result.n_train, result.n_val) == (12, 6)
    assert result.val_pearson > 0.8
    assert evaluate(config.run, "test").mean("pearson") > 0.6
    names = {str(p.relative_to(config.run)) for p in config.run.rglob("*") if p.is_file()}
    expected = {
        f"seed-{s}/{n}"
        for s in (0, 1)
        for n in ("best.safetensors", "last.safetensors", "curve.csv")
    }
    assert names == expected | {"config.json", "curve.png"}
    record = json.loads((config.run / "config.json").read_text())
    assert record["labels"]["kind"] == "plain"
    assert len(record["labels"]["sha256"]) == 64
    assert record["store_provenance"]["rec_sha256"] == "r" * 64
    with (config.run / "seed-0" / "curve.csv").open() as file:
        assert len(list(csv.DictReader(file))) == result.seeds[0].epochs


def test_labels_that_do_not_vary_in_val_are_told(config):
    labels = Path(config.labels)
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text("".join(f"{a},{b},{0.5 if b == 'val' else c},{d}\n" for a, b, c, d in rows))
    result = train_head(config)
    assert result.not_defined == ("joy",)
    assert result.val_pearson == pytest.approx(
        evaluate(config.run, "val").to_json()["per_emotion"]["awe"]["pearson"], abs=1e-6
    )


def test_an_intensity_that_no_clip_with_the_chosen_features_teaches_is_refused(config, tmp_path):
    """Seen: what chance makes of an untrained output was scored and stood in the mean."""
    whole = FeatureStore.open(config.store)
    other = FeatureStore.create(
        tmp_path / "other.zarr", whole.provenance, feature_names=whole.feature_names
    )
    entries = [(whole.record(clip), whole.read(clip)) for clip in whole.clip_ids]
    entries[0][1].features[:, FEATURE_NAMES.index("au12")] = np.nan
    other.write_part(entries)
    lines = [line.split(",") for line in Path(config.labels).read_text().splitlines()]
    for line in lines[2:]:
        line[3] = "" if line[1] == "train" else line[3]
    Path(config.labels).write_text("".join(",".join(line) + "\n" for line in lines))
    config = replace(config, store=str(tmp_path / "other.zarr"))
    with pytest.raises(FacerError, match=r"no clip .* has a label of awe; .*targets joy"):
        train_head(config)
    assert not config.run.exists()
    train_head(replace(config, sequences=SequenceConfig(features=("va",))))


@pytest.mark.parametrize(("scale", "loss", "told"), [
    (100, "mse", True), (0.01, "ccc", True), (100, "pearson", False), (1, "mse", False)
])  # fmt: skip
def test_labels_that_an_error_hardly_teaches_are_told(config, scale, loss, told):
    """Seen: labels in percent and --loss mse, whose Pearson fell from 0.7 to 0 without a word."""
    with Path(config.labels).open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("clip_id", "split")]
    with Path(config.labels).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {n: float(row[n]) * scale for n in names} for row in rows)
    said: list[str] = []
    fit = replace(config.fit, loss=loss, epochs=1)
    train_head(replace(config, fit=fit), None, said.append)
    assert any("--scale-labels" in note for note in said) == told
    if told:
        said.clear()
        fit = replace(fit, scale_labels=True)
        train_head(replace(config, fit=fit, run=config.run.with_name("scaled")), None, said.append)
        assert not any("--scale-labels" in note for note in said)


def test_a_run_is_made_again_from_its_folder_alone(config, tmp_path):
    first = train_head(config)
    again = train_head(config_of_run(config.run, tmp_path / "again"))
    assert first.seeds == again.seeds
    assert _bytes(config.run) == _bytes(tmp_path / "again")


def test_a_run_keeps_the_columns_that_a_group_meant_when_it_was_made(
    planted, tmp_path, monkeypatch
):
    store, labels = planted(names=("au45", "contempt", *FEATURE_NAMES[2:]))
    sequences = SequenceConfig(features=("au", "expr"))
    config = TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=FAST)
    with monkeypatch.context() as earlier:  # as facer 0.1.0
        earlier.setattr("facer.storage.schema.OTHER_COLUMNS", {})
        first = train_head(config)
    assert first.n_columns == 24
    again = train_head(config_of_run(config.run, tmp_path / "again"))
    assert _bytes(config.run) == _bytes(tmp_path / "again")
    more = train_head(replace(config, resume=True, seeds=2))
    assert (again.n_columns, more.n_columns) == (24, 24)
    assert train_head(replace(config, run=tmp_path / "new")).n_columns == 26


def test_a_seed_whose_process_dies_is_named(config, tmp_path, monkeypatch):
    dead = lambda _, __, items: [(items[1], WorkerDiedError())]  # noqa: E731
    monkeypatch.setattr(ProcessExecutor, "map", dead)
    with pytest.raises(FacerError, match=r"run: seed 1: .*out of memory.*use jobs 1"):
        train_head(replace(config, seeds=2, jobs=2))


def test_seeds_side_by_side_come_out_as_one_after_another(config, tmp_path):
    config = replace(config, fit=replace(FAST, epochs=2), seeds=3)
    serial = train_head(config)
    seen = []
    parallel = replace(config, run=tmp_path / "parallel", jobs=2)
    found = train_head(parallel, lambda seed, row, _: seen.append((seed, row.epoch)))
    assert found.seeds == serial.seeds
    assert sorted(seen) == [(0, 2), (1, 2), (2, 2)]
    for seed in range(3):
        assert _bytes(config.run, seed) == _bytes(parallel.run, seed)
    values = [seed.val_pearson for seed in found.seeds]
    assert found.val_deviation == pytest.approx(np.std(values, ddof=1))
    assert replace(found, seeds=found.seeds[:1]).val_deviation is None


def test_labels_of_the_test_split_are_never_looked_at(config, tmp_path):
    """Seen: the best seed chosen on the split that is then reported."""
    train_head(replace(config, seeds=2))
    lines = [line.split(",") for line in Path(config.labels).read_text().splitlines()]
    other = tmp_path / "other.csv"
    rows = [[*r[:2], "0.5", "0.25"] if r[1] == "test" else r for r in lines]
    other.write_text("\n".join(map(",".join, rows)) + "\n")
    train_head(replace(config, seeds=2, labels=str(other), run=tmp_path / "blind"))
    for seed in (0, 1):
        assert _bytes(config.run, seed) == _bytes(tmp_path / "blind", seed)


def test_a_stopped_run_goes_on_to_the_same_result(config, tmp_path):
    train_head(config)

    def stop(_seed, row, _epochs):
        if row.epoch == 4:
            raise KeyboardInterrupt

    other = replace(config, run=tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        train_head(other, stop)
    train_head(replace(other, resume=True))
    assert _bytes(config.run) == _bytes(tmp_path / "other")


def _bytes(run: Path, seed: int = 0) -> bytes:
    return (run / f"seed-{seed}" / "best.safetensors").read_bytes()


def test_an_existing_run_is_never_overwritten(config):
    train_head(config)
    with pytest.raises(FacerError, match="holds a run already"):
        train_head(config)
    with pytest.raises(FacerError, match=r"made with other learning_rate \(was .*, now 0.01\)"):
        train_head(replace(config, fit=replace(FAST, learning_rate=1e-2), resume=True))


def test_a_folder_without_a_config_is_no_run_to_take_over(config):
    """Seen: another run's seeds taken for those of a new one, under the new one's settings."""
    train_head(config)
    (config.run / "config.json").unlink()
    before = _bytes(config.run)
    for resume, message in ((False, "not empty"), (True, "found seed-0 and no config.json")):
        with pytest.raises(FacerError, match=message):
            train_head(replace(config, resume=resume))
    assert _bytes(config.run) == before
    assert not (config.run / "config.json").exists()


@pytest.mark.parametrize(
    "wrong", [lambda: {"device": "tpu"}, lambda: {"fit": replace(FAST, head=HeadConfig("x"))}]
)
def test_what_is_wrong_is_told_before_anything_is_written(config, wrong):
    with pytest.raises(FacerError, match=r"(device|head): found"):
        train_head(replace(config, **wrong()))
    assert not config.run.exists()


def test_a_missing_clip_is_predicted_by_the_training_mean(config):
    """Never by anything of the split that is scored."""
    labels = Path(config.labels)
    labels.write_text(labels.read_text() + "ghost,val,1.0,1.0\n")
    train_head(config)
    found = evaluate(config.run, "val")
    assert found.n_filled == 1
    with labels.open() as file:
        train = [
            (float(r["joy"]), float(r["awe"]))
            for r in csv.DictReader(file)
            if r["split"] == "train"
        ]
    ghost = found.predictions[found.label_ids.index("ghost")]
    np.testing.assert_allclose(ghost, np.mean(train, axis=0), atol=1e-6)
    assert found.status[found.label_ids.index("ghost")] == "no_clip"
    assert found.status.count("ok") == len(found.status) - 1


def test_labels_that_changed_are_noticed(config):
    train_head(config)
    labels = Path(config.labels)
    labels.write_text(labels.read_text().replace("0.", "0.1", 1))
    with pytest.raises(FacerError, match="changed since"):
        evaluate(config.run)
    with pytest.raises(FacerError, match="changed since"):
        train_head(config_of_run(config.run, config.run.with_name("again")))


def test_labels_that_match_nothing_are_explained(config, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("clip_id,joy\nvideo_1,0.5\nvideo_2,0.1\n")
    with pytest.raises(FacerError, match=r"none of its 2 ids matches.*'video_1'.*'clip-00'"):
        train_head(replace(config, labels=str(other)))


def test_labels_without_splits_get_one_that_is_told(config):
    labels = Path(config.labels)
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(",".join([r[0], *r[2:]]) for r in rows) + "\n")
    result = train_head(config)
    assert "sha256 of the clip id" in result.split_rule
    assert (result.n_train, result.n_val) == (17, 3)


def test_a_split_without_labels_gives_predictions_and_no_score(config):
    labels = Path(config.labels)
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text(
        "\n".join(",".join(r if r[1] != "test" else [*r[:2], "", ""]) for r in rows) + "\n"
    )
    train_head(config)
    found = evaluate(config.run, "test")
    assert found.to_json()["mean"] is None
    assert found.n_seeds == 1
    assert np.isfinite(found.predictions).all()


def test_a_split_without_rows_is_refused(config, tmp_path):
    train_head(config)
    moved = tmp_path / "moved.csv"
    moved.write_text(Path(config.labels).read_text().replace(",test,", ",train,"))
    with pytest.raises(FacerError, match=r"split test: .* found train, val"):
        evaluate(config.run, "test", labels=moved)


def test_a_store_of_other_weights_is_refused(config, tmp_path):
    train_head(config)
    store = FeatureStore.open(config.store)
    other = FeatureStore.create(tmp_path / "o.zarr", replace(store.provenance, rec_sha256="x" * 64))
    other.write_part([(Record("a", "failed", 0, "broken"), None)])
    with pytest.raises(FacerError, match="rec_sha256 is xxxx"):
        predict_store(config.run, other, ["a"])


def test_predictions_of_a_store_equal_those_of_evaluate(config):
    train_head(config)
    found = evaluate(config.run, "val")
    again = predict_store(config.run, FeatureStore.open(config.store), found.label_ids)
    np.testing.assert_allclose(again.values, found.predictions, atol=1e-6)
    assert {*again.status} == {"ok"}


NAMES = ["config.json", "last.safetensors", "best.safetensors", "curve.csv", "curve.png"]


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_disk_that_is_full_at_a_write(config, tmp_path, stopped_at_write, nth):
    """Of config, checkpoint, best model, curve and picture: told, nothing lost, and it goes on."""
    config = replace(config, fit=replace(FAST, epochs=2))
    train_head(replace(config, run=tmp_path / "whole"))
    stopped_at_write(nth, NAMES, config.run, lambda: train_head(config))
    train_head(replace(config, resume=True))
    assert _bytes(config.run) == _bytes(tmp_path / "whole")
    assert {path.name for path in config.run.rglob("*") if path.is_file()} == set(NAMES)
