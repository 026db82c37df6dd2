"""A run of weights that a user brings, so that what is wrong is said before the first video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facer.stages.features.align import CROP_PX
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.features.rec.session import SAME
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import EXPRESSIONS, F32, U8, VALENCE_AROUSAL

_ROUNDING = 1e-3  # by which a value may lie beyond its range
_SUM = 0.05  # by which seven probabilities may add up to more than 1
_FAR = 0.5  # by which a network's noise may, where it ends in a plain regression
_EXPRESSIONS = (*EXPRESSIONS, "contempt")
_PROBABILITY = re.compile(r"au\d\d(_left|_right)?")
_LARGEST = float(np.finfo(np.float16).max)  # that a store keeps of an embedding


def try_out(model: Recogniser, path: Path) -> None:
    """Run a network with facer's 26 columns on three crops.

    ``FacerError`` where that fails or gives values that are not those of docs/own-rec.md.
    """
    try:
        problem = _problem(model)
    except Exception as error:  # noqa: BLE001 - whatever onnxruntime or torch raises is the finding
        problem = one_line(error)
    if problem:
        raise FacerError(
            f"REC weights {path}: three crops give {problem}; expected an input (B, 3, 112, 112) "
            "float32 of any B, va in [-1, 1], au and expression, of sum 1, in [0, 1] "
            "(docs/own-rec.md): export it so, or write a model card, and try it with facer "
            "models check"
        )


def range_of(name: str) -> tuple[float, float]:
    """Lowest and highest value that a column of that name may have."""
    if name in VALENCE_AROUSAL:
        return -1.0, 1.0
    if name in _EXPRESSIONS or _PROBABILITY.fullmatch(name):
        return 0.0, 1.0
    return -np.inf, np.inf


def out_of_range(columns: Sequence[str], rows: F32, beyond: float) -> str:
    """What of some columns' values, (B, F or more), lies ``beyond`` its range; "" for nothing."""
    for place, name in enumerate(columns):
        values, (low, high) = rows[:, place], range_of(name)
        if values.min() < low - beyond or values.max() > high + beyond:
            return f"{name} {values.min():.3g} to {values.max():.3g}"
    return ""


def try_card(model: Recogniser) -> None:
    """``FacerError`` where a card's numbers of three crops are far from what its columns mean."""
    rows = model.predict(_crops(model.crop.size_px))
    if problem := out_of_range(model.columns, rows, _FAR):
        raise FacerError(
            f"{model.name}: three crops give {problem}; expected valence and arousal in [-1, 1], "
            "expressions and au12 in [0, 1]: its card lacks an activation, scale or clip, or a "
            "name such as au12_intensity; try it with facer models check"
        )


def _problem(model: Recogniser) -> str:
    crops = _crops()
    rows = model.predict(crops)
    if not np.isfinite(rows).all():
        return "numbers that are not finite"
    if problem := out_of_range(model.columns, rows, _ROUNDING):
        return problem
    again = model.predict(np.concatenate([crops[:1], np.zeros_like(crops[1:])]))
    if not np.allclose(rows[0], again[0], rtol=SAME, atol=SAME):
        return (
            "other numbers of the same crop beside other crops, or each time, as networks do that "
            "were exported without .eval()"
        )
    total = rows[:, [model.columns.index(name) for name in EXPRESSIONS]].sum(axis=1).max()
    if total > 1 + _SUM:
        return f"expressions that add up to {total:.3g}, as without a softmax"
    embedding = np.abs(rows[:, len(model.columns) :])
    if embedding.size and embedding.max() > _LARGEST:
        return f"an embedding of up to {embedding.max():.3g}, more than the float16 of a store"
    return ""


def _crops(size_px: int = CROP_PX) -> U8:
    """Two crops of noise and a grey one."""
    crops = np.full((3, size_px, size_px, 3), 128, np.uint8)
    crops[:2] = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px, 3), np.uint8)
    return crops
