"""A run is repeated or gone on with on the data it was made of, wherever that lies now."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.head_run import read_run
from facer.pipeline.intensity.seeds import load_models, read_curve
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore, LabelOptions
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint

FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), learning_rate=3e-3, epochs=2)


@pytest.fixture
def config(planted, tmp_path):
    store, labels = planted()
    sequences = SequenceConfig(max_frames=24)
    config = TrainHeadConfig(store, labels, tmp_path / "run", sequences=sequences, fit=FAST)
    train_head(config)
    return config


def brighter(clip):
    features = clip.features.copy()
    features[0, 3] += 0.01
    return replace(clip, features=features)


def test_moved_data_repeat_a_run(config, tmp_path, copy_store):
    store = copy_store(config.store, tmp_path / "moved.zarr")
    labels = shutil.copy(config.labels, tmp_path / "moved.csv")
    shutil.rmtree(config.store)
    Path(config.labels).unlink()
    again = config_of_run(config.run, tmp_path / "again", store, str(labels))
    train_head(again)
    first, second = (r / "seed-0" / "best.safetensors" for r in (config.run, again.run))
    assert first.read_bytes() == second.read_bytes()
    assert read_run(again.run).store == store


def test_a_store_that_a_later_facer_made_alike_repeats_a_run(config, tmp_path, copy_store):
    before = FeatureStore.open(config.store).provenance
    made = replace(before, facer_version="99", libav_version="99", detector="of another name")
    store = copy_store(config.store, tmp_path / "alike.zarr", provenance=made)
    again = config_of_run(config.run, tmp_path / "again", store)
    assert train_head(again).seeds


def test_other_features_do_not_repeat_a_run(config, tmp_path, copy_store):
    store = copy_store(config.store, tmp_path / "changed.zarr", brighter)
    with pytest.raises(FacerError, match="clips or features are not those"):
        train_head(config_of_run(config.run, tmp_path / "again", store))
    assert not (tmp_path / "again").exists()


def test_a_store_of_other_weights_does_not_repeat_a_run(config, tmp_path, copy_store):
    made = replace(FeatureStore.open(config.store).provenance, rec_sha256="x" * 64)
    store = copy_store(config.store, tmp_path / "other.zarr", provenance=made)
    with pytest.raises(FacerError, match=r"rec_sha256 is xxx.*, expected rrr"):
        train_head(config_of_run(config.run, tmp_path / "again", store))


def test_other_labels_do_not_repeat_a_run(config, tmp_path):
    labels = tmp_path / "other.csv"
    labels.write_text(Path(config.labels).read_text() + "ghost,train,0.5,0.5\n")
    with pytest.raises(FacerError, match=r"other.csv: changed since .* was made"):
        train_head(config_of_run(config.run, tmp_path / "again", labels=str(labels)))


def test_a_run_does_not_go_on_after_its_features_changed(config, tmp_path, copy_store):
    """Seen: a cache named by its parameters and reused after the features had changed."""
    kept = config.run / "seed-0" / "last.safetensors"
    before = kept.read_bytes()
    shutil.move(config.store, tmp_path / "before.zarr")
    copy_store(str(tmp_path / "before.zarr"), Path(config.store), brighter)
    with pytest.raises(FacerError, match="made with other data_sha256"):
        train_head(replace(config, resume=True))
    assert kept.read_bytes() == before


def test_a_fine_tuned_run_is_not_repeated_as_a_head(config):
    path = config.run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finetune": {}}))
    with pytest.raises(FacerError, match="made by facer finetune"):
        config_of_run(config.run, config.run)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ('{"format": 99, "facer_version": "9"}', "newer facer .9.; update facer")],
)
def test_a_config_that_cannot_be_read(config, text, message):
    (config.run / "config.json").write_text(text)
    with pytest.raises(FacerError, match=message):
        read_run(config.run)


@pytest.mark.parametrize("changes", [{"names": "joy"}, {"seeds": "3"}, {"store": None}])
def test_a_config_with_text_for_numbers(config, changes):
    path = config.run / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(FacerError, match=rf"{next(iter(changes))}: found .*, expected"):
        read_run(config.run)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"hidden_size": 10**9}},
        {"head": {"layers": 10**9}},
        {"head": {"hidden_size": "8"}},
        {"head": {"name": "other"}},
        {"head": None},
        {"shape": {"features": 10**13, "intensities": 2, "max_frames": 24}},
        {"shape": {"features": 26}},
        {"shape": [1, 2, 3]},
        {"shape": None},
        {"stand_in": 0.5},
        {"stand_in": [0.1] * 5},
        {"run": 5},
    ],
)
def test_a_head_larger_than_its_tensors_allocates_nothing(config, changes):
    path = config.run / "seed-0" / "best.safetensors"
    arrays, meta = load_checkpoint(path)
    for key, value in changes.items():
        meta[key] = meta[key] | value if key == "head" and value else value
    save_checkpoint(path, arrays, meta)
    with pytest.raises(FacerError, match="found no head that facer wrote") as refused:
        load_models(config.run)
    assert "\n" not in str(refused.value)


def test_what_an_older_run_does_not_say_of_its_store_is_as_it_was(config):
    before = evaluate(config.run).to_json()
    path = config.run / "config.json"
    record = json.loads(path.read_text())
    made = {k: v for k, v in record["store_provenance"].items() if k.endswith("sha256")}
    path.write_text(json.dumps(record | {"store_provenance": made}))
    assert evaluate(config.run).to_json() == before


def test_weights_that_are_not_finite_are_refused_by_name(config):
    path = config.run / "seed-0" / "best.safetensors"
    arrays, meta = load_checkpoint(path)
    arrays["input_mean"][0] = np.nan
    save_checkpoint(path, arrays, meta)
    with pytest.raises(FacerError, match=r"best\.safetensors: .*input_mean: numbers that are not"):
        evaluate(config.run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": replace(FAST, head=HeadConfig(hidden_size=16, dense=6))}, "hidden_size: 16"),
        ({"fit": replace(FAST, calibrate="none")}, "calibrate: none"),
        ({"sequences": SequenceConfig(("va",), max_frames=24)}, "number of columns: 2"),
        ({"sequences": SequenceConfig(max_frames=16)}, "t: 16"),
        ({"reading": LabelOptions(targets=("joy",))}, "number of intensities: 1"),
    ],
)
def test_a_model_of_another_run_is_not_taken_for_the_run_s(config, tmp_path, changes, message):
    other = replace(config, run=tmp_path / "other", **changes)
    train_head(other)
    ours, theirs = (run / "seed-0" / "best.safetensors" for run in (config.run, other.run))
    for said in (True, False):  # by the sizes alone, as of runs of before
        arrays, meta = load_checkpoint(theirs)
        save_checkpoint(ours, arrays, meta if said else {**meta, "run": {}})
        with pytest.raises(FacerError, match=f"found the model of another training .{message}"):
            evaluate(config.run)


def test_a_model_moved_to_another_seed_or_order_of_names_is_refused(config):
    kept = config.run / "seed-0"
    shutil.copytree(kept, config.run / "seed-7")
    with pytest.raises(FacerError, match=r"seed-7.*: found seed 7, expected 0 to 0, as config"):
        load_models(config.run)
    shutil.rmtree(config.run / "seed-7")
    path = config.run / "config.json"
    record = json.loads(path.read_text())
    shutil.copytree(kept, config.run / "seed-1")
    for changes, message in (
        ({"seeds": 2}, "seed: 0"),
        ({"names": ["awe", "joy"]}, r"names: \['joy', 'awe'\]"),
        ({"columns": record["columns"][::-1]}, "columns: "),
        ({"fold": 1}, "fold: None"),
    ):
        path.write_text(json.dumps(record | changes))
        with pytest.raises(FacerError, match=f"another training .{message}"):
            load_models(config.run)


def test_a_run_of_facer_0_1_is_scored_repeated_and_resumed(planted, tmp_path):
    """Its second seed was interrupted after an epoch. Its CPU was of another kind than this one
    may be and rounds otherwise, from the first weights on (their QR decomposition).
    """
    planted()
    old = Path(__file__).parents[2] / "data" / "runs-v1" / "head"
    run = Path(shutil.copytree(old, tmp_path / "run"))
    text = (run / "config.json").read_text().replace("/data/", f"{tmp_path}/")
    (run / "config.json").write_text(text)
    assert read_run(run).seeds == 2
    assert evaluate(run).n_seeds == 1
    trained = []
    again = replace(config_of_run(run, run), resume=True)
    train_head(again, lambda seed, row, _: trained.append((seed, row.epoch)))
    assert trained == [(1, 4)]
    assert evaluate(run).n_seeds == 2
    whole = config_of_run(run, tmp_path / "whole")
    train_head(whole)
    for seed in (0, 1):
        ours, theirs = (
            read_curve(one / f"seed-{seed}" / "curve.csv")[0] for one in (run, whole.run)
        )
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=0.1)
        assert ours.val_mse == pytest.approx(theirs.val_mse, rel=0.1)


def test_seeds_added_to_a_finished_run_are_those_of_a_longer_one(config, tmp_path):
    """``--seeds 3`` on a run of 1 trains two, and comes out as 3 from the start."""
    kept = config.run / "seed-0" / "best.safetensors"
    before = kept.stat().st_mtime_ns
    (config.run / "seed-0" / "last.safetensors").unlink()  # ablate keeps none
    trained = []
    found = train_head(replace(config, seeds=3), lambda seed, *_: trained.append(seed))
    assert set(trained) == {1, 2}
    assert kept.stat().st_mtime_ns == before
    whole = replace(config, run=tmp_path / "whole", seeds=3)
    assert found.seeds == train_head(whole).seeds
    for seed in range(3):
        name = f"seed-{seed}/best.safetensors"
        assert (config.run / name).read_bytes() == (whole.run / name).read_bytes()
    assert read_run(config.run) == read_run(whole.run)
    assert evaluate(config.run).to_json() == evaluate(whole.run).to_json()


def test_fewer_seeds_or_more_with_other_settings_are_refused(config):
    with pytest.raises(FacerError, match=r"was made with other epochs \(was [0-9]+, now 3\); use"):
        train_head(replace(config, seeds=2, fit=replace(FAST, epochs=3)))
    train_head(replace(config, seeds=2))
    with pytest.raises(FacerError, match=r"was made with other seeds \(was 2, now 1\)"):
        train_head(replace(config, resume=True))
    with pytest.raises(FacerError, match="holds a run already"):
        train_head(replace(config, seeds=2))


def test_a_seed_without_its_model_is_not_finished(config):
    """Its curve alone does not say that it is done."""
    path = config.run / "seed-0" / "best.safetensors"
    before = path.read_bytes()
    path.unlink()
    train_head(replace(config, resume=True))
    assert path.read_bytes() == before


@pytest.mark.parametrize("other", ["learning_rate", "seed"])
def test_files_of_another_training_of_the_same_sizes_are_refused(config, tmp_path, other):
    fit = replace(FAST, learning_rate=1e-2) if other == "learning_rate" else FAST
    theirs = replace(config, run=tmp_path / "other", fit=fit, seeds=2)
    train_head(theirs)
    source = theirs.run / f"seed-{int(other == 'seed')}"
    ours = config.run / "seed-0"
    shutil.copy(source / "best.safetensors", ours)
    with pytest.raises(FacerError, match=rf"model of another training.*{other}"):
        evaluate(config.run)
    with pytest.raises(FacerError, match=rf"model of another training.*{other}"):
        train_head(replace(config, resume=True))  # seen: it ended well
    (ours / "curve.csv").unlink()
    shutil.copy(source / "last.safetensors", ours)
    with pytest.raises(FacerError, match=rf"state of another training, made with other {other}"):
        train_head(replace(config, resume=True))
