"""The splits of labels, and what a reader of figures must know of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from facer.storage import IntensityLabels
from facer.storage.labels.challenges import SPLITS
from facer.storage.text.names import some

FROM_FILE = "the label file"
"""Rule of splits that facer does not make."""
_SHARES = (0.70, 0.85)  # upper ends of train and val in a split made by facer
OTHER_SCALE = 8.0  # times, by which numbers of one scale hardly differ, as between splits ...
_FEWEST = 8  # ... of so many labels


def split_rows(labels: IntensityLabels) -> tuple[tuple[str, ...], str]:
    """The file's splits; where it has none, 70/15/15 in the order of sha256 of subject or id."""
    if any(labels.splits):
        return labels.splits, FROM_FILE
    by_subject = all(labels.subjects)
    groups = labels.subjects if by_subject else labels.clip_ids
    order = sorted(set(groups), key=lambda unit: hashlib.sha256(unit.encode()).hexdigest())
    place = {unit: (rank + 0.5) / len(order) for rank, unit in enumerate(order)}
    chosen = tuple(SPLITS[int(np.searchsorted(_SHARES, place[unit]))] for unit in groups)
    unit = "subject" if by_subject else "clip id"
    rule = f"made by facer: 70/15/15 by sha256 of the {unit}"
    if "val" not in chosen:  # of 1, 4 or 5: val comes before test, which no training needs
        chosen = tuple("val" if split == "test" else split for split in chosen)
    absent = [split for split in SPLITS if split not in chosen]
    if absent:
        rule += f" ({len(order)} of them: too few for {' and '.join(absent)})"
    return chosen, rule


def label_notes(labels: IntensityLabels, splits: Iterable[str]) -> tuple[str, ...]:
    """What a reader of any figure must know: the reader's notes, people in several splits, and
    splits on different scales.
    """
    notes, splits = [*labels.notes], tuple(splits)
    if shared := shared_subjects(labels, splits):
        where = some(f"{name} in {' and '.join(found)}" for name, found in shared.items())
        notes.append(
            f"{len(shared)} of {len(set(labels.subjects))} subjects are in more than one split "
            f"({where}): scores flatter, because the head has seen them"
        )
    return (*notes, *_scale_notes(labels, np.array(splits, object)))


def _scale_notes(labels: IntensityLabels, splits: npt.NDArray[np.object_]) -> list[str]:
    """Targets whose labels are many times as large in one split as in another."""
    notes = []
    for name, values in zip(labels.names, labels.values.T, strict=True):
        known = {split: values[(splits == split) & np.isfinite(values)] for split in SPLITS}
        sizes = {split: np.abs(v).max() for split, v in known.items() if len(v) >= _FEWEST}
        ordered = sorted((size, split) for split, size in sizes.items() if size > 0)
        if ordered and ordered[-1][0] >= OTHER_SCALE * ordered[0][0]:
            (low, small), (high, large) = ordered[0], ordered[-1]
            notes.append(
                f"labels of {name} go up to {high:.4g} in {large} and {low:.4g} in {small}: bring "
                "them to one scale if they are on two"
            )
    return notes


def facts_and_notes(labels: IntensityLabels) -> tuple[str, ...]:
    """How labels were read, in one line, and what to know of them."""
    return ("; ".join(labels.facts), *label_notes(labels, split_rows(labels)[0]))


def shared_subjects(
    labels: IntensityLabels, splits: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    """Subjects that are in more than one split, with these."""
    found: dict[str, set[str]] = defaultdict(set)
    for subject, split in zip(labels.subjects, splits, strict=True):
        if subject and split:
            found[subject].add(split)
    ordered = {subject: tuple(s for s in SPLITS if s in there) for subject, there in found.items()}
    return {subject: there for subject, there in ordered.items() if len(there) > 1}
