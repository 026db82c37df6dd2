"""REC and head end to end: the loss falls, both move, it resumes, and the result is a run."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from facer.pipeline.endtoend.config import FinetuneConfig, FinetuneRunConfig
from facer.pipeline.endtoend.finetune import (
    _faces,
    _options_like,
    _refuse_another_run,
    finetune,
    settings_of_run,
)
from facer.pipeline.endtoend.joint import ClipCrops
from facer.pipeline.features.guarded.guard import close_idle, idle
from facer.pipeline.features.stored_video import read_crops
from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity.config import TrainHeadConfig
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.seeds import load_models
from facer.pipeline.intensity.train import config_of_run, train_head
from facer.pipeline.runtime.run_folder import RunFolder
from facer.stages.features.align import ARCFACE_TEMPLATE_PX
from facer.stages.features.config import STARTER_DETECTOR, DetectorConfig, ExtractConfig
from facer.stages.features.decode.frames import VideoReader
from facer.stages.features.rec import loading as rec
from facer.stages.features.rec.architecture import Architecture
from facer.stages.features.rec.network import RecNet
from facer.stages.features.rec.torch_rec import save_rec
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore, Record
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint
from facer.storage.schema import FEATURE_NAMES, ClipFeatures, Provenance
from facer.storage.study.faces import FacePoint, parse_points, points_text, read_faces
from tests.support import some

N_CLIPS, SIDE = 12, 64


@pytest.fixture
def videos(make_video, tmp_path):
    """Clips whose brightness is their intensity."""
    for index in range(N_CLIPS):
        level = 20 + 16 * index
        noise = np.random.default_rng(index).integers(0, 30, (5 + index % 3, SIDE, SIDE, 3))
        make_video(f"videos/clip-{index:02d}.mp4", list((level + noise).astype(np.uint8)))
    return tmp_path / "videos"


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    network = RecNet(Architecture(16, (16, 32), (1, 1))).eval()
    save_rec(tmp_path / "own.safetensors", network, weak=("au11",), training={"data": "x"})
    return tmp_path / "own.safetensors"


def make_store(path, videos, weights):
    """What extract would have stored, every face filling its frame; frame 1 has none."""
    model = rec.load(weights, "cpu")
    provenance = Provenance("d", "d" * 64, model.name, model.sha256)
    store = FeatureStore.create(path, provenance)
    entries = []
    for video in sorted(videos.glob("*.mp4")):
        with VideoReader(video) as reader:
            times = np.array([frame.timestamp_s for frame in reader])
        n = len(times)
        valid = np.arange(n) != 1
        points = np.tile(ARCFACE_TEMPLATE_PX * SIDE / 112, (n, 1, 1)).astype(np.float32)
        clip = ClipFeatures(
            np.full((n, 26), np.nan, np.float32), times, valid, np.ones(n, np.float32),
            np.ones((n, 4), np.float32), points, np.ones(n, np.int16),
        )  # fmt: skip
        clip.features[valid] = model.predict(read_crops(video, clip, np.flatnonzero(valid)))
        size = video.stat().st_size
        record = Record(
            video.stem, "ok", n, n_valid=n - 1, fps=25.0, source=video.name, source_size=size
        )
        entries.append((record, clip))
    store.write_part(entries)
    return store


@pytest.fixture
def config(videos, weights, tmp_path):
    make_store(str(tmp_path / "store.zarr"), videos, weights)
    lines = ["clip_id,split,light,dark"]
    for index in range(N_CLIPS):
        split = "val" if index % 3 == 2 else "train"
        lines.append(f"clip-{index:02d},{split},{index / 12},{1 - index / 12}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    fit = FitConfig(HeadConfig(hidden_size=8, dense=4), learning_rate=1e-3, epochs=2)
    train_head(
        TrainHeadConfig(
            str(tmp_path / "store.zarr"), str(tmp_path / "labels.csv"), tmp_path / "head", fit=fit
        )
    )
    return FinetuneConfig(
        tmp_path / "head", videos, str(weights), epochs=4, learning_rate=3e-3, chunk=8,
        output=tmp_path / "joint", device="cpu",
    )  # fmt: skip


def test_loss_falls_rec_moves_and_the_output_is_a_run(config, weights):
    before = weights.read_bytes()
    result = finetune(config)
    losses = [row["loss"] for row in result.curve[1:]]
    assert losses[-1] < losses[0]
    assert result.curve[0]["loss"] is None
    assert result.rec_change > 0
    assert weights.read_bytes() == before
    new, meta = load_checkpoint(result.rec)
    old, _ = load_checkpoint(weights)
    assert any(not np.array_equal(new[k], old[k]) for k in old if k.endswith("weight"))
    assert all(np.array_equal(new[k], old[k]) for k in old if "running" in k)
    assert meta["weak_features"] == ["au11"]
    assert meta["training"]["before"] == {"data": "x"}
    make_store(str(config.output / "features.zarr"), config.videos, result.rec)
    found = evaluate(config.output, "val")
    assert found.mean("pearson") == pytest.approx(result.best["val_pearson"], abs=0.01)
    assert found.warnings == ()  # seen: the old store's digest, so that every figure had a warning
    shutil.rmtree(config.output / "features.zarr")
    store = make_store(str(config.output / "features.zarr"), config.videos, result.rec)
    store.write_part([(Record("clip-00", "failed", 0, "gone"), None)])
    assert evaluate(config.output, "val").warnings == (
        "the store's features are not those that the run was trained on",
    )


def test_the_options_of_the_next_extraction_are_those_of_the_store():
    """Seen: a next line without them, whose store evaluate refused once it was extracted."""
    starter = ExtractConfig(DetectorConfig())
    settings: dict[str, str | int | float] = {
        "det_size_px": starter.detector.size_px, "det_threshold": starter.detector.threshold,
        "detect_every": starter.keyframe_interval, "precision": "bf16",
    }  # fmt: skip
    made = Provenance(STARTER_DETECTOR, "d" * 64, "r", "r" * 64, settings=settings)
    assert [*_options_like(made)] == ["--precision", "bf16"]
    made = Provenance(
        "scrfd", "d" * 64, "r", "r" * 64, face_policy="central", frame_policy="one of 3 frames",
        settings={"det_size_px": 640, "det_threshold": 0.4, "detect_every": 1},
    )  # fmt: skip
    assert [*_options_like(made)] == [
        "--precision", "float32", "--detector", "scrfd", "--det-threshold", "0.4",
        "--face", "central", "--stride", "3",
    ]  # fmt: skip


def test_the_next_extraction_follows_the_faces_that_were_pointed_at(tmp_path):
    """Seen: a next line without them, whose store had the other person, and was scored."""
    store = FeatureStore.create(str(tmp_path / "s.zarr"), Provenance("d", "d" * 64, "r", "r" * 64))
    assert [*_faces(tmp_path, store)] == []
    points = {"=a": (FacePoint(1 / 3, 2, 3),), "b": (FacePoint(0, 1, 2), FacePoint(1.5, 0, 7))}
    for name, some_points in points.items():
        record = Record(name, "failed", 0, "broken", face_points=points_text(some_points))
        store.write_part([(record, None)])
    store.write_part([(Record("c", "failed", 0, "broken"), None)])
    option, path = _faces(tmp_path, store)
    assert (option, path) == ("--faces", str(tmp_path / "faces.csv"))
    found = read_faces(tmp_path / "faces.csv", ["=a", "b", "c"]).points
    assert found == {name: parse_points(points_text(of)) for name, of in points.items()}


def test_an_output_without_digests_goes_on_with_its_own_run_alone(tmp_path, monkeypatch):
    """Seen: an output of facer 0.1 went on with the head and the clips of another run."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "joint", FinetuneRunConfig, "finetune.json")
    config = FinetuneConfig(Path("head"), Path("videos"), output=folder.path)
    folder.write(FinetuneRunConfig(config.run, config.videos))
    now = replace(config.of_run, inputs={"head_sha256": "0" * 64})
    _refuse_another_run(folder, now)
    folder.compare(now)
    with pytest.raises(FacerError, match=r"was made with other run \(was head, now .*/other\)"):
        _refuse_another_run(folder, replace(now, run=tmp_path / "other"))
    folder.write(now)
    _refuse_another_run(folder, replace(now, run=tmp_path / "other"))


