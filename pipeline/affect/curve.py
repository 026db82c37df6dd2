"""The learning curve of REC's training as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facer.pipeline.views.canvas import canvas
from facer.stages.affect.metrics import headlines
from facer.storage.text.palette import COLOURS

_STYLES = ("-", "--", ":", "-.")


def draw_curve(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Losses on the left; accuracy, mean AUC and mean CCC of every validation set on the right."""
    epochs = [row["epoch"] for row in rows]
    with canvas(path, (10, 4), "REC", "losses of training; metrics on validation") as sheet:
        left, right = sheet.subplots(
            1, 2, gridspec_kw={"top": 0.8, "bottom": 0.14, "left": 0.07, "right": 0.73}
        )
        for colour, name in zip(COLOURS, rows[-1]["loss"], strict=False):
            left.plot(epochs, [row["loss"][name] for row in rows], ".-", color=colour, label=name)
        for place, last in enumerate(rows[-1]["val"]):
            style = _STYLES[place % len(_STYLES)]
            found = [headlines(row["val"][place]) for row in rows]
            for colour, name in zip(COLOURS, found[-1], strict=False):
                values = [values[name] for values in found]
                if any(value is not None for value in values):
                    shown = [np.nan if value is None else value for value in values]
                    label = f"{last['data']}: {name}{_derived(last, name)}"
                    right.plot(epochs, shown, f".{style}", color=colour, label=label)
        for axis in (left, right):
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
        right.set_ylim(top=1)
        left.legend(frameon=False, fontsize=8)
        right.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _derived(scores: dict[str, Any], headline: str) -> str:
    """What to add to a headline whose labels come from the expressions."""
    weak = headline == "mean CCC" and any(e["weak"] for e in scores["va"].values() if e is not None)
    return " (derived)" if weak else ""
