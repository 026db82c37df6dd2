"""The refiner's training as a run: resumable to the bit, refusing other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facer.pipeline.detection.train import train_points
from facer.stages.detection.config import RefinerTrainConfig
from facer.stages.detection.data.guesses import Guessed
from facer.stages.detection.data.teacher import Labelled, without_faces
from facer.stages.detection.refiner.fit import RefinerTrainer
from facer.stages.detection.refiner.samples import Crops, PointsSources
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import load_checkpoint, save_checkpoint

FIVE = np.array([[60, 70], [100, 70], [80, 92], [66, 112], [94, 112]], np.float32)


@pytest.fixture(scope="module")
def sources() -> PointsSources:
    image = np.zeros((180, 180, 3), np.uint8)
    for x, y in FIVE.astype(int):
        cv2.circle(image, (int(x), int(y)), 3, (255, 255, 255), -1)
    box = np.array([[40, 40, 120, 140]], np.float32)
    photo = Labelled(image, box, FIVE[None], np.zeros(1, np.bool_))
    scene = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    none = np.zeros((0, 5, 2), np.float32)
    return PointsSources(
        (photo,), Crops([], none), (Guessed(without_faces(scene), none, (), none),)
    )


def fit(run, sources, on_epoch=None, **changes):
    nowhere = Path("nowhere")
    settings = {"steps": 6, "batch": 4, "checkpoint_every": 3, "warmup": 2} | changes
    config = RefinerTrainConfig(nowhere, nowhere, nowhere, nowhere, crops=(), **settings)
    return train_points(config, run, on_epoch, sources=sources, validation=sources)


def test_a_training_that_stopped_goes_on_to_the_same_file(tmp_path, sources):
    heard: list[Any] = []
    whole = fit(tmp_path / "whole", sources, heard.append)
    assert [p.step for p in heard] == [3, 6]
    assert all(np.isfinite([p.loss, p.val_error, p.val_face]).all() for p in heard)

    class StopError(Exception):
        pass

    def stop(progress):
        raise StopError

    with pytest.raises(StopError):
        fit(tmp_path / "cut", sources, stop)
    resumed = fit(tmp_path / "cut", sources)
    assert whole.read_bytes() == resumed.read_bytes()
    curves = [(tmp_path / run / "curve.jsonl").read_text() for run in ("whole", "cut")]
    assert curves[0] == curves[1]


def test_other_settings_do_not_go_on(tmp_path, sources):
    fit(tmp_path / "run", sources)
    (tmp_path / "run" / "points.onnx").unlink()
    with pytest.raises(FacerError, match=r"was made with other steps \(was"):
        fit(tmp_path / "run", sources, steps=9)


def test_faces_of_both_splits_are_needed(sources):
    """Seen: an internal error, where no pack had rows of val."""
    nothing = PointsSources((), sources.crops, sources.scenes)
    nowhere = Path("nowhere")
    config = RefinerTrainConfig(nowhere, nowhere, nowhere, nowhere, crops=())
    for split, pair in (("train", (nothing, sources)), ("val", (sources, nothing))):
        with pytest.raises(FacerError, match=f"split {split}: found no face with points, expected"):
            RefinerTrainer(config, *pair)


def test_a_run_that_kept_its_settings_in_its_state_alone_goes_on(tmp_path, sources):
    """As facer 0.1 wrote it, with ``ema`` and no config.json."""
    fit(tmp_path, sources)
    arrays, meta = load_checkpoint(tmp_path / "last.safetensors")
    old: dict[str, Any] = {
        "run": "x", "faces": "nowhere", "crops": [], "scenes": "nowhere", "clips": "nowhere",
        "teacher": "nowhere", "people": None, "people_clips": None, "detector": None,
        "start": None, "bf16": False, "steps": 6, "batch": 4, "learning_rate": 2e-3,
        "warmup": 2, "weight_decay": 0.02, "ema": 0.999, "held_out_scenes": 100,
        "checkpoint_every": 3, "seed": 0,
    }  # fmt: skip
    save_checkpoint(tmp_path / "last.safetensors", arrays, meta | {"config": old})
    (tmp_path / "config.json").unlink()
    with pytest.raises(FacerError, match="was made with other seed"):
        fit(tmp_path, sources, seed=1)
    fit(tmp_path, sources)
