"""Settings of figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from facer.stages.summary.config import RESAMPLES, SEED, WINDOWS, Span
from facer.storage.settings import Checked, Setting

FigureKind = Literal["clip", "participant", "grand", "heat", "paired", "missing", "strip"]
FIGURE_KINDS: tuple[FigureKind, ...] = get_args(FigureKind)


@dataclass(frozen=True)
class FigureConfig(Checked):
    """Which feature is drawn, of whom, and how wide."""

    feature: Annotated[str, Setting("The feature that is drawn.")] = "au12"
    of: Annotated[
        str | None, Setting("The clip, or for participant the person.", none="the first")
    ] = None
    width: Annotated[
        Literal["single", "double"], Setting("Columns of a journal: 89 or 183 mm.")
    ] = "single"
    dpi: Annotated[int, Setting("Of a png.", low=50, high=1200)] = 300
    grid: Annotated[float, Setting("Bins a second of curves.", low=1e-3, high=1000)] = 10.0
    min_valid: Annotated[
        float, Setting("Seen share of a window below which it is left out.", low=0, high=1)
    ] = 0.5
    resamples: Annotated[int, RESAMPLES] = 2000
    seed: Annotated[int, SEED] = 0

    windows: Annotated[Mapping[str, Span], WINDOWS] = field(default_factory=dict)
