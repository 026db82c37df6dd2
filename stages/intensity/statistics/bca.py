"""Bias-corrected and accelerated bootstrap (Efron 1987), for few units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from facer.storage.schema import F64

TIE = 1e-9
"""Draws no further apart are alike: of few units many are the sample in another order, and sums
round by order."""


class Bca(NamedTuple):
    """What turns a quantile of the bootstrap's draws into one of the figure, and back."""

    z0: float  # normal quantile of the share of draws below the estimate
    acceleration: float

    def shares(self, level: float) -> tuple[float, float] | None:
        """The quantiles of the draws that bound an interval of ``level``; None where they cross.

        share = Phi(z0 + (z0 + z) / (1 - a (z0 + z))).
        """
        z = self.z0 + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
        low, high = ndtr(self.z0 + z / (1 - self.acceleration * z))
        return (float(low), float(high)) if 0 <= low < high <= 1 else None

    def tail(self, share: float) -> float:
        """The probability whose quantile of the draws is ``share``: the same solved for z."""
        z = ndtri(share) - self.z0
        return float(ndtr(z / (1 + self.acceleration * z) - self.z0))


def bca_of(draws: F64, estimate: float, left_out: F64) -> Bca | None:
    """From bootstrap draws (R,), the estimate and the jackknife's values ``left_out`` (n,).

    The acceleration is sum d^3 / (6 (sum d^2)^1.5) with d = mean - value over the jackknife. None
    where that is not defined: all draws on one side of the estimate, or a jackknife that is not
    defined or does not vary.
    """
    if not len(draws):
        return None
    over = draws - estimate
    below = float(((over < -TIE).mean() + (over <= TIE).mean()) / 2)
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    if not (0 < below < 1 and np.ptp(left_out) > TIE):
        return None
    return Bca(float(ndtri(below)), float((away**3).sum()) / (6 * spread**1.5))
