"""Accuracy of a REC on a crop pack's val part, every image changed in the same way.

    python docs/score_changes.py faces-ferplus.h5 [--rec rec-small]

Tells whether colour, background, size and blur matter to a REC whose training images are grey and
tight; the rows are a table of its model card.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facer.pipeline.runtime.progress import CountReporter
from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.metrics import EXPRESSION_COLUMNS, expression_metrics
from facer.stages.features.align import CROP_PX
from facer.stages.features.rec.loading import load
from facer.storage.schema import U8

BATCH = 64
Change = Callable[[U8, U8], U8]
"""A crop (112, 112, 3) RGB and another one of the pack -> the changed crop."""


def gamma(red: float, green: float, blue: float) -> Change:
    """Each channel raised to a power, black and white staying where they are."""
    levels = np.arange(256)[:, None] / 255
    table = (255 * levels ** np.array([red, green, blue])).round().astype(np.uint8)
    return lambda crop, _: np.asarray(cv2.LUT(crop, table[None]), np.uint8)


def surrounded(crop: U8, other: U8) -> U8:
    """The other crop outside an ellipse around the face."""
    inside = np.zeros(crop.shape[:2], np.uint8)
    centre = (CROP_PX // 2, round(0.56 * CROP_PX))
    axes = (round(0.40 * CROP_PX), round(0.52 * CROP_PX))
    cv2.ellipse(inside, centre, axes, 0, 0, 360, 1, -1)
    return np.where(inside[..., None] > 0, crop, other)


def blurred(crop: U8, _: U8) -> U8:
    """A Gaussian of 2 px."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), 2), np.uint8)


def smaller(side: int, crop: U8, _: U8) -> U8:
    """Shrunk to ``side`` px and enlarged again."""
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (CROP_PX, CROP_PX)), np.uint8)


CHANGES: dict[str, Change] = {
    "none": lambda crop, _: crop,
    "skin tint (gamma 0.8, 1, 1.25 of red, green, blue)": gamma(0.8, 1, 1.25),
    "blue tint (gamma 1.3, 1, 0.75)": gamma(1.3, 1, 0.75),
    "dark (gamma 2)": gamma(2, 2, 2),
    "another picture outside an ellipse around the face": surrounded,
    "mirrored": lambda crop, _: crop[:, ::-1],
    "blurred, sigma 2 px of 112": blurred,
    "28 px and enlarged again": partial(smaller, 28),
    "20 px and enlarged again": partial(smaller, 20),
}


def main() -> None:
    """Score every change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--rec", default="rec-small")
    options = parser.parse_args()
    rec, data = load(options.rec, "cpu"), read_pack(options.pack, "val")
    other = np.random.default_rng(0).permutation(len(data))
    report = CountReporter("changed crops")
    print("| change | accuracy | mean recall |\n|---|---|---|")  # noqa: T201
    for number, (name, change) in enumerate(CHANGES.items()):
        found = np.empty((len(data), 7), np.float32)
        for rows, crops in data.batches(BATCH):
            others = (data.crop(int(row)) for row in other[rows])
            changed = [change(one, two) for one, two in zip(crops, others, strict=True)]
            found[rows] = rec.predict(np.ascontiguousarray(changed))[:, EXPRESSION_COLUMNS]
            report(number * len(data) + rows.stop, len(CHANGES) * len(data))
        print(_row(name, expression_metrics(found, data)))  # noqa: T201


def _row(name: str, scores: dict[str, float] | None) -> str:
    assert scores is not None, "the pack has no expressions"
    return f"| {name} | {scores['accuracy']:.3f} | {scores['mean_recall']:.3f} |"


if __name__ == "__main__":
    main()
