"""Pieces of a sound at one rate, each sample in its place: libav's resampler, anew after a hole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.resampler import AudioResampler

from facer.stages.features.audio.timeline import Placed
from facer.storage.schema import F32


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples (n,) of one channel, full scale 1, from sample number ``start`` on."""

    start: int
    samples: F32

    @property
    def stop(self) -> int:
        """Number of the sample after the last."""
        return self.start + len(self.samples)


def resampled(placed: Iterable[Placed | None], rate_hz: int) -> Iterator[Sound | None]:
    """Bring placed pieces to one rate, about a second at a time."""
    run: _Run | None = None
    for piece in placed:
        if piece is None:
            yield None
            continue
        before = run
        if run is not None and not (piece.follows and piece.rate_hz == run.rate_hz):
            yield run.end()
            run = None
        run = run or _Run(piece, rate_hz, before)
        yield from run.add(piece.samples)
    if run is not None:
        yield run.end()


class _Run:
    """Samples that follow each other at one rate, on their way to another."""

    def __init__(self, first: Placed, to_hz: int, before: _Run | None) -> None:
        self.rate_hz = first.rate_hz
        self.next = round(first.start_s * to_hz)  # the number of the next sample
        if before is not None and first.follows and abs(self.next - before.next) <= 1:
            self.next = before.next  # rounding is no hole
        self._waiting: list[F32] = []
        self._n_waiting = 0
        self._resampler = None
        if to_hz != self.rate_hz:
            self._resampler = AudioResampler(format="flt", layout="mono", rate=to_hz)

    def add(self, samples: F32) -> Iterator[Sound]:
        """Give a block once a second of samples is there."""
        self._waiting.append(samples)
        self._n_waiting += len(samples)
        if self._n_waiting >= self.rate_hz:
            yield self._block(self._convert())

    def end(self) -> Sound:
        """The rest."""
        parts = [self._convert()] if self._n_waiting else []
        if self._resampler is not None:
            parts += [_values(frame) for frame in self._resampler.resample(None)]
        return self._block(np.concatenate(parts) if parts else np.empty(0, np.float32))

    def _convert(self) -> F32:
        samples = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        if self._resampler is None:
            return samples
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = self.rate_hz
        found = [_values(out) for out in self._resampler.resample(frame)]
        return np.concatenate(found) if found else samples[:0]

    def _block(self, samples: F32) -> Sound:
        start = self.next
        self.next += len(samples)
        return Sound(start, samples)


def _values(frame: av.AudioFrame) -> F32:
    return np.asarray(frame.to_ndarray()[0], np.float32)
