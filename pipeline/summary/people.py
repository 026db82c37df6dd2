"""Means over the clips of each participant: tables with a row a group, and a row a participant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from facer.stages.summary.config import SummaryConfig
from facer.stages.summary.groups import group_means
from facer.storage.errors import FacerError
from facer.storage.schema import F64
from facer.storage.study.columns import Block, Column, number, text
from facer.storage.study.design import DesignRow

_PEOPLE = 500  # rows of the wide table that are written at a time


def person_of(row: DesignRow) -> str:
    """Who is in a clip; one without a participant is a person of its own."""
    return row.participant or row.clip_id


class People:
    """Sums over the clips and events of each participant, condition and window."""

    def __init__(self, config: SummaryConfig, features: Sequence[str]) -> None:
        self.config, self.features = config, features
        self.grouped = ("mean", *(("mean_bc",) if config.baseline is not None else ()))
        self.statistics = tuple(dict.fromkeys((*self.grouped, *config.wide)))
        self.sums: dict[tuple[str, str, str], tuple[F64, F64]] = {}  # and counts, (S, F) each

    def add(self, row: DesignRow, window: str, numbers: Mapping[str, Any]) -> None:
        """Take in a clip's window."""
        values = np.array([numbers[name] for name in self.statistics], np.float64)
        there = np.isfinite(values)
        key = (person_of(row), row.condition, window)
        if key not in self.sums:
            self.sums[key] = (np.zeros(values.shape), np.zeros(values.shape))
        total, count = self.sums[key]
        total += np.where(there, values, 0)
        count += there

    def _means(self, key: tuple[str, str, str]) -> F64:
        """A person's means, (S, F)."""
        total, count = self.sums[key]
        found: F64 = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return found

    @property
    def _groups(self) -> list[tuple[str, str]]:
        """Conditions and windows."""
        return sorted({key[1:] for key in self.sums})

    def groups(self) -> Iterator[Block]:
        """Rows of every condition, window and statistic."""
        n = len(self.features)
        for condition, window in self._groups:
            keys = sorted(key for key in self.sums if key[1:] == (condition, window))
            means = np.array([self._means(key) for key in keys])
            for name in self.grouped:
                place = self.statistics.index(name)
                found = group_means(means[:, place], self.config.resamples, self.config.seed)
                yield {
                    "condition": [condition] * n, "window": [window] * n, "feature": self.features,
                    "statistic": [name] * n, "participants": found.participants,
                    "clips": sum(self.sums[key][1][place] for key in keys),
                    "mean": found.mean, "sd": found.sd, "lo": found.low, "hi": found.high,
                }  # fmt: skip

    def wide_columns(self) -> list[Column]:
        """Columns of the wide table: condition_window_feature_statistic."""
        return [text("participant", "one row each; a clip without one stands for itself")] + [
            number("_".join(filter(None, (condition, window, feature, statistic))),
                   "of the statistic", f"{statistic} of {feature} in window {window}, mean "
                   f"over the participant's clips and events of condition {condition or '(none)'}")
            for condition, window in self._groups
            for feature in self.features
            for statistic in self.config.wide
        ]  # fmt: skip

    def wide(self) -> Iterator[Block]:
        """Rows of the wide table, some participants at a time."""
        names = [column.name for column in self.wide_columns()]
        if len(set(names)) < len(names):
            raise FacerError("wide: found columns of one name, expected conditions and windows "
                             "that differ when joined by _; rename one")  # fmt: skip
        people, groups = sorted({key[0] for key in self.sums}), self._groups
        for start in range(0, len(people), _PEOPLE):
            some = people[start : start + _PEOPLE]
            cells = np.array([self._cells(person, groups) for person in some])
            yield dict(zip(names, (some, *cells.T), strict=True))

    def _cells(self, person: str, groups: Sequence[tuple[str, str]]) -> F64:
        """A person's numbers in the order of the wide table."""
        places = [self.statistics.index(name) for name in self.config.wide]
        cells = np.full((len(groups), len(self.features), len(places)), np.nan)
        for row, group in enumerate(groups):
            if (key := (person, *group)) in self.sums:
                cells[row] = self._means(key)[places].T
        return cells.ravel()
