"""A run of weights that a user brings, so that what is wrong is said before the first video."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facer.stages.features.align import CROP_PX
from facer.stages.features.rec.recognisers import Recogniser
from facer.stages.features.rec.session import SAME
from facer.storage.errors import FacerError, one_line
from facer.storage.schema import U8, VALENCE_AROUSAL

_ROUNDING = 1e-3  # by which a value may lie beyond its range
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
            "float32 of any B, va in [-1, 1], expression and au in [0, 1] (docs/own-rec.md): "
            "export it so, or write a model card, and try it with facer models check"
        )


def _problem(model: Recogniser) -> str:
    crops = _crops()
    rows = model.predict(crops)
    if not np.isfinite(rows).all():
        return "numbers that are not finite"
    for place, name in enumerate(model.columns):
        values, low = rows[:, place], -1 if name in VALENCE_AROUSAL else 0
        if values.min() < low - _ROUNDING or values.max() > 1 + _ROUNDING:
            return f"{name} {values.min():.3g} to {values.max():.3g}"
    again = model.predict(np.concatenate([crops[:1], np.zeros_like(crops[1:])]))
    if not np.allclose(rows[0], again[0], rtol=SAME, atol=SAME):
        return (
            "other numbers of the same crop beside other crops, or each time, as networks do that "
            "were exported without .eval()"
        )
    embedding = np.abs(rows[:, len(model.columns) :])
    if embedding.size and embedding.max() > _LARGEST:
        return f"an embedding of up to {embedding.max():.3g}, more than the float16 of a store"
    return ""


def _crops() -> U8:
    """Two crops of noise and a grey one."""
    crops = np.full((3, CROP_PX, CROP_PX, 3), 128, np.uint8)
    crops[:2] = np.random.default_rng(0).integers(0, 256, (2, CROP_PX, CROP_PX, 3), np.uint8)
    return crops
