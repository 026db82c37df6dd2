"""Units taught by geometry: a warp moves what it should, pairs differ by one unit, ranks learn."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from torch import nn

from facer.stages.affect.config import AugmentConfig
from facer.stages.affect.datasets.packs import JpegPack
from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.losses import rest_level_loss, unit_pair_loss
from facer.stages.affect.units import pairs as unit_pairs
from facer.stages.affect.units.geometry import FaceField, fit_pose, read_geometry
from facer.stages.affect.units.metrics import move_units, unit_response
from facer.stages.affect.units.pairs import (
    UnitPairs,
    largest_strength,
    usable_rows,
    with_meshes,
)
from facer.stages.features.rec.network import build
from facer.storage.errors import FacerError
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS
from tests.support import script, some

DOCS = Path(__file__).parents[4] / "docs"
EYE_PX = 44.0
CENTRE = np.array([56.0, 51.6])
STILL = AugmentConfig(
    **{f.name: 0 for f in dataclasses.fields(AugmentConfig) if f.name != "smallest_px"}
)


@pytest.fixture
def geometry(geometry_file):
    return read_geometry(geometry_file)


def mesh_of(geometry, turn_deg=0.0):
    angle = np.radians(turn_deg)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    points = geometry.neutral @ turn.T * EYE_PX
    points[:, :2] += CENTRE
    return points.astype(np.float32)


class Crops:
    def __init__(self, n):
        self.n = n

    def crop(self, index):
        rng = np.random.default_rng(index)
        small = rng.integers(0, 255, (14, 14, 3), dtype=np.uint8)
        return cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)

    def name(self, index):
        return str(index)


def faces(geometry, n=4, turned=()):
    mesh = np.stack([mesh_of(geometry, 40 if row in turned else 0) for row in range(n)])
    expression = np.zeros((n, 7), np.float32)
    expression[:, EXPRESSIONS.index("neutral")] = 1
    return AffectSet(
        "own", Crops(n), np.arange(n), expression, np.full((n, 2), np.nan, np.float32),
        np.full((n, 17), np.nan, np.float32), np.zeros(17, np.float32), mesh=mesh,
    )  # fmt: skip


def test_units_are_read_by_number_whatever_their_order(geometry):
    assert [unit for unit, warps in zip(ACTION_UNITS, geometry.warps, strict=True) if warps] == [
        1,
        12,
    ]
    assert geometry.left[ACTION_UNITS.index(12)].any()
    assert not geometry.left[ACTION_UNITS.index(9)].any()


def test_files_that_are_no_displacements_are_refused(tmp_path, geometry_file):
    with pytest.raises(FacerError, match=r"no\.npz: no such file"):
        read_geometry(tmp_path / "no.npz")
    text = tmp_path / "text.npz"
    text.write_text("units")
    with pytest.raises(FacerError, match="cannot be read"):
        read_geometry(text)
    arrays = dict(np.load(geometry_file))
    arrays["au"] = np.arange(17)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(FacerError, match="found units"):
        read_geometry(tmp_path / "other.npz")


def test_the_pose_of_a_turned_face_is_found(geometry):
    for turn in (-30.0, 0.0, 20.0):
        pose = fit_pose(geometry, mesh_of(geometry, turn))
        assert pose.yaw_deg == pytest.approx(turn, abs=0.5)
        assert pose.residual < 1e-3


def test_a_warp_without_displacement_changes_nothing(geometry):
    crop = Crops(1).crop(0)
    still = FaceField(geometry, mesh_of(geometry)).warp(crop, np.zeros((478, 3), np.float32))
    np.testing.assert_array_equal(still, crop)


def test_a_warp_moves_pixels_with_their_points(geometry):
    """A dot on the brow goes up by what the brow's points go up."""
    crop = np.zeros((112, 112, 3), np.uint8)
    x, y = (CENTRE + EYE_PX * np.array([0.15, -0.3])).round().astype(int)
    crop[y - 1 : y + 2, x - 1 : x + 2] = 255
    unit = ACTION_UNITS.index(1)
    both = geometry.left[unit] + geometry.right[unit]
    moved = FaceField(geometry, mesh_of(geometry)).warp(crop, both)
    rows = np.arange(112)
    centre = (moved[..., 0].sum(1) * rows).sum() / moved[..., 0].sum()
    assert centre - y == pytest.approx(-0.12 * EYE_PX, abs=1.5)
    assert abs(moved[90:].astype(int) - crop[90:]).max() == 0  # the chin stays


