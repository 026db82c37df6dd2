"""What evaluate-detector prints: tables, or one object of numbers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facer.stages.detection.data.people import Picture
from facer.stages.detection.data.teacher import Labelled
from facer.stages.detection.measure import measure
from tests.support import exit_code


def test_json_is_one_object_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(101):  # a hundred are kept from training
        image = np.random.default_rng(number).integers(0, 256, (32, 48, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), image)
    assert exit_code("evaluate-detector", "--scenes", tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["detector"], found["people"], found["clips"]) == ("facer-det", None, [])
    scenes = found["scenes"]
    assert scenes["pictures"] == 100
    assert scenes["false_per_picture"] == scenes["false"] / 100
    low, high = scenes["false_per_picture_95"]
    assert low <= scenes["false_per_picture"] <= high
    assert exit_code("evaluate-detector", "--scenes", tmp_path) == 0
    assert capsys.readouterr().out.startswith("scenes kept from training: ")


def test_shares_of_people_and_their_intervals() -> None:
    image = np.full((100, 80, 3), 120, np.uint8)
    box = np.array([[20, 20, 60, 70]], np.float32)
    points = np.array([[[30, 38], [50, 38], [40, 48], [32, 58], [48, 58]]], np.float32)
    truth = Labelled(image, box, points, np.zeros(1, np.bool_))
    picture = Picture("a", "s", truth, np.ones(1, np.bool_), ("frontal",), np.zeros(1, np.float32))
    hits = iter([1, 0, 1, 1])

    def detect(_: object) -> tuple[np.ndarray, np.ndarray]:
        n = next(hits)
        return np.column_stack([box, [0.9]])[:n].astype(np.float32), points[:n]

    faces = measure("people", [picture] * 4, detect).to_json()["faces"]
    assert faces["frontal"] == faces["all"]
    assert (faces["all"]["n"], faces["all"]["found"], faces["all"]["recall"]) == (4, 3, 0.75)
    assert faces["all"]["points_error"] == 0
    assert faces["profile"]["recall"] is None


def test_points_that_detectors_agree_about_are_told_apart() -> None:
    image = np.full((100, 80, 3), 120, np.uint8)
    box = np.array([[20, 20, 60, 70]], np.float32)
    points = np.array([[[30, 38], [50, 38], [40, 48], [32, 58], [48, 58]]], np.float32)
    truth = Labelled(image, box, points, np.zeros(1, np.bool_))
    agreed = [
        Picture("a", "s", truth, np.array([known]), ("frontal",), np.zeros(1, np.float32))
        for known in (True, True, False)
    ]
    off = iter([1, 3, 20])

    def detect(_: object) -> tuple[np.ndarray, np.ndarray]:
        moved = points + np.array([next(off), 0], np.float32)
        return np.column_stack([box, [0.9]]).astype(np.float32), moved

    found = measure("people", agreed, detect).to_json()["faces"]["all"]
    assert found["points_error"] == pytest.approx((1 + 3 + 20) / 3 / 20)
    assert found["points_error_median"] == pytest.approx(3 / 20)
    assert found["agreed"] == 2
    assert found["points_error_agreed"] == pytest.approx(2 / 20)
    low, high = found["points_error_agreed_95"]
    assert low < found["points_error_agreed"] < high
