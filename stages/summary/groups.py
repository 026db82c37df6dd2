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
    """Average participants' means (P, F), NaN where one has none.

    The bootstrap draws among those who have a value of any feature.
    """
    values = values[np.isfinite(values).any(axis=1)]
    there = np.isfinite(values)
    n = there.sum(axis=0)
    filled = np.where(there, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(axis=0) / n
        squares = np.where(there, (values - mean) ** 2, 0.0).sum(axis=0)
        sd = np.sqrt(squares / np.where(n > 1, n - 1, np.nan))
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    if resamples and (n > 1).any():
        people, random = len(values), np.random.default_rng(seed)
        each = max(1, _DRAWN // people)  # draws at a time, so that memory stays flat
        blocks = []
        for done in range(0, resamples, each):
            size = min(each, resamples - done)
            draws = random.multinomial(people, np.full(people, 1 / people), size)
            with np.errstate(invalid="ignore", divide="ignore"):
                blocks.append((draws @ filled) / (draws @ there.astype(np.float64)))
        means = np.concatenate(blocks)
        several = n > 1
        low[several], high[several] = np.nanpercentile(means[:, several], [2.5, 97.5], axis=0)
    return GroupMeans(n, mean, sd, low, high)
