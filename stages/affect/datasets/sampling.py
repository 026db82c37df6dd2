"""Which crops an epoch shows: balanced over databases and classes, fixed by seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from facer.stages.affect.augment import augment
from facer.stages.affect.config import AugmentConfig
from facer.stages.affect.datasets.samples import AffectSet
from facer.storage.schema import F64, I64


def sampling_weights(
    sets: Sequence[AffectSet], class_balance: float, database_balance: float
) -> F64:
    """Probability of each crop of all sets, one after another; sums to 1.

    A class of n crops weighs n^(1 - class_balance) within its database, and a database of n
    crops n^(1 - database_balance): 0 leaves the data as they are, 1 makes all equal.
    Unlabelled crops are a class of their own, never raised above their natural share.
    """
    parts = []
    for data in sets:
        classes = data.expression_class
        counts = np.bincount(classes + 1, minlength=8).astype(np.float64)
        factor = np.power(np.maximum(counts, 1), -class_balance)
        factor[0] = min(factor[0], factor[1:][counts[1:] > 0].min(initial=np.inf))
        weights = factor[classes + 1]
        parts.append(weights / weights.sum() * len(data) ** (1 - database_balance))
    joined = np.concatenate(parts)
    return np.asarray(joined / joined.sum())


def draw_epoch(weights: F64, size: int, seed: int, epoch: int) -> I64:
    """(size,) crop numbers of one epoch, by systematic sampling in random order.

    Each crop appears floor or ceil of its expected count, so nothing is left out by chance.
    """
    rng = np.random.default_rng([seed, epoch])
    edges = np.cumsum(weights) * size
    positions = np.arange(size) + rng.random()
    return rng.permutation(np.minimum(np.searchsorted(edges, positions), len(weights) - 1))


class EpochCrops(Dataset[tuple[torch.Tensor, ...]]):
    """One epoch's augmented crops; item i depends on (seed, epoch, i) only.

    Items: crop uint8 (112, 112, 3), va (2,), expression (7,), au (17,), au weight (17,).
    """

    def __init__(
        self, sets: Sequence[AffectSet], order: I64, config: AugmentConfig | None, seed: int,
        epoch: int,
    ) -> None:  # fmt: skip
        self._sets = tuple(sets)
        self._order = order
        self._config = config
        self._seed = seed
        self._epoch = epoch
        self._starts = np.concatenate([[0], np.cumsum([len(s) for s in sets])])

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, ...]:
        number = int(self._order[item])
        which = int(np.searchsorted(self._starts, number, side="right")) - 1
        data, row = self._sets[which], number - int(self._starts[which])
        crop = data.crop(row)
        if self._config is not None:
            rng = np.random.default_rng([self._seed, self._epoch, item])
            frame = data.frame(row)
            another = int(rng.integers(len(data)))
            other = None if frame is None else data.crop(another)  # only painted outside frames
            crop = augment(crop, rng, self._config, frame, other)
        labels = (data.va[row], data.expression[row], data.au[row], data.au_trust)
        return (torch.from_numpy(crop), *(torch.from_numpy(label) for label in labels))


def collate_arrays(items: list[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Stack items, tuples of tensors, field by field; as arrays, for a loader with processes.

    PyTorch would hand tensors over through a listening socket; arrays go through the pipe.
    """
    return tuple(torch.stack(column).numpy() for column in zip(*items, strict=True))
