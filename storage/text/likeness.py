"""The nearest known name to one that was mistyped."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from facer.storage.errors import OptionError

_CUTOFF = 0.65  # of difflib's ratio; its usual 0.6 takes loss for eposhs


def alike(word: object, known: Iterable[str], most: int = 2) -> list[str]:
    """Return the known names that are most like a word, the nearest first, at most so many.

    Upper and lower case are alike, and so are an option with its dashes and without.

    >>> alike("--precison", ["--json", "--precision", "--rec"])
    ['--precision']
    """
    names = {name.lower().lstrip("-"): name for name in known}
    found = get_close_matches(str(word).lower().lstrip("-"), names, most, _CUTOFF)
    return [names[name] for name in found]


def check_choice(what: str, value: object, choices: Collection[str]) -> None:
    """OptionError, with the nearest choice, for a value of ``what`` that is none of them."""
    if value not in choices:
        raise OptionError(
            f"{what}: found {value!r}, expected one of {', '.join(choices)}"
            f"{did_you_mean(value, choices)}"
        )


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest one, or nothing.

    >>> did_you_mean("AU12", ["au12", "valence"])
    "; did you mean 'au12'?"
    """
    found = alike(word, known, 1)
    return f"; did you mean {found[0]!r}?" if found else ""
