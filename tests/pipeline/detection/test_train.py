import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from facer.pipeline.detection.train import DetectorResult, train_detector
from facer.stages.detection.config import (
    DetectionLossWeights,
    DetectorTrainConfig,
    NetworkConfig,
    SceneConfig,
)
from facer.stages.detection.data.scenes import compose
from facer.stages.detection.data.sources import Sources
from facer.stages.detection.data.teacher import Labelled
from facer.stages.detection.evaluate import Score, load_detector
from facer.stages.detection.fit import DetectorRow, make_batch
from facer.stages.detection.start import splits_of_weights
from facer.stages.features.config import DetectorConfig
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint

SMALL = NetworkConfig(4, 8, 8, 8, 8, 8)


def drawn_face(seed: int) -> Labelled:
    """A grey disc with two eyes, a nose and a mouth."""
    rng = np.random.default_rng(seed)
    image = np.full((96, 96), 90, np.uint8)
    cv2.ellipse(image, (48, 48), (30, 38), 0, 0, 360, int(rng.integers(150, 220)), -1)
    for x in (36, 60):
        cv2.circle(image, (x, 40), 5, 20, -1)
    cv2.circle(image, (48, 54), 3, 110, -1)
    cv2.line(image, (38, 68), (58, 68), 40, 3)
    points = np.array([[[36, 40], [60, 40], [48, 54], [38, 68], [58, 68]]], np.float32)
    box = np.array([[18, 10, 78, 86]], np.float32)
    return Labelled(image, box, points, np.zeros(1, np.bool_))


@pytest.fixture(scope="module")
def sources() -> Sources:
    photos = tuple(drawn_face(seed) for seed in range(4))
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (3, 6, 8, 3)).astype(np.uint8)
    scenes = tuple(np.asarray(cv2.resize(image, (160, 120)), np.uint8) for image in small)
    frame = dataclasses.replace(photos[0], image=np.repeat(photos[0].image[..., None], 3, axis=2))
    return Sources(photos, scenes, (frame,))


def config_for(**changes: Any) -> DetectorTrainConfig:
    nowhere = Path("unused")
    base = DetectorTrainConfig(
        nowhere, nowhere, nowhere, nowhere, steps=6, batch=2, checkpoint_every=3, network=SMALL
    )
    return dataclasses.replace(base, **changes)


def fit(
    run: Path, sources: Sources, on_epoch: Callable[[DetectorRow], None] | None = None,
    **changes: object,
) -> DetectorResult:  # fmt: skip
    return train_detector(config_for(**changes), run, on_epoch, sources=sources)


def test_batches_depend_on_seed_and_step_alone(sources: Sources) -> None:
    config = config_for()
    first, faces = make_batch(config, sources, 4)
    again, _ = make_batch(config, sources, 4)
    other, _ = make_batch(config, sources, 5)
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert first.min() >= -1
    assert first.max() <= 1
    assert all(image < len(first) for image in faces.image.tolist())


