"""Step 2: frames become faces with five points, by any insightface detector.

Detectors in insightface's SCRFD layout whose graph takes a batch (facer's own does) run over
many frames at once; every other one runs through insightface frame by frame.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from facer.stages.common.onnx import open_session, session_options
from facer.stages.features.checked import CheckedSession, try_out
from facer.stages.features.config import STARTER_DETECTOR, DetectorConfig
from facer.stages.features.faces import NMS_IOU, NO_FACES, Detector, Faces, suppress
from facer.stages.features.looks import CANDIDATE, SEEN, TILE_PX, RefiningDetector
from facer.stages.features.refine import KeypointRefiner
from facer.storage.errors import FacerError, OptionError, named, one_line
from facer.storage.files.weights import read_onnx, weights_sha256
from facer.storage.schema import F32, U8

_STRIDES = (8, 16, 32)
_ANCHORS = 2
_CPU_FRAMES = 4  # in one run on the CPU: more are no faster, and every size keeps its memory
_BF16_FRAMES = 32
_GPU_FRAMES = 1024

Network = Callable[[U8], list[F32]]
"""Images (n, H, W, 3) of one size -> the outputs of the SCRFD layout."""


def load(config: DetectorConfig) -> Detector:
    """Load the detector that the configuration names; ``FacerError`` when that fails."""
    path = model_path(config.model)
    if config.model == STARTER_DETECTOR:
        return load_with_points(path, config)
    sha256 = weights_sha256(path)  # first: it looks where the tensors lie
    model = _open(path, config)
    if not getattr(model, "use_kps", False):
        raise FacerError(
            f"{named('detector')} {config.model}: the model gives no five points; expected an "
            "insightface detector with keypoints (9 or 15 outputs)"
        )
    try_out(model, config)
    batches = _takes_batches(model)
    model.session = CheckedSession(model.session, config.model)
    if not batches:
        return SingleDetector(path.stem, sha256, model)
    network = _onnx_network(model.session, model.input_name)
    return BatchDetector(path.stem, sha256, network, config)


def load_with_points(
    path: Path, config: DetectorConfig, points: Path | None = None
) -> RefiningDetector:
    """A file of train-detector as facer-det runs, with further looks and a points model, by
    default the package's.

    It needs nothing of insightface, whose import takes a third of a second.
    """
    sha256 = weights_sha256(path)  # first: it looks where the tensors lie
    network: Network
    frames = _CPU_FRAMES if config.device == "cpu" else _GPU_FRAMES
    if config.bf16 and config.device == "cpu":
        from facer.stages.features.bf16 import TorchGraph  # torch takes a second to import

        network = TorchGraph(path, (np.arange(256) - 127.5) / 128).run  # exact in bfloat16
        frames = _BF16_FRAMES
    else:
        session = open_session(path, config.threads, config.device)
        network = _onnx_network(session, session.get_inputs()[0].name)
    first, again = (
        BatchDetector(
            STARTER_DETECTOR, sha256, network, replace(config, input_px=px, score=score), frames
        )
        for px, score in ((config.size_px, min(CANDIDATE, config.threshold)), (TILE_PX, SEEN))
    )
    refiner = KeypointRefiner(points, config.threads, config.device, bf16=config.bf16)
    return RefiningDetector(first, refiner, again.detect, config.threshold)


def _onnx_network(session: Any, name: str) -> Network:
    return lambda images: cast(list[F32], session.run(None, {name: _scaled(images)}))


def model_path(name: str) -> Path:
    """The ONNX file behind facer-det, insightface:PACK or a path."""
    if name == STARTER_DETECTOR:
        return Path(str(files("facer.stages.features") / "weights" / "detector.onnx"))
    if name.startswith("insightface:"):
        return _pack_path(name.removeprefix("insightface:"))
    path = Path(name)
    if not path.is_file():
        raise FacerError(
            f"{named('detector')}: {name} is no file; expected {STARTER_DETECTOR}, "
            "insightface:PACK (such as insightface:buffalo_l) or the path of an ONNX file"
        )
    return path


def _pack_path(pack: str) -> Path:
    """The detector among the models of an insightface pack, fetched by insightface if absent."""
    from insightface.utils.storage import ensure_available

    if not re.fullmatch(r"\w[\w.-]*", pack):
        raise OptionError(
            f"{named('detector')} insightface:{pack}: expected the name of a pack, such as "
            "buffalo_l"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):  # insightface prints where it downloads to
            folder = Path(ensure_available("models", pack))
    except Exception as error:
        raise FacerError(
            f"{named('detector')} insightface:{pack}: not in ~/.insightface/models and could "
            f"not be fetched ({one_line(error)}); expected a pack of insightface's model zoo and "
            "a network"
        ) from error
    candidates = [p for p in sorted(folder.rglob("*.onnx")) if _has_detector_outputs(p)]
    if not candidates:
        raise FacerError(f"{named('detector')} insightface:{pack}: {folder} holds no detector")
    return candidates[0]


def _has_detector_outputs(path: Path) -> bool:
    model = read_onnx(path)
    return model is not None and len(model.graph.output) in (9, 15)


def _open(path: Path, config: DetectorConfig) -> Any:
    from insightface.model_zoo import get_model

    options, providers = session_options(config.threads, config.device)
    expected = "expected a detector in insightface's RetinaFace or SCRFD layout, as name.onnx"
    if path.suffix != ".onnx" or read_onnx(path) is None:
        raise FacerError(f"{named('detector')}: {path} is no ONNX model; {expected}")
    try:
        model = get_model(str(path), sess_options=options, providers=providers)
    except Exception as error:
        raise FacerError(
            f"{named('detector')}: {path} is an ONNX model that insightface cannot open "
            f"({one_line(error)}); {expected}"
        ) from error
    if model is None or getattr(model, "taskname", "") != "detection":
        raise FacerError(
            f"{named('detector')}: {path} is an ONNX model but no face detector; {expected}"
        )
    size = (config.size_px, config.size_px)
    model.prepare(-1 if config.device == "cpu" else 0, input_size=size)
    model.det_thresh, model.nms_thresh = config.threshold, NMS_IOU
    return model


def _takes_batches(model: Any) -> bool:
    """Whether the graph has outputs (N, A, C) and a free batch dimension and size."""
    shape = model.session.get_inputs()[0].shape
    free = all(not isinstance(shape[axis], int) for axis in (0, 2, 3))
    return free and bool(model.batched) and len(model.output_names) == 3 * len(_STRIDES)


class SingleDetector:
    """Any insightface detector, one frame at a time through insightface itself."""

    def __init__(self, name: str, sha256: str, model: Any) -> None:
        self.name, self.sha256 = name, sha256
        self._model = model

    def detect(self, images: Sequence[U8]) -> list[Faces]:
        """Faces of each RGB uint8 (H, W, 3) image."""
        return [self._detect(image) for image in images]

    def _detect(self, image: U8) -> Faces:
        boxes, points = self._model.detect(np.ascontiguousarray(image[..., ::-1]))
        boxes = boxes.astype(np.float32)
        return Faces(boxes[:, :4], points.astype(np.float32), boxes[:, 4])


class BatchDetector:
    """A detector in the SCRFD layout with a free batch dimension; many frames in one run.

    A frame is scaled so that its longer side is ``size_px``, and padded with black below and
    to the right to multiples of 32.
    """

    def __init__(
        self,
        name: str,
        sha256: str,
        network: Network,
        config: DetectorConfig,
        at_once: int | None = None,
    ) -> None:
        self.name, self.sha256 = name, sha256
        self._network = network
        self._size_px = config.size_px
        self._threshold = config.threshold
        self._at_once = at_once or (_CPU_FRAMES if config.device == "cpu" else _GPU_FRAMES)

    def detect(self, images: Sequence[U8]) -> list[Faces]:
        """Faces of each RGB uint8 (H, W, 3) image; images of one size share a run."""
        result: list[Faces] = [NO_FACES] * len(images)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(images):
            by_shape.setdefault(image.shape, []).append(position)
        for positions in by_shape.values():
            for start in range(0, len(positions), self._at_once):
                some = positions[start : start + self._at_once]
                found = self._run([images[position] for position in some])
                for position, faces in zip(some, found, strict=True):
                    result[position] = faces
        return result

    def _run(self, images: list[U8]) -> list[Faces]:
        scale, small = _shrunk(images, self._size_px)
        outputs = self._network(small)
        scores, boxes, points = (
            np.concatenate(outputs[start : start + len(_STRIDES)], axis=1)
            for start in range(0, 3 * len(_STRIDES), len(_STRIDES))
        )
        centres, strides = _anchors(*small.shape[1:3])
        faces = []
        for row in range(len(images)):
            keep = np.flatnonzero(scores[row, :, 0] >= self._threshold)
            found = decode_boxes(
                scores[row, keep, 0], boxes[row, keep], points[row, keep], centres[keep],
                strides[keep],
            )  # fmt: skip
            bbox = (found.bbox_px.reshape(-1, 2, 2) / scale).reshape(-1, 4)
            faces.append(Faces(bbox, found.keypoints_px / scale, found.score))
        return faces


def refiner_sha256(detector: Detector) -> str:
    """Digest of the keypoint refiner's file; "" for a detector without one."""
    return detector.refiner.sha256 if isinstance(detector, RefiningDetector) else ""


