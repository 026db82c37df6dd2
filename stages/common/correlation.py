"""The concordance correlation, once: for losses and metrics, tensors, arrays and numbers."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

Moment = TypeVar("Moment", Tensor, float, npt.NDArray[np.float64])


def concordance(
    variance_p: Moment, variance_t: Moment, covariance: Moment, shift: Moment, floor: float = 0.0
) -> Moment:
    """Lin's (1989) rho_c = 2 cov(p, t) / (var p + var t + (mean p - mean t)^2), in [-1, 1].

    ``shift`` is mean p - mean t; ``floor`` keeps the denominator of a loss from zero.
    """
    return 2 * covariance / (variance_p + variance_t + shift * shift + floor)
