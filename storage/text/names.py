"""Names: many in a message, and those that must differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from facer.storage.errors import OptionError, named


def items_of(setting: str, value: Any) -> tuple[Any, ...]:
    """Return the items of a list or alike; OptionError for what has none."""
    try:
        return tuple(value)
    except TypeError:
        kind = type(value).__name__
        raise OptionError(f"{named(setting)}: found {kind}, expected a list") from None


def some(names: Iterable[object], most: int = 3) -> str:
    """Return the first names, and how many more there are.

    >>> some(["a", "b", "c", "d", "e"]), some(["a", "b"])
    ('a, b, c and 2 more', 'a, b')
    """
    found = [str(name) for name in names]
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def numbered(
    wanted: Sequence[str],
    between: str = "_",
    same: Callable[[str], str] = str.lower,
    limit: int | None = None,
) -> list[str]:
    """Return the names, one that came before with a number; no two have the same ``same``.

    A name that another one wants is none with a number. Where there is a ``limit``, a name is cut
    so that it has at most so many characters with its number.

    >>> numbered(["joke", "joke", "joke_2", "Joke"])
    ['joke', 'joke_3', 'joke_2', 'Joke_4']
    >>> numbered(["long", "long"], limit=4)
    ['long', 'lo_2']
    """
    taken = set(map(same, wanted))
    counts: dict[str, int] = {}
    found = []
    for name in wanted:
        one, number = name, counts.get(same(name), 0) + 1
        while number > 1:
            end = f"{between}{number}"
            one = (name if limit is None else name[: limit - len(end)]) + end
            if same(one) not in taken:
                break
            number += 1
        counts[same(name)] = number
        taken.add(same(one))
        found.append(one)
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
