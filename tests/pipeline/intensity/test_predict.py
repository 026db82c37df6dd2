"""From new videos to intensities."""

import json
from dataclasses import replace

import numpy as np
import pytest

from facer.pipeline.features.config import ExtractRunConfig
from facer.pipeline.features.extract import extract_folder
from facer.pipeline.functions.heads import evaluate
from facer.pipeline.intensity import predict as module
from facer.pipeline.intensity.config import PredictConfig, TrainHeadConfig
from facer.pipeline.intensity.predict import predict_videos
from facer.pipeline.intensity.scoring.evaluate import predict_store
from facer.pipeline.intensity.train import train_head
from facer.stages.features.config import ExtractConfig
from facer.stages.intensity.config import FitConfig, HeadConfig
from facer.stages.intensity.sequence_config import SequenceConfig
from facer.storage import FeatureStore
from facer.storage.errors import FacerError

EXTRACT = ExtractConfig(device="cpu")
FAST = FitConfig(HeadConfig(hidden_size=8, dense=6), loss="mse", epochs=2)


@pytest.fixture
def trained(make_video, face_frames, tmp_path):
    """A run on three short videos, and their folder."""
    rows = ["clip_id,split,joy"]
    for name, split in (("a", "train"), ("b", "train"), ("c", "val")):
        make_video(f"videos/{name}.mp4", face_frames(4, scale=0.7 + len(rows) / 50))
        rows.append(f"{name},{split},0.{len(rows)}")
    labels, store = tmp_path / "labels.csv", tmp_path / "s.zarr"
    labels.write_text("\n".join(rows) + "\n")
    extract_folder(ExtractRunConfig(tmp_path / "videos", str(store), EXTRACT, workers=1))
    train_head(TrainHeadConfig(str(store), str(labels), tmp_path / "run", fit=FAST))
    return tmp_path / "run", tmp_path / "videos"


def test_videos_are_predicted_as_their_features_are(trained, tmp_path):
    run, videos = trained
    config = PredictConfig(run, videos, extract=EXTRACT, workers=1, pictures=tmp_path / "look")
    found, summary = predict_videos(config)
    assert (found.clip_ids, found.names, summary.failed) == (("a", "b", "c"), ("joy",), ())
    expected = evaluate(run, "val").predictions[0]
    np.testing.assert_allclose(found.values[2], expected, atol=1e-5)
    assert {path.stem for path in (tmp_path / "look").iterdir()} == {"a", "b", "c"}
    (one, _) = predict_videos(replace(config, videos=videos / "b.mp4", pictures=None))
    np.testing.assert_allclose(one.values[0], found.values[1], atol=1e-5)


def test_a_head_on_the_embedding_gets_one(trained, tmp_path):
    run, videos = trained
    config = replace(EXTRACT, embedding=True)
    store = tmp_path / "e.zarr"
    extract_folder(ExtractRunConfig(videos, str(store), config, workers=1))
    run = tmp_path / "on-embedding"
    sequences = SequenceConfig(features=("embedding",))
    train_head(
        TrainHeadConfig(
            str(store), str(tmp_path / "labels.csv"), run, sequences=sequences, fit=FAST
        )
    )
    found, _ = predict_videos(PredictConfig(run, videos, extract=EXTRACT, workers=1))
    np.testing.assert_allclose(found.values[2], evaluate(run, "val").predictions[0], atol=1e-5)


def test_a_video_without_a_face_is_marked(trained, make_video, tmp_path, monkeypatch):
    """Seen: unmarked in the csv and the picture."""
    make_video("other/bars.mp4")
    notes = []
    monkeypatch.setattr(module, "draw_clip", lambda *arguments: notes.append(arguments[-1]))
    config = PredictConfig(
        trained[0], tmp_path / "other", extract=EXTRACT, workers=1, pictures=tmp_path / "look"
    )
    found, _ = predict_videos(config)
    assert found.without_face == ("bars",)
    assert found.status == ("no_face",)
    np.testing.assert_allclose(found.values, [[0.15]], atol=1e-6)
    assert notes == ["no face: the training mean joy 0.15"]


class Counted(str):
    """An id that counts how often it is looked up."""

    looked_up = 0

    def __hash__(self):
        Counted.looked_up += 1
        return super().__hash__()


def test_many_clips_are_looked_up_a_few_times_each(planted, tmp_path):
    """Seen: a set of all clips made for every clip."""
    store, labels = planted(120)
    fit = FitConfig(HeadConfig("stats-mlp", hidden_size=4), epochs=1)
    train_head(TrainHeadConfig(store, labels, tmp_path / "fast", fit=fit))
    opened = FeatureStore.open(store)
    ids = [Counted(clip) for clip in opened.clip_ids]
    Counted.looked_up = 0
    assert len(predict_store(tmp_path / "fast", opened, ids).values) == 120
    assert Counted.looked_up < 20 * len(ids)


def test_columns_that_no_rec_makes_are_told_before_the_slow_part(trained, monkeypatch):
    monkeypatch.setattr(module, "extract_folder", lambda *_: pytest.fail("extracted"))
    run, videos = trained
    record = json.loads((run / "config.json").read_text())
    columns = [*record["columns"], "pose_Rx"]
    (run / "config.json").write_text(json.dumps(record | {"columns": columns}))
    with pytest.raises(FacerError, match="its head reads pose_Rx, which rec does not make"):
        predict_videos(PredictConfig(run, videos, extract=EXTRACT))


def test_other_options_than_the_runs_are_told_before_the_slow_part(trained, monkeypatch):
    monkeypatch.setattr(module, "extract_folder", lambda *_: pytest.fail("extracted"))
    run, videos = trained
    with pytest.raises(FacerError, match=r"frame_policy is .*extract with the same"):
        predict_videos(PredictConfig(run, videos, extract=replace(EXTRACT, stride=2)))
