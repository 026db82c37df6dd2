"""Means of groups of people and their intervals."""

import numpy as np
import pytest

from facer.stages.summary.groups import group_means


def test_people_without_a_value_are_not_drawn():
    values = np.random.default_rng(0).random((6, 3))
    values[4, 1] = np.nan
    more = np.concatenate([values, np.full((16, 3), np.nan)])
    found = group_means(values, 500, 0)
    for few, many in zip(found, group_means(more, 500, 0), strict=True):
        np.testing.assert_array_equal(few, many)
    alone = group_means(np.delete(values, 4, axis=0)[:, 1:2], 500, 0)
    assert (alone.low[0], alone.high[0]) == (found.low[1], found.high[1])


@pytest.mark.parametrize("people", [1, 2])
def test_one_person_has_no_interval_nor_have_two(people):
    found = group_means(np.array([[1.0], [2.0], [np.nan]])[2 - people :], 500, 0)
    assert np.isnan([found.low, found.high]).all()


@pytest.mark.parametrize(("people", "least"), [(5, 0.89), (8, 0.92), (20, 0.92)])
def test_intervals_of_few_people_hold_the_mean(people, least):
    """Percentiles 2.5 and 97.5 hold it in .83, .88 and .92."""
    values = np.random.default_rng(1).normal(size=(people, 4000))
    found = group_means(values, 2000, 0)
    assert least < ((found.low <= 0) & (found.high >= 0)).mean() < 0.965
