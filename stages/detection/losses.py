"""The detector's loss: focal score, distance-IoU box, relative smooth L1 of the points."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from facer.stages.detection.config import DetectionLossWeights
from facer.stages.detection.network import STRIDES
from facer.stages.detection.targets import AnchorGrid, AnchorTargets, decode

FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
POINTS_FULL_PX = 64.0  # size from which on a face's points count fully
POINTS_BETA = 0.005  # of the face size: below it the points' loss is quadratic


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of each logit: -alpha_t (1 - p_t)^gamma log p_t (Lin et al. 2017, eq. 5)."""
    p = torch.sigmoid(logits)
    p_t = p * target + (1 - p) * (1 - target)
    alpha_t = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return alpha_t * (1 - p_t) ** FOCAL_GAMMA * entropy


def distance_iou(a: Tensor, b: Tensor) -> Tensor:
    """1 - IoU + (centre distance / enclosing diagonal)^2 of boxes (P, 4) (Zheng et al. 2020)."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(dim=1)
    area_a = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(dim=1)
    area_b = (b[:, 2:] - b[:, :2]).clamp(min=0).prod(dim=1)
    iou = inter / (area_a + area_b - inter).clamp(min=1e-6)
    span = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    gap = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    return 1 - iou + gap.square().sum(dim=1) / span.square().sum(dim=1).clamp(min=1e-6)


def points_distance(found_px: Tensor, target_px: Tensor, size_px: Tensor) -> Tensor:
    """Mean smooth L1 of (P, 5, 2) points as a share of the face size (P,).

    Small faces count less, in proportion to their size: most of their error is of the pixels.
    """
    relative = (found_px - target_px) / size_px[:, None, None]
    zero = torch.zeros_like(relative)
    loss = F.smooth_l1_loss(relative, zero, reduction="none", beta=POINTS_BETA)
    return loss.mean(dim=(1, 2)) * (size_px / POINTS_FULL_PX).clamp(max=1.0)


def detection_loss(
    outputs: tuple[Tensor, ...],
    grid: AnchorGrid,
    targets: AnchorTargets,
    weights: DetectionLossWeights,
) -> dict[str, Tensor]:
    """Terms ``score``, ``bbox``, ``kps`` (scalars) and their weighted sum ``total``.

    The score's sum is divided by the number of positives, the others are means over them; a
    batch without faces has zero box and point terms.
    """
    n = len(STRIDES)
    logits = torch.cat(outputs[:n], dim=1).squeeze(-1)
    count = max(len(targets.index), 1)
    score = (focal(logits, targets.score) * targets.weight).sum() / count
    bbox = torch.cat(outputs[n : 2 * n], dim=1).flatten(0, 1)[targets.index]
    kps = torch.cat(outputs[2 * n :], dim=1).flatten(0, 1)[targets.index]
    found_bbox, found_kps = decode(grid, targets.index % logits.shape[1], bbox, kps)
    sides = targets.bbox_px[:, 2:] - targets.bbox_px[:, :2]
    size = sides.clamp(min=1e-3).prod(dim=1).sqrt()
    terms = {
        "score": score,
        "bbox": distance_iou(found_bbox, targets.bbox_px).sum() / count,
        "kps": points_distance(found_kps, targets.keypoints_px, size).sum() / count,
    }
    total = weights.score * terms["score"] + weights.bbox * terms["bbox"]
    return {**terms, "total": total + weights.kps * terms["kps"]}
