"""REC's loss: L_REC = L_CCC + L_CCE + L_BCE + L_DM (Kollias et al. 2023, FaceRNET).

The databases do not overlap in annotation, so every term is taken over the samples (and
units) that carry its label; a term without any is exactly zero and has zero gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from facer.stages.affect.config import LossWeights
from facer.stages.common.correlation import concordance as rho_c
from facer.stages.features.rec.network import RecOutput

_EPSILON = 1e-8
PAIR_MARGIN = 4.0  # logits that a unit should rise by at full strength


class Targets(NamedTuple):
    """Labels of B crops; NaN marks what is not labelled.

    va (B, 2) in [-1, 1]; expression (B, 7) probabilities, a row is whole or NaN;
    au (B, 17) in [0, 1]; au_weight (B, 17) trust in [0, 1].
    """

    va: Tensor
    expression: Tensor
    au: Tensor
    au_weight: Tensor


def concordance(prediction: Tensor, target: Tensor) -> Tensor:
    """Concordance correlation of two (n,) vectors, a scalar in [-1, 1] (Lin 1989).

    With population moments, as :func:`facer.stages.common.correlation.concordance` has it.
    """
    mean_p, mean_t = prediction.mean(), target.mean()
    centred_p, centred_t = prediction - mean_p, target - mean_t
    covariance = (centred_p * centred_t).mean()
    variance_p, variance_t = centred_p.square().mean(), centred_t.square().mean()
    return rho_c(variance_p, variance_t, covariance, mean_p - mean_t, _EPSILON)


def ccc_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """L_CCC = 1 - 0.5 (rho_a + rho_v) over the samples with both labels; (B, 2), (B, 2) -> ().

    Zero with fewer than two labelled samples, where a correlation is not defined.
    """
    labelled = target.isfinite().all(dim=1)
    if int(labelled.sum()) < 2:
        return prediction.sum() * 0.0
    p, t = prediction[labelled], target[labelled]
    return 1 - 0.5 * (concordance(p[:, 0], t[:, 0]) + concordance(p[:, 1], t[:, 1]))


def expression_loss(logits: Tensor, target: Tensor) -> Tensor:
    """L_CCE = mean over labelled samples of -sum_k t_k log softmax(z)_k; (B, 7), (B, 7) -> ().

    FaceRNET's categorical cross entropy; with shares of votes as targets it is that of Barsoum et
    al. 2016 (FER+), "Training deep networks for facial expression recognition with crowd-sourced
    label distribution".
    """
    labelled = target.isfinite().all(dim=1)
    if not bool(labelled.any()):
        return logits.sum() * 0.0
    return -(target[labelled] * logits[labelled].log_softmax(1)).sum(1).mean()


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    """-[t log s(z) + (1 - t) log(1 - s(z))] elementwise, with a gradient to the target too."""
    return F.softplus(logits) - target * logits


def au_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L_BCE = sum w [-t log s(z) - (1 - t) log(1 - s(z))] / sum w, over labelled units.

    Logits z, targets t in [0, 1] and trust w, each (B, 17) -> (). FaceRNET's binary cross entropy,
    with a weight per unit for labels that are less sure.
    """
    labelled = target.isfinite()
    losses = _bce(logits, torch.where(labelled, target, 0.0)) * weight * labelled
    return losses.sum() / (weight * labelled).sum().clamp_min(_EPSILON)


def distribution_matching_loss(
    expression_logits: Tensor, au_logits: Tensor, coupling: Tensor, weight: Tensor | None = None
) -> Tensor:
    """L_DM, the binary cross entropy of p_AU against p'_AU = sum_emo p_emo p(AU | emo).

    Shapes: (B, 7), (B, 17), coupling (7, 17), weight (B, 17) or None -> scalar.
    L_DM = E[-p' log p - (1 - p') log(1 - p)]. The paper's printed equation repeats p' inside
    the logarithm, which cannot be meant: it would not involve p_AU at all.
    """
    soft = expression_logits.softmax(1) @ coupling
    losses = _bce(au_logits, soft)
    if weight is None:
        return losses.mean()
    return (losses * weight).sum() / weight.sum().clamp_min(_EPSILON)


def unit_pair_loss(
    base: Tensor, moved: Tensor, unit: Tensor, strength: Tensor, overlap: Tensor
) -> dict[str, Tensor]:
    """L_pair of P pairs of one face, of which ``moved`` shows one unit more: ranks and levels.

    Logits base, moved (P, 17), column unit (P,), strength s (P,) in (0, 1], overlap (17, 17) cosine
    of two units' displacements in [-1, 1]; returns scalars rank, specific and level.

    With d_v = z_v(moved) - z_v(base), the model of Bradley & Terry 1952 says that of two crops the
    moved one shows more of u with the odds exp(d_u - m s): beyond chance by a margin m that grows
    with the strength. Its negative log likelihood is *rank* = E softplus(m s - d_u). The other
    units should stay: *specific* = E smooth-L1(max(0, |d_v| - max(0, o_uv) |d_u|)), where o_uv is
    the overlap in the direction of d_v, so that a unit may follow as far as it shares geometry.
    Differences leave the level of an output free, which sets the threshold: *level* is the binary
    cross entropy of p_u(moved) against 1 - (1 - p_u(base)) (1 - s), the base held fixed.
    """
    change = moved - base
    own = F.one_hot(unit, base.shape[1]).bool()
    rise = change[own]
    rank = F.softplus(PAIR_MARGIN * strength - rise).mean()
    shared = (overlap[unit] * change.detach().sign()).clamp_min(0) * rise.detach().abs()[:, None]
    excess = (change.abs() - shared).clamp_min(0)
    specific = F.smooth_l1_loss(excess, torch.zeros_like(excess), reduction="none")[~own].mean()
    target = 1 - (1 - base.detach()[own].sigmoid()) * (1 - strength)
    return {"rank": rank, "specific": specific, "level": _bce(moved[own], target).mean()}


def rest_level_loss(base: Tensor, neutral: Tensor, unlabelled: Tensor) -> Tensor:
    """Binary cross entropy against 0 of units that no data set labels, on neutral faces.

    Logits (P, 17), neutral (P,) bool, unlabelled (17,) bool -> (); zero without a neutral face.
    """
    logits = base[neutral][:, unlabelled]
    return F.softplus(logits).mean() if logits.numel() else base.sum() * 0.0


def rec_loss(
    output: RecOutput, targets: Targets, coupling: Tensor | None, weights: LossWeights
) -> dict[str, Tensor]:
    """The four terms and their weighted sum ``total``, each a scalar tensor.

    ``coupling`` (7, 17) or None to leave L_DM out. Any term may have no label in the batch.
    """
    terms = {
        "ccc": ccc_loss(output.va, targets.va),
        "cce": expression_loss(output.expression, targets.expression),
        "bce": au_loss(output.au, targets.au, targets.au_weight),
    }
    if coupling is not None:
        balance = torch.where(targets.au.isfinite(), weights.dm_labelled, 1.0)
        terms["dm"] = distribution_matching_loss(output.expression, output.au, coupling, balance)
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return {**terms, "total": total}
