"""What pictures and pages draw of a clip: its columns, their colours, and its time.

Colours are Okabe and Ito's, which colour-blind people tell apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from facer.stages.summary.units import units
from facer.storage.schema import F64, FEATURE_GROUPS, I64, Bools, ClipFeatures, columns_of

AU_MEANINGS = {
    "au01": "inner brow up", "au02": "outer brow up", "au04": "brow lowered",
    "au05": "upper lid up", "au06": "cheek up", "au07": "lids tight", "au09": "nose wrinkled",
    "au10": "upper lip up", "au11": "nasolabial fold", "au12": "lip corners up",
    "au13": "cheeks puffed up", "au14": "dimples", "au15": "lip corners down",
    "au16": "lower lip down", "au17": "chin up", "au18": "lips puckered", "au19": "tongue shown",
    "au20": "lips stretched", "au22": "lips funnelled", "au23": "lips tight",
    "au24": "lips pressed", "au25": "lips part", "au26": "jaw drops", "au27": "mouth stretched",
    "au28": "lips sucked in", "au32": "lip bitten", "au38": "nostrils wide",
    "au39": "nostrils narrow", "au43": "eyes closed", "au45": "blink",
}  # fmt: skip
"""What each action unit looks like, in a few words."""


def au_meaning(name: str) -> str:
    """What a column of an action unit shows; "" where that is not known.

    >>> au_meaning("au12"), au_meaning("au12_left"), au_meaning("au99")
    ('lip corners up', 'lip corners up left', '')
    """
    unit, _, more = name.partition("_")
    words = AU_MEANINGS.get(unit, "")
    return f"{words} {more}".strip() if words else ""


def drawn_columns(feature_names: Iterable[str]) -> dict[str, list[str]]:
    """Columns that pictures draw, by kind; kinds without any are left out.

    Intensities that have a column of their own are on another scale than probabilities.
    """
    names = [name for name in feature_names if not name.endswith("_intensity")]
    found = {group: list(columns_of(group, names)) for group in FEATURE_GROUPS}
    return {group: columns for group, columns in found.items() if columns}


def au_scale(settings: Mapping[str, object]) -> tuple[str, float]:
    """What numbers of drawn action units are, and the greatest; ``settings``: of the provenance.

    >>> au_scale({}), au_scale({"au_scale": "intensity 0 to 5"})
    (('probability', 1.0), ('intensity', 5.0))
    """
    [unit] = units(["au12"], settings)
    return unit.unit, float(unit.high)


CURVE_COLORS = {
    "valence": "#0072B2", "arousal": "#E69F00", "neutral": "#D9D9D9", "anger": "#D55E00",
    "disgust": "#009E73", "fear": "#333333", "happiness": "#F0E442", "sadness": "#0072B2",
    "surprise": "#56B4E9", "contempt": "#CC79A7",
}  # fmt: skip
WEAK_NOTE = "* taught by weak labels, not by people's annotations of this quantity"


SLOTS = 10
"""Equal parts of a clip's time that show it at a glance."""


def strip_frames(clip: ClipFeatures) -> I64:
    """Frames whose crops show a clip at a glance, (k,) with k <= :data:`SLOTS`.

    The clip's time is cut into equal slots; each gives its frame with a face that is nearest
    to its middle, and a slot without a face gives none.
    """
    if not clip.valid.any():
        return np.zeros(0, np.int64)
    place = slot_positions(clip)
    chosen = []
    for slot in range(SLOTS):
        frames = np.flatnonzero(clip.valid & (place.astype(np.int64) == slot))
        if len(frames):
            chosen.append(int(frames[np.abs(place[frames] - slot - 0.5).argmin()]))
    return np.array(chosen, dtype=np.int64)


def slot_positions(clip: ClipFeatures) -> F64:
    """Where each frame lies among equal slots of the clip's time, (T,), in [0, :data:`SLOTS`)."""
    edges = time_edges(clip.timestamp_s)
    share = (clip.timestamp_s - edges[0]) / (edges[-1] - edges[0])
    return np.asarray(np.clip(share * SLOTS, 0, np.nextafter(SLOTS, 0)))


def time_edges(timestamp_s: F64) -> F64:
    """Times at which T >= 1 frames begin and end, (T + 1,); a lone frame lasts 1/25 s."""
    if timestamp_s[0] == timestamp_s[-1]:
        return np.asarray(timestamp_s[0] + np.linspace(-0.02, 0.02, len(timestamp_s) + 1))
    middles = (timestamp_s[:-1] + timestamp_s[1:]) / 2
    first = timestamp_s[0] - (middles[0] - timestamp_s[0])
    last = timestamp_s[-1] + (timestamp_s[-1] - middles[-1])
    return np.concatenate(([first], middles, [last]))


def runs_of(mask: Bools) -> list[slice]:
    """Maximal runs of True.

    >>> runs_of(np.array([True, False, True, True]))
    [slice(0, 1, None), slice(2, 4, None)]
    """
    steps = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False]))))
    return [slice(int(start), int(stop)) for start, stop in steps.reshape(-1, 2)]
