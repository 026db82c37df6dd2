"""Settings of a summary; each changes numbers, so all of them are written beside the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from facer.storage.errors import OptionError, named
from facer.storage.settings import Setting, check
from facer.storage.text.names import items_of

Span = tuple[float, float]
"""Start and stop in seconds from an event; the stop is not part of it."""
Scale = Literal["difference", "logit"]
Fallback = Literal["none", "participant"]
Statistic = Literal[
    "mean", "sd", "median", "p95", "peak", "peak_s", "share", "episodes", "latency_s", "baseline",
    "mean_bc", "peak_bc", "seen_share",
]  # fmt: skip


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


def as_span(value: Any, setting: str = "baseline") -> Span | None:
    """Return a span as it is or as ``START:STOP``; None for none."""
    if value is None or isinstance(value, str):
        return None if value is None else parse_span(value, setting)
    try:
        start, stop = map(float, value)
    except (TypeError, ValueError):
        raise OptionError(
            f"{named(setting)}: found {value!r}, expected a start and a stop in seconds"
        ) from None
    return start, stop


def as_windows(value: Any) -> dict[str, Span]:
    """Return spans by name, of a mapping or of texts ``NAME=START:STOP``.

    >>> as_windows(["after=0:4"]) == as_windows({"after": (0, 4)}) == as_windows("after=0:4")
    True
    """
    if not isinstance(value, Mapping):
        value = _by_name(value, "window")
    spans = {}
    for name, span in value.items():
        if (found := as_span(span, "window")) is None:
            raise OptionError(f"{named('window')} {name}: found None, expected a start and a stop")
        spans[str(name)] = found
    return spans


def as_thresholds(value: Any) -> dict[str, float]:
    """Return numbers by feature, of a mapping or of texts ``FEATURE=NUMBER``."""
    if not isinstance(value, Mapping):
        value = _by_name(value, "threshold")
    try:
        return {str(name): float(number) for name, number in value.items()}
    except (TypeError, ValueError) as error:
        raise OptionError(f"{named('threshold')}: {error}; expected FEATURE=NUMBER") from None


def _by_name(texts: str | Sequence[str] | None, setting: str) -> dict[str, str]:
    found: dict[str, str] = {}
    texts = (texts,) if isinstance(texts, str) else () if texts is None else texts
    for text in items_of(setting, texts):
        name, equals, value = str(text).partition("=")
        if not name or not equals:
            raise OptionError(f"{named(setting)}: found {text!r}, expected NAME=VALUE")
        if name in found:
            raise OptionError(f"{named(setting)}: found {name!r} twice, expected it once")
        found[name] = value
    return found


WINDOWS = Setting(
    "A window in seconds from the event, such as after=0:4; again for another.",
    option="window", repeated=True, metavar="NAME=START:STOP", read=as_windows,
    none="each event's duration, or the whole clip",
)  # fmt: skip
THRESHOLDS = Setting(
    "Above it a feature counts as shown, such as au12=.4.", option="threshold", repeated=True,
    metavar="FEATURE=NUMBER", none="probabilities .5, intensities 1, valence and arousal 0",
    read=as_thresholds,
)  # fmt: skip

RESAMPLES = Setting("Of the bootstrap over participants.", low=0, high=100_000)
SEED = Setting("Of the bootstrap.", low=0)


@dataclass(frozen=True)
class SummaryConfig:
    """Which windows, against which baseline, and when a number is left empty."""

    windows: Annotated[Mapping[str, Span], WINDOWS] = field(default_factory=dict)
    baseline: Annotated[
        Span | None,
        Setting("Window of the baseline, such as -2:0.", metavar="START:STOP", read=as_span,
                none="none"),
    ] = None  # fmt: skip
    thresholds: Annotated[Mapping[str, float], THRESHOLDS] = field(default_factory=dict)
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
    resamples: Annotated[int, RESAMPLES] = 2000
    seed: Annotated[int, SEED] = 0

    def __post_init__(self) -> None:
        check(self)
        for name, span in [*self.windows.items(), ("baseline", self.baseline)]:
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
