import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facer.stages.detection.config import DetectorTrainConfig, RefinerTrainConfig
from facer.stages.detection.data.digests import input_digests
from facer.stages.detection.data.sources import list_videos, read_photos, read_scenes, shrink
from facer.stages.detection.data.teacher import Labelled, Teacher, remembered
from facer.stages.detection.refiner.network import PointsNet, export_points
from facer.stages.detection.refiner.samples import read_crops
from facer.stages.features.align import ARCFACE_TEMPLATE_PX
from facer.storage.errors import FacerError
from facer.storage.files.checkpoints import save_checkpoint

SHARED = Path(__file__).parents[4] / os.pardir / "shared" / "data"
POINTS = np.array([[40, 40], [60, 40], [50, 52], [43, 62], [57, 62]], np.float32)


class SeesOneFace(Teacher):
    """Stands in for a teacher: one face, or none."""

    def __init__(self, shift: float | None) -> None:
        self.shift = shift

    def label(self, image: np.ndarray) -> Labelled:
        border = image.shape[0] // 4  # half of the photograph's side
        rows = 0 if self.shift is None else 1
        points = np.repeat(POINTS[None] + border + (self.shift or 0.0), rows, axis=0)
        boxes = np.repeat(np.array([[30, 25, 70, 75]], np.float32) + border, rows, axis=0)
        return Labelled(image, boxes, points.astype(np.float32), np.zeros(rows, np.bool_))


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "faces.h5"
    _, data = cv2.imencode(".jpg", np.full((100, 100), 128, np.uint8))
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("jpeg", (2,), h5py.vlen_dtype(np.uint8))
        rows[0] = rows[1] = data.ravel()
        file["points_px"] = np.stack([POINTS, POINTS])
        file["split"] = ["train", "val"]
    return path


def test_photographs_take_the_teachers_box_and_the_mean_points(pack: Path) -> None:
    (photo,) = read_photos(pack, "train", SeesOneFace(shift=2.0))
    assert photo.image.shape == (100, 100)  # grey
    np.testing.assert_allclose(photo.bbox_px[0], [30, 25, 70, 75])
    np.testing.assert_allclose(photo.keypoints_px[0], POINTS + 1)


@pytest.mark.parametrize("shift", [None, 30.0])
def test_photographs_keep_their_points_where_the_teacher_disagrees(
    pack: Path, shift: float | None
) -> None:
    (photo,) = read_photos(pack, "val", SeesOneFace(shift))
    np.testing.assert_allclose(photo.keypoints_px[0], POINTS)
    assert photo.bbox_px[0, 0] < 40
    assert photo.bbox_px[0, 3] > 62


def test_a_file_without_photographs_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["jpeg"] = [1]
    with pytest.raises(FacerError, match="points_px"):
        read_photos(tmp_path / "other.h5", "train", SeesOneFace(None))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (POINTS / 100, "expected five points of a face of 4 px and more, in pixels of the image"),
        (POINTS * np.nan, "image 0: found the points"),
        (POINTS + 900, "in pixels of the image of 100x100"),
        (POINTS[[1, 0, 2, 4, 3]], "found left and right exchanged in 1 of 1 faces"),
    ],
)
def test_points_that_cannot_be_meant_are_refused(
    pack: Path, points: np.ndarray, message: str
) -> None:
    with h5py.File(pack, "r+") as file:
        file["points_px"][0] = points
    with pytest.raises(FacerError, match=message):
        read_photos(pack, "train", SeesOneFace(None))


def test_a_face_pack_that_is_none_is_refused(tmp_path: Path, pack: Path) -> None:
    with pytest.raises(FacerError, match="no such file, expected a face pack"):
        read_photos(tmp_path / "none.h5", "train", SeesOneFace(None))
    with h5py.File(pack, "r+") as file:
        file["jpeg"][0] = np.zeros(0, np.uint8)
        file["jpeg"][1] = np.frombuffer(b"\x89PNG\r\n", np.uint8)
    for split in ("train", "val"):
        with pytest.raises(FacerError, match="found no readable image"):
            read_photos(pack, split, SeesOneFace(None))
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(FacerError, match=r"pipe.h5: no such file"):
        read_photos(tmp_path / "pipe.h5", "train", SeesOneFace(None))


def test_held_out_scenes_are_in_no_training(tmp_path: Path) -> None:
    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 4, 3), number, np.uint8))
    kept = {int(image[0, 0, 0]) for image in read_scenes(tmp_path, 3, validation=True)}
    used = {int(image[0, 0, 0]) for image in read_scenes(tmp_path, 3, validation=False)}
    assert len(kept) == 3
    assert kept | used == set(range(10))
    assert not kept & used
    with pytest.raises(FacerError, match="more than 10"):
        read_scenes(tmp_path, 10, validation=True)


