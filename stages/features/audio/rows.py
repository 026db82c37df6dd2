"""From samples that come in blocks to rows of features: one row a hop, however they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from facer.storage.schema import F32


class Run(Protocol):
    """Samples without a hole on their way to rows; row k is over the window from k hops on."""

    def add(self, samples: F32) -> F32:
        """Take the next samples (n,); gives the rows (m, F) that are complete by now."""
        ...

    def end(self) -> F32:
        """The rows that are left."""
        ...


class AudioFeatures(Protocol):
    """What is measured of a sound, a row every ``hop`` samples over the ``window`` from there."""

    name: str
    sha256: str  # of what it was learnt as; "" for a formula
    columns: tuple[str, ...]
    rate_hz: int
    hop: int  # samples
    window: int  # samples
    settings: Mapping[str, str | int | float]  # that a store keeps

    def run(self) -> Run:
        """For samples without a hole."""
        ...


class ChunkedRun:
    """A run by a function of many samples at once, in chunks that overlap.

    ``measure`` turns samples (n,) into rows (m, F). It sees ``chunk`` rows at a time with up to
    ``context`` rows on either side, of which nothing is kept: so memory does not grow with the
    sound, and a row depends on what is around it alone.
    """

    def __init__(
        self, measure: Callable[[F32], F32], hop: int, window: int, chunk: int, context: int
    ) -> None:
        self._measure, self._hop, self._window = measure, hop, window
        self._chunk, self._context = chunk, context
        self._waiting: list[F32] = []
        self._n_waiting = 0
        self._before = 0  # rows of context that the waiting samples begin with

    def add(self, samples: F32) -> F32:
        """See :class:`Run`."""
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        done = []
        while self._n_waiting >= self._needed:
            rows = self._measure(self._samples[: self._needed])
            done.append(rows[self._before : self._before + self._chunk])
            self._forget()
        return np.concatenate(done) if done else np.empty((0, 0), np.float32)

    def end(self) -> F32:
        """See :class:`Run`."""
        if self._n_waiting < self._window:
            return np.empty((0, 0), np.float32)
        return self._measure(self._samples)[self._before :]

    @property
    def _needed(self) -> int:
        rows = self._before + self._chunk + self._context
        return (rows - 1) * self._hop + self._window

    @property
    def _samples(self) -> F32:
        self._waiting = [np.concatenate(self._waiting)]
        return self._waiting[0]

    def _forget(self) -> None:
        """Leave out what the rows to come do not need."""
        done = self._before + self._chunk
        self._before = min(self._context, done)
        rest = self._samples[(done - self._before) * self._hop :].copy()
        self._waiting, self._n_waiting = [rest], len(rest)
