"""Balanced epochs: expected counts, determinism, items that depend on their place only."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facer.stages.affect.config import AugmentConfig
from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.datasets.sampling import (
    EpochCrops,
    collate_arrays,
    draw_epoch,
    sampling_weights,
)
from facer.stages.affect.losses import Targets


class Flat:
    """Crop number n has brightness n."""

    def crop(self, index):
        return np.full((112, 112, 3), index % 256, np.uint8)

    def name(self, index):
        return str(index)


def make_set(classes, name="set"):
    n = len(classes)
    expression = np.full((n, 7), np.nan, np.float32)
    for row, number in enumerate(classes):
        if number >= 0:
            expression[row] = np.eye(7)[number]
    return AffectSet(
        name, Flat(), np.arange(n), expression, np.full((n, 2), np.nan, np.float32),
        np.full((n, 17), np.nan, np.float32), np.ones(17, np.float32),
    )  # fmt: skip


COMMON_AND_RARE = [0] * 90 + [2] * 10


@pytest.mark.parametrize(
    ("balance", "share"), [(0.0, 0.1), (1.0, 0.5), (0.5, 10**0.5 / (10**0.5 + 90**0.5))]
)
def test_class_balance_sets_the_share_of_a_rare_class(balance, share):
    weights = sampling_weights([make_set(COMMON_AND_RARE)], balance, 0)
    assert weights.sum() == pytest.approx(1)
    assert weights[90:].sum() == pytest.approx(share)


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.1), (1.0, 0.5), (0.5, 0.25)])
def test_database_balance_sets_the_share_of_a_small_database(balance, share):
    weights = sampling_weights([make_set([0] * 90), make_set([1] * 10)], 0.5, balance)
    assert weights[90:].sum() == pytest.approx(share)


def test_unlabelled_crops_are_never_raised():
    weights = sampling_weights([make_set([-1] * 5 + [0] * 95)], 1.0, 0)
    assert weights[:5].sum() == pytest.approx(0.05)
    assert sampling_weights([make_set([-1] * 5)], 1.0, 0) == pytest.approx(0.2)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=40), st.integers(1, 300), st.integers(0, 9)
)
def test_each_crop_appears_as_often_as_expected(raw, size, seed):
    weights = np.array(raw) / np.sum(raw)
    order = draw_epoch(weights, size, seed, 0)
    counts = np.bincount(order, minlength=len(weights))
    assert len(order) == size
    assert (np.abs(counts - weights * size) < 1 + 1e-6).all()


def test_epochs_are_fixed_by_seed_and_number():
    weights = np.full(50, 0.02)
    first = draw_epoch(weights, 50, 3, 1)
    assert (first == draw_epoch(weights, 50, 3, 1)).all()
    assert (first != draw_epoch(weights, 50, 3, 2)).any()
    assert (first != draw_epoch(weights, 50, 4, 1)).any()
    assert sorted(first) == list(range(50))


def test_items_carry_the_labels_of_their_crop():
    sets = [make_set([0, 1, 2]), make_set([3, 4, -1])]
    items = EpochCrops(sets, np.array([4, 0, 5]), None, 0, 0)
    crops, *labels = collate_arrays([items[i] for i in range(3)])
    targets = Targets(*map(torch.from_numpy, labels))
    assert crops[:, 0, 0, 0].tolist() == [1, 0, 2]  # crop numbers within their set
    assert targets.expression[:2].argmax(1).tolist() == [4, 0]
    assert targets.expression[2].isnan().all()
    assert targets.au_weight.shape == (3, 17)


def test_an_item_depends_on_seed_epoch_and_place_only():
    data = [make_set([0, 1, 2, 3])]
    order = np.array([2, 1, 0, 3])

    def item(place, seed=0, epoch=0):
        return EpochCrops(data, order, AugmentConfig(noise=1), seed, epoch)[place][0]

    assert torch.equal(item(1), item(1))
    assert not torch.equal(item(1), item(1, epoch=1))
    assert not torch.equal(item(1), item(1, seed=1))


def test_a_frame_that_is_not_known_is_none():
    corners = np.stack([np.zeros((4, 2)), np.full((4, 2), np.nan)]).astype(np.float32)
    data = replace(make_set([0, 1]), frame_px=corners)
    assert data.frame(0) is not None
    assert data.frame(1) is None
    config = AugmentConfig(background=1.0)
    crops = EpochCrops([data], np.array([1, 1]), config, 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert crops[0][0].shape == (112, 112, 3)
