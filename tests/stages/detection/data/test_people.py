"""Labelled people: reading, the split by source, and what is counted."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facer.stages.detection.config import EvaluationConfig, NetworkConfig, Split
from facer.stages.detection.data.people import (
    FIRST,
    TUNE,
    VAL,
    Picture,
    is_in,
    read_people,
    read_people_clips,
    sampling_shares,
    split_of,
)
from facer.stages.detection.data.teacher import Labelled
from facer.stages.detection.evaluate import DetectorEvaluation, evaluate
from facer.stages.detection.export import export_onnx
from facer.stages.detection.measure import (
    Measured,
    matches,
    mean_interval,
    measure,
    people_table,
    points_error,
    rate_interval,
    share_interval,
)
from facer.stages.detection.network import DetectorNet
from facer.storage.errors import FacerError

POINTS = np.array([[30, 40], [50, 40], [40, 52], [33, 62], [47, 62]], np.float32)
BOX = np.array([20, 24, 60, 76], np.float32)
NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


def row(file: str, source: str = "somebody", **changes: str) -> dict[str, str]:
    """A row of faces.csv."""
    points = {
        f"{name}_{axis}": str(POINTS[place, "xy".index(axis)])
        for place, name in enumerate(NAMES)
        for axis in "xy"
    }
    box = dict(zip(("x1", "y1", "x2", "y2"), map(str, BOX), strict=True))
    rest = {"status": "sure", "points_agree": "1", "yaw_class": "frontal", "roll": "0"}
    return {"file": file, "source": source, **box, **points, **rest, **changes}


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.full((100, 80, 3), (200, 100, 50), np.uint8)  # BGR
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        cv2.imwrite(str(tmp_path / name), image)
    doubtful = dict.fromkeys((f"{name}_{axis}" for name in NAMES for axis in "xy"), "")
    rows = [
        row("b.jpg", roll="-31", yaw_class="profile", points_agree="0"),
        row("a.jpg"),
        row("a.jpg", status="doubtful", yaw_class="", roll="", **doubtful),
        row("c.jpg", source=next(iter(sorted(VAL)))),
    ]
    write(tmp_path / "faces.csv", rows)
    return tmp_path


def test_photographs_come_with_their_faces_and_by_source(folder: Path) -> None:
    a, b = read_people(folder, "train")
    assert (a.name, b.name) == ("a.jpg", "b.jpg")
    assert a.labelled.image[0, 0].tolist() == pytest.approx([50, 100, 200], abs=6)
    np.testing.assert_array_equal(a.labelled.bbox_px[0], BOX)
    np.testing.assert_array_equal(a.labelled.keypoints_px[0], POINTS)
    assert a.labelled.ignore.tolist() == [False, True]
    assert b.agreed.tolist() == [False]
    assert b.roll.tolist() == [-31]
    assert [one.name for one in read_people(folder, "val")] == ["c.jpg"]
    assert list(read_people(folder, "tune")) == []


def test_sources_are_in_one_split() -> None:
    assert not TUNE & VAL
    assert {split_of(source) for source in TUNE} == {"tune"}
    assert split_of("a source that nobody knows") == "train"


def test_what_a_training_sees_and_what_it_is_measured_on_share_no_source() -> None:
    sources = TUNE | VAL | {"somebody"}
    folds: tuple[tuple[Split, Split], ...] = (
        ("first", "without-first"), ("second", "without-second"),
    )  # fmt: skip
    for half, rest in folds:
        of_half = {source for source in sources if is_in(source, half)}
        assert of_half
        assert {source for source in sources if is_in(source, rest)} == sources - of_half
    assert {source for source in sources if is_in(source, "train")} == {"somebody"}
    assert all(is_in(source, "all") for source in sources)
    assert FIRST < TUNE | VAL


def test_pictures_that_a_detector_was_trained_on_measure_nothing_new(folder: Path) -> None:
    path = folder / "own.onnx"

    def measured(training: object, split: Split) -> DetectorEvaluation:
        export_onnx(DetectorNet(NetworkConfig()), path, {"training": training})
        return evaluate(EvaluationConfig(str(path), people=folder, split=split))

    without_first = {"people": ["people"], "split": "without-first"}
    assert not measured(without_first, "first").trained_on
    seen = measured(without_first, "val")  # of both halves
    assert seen.trained_on
    assert seen.to_json()["trained_on"]
    assert seen.tables[1].endswith("own.onnx was trained on sources of these people: expect less "
                                   "of others.")  # fmt: skip
    assert measured({"people": ["people"]}, "train").trained_on  # before there was a choice
    assert measured({"people": ["people"], "start": "facer-0.3.onnx"}, "val").trained_on
    assert measured({"people": "", "seen": ["val", "train"]}, "val").trained_on
    assert not measured({"people": ["people"], "start": "a", "seen": ["train"]}, "val").trained_on
    others: tuple[object, ...] = ({"people": ""}, [], {"people": ["people"], "split": "lunch"})
    for training in others:
        assert not measured(training, "val").trained_on


def test_frames_come_with_their_faces(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    make_video("clip.mp4", frames=6)
    write(tmp_path / "faces.csv", [row("clip.mp4", frame="4")])
    frames = [{"file": "clip.mp4", "frame": n, "faces": f} for n, f in (("1", "0"), ("4", "1"))]
    write(tmp_path / "frames.csv", frames)
    without, face = read_people_clips(tmp_path, "train")
    assert len(without.labelled.bbox_px) == 0
    np.testing.assert_array_equal(face.labelled.keypoints_px[0], POINTS)
    assert face.labelled.image.shape == (64, 96, 3)
    assert without.source == face.source == "clip.mp4"


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/hostname", "..", ""])
def test_a_table_leads_nowhere_else(folder: Path, name: str) -> None:
    write(folder / "faces.csv", [row(name)])
    with pytest.raises(FacerError, match="expected the name of a file in it"):
        list(read_people(folder, "train"))


def test_what_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    write(folder / "faces.csv", [row("a.jpg", frame="1")])
    with pytest.raises(FacerError, match=r"frames.csv: no such file"):
        list(read_people_clips(folder, "train"))
    (tmp_path / "faces.csv").write_text("file,x1\na.jpg,3\n")
    with pytest.raises(FacerError, match="expected one named 'status'"):
        list(read_people(tmp_path, "train"))
    write(tmp_path / "faces.csv", [row("gone.jpg")])
    with pytest.raises(FacerError, match=r"gone.jpg: no such file"):
        list(read_people(tmp_path, "train"))


WRONG = {  # what the message says, and how the faces of a.jpg and b.jpg are changed
    "csv:2: status: found 'Sure', expected sure or doubtful": {"status": "Sure"},
    "points_agree: found 'True', expected 1 or 0": {"points_agree": "True"},
    "yaw_class: found 'back', expected frontal, three-quarter or profile": {"yaw_class": "back"},
    "yaw_class: found '', expected": {"yaw_class": ""},
    "column 'x1': found 'left', expected a number": {"x1": "left"},
    "found the face 60,24,20,76, expected a box x1,y1,x2,y2 in pixels": {"x1": "60", "x2": "20"},
    "nan,24,60,76, expected a box": {"x1": ""},
    "0.2,0.24,0.6,0.76, expected a box": {"x1": "0.2", "y1": "0.24", "x2": "0.6", "y2": "0.76"},
    "20,24,60,30, expected the five points of a sure face in its box": {"y2": "30"},
    "expected five points of a sure face": {"nose_x": ""},
    "expected the roll of a sure face": {"roll": ""},
    "left and right exchanged in 2 of 2 faces": {
        "left_eye_x": "50", "right_eye_x": "30", "left_mouth_x": "47", "right_mouth_x": "33",
    },
}  # fmt: skip


@pytest.mark.parametrize("found", WRONG)
def test_a_face_that_cannot_be_meant_is_refused(folder: Path, found: str) -> None:
    write(folder / "faces.csv", [row(name, **WRONG[found]) for name in ("a.jpg", "b.jpg")])
    with pytest.raises(FacerError, match=re.escape(found)):
        list(read_people(folder, "train"))


def test_a_face_is_in_its_picture_once(folder: Path) -> None:
    write(folder / "faces.csv", [row("a.jpg"), row("a.jpg")])
    with pytest.raises(FacerError, match=r"faces.csv:2: found a face twice"):
        list(read_people(folder, "train"))
    write(folder / "faces.csv", [row("a.jpg"), row("a.jpg", "another", x1="19")])
    with pytest.raises(FacerError, match="of the sources somebody and another"):
        list(read_people(folder, "train"))
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((20, 20, 3), np.uint8))
    write(folder / "faces.csv", [row("a.jpg")])
    with pytest.raises(FacerError, match="expected it in the picture of 20x20"):
        list(read_people(folder, "train"))


def test_tables_are_of_the_same_frames_and_of_the_clip(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    make_video("clip.mp4", frames=6)
    for frames, expected in (
        ([("4", "2")], "found 1 faces in frame 4 of clip.mp4 in faces.csv, and 2 in frames.csv"),
        ([("3", "0")], "and no such frame in frames.csv"),
        ([("4", "1"), ("4", "1")], "frames.csv:3: found frame 4 of clip.mp4 twice"),
        ([("4", "1"), ("9", "0")], "found frame 9 of clip.mp4, which has fewer"),
        ([("4", "1"), ("-1", "0")], "frame: found '-1', expected 0, 1, 2"),
    ):
        write(tmp_path / "faces.csv", [row("clip.mp4", frame="4")])
        rows = [{"file": "clip.mp4", "frame": n, "faces": faces} for n, faces in frames]
        write(tmp_path / "frames.csv", rows)
        with pytest.raises(FacerError, match=re.escape(expected)):
            list(read_people_clips(tmp_path, "train"))


def test_nothing_to_measure_is_no_measurement(folder: Path) -> None:
    with pytest.raises(FacerError, match="found no photographs of the tune split"):
        evaluate(EvaluationConfig("facer-det", people=folder, split="tune"))


def test_no_large_source_decides() -> None:
    one = picture(("frontal", 0, True))
    shares = sampling_shares([replace(one, source="a")] * 100 + [replace(one, source="b")])
    assert shares.sum() == pytest.approx(1)
    assert shares[:100].sum() == pytest.approx(10 * shares[100])


def test_turned_faces_are_drawn_more_often() -> None:
    turned = picture(("frontal", 0, True), ("profile", 0, True))
    unsure = picture(("frontal", 0, True), ("profile", 0, False))
    shares = sampling_shares([picture(("frontal", 0, True)), turned, unsure, picture()])
    np.testing.assert_allclose(shares / shares[0], [1, 3, 1, 1])


def picture(*kinds: tuple[str, float, bool], size: int = 200) -> Picture:
    """A picture with a face for each (yaw class, roll, sure), side by side."""
    shift = np.array([[i * 60.0, 0] for i in range(len(kinds))], np.float32).reshape(-1, 2)
    boxes = BOX + np.tile(shift, 2)
    points = POINTS + shift[:, None]
    ignore = np.array([not sure for _, _, sure in kinds], np.bool_)
    image = np.full((size, size, 3), 30, np.uint8)
    yaw_class, roll, _ = zip(*kinds, strict=True) if kinds else ((), (), ())
    return Picture(
        "x", "x", Labelled(image, boxes, points, ignore), ~ignore, yaw_class,
        np.array(roll, np.float32),
    )  # fmt: skip


def test_faces_are_counted_by_kind() -> None:
    one = picture(("frontal", 0, True), ("profile", 30, True), ("frontal", 0, False))
    shifts = np.array([[2, 0], [120, 0], [0, 100]], np.float32)
    boxes = BOX + np.tile(shifts, 2)
    points = POINTS + shifts[:, None]
    measured = measure("set", [one], lambda _: (boxes, points))
    counts = {name: group.found for name, group in measured.groups.items()}
    assert counts["all"] == [True, False]
    assert counts["frontal"] == [True]
    assert counts["profile"] == counts["tilted"] == [False]
    assert counts["dark"] == [True, False]
    assert counts["small"] == counts["large"] == []
    assert measured.groups["all"].errors == pytest.approx([2 / (0.4 * 52)], rel=1e-5)
    assert measured.false == 1  # the second is on the doubtful face
    table = people_table(measured)
    assert "| all | 2 | 0.500 |" in table
    assert "set: 1 false faces in 1: 1.000 each" in table


def test_faces_are_counted_by_skin_tone_where_it_can_be_seen() -> None:
    """Not in a grey picture, and not in profile."""
    nothing = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
    pale, brown = picture(("frontal", 0, True), ("profile", 0, True)), picture(("frontal", 0, True))
    pale.labelled.image[:] = (245, 215, 195)
    brown.labelled.image[:] = (120, 75, 50)
    grey = picture(("frontal", 0, True))
    measured = measure("set", [pale, brown, grey], lambda _: nothing)
    seen = {name: len(group.found) for name, group in measured.groups.items() if "skin" in name}
    assert {name for name, n in seen.items() if n == 1} == {
        "dark skin", "dark skin, not small", "very light skin", "very light skin, not small"
    }  # fmt: skip
    assert sum(seen.values()) == 4


def test_size_decides_whether_a_face_counts() -> None:
    for size, kinds in ((1000, []), (500, ["small"]), (200, []), (90, ["large"])):
        measured = Measured("set")
        measured.add(
            picture(("frontal", 0, True), size=size),
            np.zeros((0, 4), "f4"),
            np.zeros((0, 5, 2), "f4"),
        )
        counted = [n for n in ("small", "large") if measured.groups[n].found]
        assert counted == kinds
        assert len(measured.groups["all"].found) == (size < 1000)


def test_matches_need_the_place_and_the_height() -> None:
    truth = BOX[None]
    twice = np.array([[0, 0, 80, 110]], np.float32)  # 2.1 times as high
    assert matches(truth, BOX[None], POINTS[None]).tolist() == [[True]]
    assert matches(truth, twice, POINTS[None]).tolist() == [[False]]
    assert matches(truth, BOX[None], POINTS[None] + 50).tolist() == [[False]]
    assert matches(truth[:0], BOX[None], POINTS[None]).shape == (0, 1)


def test_in_profile_the_height_is_the_unit() -> None:
    thin = POINTS.copy()
    thin[:, 0] = 40
    assert points_error(BOX, thin, thin[None] + 1)[0] == pytest.approx(2**0.5 / (0.4 * 52))
    wide = POINTS * (3, 1)
    assert points_error(BOX, wide, wide[None] + (6, 0))[0] == pytest.approx(6 / 60)


def test_intervals() -> None:
    assert share_interval(9, 10) == pytest.approx((0.596, 0.982), abs=1e-3)  # Wilson's
    assert share_interval(0, 0)[0] != share_interval(0, 0)[0]  # nan
    assert rate_interval(0, 100) == pytest.approx((0, 0.0369), abs=1e-4)
    assert rate_interval(3, 100) == pytest.approx((0.0062, 0.0877), abs=1e-4)
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
