"""Folds: whole units, about equal, and a validation split of their own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facer.stages.intensity.folds import assign_folds, fold_splits
from facer.storage.errors import FacerError

SUBJECTS = st.lists(st.integers(0, 11).map(str), min_size=12, max_size=60).filter(
    lambda groups: len(set(groups)) >= 5
)


@given(SUBJECTS, st.integers(2, 3))
def test_no_subject_is_in_two_folds_or_splits(groups, n_folds):
    try:
        fold_of = assign_folds(groups, n_folds)
    except FacerError:
        return  # one subject has most of the clips
    assert set(fold_of) == set(range(n_folds))
    folds = {(unit, fold) for unit, fold in zip(groups, fold_of, strict=True)}
    assert len(folds) == len(set(groups))
    for fold in range(n_folds):
        splits = fold_splits(groups, fold_of, fold)
        assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
        assert set(splits) == {"train", "val", "test"}
        assert [split == "test" for split in splits] == (fold_of == fold).tolist()


@given(SUBJECTS, st.randoms())
def test_the_order_of_rows_does_not_matter(groups, random):
    order = list(range(len(groups)))
    random.shuffle(order)
    shuffled = [groups[i] for i in order]
    try:
        fold_of = assign_folds(groups, 3)
    except FacerError:
        return
    assert (assign_folds(shuffled, 3) == fold_of[order]).all()
    splits = fold_splits(groups, fold_of, 1)
    assert fold_splits(shuffled, fold_of[order], 1) == tuple(splits[i] for i in order)


def test_folds_of_clips_are_equal_and_val_is_a_small_part():
    groups = [f"clip-{i}" for i in range(100)]
    fold_of = assign_folds(groups, 5)
    assert np.bincount(fold_of).tolist() == [20] * 5
    splits = fold_splits(groups, fold_of, 0)
    assert [splits.count(name) for name in ("train", "val", "test")] == [68, 12, 20]


def test_a_subject_with_most_of_the_clips_is_trained_on_not_validated_on():
    groups = ["a"] * 50 + ["b"] * 5 + ["c"] * 5 + ["d"] * 5
    fold_of = assign_folds(groups, 4)
    for fold in set(fold_of[50:]):
        splits = fold_splits(groups, fold_of, fold)
        assert set(splits[:50]) == {"train"}


@pytest.mark.parametrize(("groups", "folds"), [("abc", 4), ("abcdef", 1), ("ab", 2), ("abc", 2)])
def test_too_few_units_are_told(groups, folds):
    with pytest.raises(FacerError, match=rf"folds: found {len(groups)} .* into {folds}"):
        assign_folds(list(groups), folds)


def test_one_fold_a_subject_holds_each_out_once():
    groups = list("aabbccdd")
    fold_of = assign_folds(groups, 4)
    assert sorted(set(fold_of)) == [0, 1, 2, 3]
    assert len(set(zip(groups, fold_of, strict=True))) == 4
