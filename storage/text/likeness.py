"""The nearest known name to one that was mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_CUTOFF = 0.6  # of difflib's ratio, its usual one


def nearest(word: object, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a word, upper and lower case alike; None for none.

    >>> nearest("Workres", ["workers", "stride"])
    'workers'
    >>> nearest("x", ["workers"]) is None
    True
    """
    names = {name.lower(): name for name in known}
    found = get_close_matches(str(word).lower(), names, 1, _CUTOFF)
    return names[found[0]] if found else None


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest one, or nothing.

    >>> did_you_mean("AU12", ["au12", "valence"])
    "; did you mean 'au12'?"
    """
    found = nearest(word, known)
    return "" if found is None else f"; did you mean {found!r}?"
