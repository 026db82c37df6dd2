"""Means of groups of people and their intervals."""

import numpy as np

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


def test_one_person_has_no_interval():
    found = group_means(np.array([[1.0], [np.nan]]), 500, 0)
    assert found.participants.tolist() == [1]
    assert np.isnan(found.low).all()
