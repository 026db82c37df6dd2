"""Training of REC as a run folder: resumable to the bit, refusing, explaining itself."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from facer.pipeline.affect.config import EvaluateRecConfig, TrainRecConfig
from facer.pipeline.affect.evaluate import evaluate_rec
from facer.pipeline.affect.train import RecRunConfig, train_rec
from facer.pipeline.runtime.run_folder import RunFolder
from facer.stages.affect import fit
from facer.stages.affect.config import AlignConfig, LossWeights, RecFitConfig
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.losses import Targets
from facer.stages.affect.soft_targets import distil, mixed
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec import network
from facer.stages.features.rec.architecture import Architecture
from facer.stages.features.rec.export import export_onnx
from facer.stages.features.rec.network import grow_depth
from facer.stages.features.rec.torch_rec import load_network
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint
from facer.storage.files.weights import weights_sha256
from facer.storage.schema import ACTION_UNITS, AU_NAMES, EXPRESSIONS

FIT = RecFitConfig(epochs=2, batch_size=8, small_px=32, low_res_fraction=1.0, learning_rate=1e-3)


class Stop(Exception):
    pass


def read_curve(run):
    return RunFolder(run, RecRunConfig).read_curve()


def put_network(patch, architecture):
    """Have ``rec-small`` be another network."""
    for module in (fit, network):
        known = {**module.ARCHITECTURES, "rec-small": architecture}
        patch.setattr(module, "ARCHITECTURES", known)


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """A network of seconds: the trainings here are about files and states."""
    with pytest.MonkeyPatch.context() as patch:
        put_network(patch, Architecture(16, (16, 32), (1, 1)))
        yield


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """48 crops: bright ones are happy with au12, dark ones are neutral."""
    path = tmp_path_factory.mktemp("pack") / "own.h5"
    rng = np.random.default_rng(0)
    n = 48
    happy = np.arange(n) % 2 == 1
    votes = np.zeros((n, 7), np.uint8)
    votes[happy, EXPRESSIONS.index("happiness")] = 10
    votes[~happy, EXPRESSIONS.index("neutral")] = 10
    au = np.full((n, 17), np.nan, np.float16)
    au[:, ACTION_UNITS.index(12)] = happy
    with h5py.File(path, "w") as file:
        jpegs = file.create_dataset("jpeg", (n,), h5py.vlen_dtype(np.uint8))
        for row in range(n):
            low = 150 if happy[row] else 20
            crop = rng.integers(low, low + 80, (112, 112, 3), dtype=np.uint8)
            jpegs[row] = np.frombuffer(cv2.imencode(".jpg", crop)[1].tobytes(), np.uint8)
        file["split"] = ["val" if row % 4 >= 2 else "train" for row in range(n)]
        file["expression_votes"] = votes
        file["expression_label"] = votes.argmax(1).astype(np.int8)
        file["au"] = au
    return path


@pytest.fixture
def config(pack, tmp_path):
    return TrainRecConfig((f"pack:{pack}",), tmp_path / "run", fit=FIT,
                          align=AlignConfig(tmp_path / "cache"))  # fmt: skip


@pytest.fixture(scope="module")
def trained(pack, tmp_path_factory):
    run = tmp_path_factory.mktemp("trained") / "run"
    return train_rec(TrainRecConfig((f"pack:{pack}",), run, fit=FIT))


def test_a_run_folder_says_everything_that_made_it(trained, pack):
    assert {p.name for p in trained.run.iterdir()} == {
        "config.json", "rec.safetensors", "last.safetensors", "curve.jsonl", "curve.png",
    }  # fmt: skip
    record = json.loads((trained.run / "config.json").read_text())
    assert [(s["split"], s["n"]) for s in record["sets"]] == [("train", 24), ("val", 24)]
    assert record["sets"][0]["spec"] == f"pack:{pack}"
    assert record["sets"][0]["labelled"] == {"expression": 24, "va": 24, "au": 24}
    assert record["fit"]["learning_rate"] == 1e-3
    assert record["facer_version"]
    rows = read_curve(trained.run)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert trained.last == rows[-1]
    assert {"ccc", "cce", "bce", "dm", "total"} == set(rows[0]["loss"])


def test_weights_say_what_they_are_without_naming_a_folder(trained, pack):
    _, meta = load_network(trained.rec)
    text = json.dumps(meta["training"])
    assert "pack:own.h5" in text
    assert str(pack.parent) not in text
    assert set(meta["weak_features"]) == {"valence", "arousal", *AU_NAMES} - {"au12"}
    assert trained.weak_features == tuple(meta["weak_features"])


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(config, trained):
    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        train_rec(config, stop)
    assert len(read_curve(config.run)) == 1
    torch.rand(7)  # whatever happened in between
    result = train_rec(replace(config, resume=True))
    for name in ("rec.safetensors", "last.safetensors"):
        ours, _ = load_checkpoint(config.run / name)
        theirs, _ = load_checkpoint(trained.run / name)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert read_curve(config.run) == read_curve(trained.run)
    assert result.epochs == 2
    again = train_rec(replace(config, resume=True))
    assert again.last == result.last


EPOCH = ["curve.jsonl", "rec.safetensors", "curve.png", "last.safetensors"]
WRITES = ["config.json", *EPOCH, *EPOCH]


@pytest.mark.parametrize("nth", range(1, len(WRITES) + 1))
def test_a_disk_that_is_full_at_a_write(config, trained, stopped_at_write, nth):
    """Told in one line, what was there is there, and ``--resume`` comes to the same bits."""
    stopped_at_write(nth, WRITES, config.run, lambda: train_rec(config))
    result = train_rec(replace(config, resume=True))
    for name in EPOCH:
        assert (config.run / name).read_bytes() == (trained.run / name).read_bytes(), name
    assert result.epochs == 2


@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # torch, of what it is not asked for
def test_a_run_of_facer_0_1_goes_on(config, pack, monkeypatch):
    """It stopped after an epoch of two, calls the decay ``average``; faces counted from 0.5 on."""
    of_then = replace(config.align, detector=replace(config.align.detector, score=0.5))
    config = replace(config, align=of_then)

    put_network(monkeypatch, Architecture(2, (2, 4), (1, 1)))
    shutil.copytree(Path(__file__).parents[2] / "data" / "runs-v1" / "rec", config.run)
    path = config.run / "config.json"
    path.write_text(path.read_text().replace("/data/pack", str(pack.parent)))
    (before,) = read_curve(config.run)
    with pytest.raises(FacerError, match=r"ema_decay \(was 0.998, now 0.5\)"):
        train_rec(replace(config, resume=True, fit=replace(FIT, ema_decay=0.5)))
    with torch.backends.mkldnn.flags(enabled=False):  # for so few channels oneDNN may crash
        assert train_rec(replace(config, resume=True)).epochs == 2
    first, second = read_curve(config.run)
    assert first == before
    assert second["epoch"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coupling": "none"}, "coupling: found 'none'"),
        ({"backbone": "vgg"}, "backbone: found 'vgg'"),
        ({"class_balance": -3}, "class_balance: found -3, expected 0 to 1"),
        ({"database_balance": 9}, "database_balance: found 9"),
        ({"low_res_fraction": 5}, "low_res_fraction: found 5"),
        ({"workers": -1}, "workers: found -1"),
        ({"mixup": -0.1}, "mixup: found -0.1, expected 0 or more"),
        ({"distillation_weight": 1.1}, "distillation_weight: found 1.1, expected 0 to 1"),
    ],
)
def test_wrong_settings_are_told_before_any_data_is_read(change, message):
    with pytest.raises(FacerError, match=message):
        RecFitConfig(**change)


def test_data_without_a_val_split_says_what_to_do(pack, config, tmp_path):
    path = tmp_path / "train-only.h5"
    path.write_bytes(pack.read_bytes())
    with h5py.File(path, "r+") as file:
        file["split"][:] = "train"
    with pytest.raises(
        FacerError, match=r"no row has split 'val'.*; name another set to score with"
    ):
        train_rec(replace(config, data=(f"pack:{path}",)))
    assert not config.run.exists()


def test_training_goes_on_from_weights(config, trained):
    with pytest.raises(FacerError, match=r"start \S+: found .*, expected that of backbone rec"):
        train_rec(replace(config, fit=replace(FIT, backbone="rec", start=str(trained.rec))))
    still = replace(FIT, start=str(trained.rec), epochs=1, learning_rate=1e-12)
    assert not config.run.exists()
    result = train_rec(replace(config, fit=still))
    before, _ = load_network(trained.rec)
    after, meta = load_network(result.rec)
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(old, new)
    assert meta["training"]["start_sha256"] == weights_sha256(trained.rec)


def test_a_deeper_network_starts_as_the_function_of_a_shallower(config, trained, monkeypatch):
    deeper = Architecture(16, (16, 32), (2, 3))
    put_network(monkeypatch, deeper)
    shallow, _ = load_network(trained.rec)
    deep = grow_depth(shallow, deeper)
    x = torch.rand(2, 3, 112, 112) * 2 - 1
    torch.testing.assert_close(deep.eval()(x), shallow.eval()(x))
    result = train_rec(replace(config, fit=replace(FIT, start=str(trained.rec))))
    deep, _ = load_network(result.rec)
    assert deep.architecture == deeper
    unit: Any = deep.units[1]
    added = unit.body[-1].weight
    assert added.abs().max() > 0  # it learned


def test_teachers_answer_is_a_part_of_the_target_and_all_where_unlabelled(pack, trained):
    data = read_pack(pack, "train")
    data.expression[1] = np.nan
    teacher = rec.load(trained.rec, "cpu")
    crops = np.stack([data.crop(0), data.crop(1)])
    views = [teacher.predict(view)[:, 2:9] for view in (crops, crops[:, :, ::-1])]
    answer = np.mean(views, axis=0)
    found = distil(data, [teacher, teacher], 0.25)
    expected = 0.75 * data.expression[0] + 0.25 * answer[0]
    np.testing.assert_allclose(found.expression[0], expected, atol=1e-5)
    np.testing.assert_allclose(found.expression[1], answer[1], atol=1e-5)
    np.testing.assert_allclose(found.expression.sum(1), 1, atol=1e-5)
    assert distil(data, [], 0.25) is data


def test_teachers_and_blended_pairs_are_part_of_what_made_the_weights(config, trained):
    wise = replace(FIT, teachers=(str(trained.rec),), mixup=0.2)

    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        train_rec(replace(config, fit=wise), stop)
    with pytest.raises(FacerError, match=r"made with other teacher \(.*, teachers_sha256 \("):
        train_rec(replace(config, fit=replace(wise, teachers=()), resume=True))
    stopped = train_rec(replace(config, fit=wise, resume=True))
    whole = train_rec(replace(config, fit=wise, run=config.run.with_name("whole")))
    ours, meta = load_checkpoint(stopped.rec)
    theirs, _ = load_checkpoint(whole.rec)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    plain, _ = load_checkpoint(trained.rec)
    assert not all(np.array_equal(ours[key], plain[key]) for key in ours)
    assert meta["training"]["fit"]["teachers"] == ["rec.safetensors"]
    assert meta["training"]["teachers_sha256"] == [weights_sha256(trained.rec)]


def test_blended_pairs_keep_their_share_and_lose_what_either_lacks():
    images = torch.zeros(2, 112, 112, 3, dtype=torch.uint8)
    images[1] = 200
    au = torch.tensor([[0.0] * 17, [1.0] * 17])
    va = torch.tensor([[0.0, 0.0], [torch.nan, torch.nan]])
    given = Targets(va, torch.eye(7)[:2], au, torch.ones(2, 17))
    for step in range(20):
        blended, targets = mixed(images, given, 0.5, [0, step])
        torch.testing.assert_close(targets.expression.sum(1), torch.ones(2))
        light = blended.float().mean((1, 2, 3)) / 200
        torch.testing.assert_close(light, targets.expression[:, 1], atol=0.003, rtol=0)
        torch.testing.assert_close(targets.au[:, 0], targets.expression[:, 1])
        own = targets.expression[0, 0] == 1
        assert targets.va[0].isfinite().all() == own  # blended with itself, or with the unlabelled
    assert torch.equal(mixed(images, given, 0.5, [0, 3])[0], mixed(images, given, 0.5, [0, 3])[0])


def test_workers_and_device_are_no_part_of_the_weights(trained):
    _, meta = load_network(trained.rec)
    assert {"learning_rate", "seed"} <= set(meta["training"]["fit"])
    assert not {"workers", "device"} & set(meta["training"]["fit"])


def test_bfloat16_products_round_the_loss_and_nothing_else(config, trained):
    result = train_rec(replace(config, fit=replace(FIT, bf16=True)))
    plain, rounded = trained.last["loss"]["total"], result.last["loss"]["total"]
    assert rounded != plain
    assert rounded == pytest.approx(plain, rel=0.05)
    weights, _ = load_checkpoint(config.run / "last.safetensors")
    assert {str(v.dtype) for v in weights.values()} <= {"float32", "int64"}


def test_an_epoch_cut_short_while_writing_is_done_again(config, trained):
    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        train_rec(config, stop)
    with (config.run / "curve.jsonl").open("a") as curve:
        curve.write('{"epoch": 2, "lo')
    train_rec(replace(config, resume=True))
    assert read_curve(config.run) == read_curve(trained.run)


def test_a_first_epoch_cut_short_is_done_again(config, trained):
    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        train_rec(config, stop)
    (config.run / "last.safetensors").unlink()
    train_rec(replace(config, resume=True))
    assert read_curve(config.run) == read_curve(trained.run)


def test_what_a_finished_run_made_is_written_again_where_it_is_gone(config, trained):
    """Seen: exit code 0 and the path of weights that were not there."""
    run = Path(shutil.copytree(trained.run, config.run))
    (run / "rec.safetensors").unlink()
    result = train_rec(replace(config, resume=True))
    assert result.rec.read_bytes() == trained.rec.read_bytes()


def test_an_existing_run_is_refused(config):
    config.run.mkdir()
    (config.run / "notes.txt").write_text("mine")
    with pytest.raises(FacerError, match="is there already and not empty; use another folder"):
        train_rec(config)
    assert (config.run / "notes.txt").read_text() == "mine"


def test_resuming_with_other_settings_or_data_is_refused(config, pack, trained):
    changed = replace(config, run=trained.run, resume=True, fit=replace(FIT, seed=1))
    with pytest.raises(FacerError, match=r"other seed \(was 0, now 1\); resume with"):
        train_rec(changed)
    other = shutil.copy(pack, pack.with_name("other.h5"))
    more = replace(config, run=trained.run, resume=True, data=(f"pack:{pack}", f"pack:{other}"))
    with pytest.raises(FacerError, match=r"was made with other sets train \(was \[.*, now \["):
        train_rec(more)


def test_resuming_with_other_crops_under_the_same_labels_is_refused(config, pack, trained):
    """Seen: a training went on with the crops of another pack that had taken the first's place."""
    run = Path(shutil.copytree(trained.run, config.run))
    kept = pack.read_bytes()
    with h5py.File(pack, "a") as file:
        file["jpeg"][0] = file["jpeg"][1]  # of the train split
    try:
        with pytest.raises(FacerError, match=r"train crops_sha256 \(was .*, now"):
            train_rec(replace(config, run=run, resume=True))
    finally:
        pack.write_bytes(kept)


