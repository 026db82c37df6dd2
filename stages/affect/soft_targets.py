"""Targets beside the labels: what other networks say (distillation), and blends (mixup)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from facer.stages.affect.datasets.samples import AffectSet
from facer.stages.affect.losses import Targets
from facer.stages.affect.metrics import EXPRESSION_COLUMNS
from facer.stages.features.rec.recognisers import Recogniser
from facer.storage.schema import OnCount

_TAUGHT_CROPS = 64  # at once


def distil(
    data: AffectSet, teachers: Sequence[Recogniser], share: float, report: OnCount | None = None
) -> AffectSet:
    """The set with ``share`` of its expressions from the teachers, and all where it has none.

    A teacher's answer is its mean over a crop as it is and mirrored; several teachers' is their
    mean. Hinton et al. 2015, "Distilling the knowledge in a neural network".
    """
    if not teachers:
        return data
    answers = np.zeros_like(data.expression)
    for rows, crops in data.batches(_TAUGHT_CROPS):
        views = (crops, np.ascontiguousarray(crops[:, :, ::-1]))
        answers[rows] = np.mean(
            [rec.predict(view)[:, EXPRESSION_COLUMNS] for rec in teachers for view in views], axis=0
        )
        if report is not None:
            report(rows.stop, len(data))
    blended = (1 - share) * data.expression + share * answers
    expression = np.where(np.isfinite(data.expression), blended, answers)
    return replace(data, expression=expression.astype(np.float32))


def mixed(
    images: Tensor, targets: Targets, a: float, seed: Sequence[int]
) -> tuple[Tensor, Targets]:
    """Each crop (B, 112, 112, 3) and its labels blended with another's of the batch.

    x = s x_i + (1 - s) x_j with s from Beta(a, a), one for the batch; a label that either lacks is
    lacking. Zhang et al. 2018, "mixup: beyond empirical risk minimization".
    """
    rng = np.random.default_rng(seed)
    share = float(rng.beta(a, a))
    other = torch.from_numpy(rng.permutation(len(images)))
    blended = share * images + (1 - share) * images[other]
    labels = (share * label + (1 - share) * label[other] for label in targets)
    return blended.round().to(torch.uint8), Targets(*labels)
