"""Settings of a summary; each changes numbers, so all of them are written beside the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from facer.storage.errors import OptionError, named
from facer.storage.settings import Setting, check

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
    min_valid: Annotated[
        float, Setting("Seen share of a window below which its numbers are empty.", low=0, high=1)
    ] = 0.5
    min_baseline: Annotated[
        float, Setting("Seconds of a baseline that must be seen.", low=0, high=3600)
    ] = 1.0
    max_gap: Annotated[
        float, Setting("Unseen seconds that an episode or curve goes on over.", low=0, high=3600)
    ] = 0.2
    grid: Annotated[
        float | None,
        Setting("Also write curves with as many bins a second.", low=1e-3, high=1000,
                none="no curves"),
    ] = None  # fmt: skip
    series: Annotated[
        Literal["long", "wide"], Setting("Curves with a row a feature, or a column.")
    ] = "long"
    scale: Annotated[
        Scale, Setting("Against the baseline: difference, or for probabilities that of logits.")
    ] = "difference"
    baseline_fallback: Annotated[
        Fallback, Setting("Where a baseline is missing: the median of the person's others.")
    ] = "none"
    wide: Annotated[
        tuple[Statistic, ...], Setting("Statistics of the table with a row a participant.")
    ] = ("mean",)
    resamples: Annotated[
        int, Setting("Of the bootstrap over participants.", low=0, high=100_000)
    ] = 2000
    seed: Annotated[int, Setting("Of the bootstrap.", low=0)] = 0

    def __post_init__(self) -> None:
        check(self)
        for name, span in {**self.windows, "baseline": self.baseline}.items():
            if span is not None and not (
                all(map(math.isfinite, span)) and -1e7 < span[0] < span[1] < 1e7
            ):
                raise OptionError(
                    f"window {name}: found {span[0]:g} to {span[1]:g} s, expected a start before "
                    "its stop, in seconds from the event"
                )
        if "" in self.windows or any("," in name for name in self.windows):
            raise OptionError(f"{named('window')}: found a name that is empty or has a comma")
        for name, threshold in self.thresholds.items():
            if not math.isfinite(threshold):
                raise OptionError(
                    f"{named('threshold')} {name}: found {threshold}, expected a number"
                )
        if self.baseline_fallback != "none" and self.baseline is None:
            raise OptionError(
                f"{named('baseline_fallback')}: expected {named('baseline')} beside it"
            )


def parse_span(text: str, setting: str) -> Span:
    """Return the span of ``START:STOP``.

    >>> parse_span("-2:0.5", "baseline")
    (-2.0, 0.5)
    """
    start, _, stop = text.partition(":")
    try:
        return float(start), float(stop)
    except ValueError:
        raise OptionError(
            f"{named(setting)}: found {text!r}, expected START:STOP in seconds, such as 0:4"
        ) from None


def parse_windows(texts: Sequence[str]) -> dict[str, Span]:
    """Return the spans of ``NAME=START:STOP`` by name."""
    return {name: parse_span(text, "window") for name, text in _by_name(texts, "window").items()}


def parse_thresholds(texts: Sequence[str]) -> dict[str, float]:
    """Return the numbers of ``FEATURE=VALUE`` by feature."""
    try:
        return {name: float(text) for name, text in _by_name(texts, "threshold").items()}
    except ValueError as error:
        raise OptionError(f"{named('threshold')}: {error}; expected FEATURE=NUMBER") from None


def _by_name(texts: Sequence[str], setting: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise OptionError(f"{named(setting)}: found {text!r}, expected NAME=VALUE")
        if name in found:
            raise OptionError(f"{named(setting)}: found {name!r} twice, expected it once")
        found[name] = value
    return found
