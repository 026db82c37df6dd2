"""The cache of aligned crops: made once, never mistaken for another's, safe to interrupt."""

import cv2
import numpy as np
import pytest

from facer.stages.affect.datasets.aligned import (
    FACE,
    MISSING,
    NO_FACE,
    UNREADABLE,
    Aligner,
    Photographs,
)
from facer.stages.affect.datasets.image_files import decode_image
from facer.stages.features.align import ARCFACE_TEMPLATE_PX, align
from facer.stages.features.faces import NO_FACES, Faces
from facer.stages.features.looks import RefiningDetector
from facer.storage.errors import FacerError
from tests.support import read_rgb


@pytest.fixture
def photographs(tmp_path, put_image, put_text):
    root = tmp_path / "photos"
    put_image(root / "face.jpg", (240, 240))
    put_image(root / "dark.png", (240, 200), 10)
    put_text(root / "text.jpg", "no image")
    put_image(root / "crop.jpg")
    return Photographs(root, ("face.jpg", "dark.png", "text.jpg", "gone.jpg", "crop.jpg"))


def test_outcome_of_each_photograph(aligner, photographs):
    crops, outcome = aligner.align(photographs)
    assert outcome.tolist() == [FACE, NO_FACE, UNREADABLE, MISSING, FACE]
    assert crops.crop(0).shape == (112, 112, 3)
    assert (crops.folder / "x").parent.is_dir()


def test_a_header_that_promises_a_thousand_megapixels_is_not_decoded(monkeypatch):
    _, jpeg = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    place = jpeg.tobytes().index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = (0x75, 0x30) * 2  # 30,000 x 30,000
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    assert decode_image(jpeg) is None


def test_the_second_time_nothing_is_detected(aligner, detector, photographs):
    first, outcome = aligner.align(photographs)
    seen = detector.seen
    second, again = aligner.align(photographs)
    assert detector.seen == seen
    assert (outcome == again).all()
    assert (first.keys == second.keys).all()


def test_a_changed_photograph_or_detector_never_meets_an_old_crop(
    tmp_path, aligner, detector, photographs, put_image
):
    before, _ = aligner.align(photographs)
    put_image(photographs.root / "face.jpg", (260, 240), 200)
    after, _ = aligner.align(photographs)
    assert before.keys[0] != after.keys[0]
    assert before.keys[4] == after.keys[4]
    assert after.crop(0).mean() > before.crop(0).mean() + 20
    other = Aligner(aligner.config, type(detector)(sha256="e" * 64))
    theirs, _ = other.align(photographs)
    assert theirs.keys[0] != after.keys[0]
    assert theirs.folder != after.folder


class SamePoints:
    """A points model that changes nothing."""

    def __init__(self, sha256):
        self.sha256 = sha256

    def refine(self, images, keypoints_px):
        return keypoints_px, [np.ones(len(k)) for k in keypoints_px]


def test_another_points_model_never_meets_an_old_crop(aligner, detector, photographs):
    keys = []
    for sha256 in ("a" * 64, "b" * 64):
        refined = RefiningDetector(detector, SamePoints(sha256))  # type: ignore[arg-type]
        keys.append(Aligner(aligner.config, refined).align(photographs)[0].keys[0])
    assert keys[0] != keys[1]


class NeedsBorder:
    """Finds the face that fills a photograph only with a black border around it."""

    name, sha256 = "needs-border", "c" * 64

    def detect(self, images):
        return [self._faces(image) for image in images]

    def _faces(self, image):
        inside = np.flatnonzero(image.max((1, 2)) > 0)
        if image[0].max() or image[-1].max() or not len(inside):
            return NO_FACES
        top, bottom = inside[0], inside[-1] + 1
        box = np.array([[top, top, bottom, bottom]], np.float32)
        points = box[:, None, :2] + ARCFACE_TEMPLATE_PX / 112 * (bottom - top)
        return Faces(box, points.astype(np.float32), np.ones(1, np.float32))


def test_a_face_that_fills_its_photograph_is_found_with_a_border(tmp_path, aligner, put_image):
    path = put_image(tmp_path / "tight.png", (200, 200))
    inside = Photographs(tmp_path, ("tight.png",), np.array([[0, 0, 200, 200]], np.float32))
    crops, outcome = Aligner(aligner.config, NeedsBorder()).align(inside)
    assert outcome.tolist() == [FACE]
    image = read_rgb(path)
    expected = align(image, (ARCFACE_TEMPLATE_PX / 112 * 200)[None].astype("f4"))[0].astype(int)
    assert np.abs(crops.crop(0) - expected).mean() < 2


def test_an_aligned_crop_is_kept_byte_for_byte(aligner, photographs):
    crops, _ = aligner.align(photographs)
    key = crops.keys[4].decode()
    kept = (crops.folder / key[:2] / f"{key[2:]}.jpg").read_bytes()
    assert kept == (photographs.root / "crop.jpg").read_bytes()


def test_crops_are_those_of_stage_one(aligner, detector, photographs):
    image = read_rgb(photographs.root / "face.jpg")
    points = detector.detect([image])[0].keypoints_px
    expected = align(image, points)[0].astype(int)
    crops, _ = aligner.align(photographs)
    assert np.abs(crops.crop(0) - expected).mean() < 2  # JPEG at quality 95


def test_annotated_points_help_where_no_face_is_found(tmp_path, aligner, put_image):
    put_image(tmp_path / "dark.jpg", (200, 200), 10)
    points = (ARCFACE_TEMPLATE_PX + 20)[None]
    crops, outcome = aligner.align(Photographs(tmp_path, ("dark.jpg",), None, points))
    assert outcome.tolist() == [FACE]
    assert crops.crop(0).shape == (112, 112, 3)


def test_progress_is_told(tmp_path, detector, aligner, photographs):
    told = []
    Aligner(aligner.config, detector, lambda *done: told.append(done)).align(photographs)
    assert told[-1] == (5, 5)


def test_a_crop_taken_out_of_the_cache_says_what_to_do(aligner, photographs):
    crops, _ = aligner.align(photographs)
    for path in crops.folder.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(FacerError, match="the same command again restores it"):
        crops.crop(0)


def test_a_cache_that_cannot_be_written(tmp_path, aligner, photographs):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(FacerError, match="cannot be written"):
        aligner.align(photographs)


@pytest.mark.shared
def test_with_a_real_detector(shared, tmp_path):
    from skimage import data

    from facer.stages.affect.config import AlignConfig
    from facer.stages.features.config import DetectorConfig

    cv2.imwrite(str(tmp_path / "astronaut.png"), data.astronaut()[..., ::-1])
    model = shared / "models" / "retinaface_mnet025_insightface_layout.onnx"
    config = AlignConfig(tmp_path / "cache", DetectorConfig(str(model), 320))
    crops, outcome = Aligner(config).align(Photographs(tmp_path, ("astronaut.png",)))
    assert outcome.tolist() == [FACE]
    assert crops.crop(0)[60:80, 40:70].mean() > 100  # skin in the middle
