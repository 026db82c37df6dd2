"""What a user's detector gives, looked at: once before the first video, and in each run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from facer.stages.common.onnx import run_in_time
from facer.stages.features.config import DetectorConfig
from facer.storage.errors import FacerError, named, one_line

_WIDTHS = (1, 1, 1, 4, 4, 4, 10, 10, 10)  # scores, boxes and points of the SCRFD layout
_ROUNDING = 1e-3  # by which a score may lie beyond its range


def try_out(model: Any, config: DetectorConfig) -> None:
    """Run a detector once: one whose numbers are not finite would find no face, without a word."""
    width, height = model.input_size
    image = np.zeros((1, 3, height, width), np.float32)
    where = f"{named('detector')} {config.model}"
    expected = "expected scores, boxes and points in insightface's RetinaFace or SCRFD layout"
    try:
        outputs = run_in_time(model.session, None, {model.input_name: image})
        model.detect(np.zeros((height, width, 3), np.uint8))
    except Exception as error:
        raise FacerError(
            f"{where}: found a model that does not run ({one_line(error)}), {expected}"
        ) from error
    widths = tuple(output.shape[-1] for output in outputs)
    if len(widths) == len(_WIDTHS) and widths != _WIDTHS:
        raise FacerError(f"{where}: found outputs of widths {widths}, {expected}")
    if problem := _problem(outputs):
        raise FacerError(f"{where}: found {problem}, {expected}")


class CheckedSession:
    """A detector's session; ``FacerError`` for outputs that would be no face, or another one."""

    def __init__(self, session: Any, name: str) -> None:
        self._session, self._name = session, name

    def run(self, names: Sequence[str] | None, fed: dict[str, Any]) -> list[Any]:
        """As that of a session."""
        outputs: list[Any] = self._session.run(names, fed)
        if problem := _problem(outputs):
            raise FacerError(f"{named('detector')} {self._name}: found {problem}")
        return outputs


def _problem(outputs: Sequence[Any]) -> str:
    """What keeps outputs from being scores, then boxes, then points of the same anchors."""
    if not all(np.isfinite(output).all() for output in outputs):
        return "numbers that are not finite"
    third = len(outputs) // 3
    rows = [output.shape[:-1] for output in outputs]
    if not rows[:third] == rows[third : 2 * third] == rows[2 * third :]:
        return f"outputs of other numbers of rows, {rows}"
    scores = np.concatenate([output.ravel() for output in outputs[:third]])
    low, high = scores.min(), scores.max()
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        return f"scores of {low:.3g} to {high:.3g}, not 0 to 1: export it with its sigmoid"
    return ""
