"""Factories of small labelled data sets; a detector that needs no weights."""

import cv2
import numpy as np
import pytest

from facer.stages.affect.config import AlignConfig
from facer.stages.affect.datasets.aligned import Aligner
from facer.stages.features.align import ARCFACE_TEMPLATE_PX
from facer.stages.features.faces import Faces


class FakeDetector:
    """A face in the middle half of every bright image; two where the image is wide."""

    name = "fake"

    def __init__(self, sha256="f" * 64):
        self.sha256 = sha256
        self.seen = 0

    def detect(self, images):
        self.seen += len(images)
        return [self._faces(image) for image in images]

    def _faces(self, image):
        height, width = image.shape[:2]
        if image.mean() < 20:
            boxes = np.zeros((0, 4), np.float32)
        elif width >= 2 * height:
            half = width / 2
            boxes = np.array([[10, 10, half - 40, height - 40], [half, 0, width, height]])
        else:
            boxes = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]])
        boxes = boxes.astype(np.float32)
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = boxes[:, None, :2] + ARCFACE_TEMPLATE_PX / 112 * sides
        return Faces(boxes, points.astype(np.float32), np.ones(len(boxes), np.float32))


@pytest.fixture
def detector():
    return FakeDetector()


@pytest.fixture
def aligner(tmp_path, detector):
    return Aligner(AlignConfig(tmp_path / "cache"), detector)


@pytest.fixture
def put_image():
    """``put_image(path, size, value)``: an image file, width x height, of one brightness."""

    def put(path, size=(112, 112), value=128):
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((size[1], size[0], 3), value, np.uint8)
        image[:: max(1, size[1] // 8)] = value // 2
        assert cv2.imwrite(str(path), image)
        return path

    return put


@pytest.fixture
def put_text():
    """``put_text(path, text)``: a text file, with its folders."""

    def put(path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return put
