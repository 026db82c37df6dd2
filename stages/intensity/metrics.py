"""What predicted intensities are worth: one definition for fit, evaluate and ablate.

Predictions and targets are (C, E); a NaN target is not scored. Correlations run over clips,
down each emotion's column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facer.stages.common.correlation import concordance as rho_c
from facer.storage.errors import FacerError
from facer.storage.schema import F64, I64, Bools
from facer.storage.text.likeness import check_choice

METRICS = ("pearson", "spearman", "ccc", "mse", "mae")

_CONSTANT = 1e-6  # spread relative to size under which float32 values count as constant


class Sums(NamedTuple):
    """Weighted sums over clips, (R, E) each: one row per weighting of the clips.

    p and t are taken from their own means over all labelled clips; ``shift`` (E,) is the
    predictions' mean less the targets'.
    """

    n: F64
    p: F64
    t: F64
    pp: F64
    tt: F64
    pt: F64
    shift: F64


@dataclass(frozen=True)
class Scores:
    """Metrics of each emotion, (E,) each, and over how many clips; nan where not defined.

    Without labels nothing is defined, and no correlation of labels that are all one value.
    """

    names: tuple[str, ...]
    pearson: F64
    spearman: F64
    ccc: F64
    mse: F64
    mae: F64
    n: I64  # clips scored
    constant: tuple[str, ...]  # emotions with one and the same prediction: correlations are 0

    def mean(self, metric: str) -> float:
        """Mean of a metric over the emotions in which it is defined; nan where in none."""
        check_choice("metric", metric, METRICS)
        return mean_defined(getattr(self, metric))

    @property
    def not_defined(self) -> tuple[str, ...]:
        """Emotions with labels that are all one value: no correlation."""
        flat = np.isnan(self.pearson) & (self.n > 0)
        return tuple(name for name, one in zip(self.names, flat, strict=True) if one)

    def as_json(self) -> dict[str, Any]:
        """Return ``{"mean": {metric: ...}, "per_emotion": {name: {metric: ..., "n": ...}}}``."""
        per_emotion = {
            name: {m: defined(getattr(self, m)[i]) for m in METRICS} | {"n": int(self.n[i])}
            for i, name in enumerate(self.names)
        }
        return {"mean": {m: defined(self.mean(m)) for m in METRICS}, "per_emotion": per_emotion}


def defined(value: float) -> float | None:
    """The value for JSON, None (null) for nan."""
    return float(value) if np.isfinite(value) else None


def ratio(total: F64, n: npt.NDArray[Any]) -> F64:
    """``total / n``; nan where n is 0."""
    quotient: F64 = np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)
    return quotient


def mean_defined(values: npt.NDArray[Any]) -> float:
    """Mean of the values that are not nan; nan where there is none."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def std_of(values: Sequence[float] | npt.NDArray[Any]) -> float | None:
    """Standard deviation (n - 1); None for fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def score(predictions: npt.NDArray[Any], targets: npt.NDArray[Any], names: Sequence[str]) -> Scores:
    """Score predictions (C, E) against targets (C, E).

    Raises FacerError when shapes differ, a prediction is not finite or nothing is labelled.
    """
    p, t, labelled = _checked(predictions, targets, names)
    whole = np.ones((1, len(p)))
    sums = weighted_sums(whole, p, t, labelled)
    ranks = weighted_sums(whole, _ranks(p, labelled), _ranks(t, labelled), labelled)
    flat = [is_constant(p[labelled[:, i], i]) for i in range(len(names))]
    return Scores(
        names=tuple(names),
        pearson=pearson(sums)[0],
        spearman=pearson(ranks)[0],
        ccc=concordance(sums)[0],
        mse=_over_labelled((p - t) ** 2, labelled),
        mae=_over_labelled(np.abs(p - t), labelled),
        n=labelled.sum(0),
        constant=tuple(name for i, name in enumerate(names) if flat[i] and labelled[:, i].any()),
    )


def _checked(
    predictions: npt.NDArray[Any], targets: npt.NDArray[Any], names: Sequence[str]
) -> tuple[F64, F64, Bools]:
    if predictions.shape != targets.shape or targets.shape[1:] != (len(names),):
        raise FacerError(
            f"metrics: found predictions {predictions.shape} and targets {targets.shape}, "
            f"expected both (clips, {len(names)})"
        )
    if not np.isfinite(predictions).all():
        raise FacerError("metrics: found a prediction that is not finite, expected numbers")
    labelled = np.isfinite(targets)
    if not labelled.any():
        raise FacerError("metrics: found no label to score against, expected at least one")
    return predictions.astype(np.float64), targets.astype(np.float64), labelled


def is_constant(p: F64) -> bool:
    """Whether values (n,) are one value, but for rounding; an empty one is."""
    return len(p) == 0 or float(np.ptp(p)) <= _CONSTANT * float(np.abs(p).max())


def _ranks(x: F64, labelled: Bools) -> F64:
    """Ranks (C, E) among the labelled clips of a column, ties their mean rank; Spearman's rho is
    Pearson's of these. A column that is one value but for rounding stays one value."""
    ranks = np.zeros_like(x)
    for column, there in enumerate(labelled.T):
        if not is_constant(x[there, column]):
            _, place, ties = np.unique(x[there, column], return_inverse=True, return_counts=True)
            ranks[there, column] = (np.cumsum(ties) - (ties - 1) / 2)[place]
    return ranks


