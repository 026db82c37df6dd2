"""Which action units go with which expression.

Table 1 of Du, Tao & Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014:
prototypical units are shown by most people; observational ones by the share given.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from facer.stages.affect.config import Coupling
from facer.storage.schema import ACTION_UNITS, EXPRESSIONS, F32

PROTOTYPES: Mapping[str, Mapping[int, float]] = MappingProxyType(
    {
        "neutral": {},
        "anger": {4: 1, 7: 1, 24: 1, 10: 0.26, 17: 0.52, 23: 0.29},
        "disgust": {9: 1, 10: 1, 17: 1, 4: 0.31, 24: 0.26},
        "fear": {1: 1, 4: 1, 20: 1, 25: 1, 2: 0.57, 5: 0.63, 26: 0.33},
        "happiness": {12: 1, 25: 1, 6: 0.51},
        "sadness": {4: 1, 15: 1, 1: 0.60, 6: 0.50, 11: 0.26, 17: 0.67},
        "surprise": {1: 1, 2: 1, 25: 1, 26: 1, 5: 0.66},
    }
)
"""The units of each expression: 1 for prototypical ones, else the share of people who show it."""


def coupling_matrix(mode: Coupling) -> F32 | None:
    """p(AU | expression) as (7, 17) float32; None for ``off``.

    ``paper`` sets 1 for both kinds of unit, as FaceRNET does; ``shares`` keeps the share of
    people for the observational ones.
    """
    if mode == "off":
        return None
    matrix = np.zeros((len(EXPRESSIONS), len(ACTION_UNITS)), np.float32)
    for row, expression in enumerate(EXPRESSIONS):
        for unit, share in PROTOTYPES[expression].items():
            matrix[row, ACTION_UNITS.index(unit)] = share if mode == "shares" else 1.0
    return matrix
