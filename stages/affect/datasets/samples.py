"""A labelled set of face crops, whatever database it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from facer.stages.affect.config import LossWeights
from facer.storage.errors import FacerError
from facer.storage.schema import (
    ACTION_UNITS,
    AU_NAMES,
    EXPRESSIONS,
    F32,
    I64,
    U8,
    VALENCE_AROUSAL,
    Bools,
)

CIRCUMPLEX: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happiness": (0.81, 0.51),
    "sadness": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}
"""Valence and arousal of each expression: the pleasure and arousal means of Russell &
Mehrabian, "Evidence for a three-factor theory of emotions", J. Res. Personality 11, 1977;
neutral is the origin of the circumplex."""


class ImageSource(Protocol):
    """Where the crops are read from; must be picklable for loader workers."""

    def crop(self, index: int) -> U8:
        """The aligned face, RGB uint8 (112, 112, 3)."""

    def name(self, index: int) -> str:
        """What a table calls the image: a pack's row from 0, or the file below the folder."""


class NoSplitError(FacerError):
    """A database that has nothing of the split that was asked for."""


@dataclass(frozen=True)
class AffectSet:
    """N crops with the labels of one database and split; NaN is "not labelled".

    expression (N, 7) float32 probabilities, whole rows or NaN; va (N, 2) in [-1, 1];
    au (N, 17) in [0, 1]; au_trust (17,) weight of each unit's labels in [0, 1];
    frame_px (N, 4, 2) corners of the source image in crop pixels, NaN where not known: outside them
    the crop holds no picture. ``indices`` (N,) are the crops' positions in ``images``.
    mesh (N, 478, 3) MediaPipe's face mesh in crop pixels, z towards the camera, NaN without one.
    """

    name: str
    images: ImageSource
    indices: I64
    expression: F32
    va: F32
    au: F32
    au_trust: F32
    va_is_weak: bool = False  # derived from expressions, not rated by people
    frame_px: F32 | None = None
    mesh: F32 | None = None
    keypoints_px: F32 | None = None  # (N, 5, 2) five points in the crop, NaN where not known
    notes: tuple[str, ...] = ()  # what was left out and why, one line each

    def __post_init__(self) -> None:
        n = len(self.indices)
        expected = {"expression": (n, len(EXPRESSIONS)), "va": (n, 2), "au": (n, len(ACTION_UNITS))}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise FacerError(f"{self.name}: {name} has shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.indices)

    def crop(self, row: int) -> U8:
        """Crop of one row, RGB uint8 (112, 112, 3)."""
        return self.images.crop(int(self.indices[row]))

    def image_name(self, row: int) -> str:
        """What a table calls the image of one row: a pack's row from 0, or a file's name."""
        return self.images.name(int(self.indices[row]))

    def frame(self, row: int) -> F32 | None:
        """Corners (4, 2) of the source image in the crop of one row, None where not known."""
        corners = None if self.frame_px is None else self.frame_px[row]
        return corners if corners is not None and np.isfinite(corners).all() else None

    def batches(self, size: int) -> Iterator[tuple[slice, U8]]:
        """Stretches of at most ``size`` rows, one after another, and their crops."""
        for start in range(0, len(self), size):
            rows = range(start, min(start + size, len(self)))
            yield slice(rows.start, rows.stop), np.stack([self.crop(row) for row in rows])

    def take(self, rows: I64 | Bools) -> AffectSet:
        """The given rows as a set of their own."""
        per_row = ("indices", "expression", "va", "au", "frame_px", "mesh", "keypoints_px")
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name in per_row}
        return replace(self, **{k: v[rows] for k, v in values.items() if v is not None})

    @property
    def expression_class(self) -> I64:
        """(N,) index into ``EXPRESSIONS`` of the most probable class; -1 unlabelled or a tie."""
        filled = np.nan_to_num(self.expression, nan=-1.0)
        top_two = np.sort(filled, axis=1)[:, -2:]
        decided = (filled.max(1) > 0) & (top_two[:, 1] > top_two[:, 0])
        return np.where(decided, filled.argmax(1), -1)


def circumplex_va(expression: F32) -> F32:
    """Weak valence-arousal from expression probabilities: sum_k p_k (v_k, a_k).

    (N, 7) -> (N, 2) float32; NaN rows stay NaN. Not a human rating: see :data:`CIRCUMPLEX`.
    """
    anchors = np.array([CIRCUMPLEX[name] for name in EXPRESSIONS], np.float32)
    return (expression @ anchors).astype(np.float32)


def weak_features(
    sets: Sequence[AffectSet], loss: LossWeights | None = None, *, taught: bool = False
) -> tuple[str, ...]:
    """Names of the features that no set of ``sets`` labels by people or measurement.

    Valence and arousal where derived from expressions only; expressions that no set has, unless
    they are ``taught`` by a teacher; units whose labels are absent or have no trust anywhere, so
    that only the coupling teaches them. Labels whose term of ``loss`` weighs nothing teach nothing.
    """
    loss = loss or LossWeights()
    rated = loss.ccc > 0 and any(np.isfinite(s.va).any() and not s.va_is_weak for s in sets)
    told = loss.cce > 0 and (taught or any(np.isfinite(s.expression).any() for s in sets))
    weak = [] if rated else list(VALENCE_AROUSAL)
    weak += [] if told else EXPRESSIONS
    for column, name in enumerate(AU_NAMES):
        labelled = (s for s in sets if s.au_trust[column] > 0)
        if not (loss.bce > 0 and any(np.isfinite(s.au[:, column]).any() for s in labelled)):
            weak.append(name)
    return tuple(weak)
