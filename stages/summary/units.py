"""What a feature's number means: its unit, range and the threshold above which it is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from facer.storage.errors import OptionError, named
from facer.storage.schema import EXPRESSIONS, F64, VALENCE_AROUSAL
from facer.storage.text.likeness import did_you_mean


class Unit(NamedTuple):
    """A feature's scale; NaN where it is not known."""

    unit: str
    low: float
    high: float
    threshold: float  # a value above it counts as shown
    definition: str
    expressive: bool = False  # above its threshold in a baseline, that is no rest


_NAN = float("nan")
_UNIT = re.compile(r"au(\d\d)", re.IGNORECASE)
_PRESENCE = re.compile(r"au(\d\d)_c", re.IGNORECASE)


def units(names: Sequence[str], tool: Mapping[str, object]) -> tuple[Unit, ...]:
    """Return what each feature means; ``tool``: the settings of the store's provenance.

    Action units are probabilities, or intensities from 0 to 5 where the tool measured those.
    """
    intensity = "intensity" in str(tool.get("au_scale", ""))
    return tuple(_unit(name, intensity) for name in names)


def _unit(name: str, intensity: bool) -> Unit:
    if name in VALENCE_AROUSAL:
        poles = "unpleasant to pleasant" if name == "valence" else "calm to excited"
        return Unit("from -1 to 1", -1, 1, 0, f"{name}, {poles}; 0 is neutral")
    if name in EXPRESSIONS:
        rest = name == "neutral"
        return Unit("probability", 0, 1, 0.5, f"of the expression {name}", not rest)
    if found := _UNIT.fullmatch(name):
        smile = found[1] == "12"  # the smile, which a face at rest must not have
        if intensity:
            return Unit("intensity", 0, 5, 1, f"of action unit {int(found[1])}", smile)
        return Unit("probability", 0, 1, 0.5, f"that action unit {int(found[1])} is active", smile)
    if found := _PRESENCE.fullmatch(name):
        return Unit("presence", 0, 1, 0.5, f"of action unit {int(found[1])}", found[1] == "12")
    return Unit("", _NAN, _NAN, _NAN, "as the tool has it")


def limits(meant: Sequence[Unit]) -> F64:
    """Thresholds (F,), NaN where there is none, as a store's float32 would have them.

    A value of 0.4 is not above 0.4, and the nearest float32 of it is.
    """
    return np.array([unit.threshold for unit in meant], np.float32).astype(np.float64)


def with_thresholds(
    names: Sequence[str], known: Sequence[Unit], thresholds: Mapping[str, float]
) -> tuple[Unit, ...]:
    """Return the units with a study's own thresholds; OptionError for an unknown feature, and for
    a threshold that its values cannot pass.
    """
    for name in thresholds:
        if name not in names:
            raise OptionError(
                f"{named('threshold')} {name}: found no such feature{did_you_mean(name, names)}; "
                f"expected some of {', '.join(names[:40])}"
            )
    for name, unit in zip(names, known, strict=True):
        known_range = unit.low < unit.high
        if name in thresholds and known_range and not unit.low <= thresholds[name] <= unit.high:
            raise OptionError(
                f"{named('threshold')} {name}: found {thresholds[name]:g}, expected "
                f"{unit.low:g} to {unit.high:g}"
            )
    return tuple(
        unit._replace(threshold=thresholds.get(name, unit.threshold))
        for name, unit in zip(names, known, strict=True)
    )
