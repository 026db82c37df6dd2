"""Pairs of crops of one face that differ by one action unit, made by warping photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from facer.stages.affect.augment import augment
from facer.stages.affect.config import AugmentConfig
from facer.stages.affect.datasets.packs import JpegPack, open_pack
from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.units.geometry import N_POINTS, FaceField, UnitGeometry, fit_pose
from facer.storage.errors import FacerError
from facer.storage.exchange.hdf5_guard import read_dataset
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32, I64, U8, Bools

STRENGTHS = (0.3, 1.0)
MAX_YAW_DEG = 25.0
_MAX_RESIDUAL = 0.12  # of the pose, in eye distances: beyond it the mesh is not of a face
_CLOSED_MOUTH = {9: 0.6, 10: 0.6}  # largest strength of units that would tear a closed mouth
_PARTED = 0.04  # gap of the lips in eye distances, from which on the mouth counts as open
_LIPS = (13, 14)
NUISANCE = 0.5  # chance that both crops of a pair are also moved by another unit
_JITTER = 0.25  # deviation of the factor of a displacement, and of its slope across the face
SAME_CAMERA = 0.5  # chance that both crops of a pair are augmented alike
NEUTRAL_SHARE = 0.6  # of the votes, from which on a face is taken to show no unit


class UnitPair(NamedTuple):
    """P pairs: crops (P, 112, 112, 3) uint8; the moved one shows ``unit`` more than the base.

    unit (P,) column among the 17; strength (P,) in (0, 1]; neutral (P,) whether the base is a
    face labelled neutral that was not moved itself.
    """

    base: Tensor
    moved: Tensor
    unit: Tensor
    strength: Tensor
    neutral: Tensor


def with_meshes(data: AffectSet, files: Sequence[Path]) -> AffectSet:
    """The set with the mesh of each crop, from the file that names its pack as source.

    A mesh file is HDF5 with ``mesh`` (n, 478, 3) in crop pixels, NaN where no face was found,
    and the attribute ``source``; ``FacerError`` when its rows are not those of the pack.
    """
    if not isinstance(data.images, JpegPack):
        return data
    for path in files:
        with open_pack(path, {"mesh": (N_POINTS, 3)}, "a file of meshes") as file:
            if file.attrs.get("source") != data.images.path.name:
                continue
            if len(file["mesh"]) != data.images.n_rows:
                raise FacerError(
                    f"{path}: mesh has {len(file['mesh'])} rows, expected {data.images.n_rows}, a "
                    f"row a crop of {data.images.path}"
                )
            mesh = read_dataset(path, file["mesh"])[data.indices]
            return replace(data, mesh=mesh.astype(np.float32))
    return data


def usable_rows(data: AffectSet, geometry: UnitGeometry) -> I64:
    """Rows whose mesh is a face turned by less than 25 degrees."""
    if data.mesh is None:
        return np.empty(0, np.int64)
    rows = np.flatnonzero(np.isfinite(data.mesh).all(axis=(1, 2)))
    poses = [fit_pose(geometry, data.mesh[row]) for row in rows]
    good = [abs(p.yaw_deg) < MAX_YAW_DEG and p.residual < _MAX_RESIDUAL for p in poses]
    return np.asarray(rows[np.array(good, bool)])


def largest_strength(unit: int, mesh: F32) -> float:
    """How far a unit (column) may be drawn in this face without tearing its mouth."""
    eye_px = np.linalg.norm(mesh[33, :2] - mesh[263, :2])
    parted = np.linalg.norm(np.subtract(*mesh[list(_LIPS), :2])) > _PARTED * eye_px
    return 1.0 if parted else _CLOSED_MOUTH.get(ACTION_UNITS[unit], 1.0)


class UnitPairs(Dataset[UnitPair]):
    """One epoch's pairs; item i depends on (seed, epoch, i) only."""

    def __init__(
        self, sets: Sequence[AffectSet], geometry: UnitGeometry, size: int, config: AugmentConfig,
        seed: int, epoch: int, rows: Sequence[I64],
    ) -> None:  # fmt: skip
        self._sets, self._geometry, self._config = tuple(sets), geometry, config
        self._size, self._seed, self._epoch = size, seed, epoch
        self._faces = [(which, int(row)) for which, found in enumerate(rows) for row in found]
        self._units = np.flatnonzero(geometry.warps)
        if not self._faces:
            raise FacerError(
                "unit pairs: found no crop with a mesh of a nearly frontal face; give the meshes "
                "of the packs that are trained on"
            )

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, item: int) -> UnitPair:
        rng = np.random.default_rng([self._seed, self._epoch, item, 17])
        which, row = self._faces[rng.integers(len(self._faces))]
        data = self._sets[which]
        assert data.mesh is not None
        crop, mesh = data.crop(row), data.mesh[row]
        unit = int(rng.choice(self._units))
        strength = min(float(rng.uniform(*STRENGTHS)), largest_strength(unit, mesh))
        nuisance = np.zeros((N_POINTS, 3), np.float32)
        if rng.random() < NUISANCE:
            other = int(rng.choice(self._units[self._units != unit]))
            amount = rng.uniform(0.2, 1.0) * largest_strength(other, mesh)
            nuisance = amount * varied(self._geometry, other, rng)
        field = FaceField(self._geometry, mesh)
        base = field.warp(crop, nuisance)
        moved = field.warp(crop, nuisance + strength * varied(self._geometry, unit, rng))
        crops = seen_by_cameras(data, row, [base, moved], rng, self._config)
        neutral = not nuisance.any() and labelled_neutral(data, row)
        first, second = (torch.from_numpy(np.ascontiguousarray(one)) for one in crops)
        shown = torch.tensor(strength, dtype=torch.float32)
        return UnitPair(first, second, torch.tensor(unit), shown, torch.tensor(bool(neutral)))


def seen_by_cameras(
    data: AffectSet, row: int, crops: list[U8], rng: np.random.Generator,
    config: AugmentConfig | None,
) -> list[U8]:  # fmt: skip
    """Variants of the crops of one face, augmented all alike at times; as they are without one."""
    frame = data.frame(row)
    background = None if frame is None else data.crop(int(rng.integers(len(data))))
    seeds = rng.integers(1 << 32, size=len(crops))
    if rng.random() < SAME_CAMERA:
        seeds[:] = seeds[0]
    if config is None:
        return crops
    return [
        augment(crop, np.random.default_rng(seed), config, frame, background)
        for crop, seed in zip(crops, seeds, strict=True)
    ]


def labelled_neutral(data: AffectSet, rows: int | I64) -> Bools:
    """Whether rows of a set are labelled faces that show no unit."""
    share = data.expression[rows, EXPRESSIONS.index("neutral")]
    return np.asarray(share >= NEUTRAL_SHARE, np.bool_)


def varied(geometry: UnitGeometry, unit: int, rng: np.random.Generator) -> F32:
    """A unit's displacement (478, 3) as another face might show it: uneven in size and place."""
    x, y = geometry.neutral[:, 0], geometry.neutral[:, 1]
    factor = 1 + _JITTER * (rng.normal() + x * rng.normal() + y * rng.normal())
    both = geometry.left[unit] + geometry.right[unit]
    return np.asarray(both * np.clip(factor, 0.4, 1.8)[:, None], np.float32)