@pytest.mark.parametrize("split", ["val", "none"])
def test_the_calibration_is_the_runs(config, split):
    """Seen: on train whatever the run said, and reported as the run said."""
    record = config_of_run(config.run, config.run.with_name("other"))
    fit = replace(record.fit, calibrate=split)
    train_head(replace(record, fit=fit, repeats=None))
    result = finetune(replace(config, run=record.run, epochs=1))
    store = make_store(str(config.output / "features.zarr"), config.videos, result.rec)
    found = evaluate(config.output, "val")
    assert found.calibrate == split
    targets = found.targets.mean(axis=0)
    if split == "val":
        np.testing.assert_allclose(found.predictions.mean(axis=0), targets, atol=1e-3)
        return
    (model,) = load_models(config.output).values()
    assert (model.calibration.slope == 1).all()
    expected = predict_store(
        config.output, store, [c for c in store.clip_ids if int(c[-2:]) % 3 != 2]
    )
    np.testing.assert_allclose(some(model.stand_in), expected.values.mean(axis=0), atol=1e-3)


def test_the_first_row_is_what_was_started_from(config):
    result = finetune(replace(config, epochs=1, learning_rate=1e-5))
    expected = evaluate(config.run, "val").mean("pearson")
    assert result.curve[0]["val_pearson"] == pytest.approx(expected, abs=1e-4)


