"""A straight line per emotion that puts predictions on the labels' scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facer.stages.intensity.metrics import is_constant, pearson, weighted_sums
from facer.storage.schema import F32, F64

_LEAST_RHO = 0.05  # a line that does not rise would destroy the order that Pearson scores


@dataclass(frozen=True)
class Calibration:
    """calibrated = slope * prediction + intercept, slope > 0; (E,) each."""

    slope: F64
    intercept: F64

    def apply(self, predictions: npt.NDArray[Any]) -> F32:
        """Calibrate predictions (C, E)."""
        return np.asarray(predictions * self.slope + self.intercept, np.float32)

    def undo(self, intensities: npt.NDArray[Any]) -> F32:
        """Predictions (C, E) that :meth:`apply` would make these intensities of."""
        return np.asarray((intensities - self.intercept) / self.slope, np.float32)


def label_scale(targets: npt.NDArray[Any]) -> Calibration:
    """The line from labels of mean 0 and deviation 1 to ``targets`` (C, E), NaN = absent.

    Slope 1 for an emotion whose labels do not vary, intercept 0 for one without any.
    """
    t = np.ma.masked_invalid(targets.astype(np.float64))
    flat = np.array([is_constant(column.compressed()) for column in t.T])
    return Calibration(np.where(flat, 1.0, t.std(0).filled(1)), t.mean(0).filled(0))


def fit_calibration(predictions: npt.NDArray[Any], targets: npt.NDArray[Any]) -> Calibration:
    """Least squares of targets (C, E) on predictions (C, E), the slope kept positive.

    slope = max(rho, 0.05) * sd(t) / sd(p). An emotion without variance or labels keeps slope 1
    and has its mean moved to the labels' (where there are any).
    """
    labelled = np.isfinite(targets)
    p = np.ma.array(predictions.astype(np.float64), mask=~labelled)
    t = np.ma.array(targets.astype(np.float64), mask=~labelled)
    rho = pearson(weighted_sums(np.ones((1, len(p))), p.data, t.data, labelled))[0]
    sd_p, sd_t = p.std(0).filled(0), t.std(0).filled(0)
    flat = [is_constant(column.compressed()) for column in p.T]
    usable = ~np.array(flat) & np.isfinite(rho)
    slope = np.ones_like(sd_p)
    slope[usable] = np.maximum(rho[usable], _LEAST_RHO) * sd_t[usable] / sd_p[usable]
    intercept = (t.mean(0) - slope * p.mean(0)).filled(0)
    return Calibration(slope, intercept)
