"""Whether each unit's output rises on a face that was moved by that unit, and only that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.metrics import AU_COLUMNS, auc
from facer.stages.affect.units.geometry import FaceField, UnitGeometry
from facer.stages.affect.units.pairs import labelled_neutral, largest_strength, usable_rows
from facer.storage.errors import FacerError, named
from facer.storage.schema import AU_NAMES, F32, I64, U8, Bools

Predict = Callable[[U8], F32]
"""RGB uint8 (B, 112, 112, 3) -> features (B, 26), as ``Rec.predict``."""

_TOP = 3
_MOST_FACES = 300  # of a set that are moved


@dataclass(frozen=True)
class UnitMoves:
    """Probabilities of n faces of a set, as they are and moved by each unit that a warp makes."""

    rows: I64  # (n,) of the set
    units: I64  # (u,) columns among the 17
    base: F32  # (n, 17)
    moved: F32  # (n, u, 17)

    @property
    def risen(self) -> Bools:
        """(n, u) whether the own unit's output is higher on the moved face."""
        own = np.take_along_axis(self.moved, self.units[None, :, None], axis=2)[..., 0]
        return np.asarray(own > self.base[:, self.units])


def move_units(predict: Predict, data: AffectSet, geometry: UnitGeometry) -> UnitMoves:
    """Move faces of a set that carries meshes by each unit, and predict.

    Faces are those labelled neutral (all, where nothing is labelled), at most 300; each is
    moved by a strength drawn from .4 to 1, on both sides or one. Warps are not FACS codes.
    """
    rows = _faces(data, geometry)
    if len(rows) == 0:
        raise FacerError(
            f"{data.name}: no nearly frontal face has a mesh; give its {named('meshes')}"
        )
    rng = np.random.default_rng(0)
    rows = np.sort(rng.permutation(rows)[:_MOST_FACES])
    units = np.flatnonzero(geometry.warps)
    before, after = [], []
    for row in rows:
        crops = _variants(data, geometry, int(row), units, rng)
        features = predict(crops)[:, AU_COLUMNS]
        before.append(features[0])
        after.append(features[1:])
    return UnitMoves(rows, units, np.array(before), np.array(after))


def unit_response(moves: UnitMoves) -> dict[str, dict[str, Any] | None]:
    """Response of each unit to its own warp.

    By unit: ``auc`` of the moved against the unmoved faces of all people, ``risen`` the share of
    faces whose output is higher than that of the same face unmoved (the AUC within a face),
    ``top3`` the share in which the own unit is among the three that rise most, ``rise`` the mean
    rise of the probability, ``n``; None for units that no warp makes.
    """
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(AU_NAMES)
    for place, unit in enumerate(moves.units):
        found[AU_NAMES[unit]] = _response(moves.base, moves.moved[:, place], int(unit))
    return found


def _faces(data: AffectSet, geometry: UnitGeometry) -> I64:
    rows = usable_rows(data, geometry)
    labelled = np.isfinite(data.expression[rows, 0])
    return rows[labelled_neutral(data, rows)] if labelled.any() else rows


def _variants(
    data: AffectSet, geometry: UnitGeometry, row: int, units: I64, rng: np.random.Generator,
) -> U8:  # fmt: skip
    """The unmoved crop, then the crop moved by each unit: (1 + len(units), 112, 112, 3)."""
    assert data.mesh is not None
    crop, mesh = data.crop(row), data.mesh[row].astype(np.float32)
    field = FaceField(geometry, mesh)
    crops = [field.warp(crop, np.zeros_like(mesh))]
    for unit in units:
        side = rng.integers(4)  # one side alone in half of the faces
        halves = (side != 2) * geometry.left[unit] + (side != 3) * geometry.right[unit]
        strength = min(rng.uniform(0.4, 1.0), largest_strength(int(unit), mesh))
        crops.append(field.warp(crop, np.asarray(strength * halves, np.float32)))
    return np.stack(crops)


def _response(base: F32, moved: F32, unit: int) -> dict[str, Any]:
    """base and moved (n, 17) probabilities of one unit's warp."""
    rise = moved - base
    positive = np.repeat([True, False], len(base))
    larger = (rise > rise[:, unit : unit + 1]).sum(1)
    return {
        "auc": auc(np.concatenate([moved[:, unit], base[:, unit]]), positive),
        "risen": float((rise[:, unit] > 0).mean()),
        "top3": float((larger < _TOP).mean()),
        "rise": float(rise[:, unit].mean()),
        "n": len(base),
    }