def _over_labelled(values: F64, labelled: Bools) -> F64:
    """Means of values (C, E) over labelled clips, (E,); nan where nothing is labelled."""
    return ratio(np.where(labelled, values, 0).sum(0), labelled.sum(0))


def weighted_sums(weights: F64, p: F64, t: F64, labelled: Bools) -> Sums:
    """Sums under R weightings of C clips: weights (R, C); p, t, labelled (C, E)."""
    (p, mean_p), (t, mean_t) = _centred(p, labelled), _centred(t, labelled)
    return Sums(
        n=weights @ labelled.astype(np.float64),
        p=weights @ p,
        t=weights @ t,
        pp=weights @ (p * p),
        tt=weights @ (t * t),
        pt=weights @ (p * t),
        shift=mean_p - mean_t,
    )


def _centred(x: F64, labelled: Bools) -> tuple[F64, F64]:
    """Return x less its mean over labelled clips, zeros where it is one value; and the mean."""
    mean: F64 = np.where(labelled, x, 0).sum(0) / labelled.sum(0).clip(1)
    flat = [is_constant(column[there]) for column, there in zip(x.T, labelled.T, strict=True)]
    return np.where(labelled & ~np.array(flat), x - mean, 0), mean


def _central(s: Sums) -> tuple[F64, F64, F64, F64]:
    n = np.maximum(s.n, 1)
    mean_p, mean_t = s.p / n, s.t / n
    variance_p, variance_t = _variance(s.pp / n, mean_p), _variance(s.tt / n, mean_t)
    return variance_p, variance_t, s.pt / n - mean_p * mean_t, mean_p - mean_t + s.shift


def _variance(square: F64, mean: F64) -> F64:
    """Variance from the means of squares and of values; 0 where it is rounding alone."""
    variance: F64 = square - mean**2
    return np.where(variance > _CONSTANT**2 * square, variance, 0)


def pearson(s: Sums) -> F64:
    """Pearson's rho = cov(p, t) / sqrt(var p var t), (R, E) in [-1, 1].

    0 where predictions are one value, nan where labels are, or are absent.
    """
    variance_p, variance_t, covariance, _ = _central(s)
    spread = np.sqrt(variance_p * variance_t)
    rho: F64 = np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.where(variance_t > 0, rho.clip(-1, 1), np.nan)


def concordance(s: Sums) -> F64:
    """Lin's rho_c = 2 cov(p, t) / (var p + var t + (mean p - mean t)^2), (R, E).

    nan where labels are one value, or absent: rho_c would be 0 whatever is predicted.
    """
    variance_p, variance_t, covariance, shift = _central(s)
    spread = np.where(variance_t > 0, variance_t, np.nan)
    return rho_c(variance_p, spread, covariance, shift)
