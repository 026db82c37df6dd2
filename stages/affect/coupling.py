"""Which action units go with which expression.

Table 1 of Du, Tao & Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014:
prototypical units are shown by most people; observational ones by the share given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import get_args

import numpy as np

from facer.stages.affect.config import Coupling
from facer.storage.errors import OptionError
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32


@dataclass(frozen=True)
class Prototype:
    """The units of one expression; shares are fractions of people in (0, 1)."""

    prototypical: tuple[int, ...] = ()
    observational: Mapping[int, float] = field(default_factory=dict)


PROTOTYPES: Mapping[str, Prototype] = MappingProxyType(
    {
        "neutral": Prototype(),
        "anger": Prototype((4, 7, 24), {10: 0.26, 17: 0.52, 23: 0.29}),
        "disgust": Prototype((9, 10, 17), {4: 0.31, 24: 0.26}),
        "fear": Prototype((1, 4, 20, 25), {2: 0.57, 5: 0.63, 26: 0.33}),
        "happiness": Prototype((12, 25), {6: 0.51}),
        "sadness": Prototype((4, 15), {1: 0.60, 6: 0.50, 11: 0.26, 17: 0.67}),
        "surprise": Prototype((1, 2, 25, 26), {5: 0.66}),
    }
)


def coupling_matrix(mode: Coupling) -> F32 | None:
    """p(AU | expression) as (7, 17) float32; None for ``off``.

    ``paper`` sets 1 for both kinds of unit, as FaceRNET does; ``shares`` keeps the share of
    people for the observational ones.
    """
    if mode not in get_args(Coupling):
        raise OptionError(f"coupling: found {mode!r}, expected paper, shares or off")
    if mode == "off":
        return None
    matrix = np.zeros((len(EXPRESSIONS), len(ACTION_UNITS)), np.float32)
    for row, expression in enumerate(EXPRESSIONS):
        prototype = PROTOTYPES[expression]
        for unit in prototype.prototypical:
            matrix[row, ACTION_UNITS.index(unit)] = 1.0
        for unit, share in prototype.observational.items():
            matrix[row, ACTION_UNITS.index(unit)] = share if mode == "shares" else 1.0
    return matrix
