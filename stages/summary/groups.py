"""Means of groups of people, with bootstrap intervals over the people."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from facer.storage.schema import F64, I64

_DRAWN = 2_000_000  # numbers of a block of the bootstrap


class GroupMeans(NamedTuple):
    """Of F features over the participants who have a value, (F,) each."""

    participants: I64
    mean: F64
    sd: F64  # between participants, n - 1
    low: F64  # 95 % interval, percentiles of the bootstrap
    high: F64


def group_means(values: F64, resamples: int, seed: int) -> GroupMeans:
    """Average participants' means (P, F), NaN where one has none; who has none is not drawn."""
    there = np.isfinite(values)
    n = there.sum(axis=0)
    filled = np.where(there, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / n
        squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
        sd = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    if resamples:
        patterns, which = np.unique(there, axis=1, return_inverse=True)
        for number, people in enumerate(patterns.T):  # nearly always one, of all features
            of = which == number
            if people.sum() > 1:
                low[of], high[of] = _ends(values[np.ix_(people, of)], resamples, seed)
    return GroupMeans(n, mean, sd, low, high)


def _ends(values: F64, resamples: int, seed: int) -> tuple[F64, F64]:
    """The 95 % interval of the means of people's values (P, F), each (F,)."""
    people, random = len(values), np.random.default_rng(seed)
    each = max(1, _DRAWN // people)  # draws at a time, so that memory stays flat
    blocks = []
    for done in range(0, resamples, each):
        draws = random.multinomial(people, np.full(people, 1 / people), min(each, resamples - done))
        blocks.append(draws @ values / people)
    low, high = np.percentile(np.concatenate(blocks), [2.5, 97.5], axis=0)
    return low, high