def test_only_nearly_frontal_faces_with_a_mesh_are_used(geometry):
    data = faces(geometry, 4, turned=(1,))
    data.mesh[2] = np.nan
    assert usable_rows(data, geometry).tolist() == [0, 3]
    assert len(usable_rows(replace(data, mesh=None), geometry)) == 0


def test_meshes_belong_to_the_pack_that_they_name(geometry, tmp_path):
    pack = JpegPack(tmp_path / "own.h5", 4, {})
    data = replace(faces(geometry, 2), images=pack, indices=np.array([3, 1]), mesh=None)
    path = tmp_path / "mesh.h5"
    with h5py.File(path, "w") as file:
        file["mesh"] = np.arange(4)[:, None, None] * np.ones((1, 478, 3))
        file.attrs["source"] = "own.h5"
    assert some(with_meshes(data, [path]).mesh)[:, 0, 0].tolist() == [3, 1]
    with h5py.File(path, "a") as file:
        del file["mesh"]
        file["mesh"] = np.zeros((3, 478, 3))
    with pytest.raises(FacerError, match="mesh has 3 rows, expected 4"):
        with_meshes(data, [path])
    with h5py.File(path, "a") as file:
        file.attrs["source"] = "another.h5"
    assert with_meshes(data, [path]).mesh is None


def test_a_pair_is_fixed_by_seed_epoch_and_number(geometry):
    data = faces(geometry)
    rows = [usable_rows(data, geometry)]

    def pair(seed=0, epoch=0, item=3):
        return UnitPairs([data], geometry, 8, AugmentConfig(), seed, epoch, rows)[item]

    for found, expected in zip(pair(), pair(), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(pair().base, pair(epoch=1).base)
    assert not torch.equal(pair().base, pair(item=4).base)


def test_both_crops_of_a_pair_differ_by_their_unit_alone(geometry, monkeypatch):
    monkeypatch.setattr(unit_pairs, "SAME_CAMERA", 1.0)
    data = faces(geometry)
    pairs = UnitPairs([data], geometry, 30, STILL, 0, 0, [usable_rows(data, geometry)])
    seen = set()
    for item in range(30):
        pair = pairs[item]
        change = (pair.base.int() - pair.moved.int()).abs().sum(2).numpy()
        unit = ACTION_UNITS[int(pair.unit)]
        seen.add(unit)
        brow, mouth = change[25:45].sum(), change[80:100].sum()
        assert mouth > 0 if unit == 12 else brow > 3 * mouth  # unit 12 also shifts the crop
    assert seen == {1, 12}


def test_a_closed_mouth_is_not_torn(geometry):
    mesh = mesh_of(geometry)
    open_mouth, shut = mesh.copy(), mesh.copy()
    shut[14] = shut[13]
    for unit, expected in ((9, 0.6), (10, 0.6), (12, 1.0)):
        assert largest_strength(ACTION_UNITS.index(unit), shut) == expected
        assert largest_strength(ACTION_UNITS.index(unit), open_mouth) == 1.0


def pair_terms(change, unit=3, strength=1.0, overlap=None):
    base = torch.zeros(1, 17, dtype=torch.float64)
    moved = base.clone()
    for column, value in change.items():
        moved[0, column] = value
    overlap = torch.eye(17, dtype=torch.float64) if overlap is None else overlap
    return unit_pair_loss(
        base, moved, torch.tensor([unit]), torch.tensor([strength], dtype=torch.float64), overlap
    )


def test_the_pair_loss_wants_the_own_unit_to_rise_by_the_strength():
    falling, still, risen = (pair_terms({3: rise})["rank"] for rise in (-1.0, 0.0, 6.0))
    assert falling > still > risen
    assert still == pytest.approx(np.log1p(np.exp(4.0)))  # softplus(margin)
    assert pair_terms({3: 0.0}, strength=0.25)["rank"] == pytest.approx(np.log1p(np.exp(1.0)))
    assert pair_terms({3: 0.0})["level"] > pair_terms({3: 4.0})["level"]


def test_the_pair_loss_wants_other_units_to_stay_but_for_shared_geometry():
    assert pair_terms({3: 5.0})["specific"] == 0
    assert pair_terms({3: 5.0, 7: 2.0})["specific"] > 0
    assert pair_terms({3: 5.0, 7: -2.0})["specific"] > 0
    shared = torch.eye(17, dtype=torch.float64)
    shared[3, 7] = 0.5
    assert pair_terms({3: 5.0, 7: 2.0}, overlap=shared)["specific"] == 0
    assert pair_terms({3: 5.0, 7: -2.0}, overlap=shared)["specific"] > 0  # the other way
    shared[3, 7] = -0.5
    assert pair_terms({3: 5.0, 7: -2.0}, overlap=shared)["specific"] == 0


def test_units_without_labels_rest_at_zero_on_neutral_faces():
    logits = torch.zeros(3, 17, requires_grad=True)
    unlabelled = torch.zeros(17, dtype=torch.bool)
    unlabelled[4] = True
    loss = rest_level_loss(logits, torch.tensor([True, False, False]), unlabelled)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2))
    assert some(logits.grad).nonzero().tolist() == [[0, 4]]
    nobody = rest_level_loss(logits, torch.zeros(3, dtype=torch.bool), unlabelled)
    assert nobody.item() == 0


