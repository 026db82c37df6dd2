"""Names of files and labels that must differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence


def numbered(wanted: Sequence[str], between: str = "_") -> list[str]:
    """Return the names, one that came before with a number; no two differ by case alone.

    A name that another one wants is none with a number.

    >>> numbered(["joke", "joke", "joke_2", "Joke"])
    ['joke', 'joke_3', 'joke_2', 'Joke_4']
    """
    kept = {name.lower() for name in wanted}
    counts: dict[str, int] = {}
    found = []
    for name in wanted:
        low = name.lower()
        number = counts.get(low, 0) + 1
        while number > 1 and f"{low}{between}{number}" in kept:
            number += 1
        counts[low] = number
        found.append(name if number == 1 else f"{name}{between}{number}")
    return found


def distinct(
    names: Iterable[str], plain: Callable[[str], str], between: str = "_"
) -> Mapping[str, str]:
    """Return what ``plain`` makes of each different name, numbered where that is the same.

    A name that is plain keeps it.

    >>> distinct(["1/2", "1_2"], lambda name: name.replace("/", "_"))
    {'1_2': '1_2', '1/2': '1_2_2'}
    """
    several = sorted(dict.fromkeys(names), key=lambda name: plain(name) != name)
    return dict(zip(several, numbered([plain(name) for name in several], between), strict=True))
