"""Baselines: the value at rest that a window is compared with, and why it may be none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facer.stages.summary.config import Scale, Span
from facer.stages.summary.track import EPS, Track
from facer.stages.summary.units import Unit, limits
from facer.stages.summary.windows import moments, quantiles, seen_of
from facer.storage.schema import F64, Bools

MOVING = 0.1
"""A standard deviation above this share of the unit is no rest."""
_UNITS = {"intensity": 5.0, "": np.inf}  # others 1; of a column in degrees or pixels nobody knows
_EDGE = 1e-3  # probabilities are brought this far from 0 and 1 before their logit


@dataclass(frozen=True)
class Baselines:
    """Of all F features of a clip and event: the value at rest and how far it can be trusted."""

    value: F64  # (F,) median of the seen frames
    seen_s: F64  # (F,)
    few: Bools  # (F,) seen for less than is asked
    moving: Bools  # (F,)
    expressive: bool

    @property
    def usable(self) -> F64:
        """The values (F,) that may be subtracted; NaN where too little was seen."""
        return np.where(self.few, np.nan, self.value)

    def flags(self, fallen_back: Bools) -> list[str]:
        """Words for every feature, "" where nothing is against its baseline."""
        words = np.where(np.isnan(self.value), "none", np.where(self.few, "few", ""))
        found = []
        for word, moving, other in zip(words, self.moving, fallen_back, strict=True):
            said = [str(word), "participant" if other else ""]
            if not word:
                said = ["expressive" if self.expressive else "", "moving" if moving else ""]
            found.append(" ".join(filter(None, said)))
        return found


def baselines(
    parts: list[Track], span: Span, units: tuple[Unit, ...], min_seen_s: float
) -> Baselines:
    """Measure the baselines of a clip in a span of its time."""
    value, seen = np.full(len(units), np.nan), np.zeros(len(units))
    sd = np.zeros(len(units))
    for track in parts:
        frames = track.between(*span)
        values, weights = track.values[frames], track.weight_s[frames]
        if weights.sum() > 0:
            value[track.columns] = quantiles(values, weights, (0.5,))[0]
            sd[track.columns] = moments(values, weights)[1]
        seen[track.columns] = seen_of(track, *span).seen_s
    few = (seen < min_seen_s - EPS) | np.isnan(value)
    scale = np.array([_UNITS.get(unit.unit, 1.0) for unit in units])
    thresholds = np.where([unit.expressive for unit in units], limits(units), np.inf)
    with np.errstate(invalid="ignore"):
        shown = (value > thresholds) & ~few
        moving = sd > MOVING * scale
    return Baselines(value, seen, few, moving, bool(shown.any()))


def corrected(values: F64, baseline: F64, scale: Scale, units: tuple[Unit, ...]) -> F64:
    """Return values (..., F) against a baseline (F,).

    ``difference``: value minus baseline. ``logit``: for probabilities the difference of their
    logits, each brought to .001 from 0 and 1 first, because a probability cannot fall below 0.
    """
    difference: F64 = values - baseline
    if scale == "logit":
        odds = np.array([unit.unit in ("probability", "presence") for unit in units])
        difference = np.where(odds, _logit(values) - _logit(baseline), difference)
    return difference


def _logit(values: F64) -> F64:
    inside = np.clip(values, _EDGE, 1 - _EDGE)
    found: F64 = np.log(inside) - np.log1p(-inside)
    return found