def test_stopped_and_resumed_equals_uninterrupted(sources: Sources, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop_after_three(progress: DetectorRow) -> None:
        if progress.step == 3:
            raise Stopped

    cv2.setNumThreads(3)
    whole = fit(tmp_path / "whole", sources)
    assert cv2.getNumThreads() == 3  # the caller's
    with pytest.raises(Stopped):
        fit(tmp_path / "parts", sources, stop_after_three)
    assert load_checkpoint(tmp_path / "parts" / "last.safetensors")[1]["step"] == 3
    parts = fit(tmp_path / "parts", sources)
    a, b = load_checkpoint(whole.checkpoint)[0], load_checkpoint(parts.checkpoint)[0]
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    other = fit(tmp_path / "other", sources, seed=1)
    assert not np.array_equal(
        load_checkpoint(other.checkpoint)[0]["ema.stem.0.0.weight"], a["ema.stem.0.0.weight"]
    )


def test_a_run_of_facer_0_1_goes_on(sources: Sources, tmp_path: Path) -> None:
    """It stopped at step 3 of 6, and calls the decay ``ema``; images are drawn otherwise since."""
    old = Path(__file__).parents[2] / "data" / "runs-v1" / "detector"
    run = Path(shutil.copytree(old, tmp_path / "run"))
    of_then: dict[str, Any] = {
        "network": NetworkConfig(4, 4, 4, 4, 4, 4),
        "scene": SceneConfig(p_people=0.66, p_scene=0.06),
    }
    with pytest.raises(FacerError, match=r"ema_decay \(was 0.999, now 0.5\)"):
        fit(run, sources, **of_then, ema_decay=0.5)
    seen: list[DetectorRow] = []
    resumed = fit(run, sources, seen.append, **of_then)
    assert [row.step for row in seen] == [6]
    before, after = load_checkpoint(old / "last.safetensors"), load_checkpoint(resumed.checkpoint)
    assert (before[1]["step"], after[1]["step"]) == (3, 6)
    assert before[0].keys() == after[0].keys()
    moved = {name for name in before[0] if (before[0][name] != after[0][name]).any()}
    assert {"net.stem.0.0.weight", "ema.stem.0.0.weight"} <= moved


def test_other_settings_do_not_go_on(sources: Sources, tmp_path: Path) -> None:
    fit(tmp_path, sources, steps=2)
    with pytest.raises(FacerError, match="learning_rate"):
        fit(tmp_path, sources, steps=2, learning_rate=1e-3)


def test_nothing_is_read_or_written_for_a_folder_that_is_no_run_of_this(tmp_path: Path) -> None:
    """Seen: the teacher's answers, in the folder of another run; then the refusal."""
    (tmp_path / "mine.txt").touch()
    for folder in ("scenes", "clips"):
        (tmp_path / folder).mkdir()
    (tmp_path / "clips" / "a.mp4").touch()
    inputs = (Path("none.h5"), tmp_path / "scenes", tmp_path / "clips", Path("none.onnx"))
    with pytest.raises(FacerError, match=r"found clips and no config\.json, expected a run of"):
        train_detector(DetectorTrainConfig(*inputs), tmp_path)
    assert len([*tmp_path.iterdir()]) == 3


def test_a_run_starts_from_another(sources: Sources, tmp_path: Path) -> None:
    first = fit(tmp_path / "first", sources, steps=2)
    second = fit(tmp_path / "second", sources, steps=1, start=first.checkpoint, learning_rate=1e-9)
    a, b = load_checkpoint(first.checkpoint)[0], load_checkpoint(second.checkpoint)[0]
    np.testing.assert_allclose(a["ema.stem.0.0.weight"], b["net.stem.0.0.weight"], atol=1e-6)


def test_weights_say_which_people_they_and_their_start_have_seen(
    sources: Sources, tmp_path: Path
) -> None:
    people = Path("people")
    first = fit(tmp_path / "first", sources, people=people, split="first", steps=1)
    second = fit(tmp_path / "second", sources, start=first.checkpoint, steps=1)
    third = fit(tmp_path / "third", sources, start=second.onnx, people=people, steps=1)
    seen = [[splits_of_weights(path) for path in (run.checkpoint, run.onnx)]
            for run in (first, second, third)]  # fmt: skip
    assert seen == [[("first",)] * 2, [("first",)] * 2, [("first", "train")] * 2]
    save_checkpoint(tmp_path / "old.safetensors", {"ema.weight": np.zeros(1)}, {"step": 1})
    assert splits_of_weights(tmp_path / "old.safetensors") == ("all",)


def test_a_state_of_another_network_is_no_start(sources: Sources, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "other.safetensors", {"ema.weight": np.zeros(1)}, {})
    with pytest.raises(FacerError, match="found no checkpoint of this network"):
        fit(tmp_path / "run", sources, start=tmp_path / "other.safetensors")


def test_a_training_that_diverges_ends_and_writes_no_weights(
    sources: Sources, tmp_path: Path
) -> None:
    loss = DetectionLossWeights(score=1e39)
    with pytest.raises(FacerError, match="expected finite numbers; train in another folder with"):
        fit(tmp_path, sources, loss=loss)
    assert not (tmp_path / "detector.onnx").exists()
    assert not (tmp_path / "last.safetensors").exists()


def test_loss_falls_and_the_file_runs(sources: Sources, tmp_path: Path) -> None:
    seen: list[DetectorRow] = []
    result = fit(
        tmp_path,
        sources,
        seen.append,
        steps=30,
        batch=4,
        warmup=5,
        learning_rate=1e-2,
        checkpoint_every=5,
        scene=SceneConfig(p_frame=0.0, p_scene=0.0, min_face_px=40),
    )
    assert seen[-1].losses["total"] < 0.9 * seen[0].losses["total"]
    score, detect = Score("composed"), load_detector(DetectorConfig(str(result.onnx), 320, 0.01))
    for seed in range(3):
        made = compose(np.random.default_rng([0, seed]), sources, SceneConfig(), 192, 320)
        score.add(made, *detect(made.image))
    assert score.faces >= 1


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("learning_rate", 0.0)])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(FacerError, match=name):
        config_for(**{name: value})
