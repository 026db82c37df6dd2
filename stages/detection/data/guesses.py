"""What a detector takes for faces in training pictures: guesses that the points model meets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from facer.stages.detection.data.teacher import Labelled
from facer.stages.detection.measure import matches
from facer.stages.features.faces import NO_FACES, Detector
from facer.storage.schema import F32

LOOKS = 0.15
"""Detection score from which on a guess is kept: far below what counts as a face."""


@dataclass(frozen=True)
class Guessed:
    """A picture, its faces, and the detector's guesses that are right or wrong."""

    shot: Labelled
    right_px: F32  # (k, 5, 2) ...
    face: tuple[int, ...]  # ... and on which of the faces each is
    wrong_px: F32  # (m, 5, 2) on no face, sure or doubtful


def guessed(shots: Iterable[Labelled], detector: Detector | None) -> Iterator[Guessed]:
    """Every picture with the detector's guesses; those on doubtful faces are left out.

    Without a detector there are none.
    """
    for shot in shots:
        found = NO_FACES if detector is None else detector.detect([shot.image])[0]
        match = matches(shot.bbox_px, found.bbox_px, found.keypoints_px)
        sure = match & ~shot.ignore[:, None]
        right = np.flatnonzero(sure.any(axis=0))
        yield Guessed(
            shot,
            found.keypoints_px[right],
            tuple(int(n) for n in sure[:, right].argmax(axis=0)) if len(right) else (),
            found.keypoints_px[~match.any(axis=0)],
        )