def _shrunk(images: list[U8], size_px: int) -> tuple[F32, U8]:
    """(2,) scale in x and y, and the images of one run, uint8 (n, H, W, 3), padded with black."""
    height, width = images[0].shape[:2]
    ratio = size_px / max(height, width)
    small_w, small_h = max(1, round(width * ratio)), max(1, round(height * ratio))
    padded_w, padded_h = -(-small_w // 32) * 32, -(-small_h // 32) * 32
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    small = np.zeros((len(images), padded_h, padded_w, 3), np.uint8)
    for target, image in zip(small, images, strict=True):
        target[:small_h, :small_w] = cv2.resize(image, (small_w, small_h), interpolation=how)
    return np.array([small_w / width, small_h / height], np.float32), small


def _scaled(images: U8) -> F32:
    """(x - 127.5) / 128 of images (n, H, W, 3): float32 (n, 3, H, W)."""
    return np.asarray(cv2.dnn.blobFromImages(list(images), 1 / 128, mean=(127.5,) * 3), np.float32)


@lru_cache(maxsize=16)
def _anchors(height: int, width: int) -> tuple[F32, F32]:
    """Centres (A, 2) in input pixels and strides (A, 1) of all anchors, in output order."""
    centres, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        grid = np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride
        centres.append(np.repeat(grid, _ANCHORS, axis=0))
        strides.append(np.full((len(grid) * _ANCHORS, 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_boxes(scores: F32, boxes: F32, points: F32, centres: F32, strides: F32) -> Faces:
    """Distances in strides become pixels; overlapping boxes are suppressed, best first.

    Of n anchors: scores (n,), boxes (n, 4) as distances from the centre, points (n, 10), centres
    (n, 2) in pixels and strides (n, 1).
    """
    distance = boxes * strides
    bbox = np.concatenate([centres - distance[:, :2], centres + distance[:, 2:]], axis=1)
    keypoints = centres[:, None] + points.reshape(-1, 5, 2) * strides[:, None]
    order = np.argsort(-scores, kind="stable")
    kept = order[suppress(bbox[order])]
    return Faces(bbox[kept], keypoints[kept], scores[kept])
