"""Losses over a batch: predictions (B, E), targets (B, E) with NaN where a label is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from facer.stages.common.correlation import concordance as rho_c
from facer.stages.intensity.config import LossName

_EPSILON = 1e-8


class _Moments(NamedTuple):
    """Population moments of each emotion over its labelled clips, (E,) each."""

    mean_p: Tensor
    mean_t: Tensor
    variance_p: Tensor
    variance_t: Tensor
    covariance: Tensor


def _moments(prediction: Tensor, target: Tensor) -> _Moments:
    labelled = target.isfinite()
    count = labelled.sum(0).clamp_min(1)
    p = torch.where(labelled, prediction, 0.0)
    t = torch.where(labelled, target, 0.0)
    mean_p, mean_t = p.sum(0) / count, t.sum(0) / count
    p = torch.where(labelled, p - mean_p, 0.0)
    t = torch.where(labelled, t - mean_t, 0.0)
    return _Moments(
        mean_p, mean_t, p.square().sum(0) / count, t.square().sum(0) / count, (p * t).sum(0) / count
    )


def pearson_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - mean over emotions of rho; (B, E), (B, E) -> scalar in [0, 2].

    rho = cov(p, t) / sqrt(var p * var t) over the batch's labelled clips. An emotion without
    variance, or with fewer than two labels, counts as rho = 0 and has a finite gradient.
    """
    m = _moments(prediction, target)
    spread = (m.variance_p + _EPSILON) * (m.variance_t + _EPSILON)
    return 1 - (m.covariance * spread.rsqrt()).mean()


def ccc_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """1 - mean over emotions of the concordance correlation (Lin 1989); (B, E), (B, E) -> scalar in
    [0, 2].
    """
    m = _moments(prediction, target)
    rho = rho_c(m.variance_p, m.variance_t, m.covariance, m.mean_p - m.mean_t, _EPSILON)
    return 1 - rho.mean()


def mse_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of (p - t)^2 over the labels that are there, (B, E), (B, E) -> scalar; 0 of none."""
    labelled = target.isfinite()
    squares = torch.where(labelled, prediction - torch.where(labelled, target, 0.0), 0.0).square()
    return squares.sum() / labelled.sum().clamp_min(1)


LOSSES: Mapping[LossName, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"pearson": pearson_loss, "mse": mse_loss, "ccc": ccc_loss}
)