def test_stopped_and_resumed_equals_uninterrupted(config, tmp_path, monkeypatch):
    """From another folder too. Seen: refused as made with other run and videos."""
    monkeypatch.chdir(tmp_path)
    whole = finetune(config)

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    other = replace(config, output=tmp_path / "other", memory_mb=1)
    with pytest.raises(KeyboardInterrupt):
        finetune(replace(other, run=Path("head"), videos=Path("videos")), stop)
    monkeypatch.chdir(config.videos)
    assert settings_of_run(other.output)["run"] == config.run
    again = finetune(replace(other, resume=True))
    assert again.curve == whole.curve
    for name in ("rec.safetensors", "seed-0/best.safetensors"):
        ours, _ = load_checkpoint(other.output / name)
        theirs, _ = load_checkpoint(config.output / name)
        assert all(np.array_equal(ours[k], theirs[k]) for k in theirs)


LAST = "last.safetensors"
EPOCH = ["curve.jsonl", LAST]
WRITES = ["finetune.json", *EPOCH, *EPOCH, "rec.safetensors", "best.safetensors", "config.json"]


def test_a_disk_that_is_full_at_a_write(config, tmp_path, stopped_at_write):
    """Told in one line, what was there is there, and ``--resume`` comes to the same bits."""
    whole = replace(config, output=tmp_path / "whole", epochs=1)
    finetune(whole)
    for nth in (1, 4, 5, 8):
        one = replace(whole, output=tmp_path / f"full-{nth}")
        stopped_at_write(nth, WRITES, one.output, partial(finetune, one))
        finetune(replace(one, resume=True))
        for name in (LAST, "rec.safetensors", "seed-0/best.safetensors", "curve.jsonl"):
            assert (one.output / name).read_bytes() == (whole.output / name).read_bytes(), name


