"""The pooled space of faces that units move and of labelled crops, for ``make_units.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from facer.pipeline.runtime.progress import CountReporter
from facer.stages.affect.config import AugmentConfig
from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.metrics import EXPRESSION_COLUMNS
from facer.stages.affect.units.geometry import N_POINTS, FaceField, UnitGeometry
from facer.stages.affect.units.pairs import (
    NUISANCE,
    STRENGTHS,
    labelled_neutral,
    largest_strength,
    seen_by_cameras,
    usable_rows,
    varied,
)
from facer.storage.errors import FacerError, named
from facer.storage.schema import F32, FEATURE_NAMES, I64, U8, Bools

CAMERA = AugmentConfig(
    tint=0.5, low_resolution=0.2, noise=0.2, jpeg=0.1, erase=0.1, blur=0.1, scale=0.08,
    rotate_deg=8, shift_px=3,
)  # fmt: skip
MOVES, LABELLED = 5, 3000  # units that move a face; labelled crops of each pack

Embed = Callable[[U8], F32]
"""RGB uint8 (B, 112, 112, 3) -> pooled space (B, D)."""


@dataclass(frozen=True)
class PairedEmbeddings:
    """Pooled space of n faces, each as it is and moved by k units.

    embedding (n, 1 + k, D); unit (n, k) column among the 17; strength (n, k) in (0, 1]; neutral
    (n,) whether the unmoved face is labelled neutral.
    """

    embedding: F32
    unit: I64
    strength: F32
    neutral: Bools


@dataclass(frozen=True)
class LabelledSpace:
    """n labelled crops: embedding (n, D), expression (n, 7) that REC gives them, au and au_weight
    (n, 17), NaN where a unit has no label.
    """

    embedding: F32
    expression: F32
    au: F32
    au_weight: F32


Space = TypeVar("Space", PairedEmbeddings, LabelledSpace)


def embedded(
    kept: Path, data: AffectSet, faces: int, geometry: UnitGeometry, columns: Embed
) -> tuple[PairedEmbeddings, LabelledSpace]:
    """Warped faces and labelled crops of a set in the pooled space; computed once, then ``kept``.

    ``columns``: crops to REC's features and, behind them, the pooled space.
    """
    n = len(FEATURE_NAMES)
    if not kept.exists():
        pairs = paired_embeddings(
            lambda crops: columns(crops)[:, n:], data, geometry, faces, MOVES, CAMERA
        )  # fmt: skip
        rows = np.sort(np.random.default_rng(1).permutation(len(data))[:LABELLED])
        blocks = np.array_split(rows, len(rows) // 64 + 1)
        seen = [columns(np.stack([data.crop(int(r)) for r in block])) for block in blocks]
        np.savez(kept, rows=rows, seen=np.concatenate(seen), **vars(pairs))
    with np.load(kept) as file:
        pairs = PairedEmbeddings(*(file[name] for name in PairedEmbeddings.__annotations__))
        rows, seen = file["rows"], file["seen"]
    trust = np.tile(data.au_trust, (len(rows), 1))
    return pairs, LabelledSpace(seen[:, n:], seen[:, EXPRESSION_COLUMNS], data.au[rows], trust)


def joined(parts: Sequence[Space]) -> Space:
    """Several sets as one."""
    names = vars(parts[0])
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return type(parts[0])(**values)


def paired_embeddings(
    embed: Embed, data: AffectSet, geometry: UnitGeometry, faces: int, moves: int = 5,
    camera: AugmentConfig | None = None, seed: int = 0,
) -> PairedEmbeddings:  # fmt: skip
    """Move at most ``faces`` nearly frontal faces of a set with meshes, by ``moves`` units each.

    As in :class:`facer.stages.affect.units.pairs.UnitPairs`: uneven displacements, both of a
    pair moved by another unit at times, the same or another camera.
    """
    rows = usable_rows(data, geometry)
    if len(rows) == 0 or data.mesh is None:
        raise FacerError(
            f"{data.name}: no nearly frontal face has a mesh; give its {named('meshes')}"
        )
    rng = np.random.default_rng([seed, 29])
    rows = rng.permutation(rows)[:faces]
    report = CountReporter(f"faces of {data.name}")
    embedded, units, strengths, neutral = [], [], [], []
    for done, row in enumerate(rows.tolist(), 1):
        moved = _moved(data, row, geometry, moves, rng)
        crops = seen_by_cameras(data, row, moved.crops, rng, camera)
        embedded.append(embed(np.stack(crops)))
        units.append(moved.units)
        strengths.append(moved.strengths)
        neutral.append(moved.still and bool(labelled_neutral(data, row)))
        report(done, len(rows))
    return PairedEmbeddings(
        np.stack(embedded), np.stack(units), np.array(strengths, np.float32), np.array(neutral)
    )


class _Moved(NamedTuple):
    crops: list[U8]  # as it is, and moved by each of the units
    units: I64
    strengths: list[float]
    still: bool  # the first crop was not moved by another unit


def _moved(
    data: AffectSet, row: int, geometry: UnitGeometry, moves: int, rng: np.random.Generator
) -> _Moved:
    """One face moved by ``moves`` units, all of its crops by one other unit at times."""
    assert data.mesh is not None
    mesh, units = data.mesh[row], np.flatnonzero(geometry.warps)
    field = FaceField(geometry, mesh)
    still = rng.random() >= NUISANCE
    other = int(rng.choice(units))
    amount = 0.0 if still else rng.uniform(0.2, 1.0) * largest_strength(other, mesh)
    first = amount * varied(geometry, other, rng)
    own = rng.choice(units, moves, replace=False)
    strengths = [min(rng.uniform(*STRENGTHS), largest_strength(int(u), mesh)) for u in own]
    shifts = [np.zeros((N_POINTS, 3), np.float32)]
    shifts += [s * _some(geometry, int(u), rng) for u, s in zip(own, strengths, strict=True)]
    crops = [field.warp(data.crop(row), np.asarray(first + s, np.float32)) for s in shifts]
    return _Moved(crops, own, strengths, still)


def _some(geometry: UnitGeometry, unit: int, rng: np.random.Generator) -> F32:
    """A unit's displacement (478, 3), on one side of the face alone in half of the cases."""
    both = varied(geometry, unit, rng)
    side = rng.integers(4)
    if side < 2:
        return both
    half = (geometry.left, geometry.right)[side - 2][unit]
    return np.asarray(both * half.any(axis=1, keepdims=True), np.float32)
