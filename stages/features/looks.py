"""Step 2b: what the detector takes for a face is looked at again.

The points model sees each in the frame's own pixels, of which the detector has few, and sets its
points right. Those that the detector is unsure of are then cut out and shown to it once more at
the size that it knows best: with more around them, and mirrored. Their score is that of the three
looks together, so that it is found what is small, turned or dark, and not what is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from facer.stages.features.faces import MIRRORED, Detector, Faces, iou, suppress
from facer.stages.features.refine import KeypointRefiner, read_square
from facer.stages.features.track import box_sizes
from facer.storage.schema import F32, F64, U8

CANDIDATE = 0.2
"""Detection score from which on a face is looked at again."""

SURE = 0.7
"""Score from which on the detector need not look again."""

TILE_PX = 192
"""Side of the square that the detector sees at a further look."""

SEEN = 0.1
"""Score from which on it sees a face there; one that is not seen has no third look."""

_SIDES = (4.0, 2.5)  # of the square, in sides of the face's box: the second look, and the third
_MOST = 8  # faces in doubt of a frame that are looked at again
_SAME_IOU = 0.3  # of a face and what is found at another look
_FACE = 0.05  # probability of the points model, below which nothing else is asked
_LEAST = 1e-3  # score of what is not seen again

Detect = Callable[[Sequence[U8]], list[Faces]]


class RefiningDetector:
    """A detector whose five points a :class:`KeypointRefiner` corrects, and whose faces it must
    confirm; ``second`` is the detector for squares of :data:`TILE_PX`, None for no further looks.
    """

    def __init__(
        self,
        detector: Detector,
        refiner: KeypointRefiner,
        second: Detect | None = None,
        threshold: float = 0.0,
    ) -> None:
        self.name = detector.name
        self.sha256 = detector.sha256
        self.refiner = refiner
        self._detector, self._second, self._threshold = detector, second, threshold

    def detect(self, images: Sequence[U8]) -> list[Faces]:
        """Faces of each RGB uint8 (H, W, 3) image, best first."""
        found = self._detector.detect(images)
        points, face = self.refiner.refine(images, [f.keypoints_px for f in found])
        found = [
            Faces(f.bbox_px[p >= _FACE], five[p >= _FACE], f.score[p >= _FACE])
            for f, five, p in zip(found, points, face, strict=True)
        ]
        found = [self._best(f) for f in self._look_again(images, found)]
        points, _ = self.refiner.refine(images, [f.keypoints_px for f in found])
        return [f._replace(keypoints_px=five) for f, five in zip(found, points, strict=True)]

    def _best(self, faces: Faces) -> Faces:
        """Those that count, best first; what another look moved may be on a better one."""
        order = np.argsort(-faces.score, kind="stable")
        order = order[faces.score[order] >= self._threshold]
        kept = order[suppress(faces.bbox_px[order])]
        return Faces(*(values[kept] for values in faces))

    def _look_again(self, images: Sequence[U8], faces: Sequence[Faces]) -> list[Faces]:
        """The faces in doubt with the score of three looks, and where the second saw them."""
        result = [Faces(*(values.copy() for values in f)) for f in faces]
        doubtful = [(image, row) for image, f in enumerate(faces) for row in _in_doubt(f)]
        if self._second is None or not doubtful:
            return result
        places = [(images[image], faces[image].bbox_px[row]) for image, row in doubtful]
        second = self._look(places, _SIDES[0], mirrored=False)
        rows = np.flatnonzero(second.score > 0)
        third = Faces(*(np.zeros_like(values) for values in second))
        more = self._look([places[row] for row in rows], _SIDES[1], mirrored=True)
        for values, found in zip(third, more, strict=True):
            values[rows] = found
        for n, (image, row) in enumerate(doubtful):
            bbox, keypoints, score = result[image]
            looks = [look for look in (second, third) if look.score[n] > 0]
            if looks:
                bbox[row] = np.mean([look.bbox_px[n] for look in looks], axis=0)
                keypoints[row] = np.mean([look.keypoints_px[n] for look in looks], axis=0)
            score[row] = _mean_score([score[row], score[row], second.score[n], third.score[n]])
        return result

    def _look(self, places: Sequence[tuple[U8, F32]], sides: float, *, mirrored: bool) -> Faces:
        """What the detector sees in a square around each of n boxes, n faces: of those that overlap
        the box the best one; its score is 0 where there is none.
        """
        seen = Faces(*(np.zeros((len(places), *shape), np.float32) for shape in ((4,), (5, 2), ())))
        if not places or self._second is None:
            return seen
        matrices = [_to_square(box, sides, mirrored) for _, box in places]
        found = self._second(
            [read_square(image, m, TILE_PX) for (image, _), m in zip(places, matrices, strict=True)]
        )
        for n, (faces, matrix) in enumerate(zip(found, matrices, strict=True)):
            faces = _from_square(faces, matrix)
            same = np.where(iou(places[n][1], faces.bbox_px) > _SAME_IOU, faces.score, 0)
            if same.any():
                for values, value in zip(seen, faces, strict=True):
                    values[n] = value[same.argmax()]
        return seen


def _in_doubt(faces: Faces) -> list[int]:
    """Rows of the faces to be looked at again: in a crowd the largest, others keep their score."""
    rows = np.flatnonzero(faces.score < SURE)
    order = np.argsort(-box_sizes(faces.bbox_px[rows]), kind="stable")
    return [int(row) for row in rows[order[:_MOST]]]


def _to_square(box: F32, sides: float, mirrored: bool) -> F64:
    """(2, 3) from the frame to a square that is ``sides`` times as large as the box (4,)."""
    scale = TILE_PX / (sides * max(float(box_sizes(box[None])[0]), 1.0))
    turn = np.diag([-scale if mirrored else scale, scale])
    middle = (np.asarray(box[:2], np.float64) + box[2:]) / 2
    return np.column_stack([turn, TILE_PX / 2 - turn @ middle])


def _from_square(found: Faces, matrix: F64) -> Faces:
    """Faces of a square as faces of the frame."""
    turn, shift = np.diag(matrix[:, :2]), matrix[:, 2]
    corners = (found.bbox_px.reshape(-1, 2, 2) - shift) / turn
    points = (found.keypoints_px - shift) / turn
    if turn[0] < 0:
        points = points[:, MIRRORED]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Faces(boxes.astype(np.float32), points.astype(np.float32), found.score)


def _mean_score(scores: Sequence[float]) -> float:
    """The mean of probabilities as log odds."""
    p = np.clip(scores, _LEAST, 1 - _LEAST)
    return float(1 / (1 + np.exp(-np.mean(np.log(p / (1 - p))))))
