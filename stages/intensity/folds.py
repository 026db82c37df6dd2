"""Cross-validation: which fold holds a clip out, and the validation split inside a fold.

Both depend on the names of the units (subjects or clips) and on how many clips each has, never
on labels, features or the order of rows: the same folds for every store and setting.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from facer.storage.errors import FacerError, named
from facer.storage.schema import I64

_VAL_SHARE = 0.15  # of the clips that a fold does not hold out


def assign_folds(groups: Sequence[str], n_folds: int) -> I64:
    """The fold, 0 to ``n_folds`` - 1, that holds each of C clips out, (C,).

    ``groups`` (C,) names the subject or clip; a group is in one fold with all its clips. The
    largest unit goes first, each to the fold that has the fewest clips, so folds come out about
    equal. Raises FacerError for more folds than units, and where a fold leaves fewer than two
    units to train and to validate on.
    """
    sizes = Counter(groups)
    filled, fold_of = [(0, 0, fold) for fold in range(n_folds)], {}  # clips, units, fold
    for unit in sorted(sizes, key=lambda unit: (-sizes[unit], _order(unit))):
        clips, members, fold = min(filled)
        filled[fold] = (clips + sizes[unit], members + 1, fold)
        fold_of[unit] = fold
    held = [members for _, members, _ in filled]
    if n_folds < 2 or min(held) < 1 or len(sizes) - max(held) < 2:
        raise FacerError(
            f"{named('folds')}: found {len(sizes)} subjects or clips to divide into {n_folds}, "
            "expected 2 folds or more, each with one to hold out and two others, to train and to "
            "validate on"
        )
    return np.array([fold_of[unit] for unit in groups], np.int64)


def fold_splits(groups: Sequence[str], fold_of: I64, fold: int) -> tuple[str, ...]:
    """What each of C clips is in one fold: test (held out), val or train, (C,).

    Val, for the choice of the epoch, is whole units of the training part: about 15 % of its
    clips, and at least one unit.
    """
    sizes = Counter(
        unit for unit, its_fold in zip(groups, fold_of, strict=True) if its_fold != fold
    )
    wanted = _VAL_SHARE * sizes.total()
    order = sorted(sizes, key=lambda unit: _order(f"{fold}/{unit}"))
    small = [unit for unit in order if sizes[unit] <= 2 * wanted]  # never most of the clips
    validation, clips = set[str](), 0
    for unit in small or [min(order, key=sizes.__getitem__)]:
        if clips < wanted:
            validation.add(unit)
            clips += sizes[unit]
    return tuple(
        "test" if its_fold == fold else "val" if unit in validation else "train"
        for unit, its_fold in zip(groups, fold_of, strict=True)
    )


def _order(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
