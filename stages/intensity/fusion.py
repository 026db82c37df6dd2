"""Weights of a late fusion."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from facer.storage.schema import F32, F64


def fit_weights(predictions: F32, targets: F32) -> F64:
    """Weights (R, E) of R predictions (R, n, E), none negative and of sum 1 for each intensity.

    They are the non-negative least squares of the targets (n, E), NaN where absent, both around
    their means, so that a scale and an offset of the whole do not count. Equal weights where
    nothing is labelled or no prediction goes with the labels.
    """
    runs, _, emotions = predictions.shape
    weights = np.full((runs, emotions), 1 / runs)
    for emotion in range(emotions):
        known = np.isfinite(targets[:, emotion])
        if known.sum() < 2:
            continue
        x = predictions[:, known, emotion].T.astype(np.float64)
        y = targets[known, emotion].astype(np.float64)
        found, _ = nnls(x - x.mean(0), y - y.mean())
        if found.sum() > 0:
            weights[:, emotion] = found / found.sum()
    return weights