def test_crops_of_many_clips_are_decoded_by_one_process(config):
    """Seen: a process for each clip, a quarter of a second, at each of its epochs."""
    close_idle()
    store = FeatureStore.open(json.loads((config.run / "config.json").read_text())["store"])
    children = set()
    for clip_id in store.clip_ids[:3]:
        read_crops(config.videos / f"{clip_id}.mp4", store.read(clip_id), np.array([3, 0]))
        children |= {id(child) for child in idle}
    assert len(children) == len(idle) == 1


@pytest.mark.parametrize("missing", ["hold", "zero", "drop"])
def test_batches_are_made_by_the_rules_of_the_head(config, missing):
    store = FeatureStore.open(json.loads((config.run / "config.json").read_text())["store"])
    sequences = SequenceConfig(missing=missing, max_frames=5)
    data = ClipCrops(store, config.videos, store.clip_ids, sequences, FEATURE_NAMES, 1 << 20)
    joint = data.batch(np.array([2, 0]))
    lengths = {"drop": [5, 4]}.get(missing, [5, 5])
    assert joint.batch.lengths.tolist() == lengths
    zeros = int((joint.rows == len(joint.crops)).sum())
    assert zeros == (missing == "zero")  # clip 2 has 7 frames, and its gap is not among the 5
    brightness = joint.crops.reshape(len(joint.crops), -1).mean(1)
    assert brightness[int(joint.rows[0])] > brightness[int(joint.rows[1])]  # clip 2, then clip 0


def test_what_does_not_fit_is_refused(config, weights, tmp_path, videos):
    torch.manual_seed(2)
    network = RecNet(Architecture(16, (16, 32), (1, 1)))
    save_rec(tmp_path / "b.safetensors", network, weak=(), training={})
    with pytest.raises(FacerError, match="the store was extracted with own"):
        finetune(replace(config, rec=str(tmp_path / "b.safetensors")))
    (tmp_path / "x.onnx").write_text("")
    with pytest.raises(FacerError, match="ONNX cannot be trained"):
        finetune(replace(config, rec=str(tmp_path / "x.onnx")))
    with pytest.raises(FacerError, match="expected the folder that was extracted"):
        finetune(replace(config, videos=tmp_path))
    other = shutil.copytree(videos, tmp_path / "other")
    shutil.copy(other / "clip-01.mp4", other / "clip-00.mp4")
    with pytest.raises(FacerError, match=r"clip-00.mp4: found \d+ bytes, expected \d+: it is not"):
        finetune(replace(config, videos=other))
    assert not config.output.exists()  # all of this before anything is written
    RunFolder(config.output, FinetuneRunConfig, "finetune.json").claim(config.of_run, resume=False)
    with pytest.raises(FacerError, match="is there already"):
        finetune(config)
    with pytest.raises(FacerError, match=r"made with other learning_rate \(was .*, now 0.0001\)"):
        finetune(replace(config, learning_rate=1e-4, resume=True))
    for name, value in (("epochs", 0), ("batch_size", 2), ("chunk", 0)):
        with pytest.raises(FacerError, match=f"{name}: found {value}"):
            replace(config, **{name: value})


def test_another_head_or_store_at_the_same_path_does_not_go_on(config, tmp_path):
    """Seen: a run made again with other labels at its path, and the training went on with both."""

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(config, stop)
    again = config_of_run(config.run, tmp_path / "again")
    labels = tmp_path / "labels.csv"
    labels.write_text(labels.read_text().replace("0.25,0.75", "0.75,0.25"))
    train_head(replace(again, repeats=None))
    shutil.rmtree(config.run)
    (tmp_path / "again").rename(config.run)
    with pytest.raises(
        FacerError, match=r"was made with other inputs head_sha256 .* labels_sha256"
    ):
        finetune(replace(config, resume=True))
    record = json.loads((config.run / "config.json").read_text())
    record["store_provenance"]["detector_sha256"] = "e" * 64
    (config.run / "config.json").write_text(json.dumps(record))
    with pytest.raises(FacerError, match="detector_sha256 is dddd"):
        finetune(replace(config, output=tmp_path / "new"))