def test_validation_sets_can_be_others_and_are_limited(config, pack):
    fit = replace(FIT, epochs=1)
    result = train_rec(replace(config, validation=(f"pack:{pack}",) * 2, val_limit=10, fit=fit))
    vals = [s for s in result.sets if s.split == "val"]
    assert [s.n for s in vals] == [10, 10]
    assert vals[0].notes == ("own: 10 of 24 crops are scored, evenly spaced",)
    assert [v["n"] for v in result.last["val"]] == [10, 10]
    assert [v["data"] for v in result.last["val"]] == [f"pack:{pack}"] * 2


def test_wrong_configurations_are_refused_before_work(config, tmp_path):
    with pytest.raises(FacerError, match="data: found none"):
        replace(config, data=())
    with pytest.raises(FacerError, match="one of the kinds"):
        train_rec(replace(config, validation=("own.h5",)))
    with pytest.raises(FacerError, match=r"data: found pack:.* twice, expected each set once"):
        train_rec(replace(config, data=config.data * 2))
    with pytest.raises(FacerError, match="val_limit: found 0"):
        replace(config, val_limit=0)
    with pytest.raises(FacerError, match="24 crops, fewer than the batch size of 64"):
        train_rec(replace(config, fit=RecFitConfig(batch_size=64)))
    with pytest.raises(FacerError, match="no such file, expected a crop pack"):
        train_rec(replace(config, data=("pack:none.h5",), run=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_crops_of_val_that_are_in_train_are_told(config, pack, tmp_path, caplog):
    own = shutil.copy(pack, tmp_path / "own.h5")
    with h5py.File(own, "r+") as file:
        file["jpeg"][2] = file["jpeg"][0]  # of val and of train
    train_rec(replace(config, data=(f"pack:{own}",), fit=replace(FIT, epochs=1)))
    assert "1 of 24 crops of val are in train too, pixel for pixel" in caplog.text


def test_expressions_that_a_teacher_alone_labels_are_taught_at_any_weight(
    config, pack, trained, tmp_path
):
    own = shutil.copy(pack, tmp_path / "own.h5")
    with h5py.File(own, "r+") as file:
        file["expression_label"][:] = -1
    wise = replace(FIT, epochs=1, teachers=(str(trained.rec),), distillation_weight=0)
    found = train_rec(replace(config, data=(f"pack:{own}",), fit=wise))
    assert "happiness" not in found.weak_features


def test_data_without_a_label_to_learn_from_is_refused(config):
    nothing = replace(FIT, loss=LossWeights(ccc=0, cce=0, bce=0))
    with pytest.raises(FacerError, match="found no label to learn from in pack:"):
        train_rec(replace(config, fit=nothing))
    assert not config.run.exists()


def score(weights, data, **settings):
    return evaluate_rec(EvaluateRecConfig(str(weights), data, **settings))


def test_evaluation_has_the_promised_shape(trained, pack, tmp_path):
    result = json.loads(
        json.dumps(score(trained.rec, f"pack:{pack}", device="cpu", pictures=tmp_path))
    )
    assert {"accuracy", "macro_f1", "confusion", "n"} <= set(result["expression"])
    assert result["expression"]["n"] == 24
    assert {"auc", "f1", "n"} <= set(result["au"]["au12"])
    assert result["au"]["au01"] is None
    assert result["va"] == {"valence": None, "arousal": None}  # nobody rated them
    assert result["va_derived"]["valence"]["n"] == 24
    assert {p.name for p in tmp_path.glob("*.png")} == {"confusion.png", "action-units.png"}
    assert sorted(result["pictures"]) == sorted(map(str, tmp_path.glob("*.png")))


def test_evaluation_takes_onnx_and_agrees_with_training(trained, pack, tmp_path):
    export_onnx(trained.rec, tmp_path / "own.onnx")
    done = []
    torch_scores = score(trained.rec, f"pack:{pack}", split="train", device="cpu")
    onnx = EvaluateRecConfig(str(tmp_path / "own.onnx"), f"pack:{pack}", "train", device="cpu")
    onnx_scores = evaluate_rec(onnx, lambda *n: done.append(n))
    assert onnx_scores["expression"] == torch_scores["expression"]
    assert onnx_scores["weak_features"] == torch_scores["weak_features"]
    assert done[-1] == (24, 24)


def test_only_labelled_kinds_are_scored_and_drawn(trained, tmp_path):
    folder = tmp_path / "aff"
    (folder / "VA" / "Validation_Set").mkdir(parents=True)
    (folder / "VA" / "Validation_Set" / "v.txt").write_text("valence,arousal\n0.1,0.2\n0.3,0.4\n")
    for frame in (1, 2):
        path = folder / "cropped_aligned" / "v" / f"{frame:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((112, 112, 3), 90 * frame, np.uint8))
    result = score(trained.rec, f"affwild2:{folder}", device="cpu", pictures=tmp_path)
    assert result["expression"] is None
    assert set(result["au"].values()) == {None}
    assert result["va"]["arousal"]["n"] == 2
    assert result["va_derived"] is None
    assert not list(tmp_path.glob("*.png"))
    assert result["pictures"] == []


@pytest.fixture
def meshes(pack, geometry_file, tmp_path):
    """The same frontal face on every crop of the pack."""
    neutral = np.load(geometry_file)["neutral"]
    path = tmp_path / "meshes.h5"
    with h5py.File(path, "w") as file:
        file["mesh"] = np.repeat((neutral * 44 + [56, 51.6, 0])[None], 48, 0).astype(np.float16)
        file.attrs["source"] = pack.name
    return path


def test_pairs_by_geometry_take_part_in_the_training_and_its_resumption(
    config, meshes, geometry_file, tmp_path
):
    fit = replace(FIT, unit_geometry=str(geometry_file), meshes=(str(meshes),), unit_pairs=4)
    whole = train_rec(replace(config, fit=fit))
    assert {"rank", "specific", "level", "rest", "pair"} <= set(whole.last["loss"])
    config = replace(config, run=tmp_path / "stopped", fit=fit)

    def stop(row):
        raise Stop

    with pytest.raises(Stop):
        train_rec(config, stop)
    resumed = train_rec(replace(config, resume=True))
    assert resumed.rec.read_bytes() == whole.rec.read_bytes()
    header = load_checkpoint(whole.rec)[1]["training"]["fit"]
    assert header["unit_geometry"] == geometry_file.name
    told = tmp_path / "told.csv"
    told.write_text("".join(["image,side\n", *(f"{row},{row % 2}\n" for row in range(48))]))
    found = score(
        whole.rec, config.data[0], unit_geometry=str(geometry_file), meshes=(str(meshes),),
        by_group=True, groups=told,
    )  # fmt: skip
    assert found["unit_response"]["au12"]["n"] > 0
    thirds = [row for row in found["by"] if row["attribute"] == "light"]
    assert sum(row["accuracy_n"] for row in thirds) == found["expression"]["n"]
    assert sum(row["n_faces"] for row in thirds) == found["unit_response"]["au12"]["n"]
    sides = [row for row in found["by"] if row["attribute"] == "side"]
    assert [row["group"] for row in sides] == ["0", "1"]
    assert sum(row["accuracy_n"] for row in sides) == found["expression"]["n"]
    low, high = thirds[0]["accuracy_interval"]
    assert low <= thirds[0]["accuracy"] <= high
    assert found["unit_response"]["au25"] is None


def test_pairs_need_geometry_and_meshes(meshes, geometry_file):
    with pytest.raises(FacerError, match="unit_geometry and meshes"):
        replace(FIT, meshes=(str(meshes),))
    with pytest.raises(FacerError, match="unit_geometry and meshes"):
        replace(FIT, unit_geometry=str(geometry_file))