def test_the_response_of_a_unit_is_measured_on_its_own_warp(geometry):
    """A made-up network that looks at the brow alone answers to unit 1 and not to 12."""
    data = faces(geometry, 12)
    brow = slice(25, 45)

    def predict(crops):
        features = np.full((len(crops), 26), 0.5, np.float32)
        first = crops[:1, brow].astype(float)
        features[:, 9] += np.abs(crops[:, brow] - first).mean(axis=(1, 2, 3)) / 255
        return features

    moves = move_units(predict, data, geometry)
    found = unit_response(moves)
    assert some(found["au01"])["risen"] == 1
    assert some(found["au01"])["auc"] == 1
    assert some(found["au01"])["n"] == 12
    assert some(found["au12"])["risen"] == 0
    assert found["au25"] is None
    with pytest.raises(FacerError, match="no nearly frontal face has a mesh"):
        move_units(predict, replace(data, mesh=None), geometry)


@pytest.fixture(scope="module")
def space():
    return script(DOCS / "unit_space.py")


@pytest.fixture(scope="module")
def recipe(space):
    return script(DOCS / "make_units.py")


def embed(crops):
    """A pooled space for tests: the crops, small."""
    small = [cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA) for crop in crops]
    return (np.stack(small)[..., 1].reshape(len(crops), 256) / 127.5 - 1).astype(np.float32)


def test_the_rows_of_a_unit_learn_and_nothing_else_changes(geometry, space, recipe):
    parts = [
        space.paired_embeddings(embed, faces(geometry, 30), geometry, 30, moves=2, camera=camera)
        for camera in (None, STILL)
    ]
    pairs = space.joined(parts)
    assert pairs.embedding.shape == (60, 3, 256)
    assert {ACTION_UNITS[column] for column in pairs.unit.ravel()} == {1, 12}
    network = build("rec-small")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    labelled = space.LabelledSpace(
        pairs.embedding[:, 0],
        np.full((60, 7), 1 / 7, np.float32),
        np.full((60, 17), np.nan, np.float32),
        np.zeros((60, 17), np.float32),
    )
    config = recipe.UnitRowsConfig(("au12",), steps=300, learning_rate=0.02)
    recipe.fit_rows(network, pairs, labelled, np.ones(17, bool), geometry, config)
    column = ACTION_UNITS.index(12)
    for name, value in network.state_dict().items():
        if name in ("au.weight", "au.bias"):
            others = np.arange(17) != column
            assert torch.equal(value[others], before[name][others])
        else:
            assert torch.equal(value, before[name]), name

    def rises(weight):
        space = torch.from_numpy(pairs.embedding)
        logits = nn.functional.linear(space, weight)[..., column]
        moved = (logits[:, 1:] - logits[:, :1])[torch.from_numpy(pairs.unit == column)]
        return float((moved > 0).float().mean())

    assert rises(network.au.weight) > 0.9 > rises(before["au.weight"])


def test_embeddings_of_pairs_depend_on_the_seed_alone(geometry, space):
    data = faces(geometry, 6, turned=(2,))
    one, two, other = (
        space.paired_embeddings(embed, data, geometry, 99, moves=2, seed=seed) for seed in (3, 3, 4)
    )
    assert len(one.embedding) == 5  # the turned face is left out
    np.testing.assert_array_equal(one.embedding, two.embedding)
    assert not np.array_equal(one.strength, other.strength)
    with pytest.raises(FacerError, match="no nearly frontal face has a mesh"):
        space.paired_embeddings(embed, replace(data, mesh=None), geometry, 9)