def test_an_empty_folder_has_no_videos(tmp_path: Path) -> None:
    with pytest.raises(FacerError, match="no video"):
        list_videos(tmp_path)
    for read in (list_videos, lambda folder: read_scenes(folder, 1, validation=False)):
        with pytest.raises(FacerError, match="found no folder to read"):
            read(tmp_path / "none")


def test_shrink_keeps_small_images() -> None:
    assert shrink(np.zeros((20, 30, 3), np.uint8), 40).shape == (20, 30, 3)
    assert shrink(np.zeros((200, 300, 3), np.uint8), 30).shape == (20, 30, 3)


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(FacerError, match="teacher"):
        Teacher(tmp_path / "none.onnx")
    other = tmp_path / "points.onnx"
    export_points(PointsNet().eval(), other, {})
    with pytest.raises(FacerError, match="found a file that does not run as a teacher"):
        Teacher(other)


@pytest.mark.shared
def test_the_teacher_remembers(tmp_path: Path) -> None:
    path = SHARED / "models" / "retinaface_mnet025_insightface_layout.onnx"
    if not path.exists():
        pytest.skip("the teacher is not beside the checkout")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    first = Teacher(path, memory=tmp_path / "memory.safetensors")
    answer = first.label(image)
    first.remember()
    again = Teacher(path, memory=tmp_path / "memory.safetensors")
    again.model = None  # not asked a second time
    np.testing.assert_array_equal(again.label(image).bbox_px, answer.bbox_px)


def test_every_input_has_a_digest_that_a_change_of_its_content_changes(tmp_path: Path) -> None:
    """Seen: a training was resumed with other photographs, scenes and clips at the same paths."""
    files = (
        "faces.h5", "crops.h5", "teacher.onnx", "detector.onnx", "start.onnx", "scenes/a.jpg",
        "clips/a.mp4", "people/faces.csv", "videos/a.mp4",
    )  # fmt: skip
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"before")
    at = tmp_path.joinpath
    config = RefinerTrainConfig(
        at("faces.h5"), at("scenes"), at("clips"), at("teacher.onnx"), at("people"), at("videos"),
        crops=(at("crops.h5"),), detector=at("detector.onnx"), start=at("start.onnx"),
    )  # fmt: skip
    before = input_digests(config)
    assert len(before) == len(files)
    for number, file in enumerate(files, start=1):
        (tmp_path / file).write_bytes(b"after!")
        now = input_digests(config)
        assert sum(now[name] != before[name] for name in before) == number
    at("scenes", "notes.txt").write_text("not read")
    assert input_digests(config) == now


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    for folder, file in (("scenes", "a.jpg"), ("clips", "a.mp4")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    at = tmp_path.joinpath
    config = DetectorTrainConfig(at("faces.h5"), at("scenes"), at("clips"), at("teacher.onnx"))
    assert set(input_digests(config)) == {"scenes_sha256", "clips_sha256"}


@pytest.mark.parametrize(
    "rows", [np.zeros(3, np.float32), np.full((2, 15), np.nan, np.float32), np.zeros((2, 15))]
)
def test_a_memory_of_something_else_is_told(tmp_path: Path, rows: np.ndarray) -> None:
    """Seen: internal errors, as numpy raised them."""
    memory = tmp_path / "teacher.safetensors"
    save_checkpoint(memory, {"0" * 64: rows}, {})
    with pytest.raises(FacerError, match=r"expected finite float32 \(n, 15\).*; remove it, and"):
        remembered(memory)


def test_points_of_crops_lie_in_them(tmp_path: Path) -> None:
    """Seen: a training on points at 3e38, or all at one place."""
    path = tmp_path / "crops.h5"
    five = np.stack([ARCFACE_TEMPLATE_PX] * 3).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("jpeg", (3,), h5py.vlen_dtype(np.uint8))
        file["points"], file["split"] = five, ["val", "train", "train"]
    crops = read_crops([path], "train")
    with pytest.raises(FacerError, match=r"crops.h5: image 1: found no image that can be dec"):
        crops.crop(0)
    for wrong, message in (
        (five * 1e36, "crops.h5: points of image 1: found the points"),
        (five * 0, "expected five points of a face of 4 px and more"),
        (five[:, [1, 0, 2, 4, 3]], "found left and right exchanged in 2 of 2 faces"),
    ):
        with h5py.File(path, "a") as file:
            file["points"][:] = wrong
        with pytest.raises(FacerError, match=message):
            read_crops([path], "train")
