"""Folds: whole units, about equal, and a validation split of their own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.stages.intensity.folds import assign_folds, fold_splits
from facer.storage.errors import FacerError

SUBJECTS = st.lists(st.integers(0, 11).map(str), min_size=12, max_size=60).filter(
    lambda units: len(set(units)) >= 5
)


@given(SUBJECTS, st.integers(2, 3))
def test_no_subject_is_in_two_folds_or_splits(units, n_folds):
    try:
        fold_of = assign_folds(units, n_folds)
    except FacerError:
        return  # one subject has most of the clips
    assert set(fold_of) == set(range(n_folds))
    folds = {(unit, fold) for unit, fold in zip(units, fold_of, strict=True)}
    assert len(folds) == len(set(units))
    for fold in range(n_folds):
        splits = fold_splits(units, fold_of, fold)
        assert len(set(zip(units, splits, strict=True))) == len(set(units))
        assert set(splits) == {"train", "val", "test"}
        assert [split == "test" for split in splits] == (fold_of == fold).tolist()


@given(SUBJECTS, st.randoms())
def test_the_order_of_rows_does_not_matter(units, random):
    order = list(range(len(units)))
    random.shuffle(order)
    shuffled = [units[i] for i in order]
    try:
        fold_of = assign_folds(units, 3)
    except FacerError:
        return
    assert (assign_folds(shuffled, 3) == fold_of[order]).all()
    splits = fold_splits(units, fold_of, 1)
    assert fold_splits(shuffled, fold_of[order], 1) == tuple(splits[i] for i in order)


def test_folds_of_clips_are_equal_and_val_is_a_small_part():
    units = [f"clip-{i}" for i in range(100)]
    fold_of = assign_folds(units, 5)
    assert np.bincount(fold_of).tolist() == [20] * 5
    splits = fold_splits(units, fold_of, 0)
    assert [splits.count(name) for name in ("train", "val", "test")] == [68, 12, 20]


def test_a_subject_with_most_of_the_clips_is_trained_on_not_validated_on():
    units = ["a"] * 50 + ["b"] * 5 + ["c"] * 5 + ["d"] * 5
    fold_of = assign_folds(units, 4)
    for fold in set(fold_of[50:]):
        splits = fold_splits(units, fold_of, fold)
        assert set(splits[:50]) == {"train"}


@pytest.mark.parametrize(("units", "folds"), [("abc", 4), ("abcdef", 1), ("ab", 2), ("abc", 2)])
def test_too_few_units_are_told(units, folds):
    with pytest.raises(FacerError, match=rf"folds {folds}: found {len(units)} subjects"):
        assign_folds(list(units), folds)


def test_one_fold_a_subject_holds_each_out_once():
    units = list("aabbccdd")
    fold_of = assign_folds(units, 4)
    assert sorted(set(fold_of)) == [0, 1, 2, 3]
    assert len(set(zip(units, fold_of, strict=True))) == 4
