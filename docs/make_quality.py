"""Fit the curve of ``facer.stages.features.quality`` and show how the error falls with it.

    python docs/make_quality.py faces-ferplus.h5 faces-muxspace.h5 [--rec rec-small]

Each labelled crop of the packs' val split is seen as it is and worsened five times: smaller,
blurred, darker, flatter. A logistic regression of "the most probable expression is the label's"
on the five signals is fitted on half of the crops; the table is of the other half, its pictures as
they are and worsened.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import cv2
import h5py
import numpy as np
from scipy.optimize import minimize

from facer.stages.affect.datasets.packs import read_pack
from facer.stages.affect.metrics import EXPRESSION_COLUMNS
from facer.stages.detection.measure import share_interval
from facer.stages.features.quality import SIGNALS, QualityCurve, signals
from facer.stages.features.rec.loading import load

WORSENED = 5
EDGES = (0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1)


def main() -> None:
    """Look, fit, show."""
    parser = argparse.ArgumentParser()
    parser.add_argument("packs", type=Path, nargs="+")
    parser.add_argument("--rec", default="rec-small")
    options = parser.parse_args()
    rec = load(options.rec, "cpu")
    parts = [look(path, place, rec) for place, path in enumerate(options.packs)]
    x, right, pack, half, worsened = (np.concatenate(column) for column in zip(*parts, strict=True))
    curve = fit(x[half], right[half], pack[half])
    print(curve)  # noqa: T201
    q = 1 / (1 + np.exp(-(curve.intercept + x @ np.array(curve.weights))))
    for name, rows in (("as they are", ~half & ~worsened), ("worsened", ~half & worsened)):
        print(f"\n{name}: quality, n, error, 95 % interval (Wilson)")  # noqa: T201
        for low, high in itertools.pairwise(EDGES):
            there = rows & (q >= low) & (q < high)
            n, wrong = int(there.sum()), int((there & ~right).sum())
            if n:
                span = "{:.3f} to {:.3f}".format(*share_interval(wrong, n))
                print(f"{low:.2f} to {high:.2f}  {n:5d}  {wrong / n:.3f}  {span}")  # noqa: T201


def look(path: Path, place: int, rec: object) -> tuple[np.ndarray, ...]:
    """Signals, whether REC is right, the pack's place, the half, and whether it was worsened."""
    data = read_pack(path, "val")
    with h5py.File(path) as file:
        points = file["points"][:][data.indices].astype(np.float32)
        # the width of the crop in pixels of the photograph, where that is known to be 48 wide
        side = np.linalg.norm(data.frame_px[:, 1] - data.frame_px[:, 0], axis=1)
        small = np.asarray(file["source"].asstr()[:][data.indices] == "fer2013")
    native = np.where(small, 48 * 112 / side, 112)
    truth = data.expression_class
    rng = np.random.default_rng(0)
    found: list[tuple[np.ndarray, bool, int, bool, bool]] = []
    for row in np.flatnonzero((truth >= 0) & np.isfinite(points).all(axis=(1, 2))):
        crop = data.crop(int(row))
        sizes = [native[row]]
        crops = [crop]
        for _ in range(WORSENED):
            worse, size = worsen(crop, rng)
            crops.append(worse)
            sizes.append(min(size, native[row]))
        answers = rec.predict(np.stack(crops))[:, EXPRESSION_COLUMNS].argmax(1)
        keypoints = points[row] * (np.array(sizes, np.float32) / 112)[:, None, None]
        seen = signals(np.stack(crops), keypoints)
        half = bool(rng.integers(2))
        for number, (one, answer) in enumerate(zip(seen, answers, strict=True)):
            found.append((one, bool(answer == truth[row]), place, half, number > 0))
    return tuple(np.array(column) for column in zip(*found, strict=True))


def worsen(crop: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A crop seen worse, and the width in pixels that it is left with."""
    size = 112.0
    if rng.random() < 0.5:
        size = float(2 ** rng.uniform(np.log2(12), np.log2(112)))
        small = cv2.resize(crop, (round(size),) * 2, interpolation=cv2.INTER_AREA)
        crop = cv2.resize(small, (112, 112), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.5, 5))
    light = crop.astype(np.float32) / 255
    if rng.random() < 0.4:
        light = light ** rng.uniform(1, 3) * rng.uniform(0.2, 1)
    if rng.random() < 0.3:
        light = light.mean() + (light - light.mean()) * rng.uniform(0.15, 1)
    noise = rng.normal(0, rng.uniform(0, 0.03), light.shape)
    return (np.clip(light + noise, 0, 1) * 255).astype(np.uint8), size


def fit(x: np.ndarray, right: np.ndarray, pack: np.ndarray) -> QualityCurve:
    """Logistic regression with an intercept a pack; the curve has their mean.

    No signal may raise the quality where it worsens the picture: weights are at most 0.
    """
    packs = np.eye(pack.max() + 1)[pack]
    design = np.concatenate([packs, x], axis=1)
    sign = np.where(right, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (design @ weights)
        slope = -sign / (1 + np.exp(margin)) / len(sign)
        return float(np.logaddexp(0, -margin).mean()), design.T @ slope

    n = packs.shape[1]
    bounds = [(None, None)] * n + [(None, 0)] * len(SIGNALS)
    best = minimize(loss, np.zeros(design.shape[1]), jac=True, bounds=bounds).x
    return QualityCurve(float(best[:n].mean().round(3)), tuple(best[n:].round(3).tolist()))


if __name__ == "__main__":
    main()
