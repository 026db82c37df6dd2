"""Settings of a summary; each changes numbers, so all of them are written beside the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from facer.storage.errors import OptionError

Span = tuple[float, float]
"""Start and stop in seconds from an event; the stop is not part of it."""
Scale = Literal["difference", "logit"]
Fallback = Literal["none", "participant"]
Statistic = Literal[
    "mean", "sd", "median", "p95", "peak", "peak_s", "share", "episodes", "latency_s", "baseline",
    "mean_bc", "peak_bc", "seen_share",
]  # fmt: skip


@dataclass(frozen=True)
class SummaryConfig:
    """Which windows, against which baseline, and when a number is left empty."""

    windows: Mapping[str, Span] = field(default_factory=dict)
    """By name; none: the duration of each event, or the whole clip where it has none."""
    baseline: Span | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By feature, in its unit; others have that of :mod:`facer.stages.summary.units`."""
    min_valid: float = 0.5  # seen share of a window
    min_baseline: float = 1.0  # seconds seen
    max_gap: float = 0.2  # seconds
    grid: float | None = None  # bins a second of series; None: no series
    series: Literal["long", "wide"] = "long"
    scale: Scale = "difference"
    baseline_fallback: Fallback = "none"
    wide: tuple[Statistic, ...] = ("mean",)
    resamples: int = 2000  # of the bootstrap over participants
    seed: int = 0

    def __post_init__(self) -> None:
        for name, span in {**self.windows, "baseline": self.baseline}.items():
            if span is not None and not (
                all(map(math.isfinite, span)) and -1e7 < span[0] < span[1] < 1e7
            ):
                raise OptionError(
                    f"window {name}: found {span[0]:g} to {span[1]:g} s, expected a start before "
                    "its stop, in seconds from the event"
                )
        if "" in self.windows or any("," in name for name in self.windows):
            raise OptionError("--window: found a name that is empty or has a comma; choose another")
        for name, threshold in self.thresholds.items():
            if not math.isfinite(threshold):
                raise OptionError(f"--threshold {name}: found {threshold}, expected a number")
        self._check_range("min_valid", 0, 1)
        self._check_range("min_baseline", 0, 3600)
        self._check_range("max_gap", 0, 3600)
        self._check_range("resamples", 0, 100_000)
        if self.grid is not None:
            self._check_range("grid", 1e-3, 1000)
        for name, kinds in (
            ("scale", Scale),
            ("baseline_fallback", Fallback),
            ("series", Literal["long", "wide"]),
        ):
            if getattr(self, name) not in get_args(kinds):
                self._refuse(name, " or ".join(get_args(kinds)))
        for one in self.wide:
            if one not in get_args(Statistic):
                raise OptionError(
                    f"--wide: found {one!r}, expected some of {', '.join(get_args(Statistic))}"
                )
        if self.baseline_fallback != "none" and self.baseline is None:
            raise OptionError("--baseline-fallback: expected --baseline beside it")

    def _check_range(self, name: str, low: float, high: float) -> None:
        if not low <= getattr(self, name) <= high:
            self._refuse(name, f"{low:g} to {high:g}")

    def _refuse(self, name: str, expected: str) -> None:
        option = f"--{name.replace('_', '-')}"
        raise OptionError(f"{option}: found {getattr(self, name)}, expected {expected}")
