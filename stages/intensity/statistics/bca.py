"""Bias-corrected and accelerated bootstrap intervals (Efron 1987), for few units."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from facer.stages.intensity.metrics import F64


def bca_shares(
    draws: F64, estimate: float, left_out: F64, level: float
) -> tuple[float, float] | None:
    """The quantiles of bootstrap draws (R,) that bound an interval of ``level``.

    z0 is the normal quantile of the share of draws below the estimate, and a the acceleration,
    sum d^3 / (6 (sum d^2)^1.5) with d = mean - value over the jackknife's values ``left_out``
    (n,); then share = Phi(z0 + (z0 + z) / (1 - a (z0 + z))). None where that is not defined:
    all draws on one side of the estimate, or a jackknife that is not defined or does not vary.
    """
    below = float(((draws < estimate).mean() + (draws <= estimate).mean()) / 2)
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    if not (0 < below < 1 and np.isfinite(spread) and spread > 0):
        return None
    acceleration = float((away**3).sum()) / (6 * spread**1.5)
    z0 = ndtri(below)
    z = z0 + ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = ndtr(z0 + z / (1 - acceleration * z))
    return (float(low), float(high)) if 0 <= low < high <= 1 else None
