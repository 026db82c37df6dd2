"""The settings that a sweep tries: lists and ranges of values, and the trials made of them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from types import NoneType
from typing import Any

import numpy as np

from facer.pipeline.settings.commands import SWEPT
from facer.pipeline.settings.table import Settings, plain_value
from facer.storage.errors import OptionError, named
from facer.storage.settings import Declared
from facer.storage.text.likeness import did_you_mean
from facer.storage.text.names import items_of

_MOST_TRIALS = 10_000
_DIGITS = 3  # of a number drawn from a range
_EXAMPLE = "such as learning_rate=1e-4,1e-3 or learning_rate=log:1e-5..1e-3"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both among them, of which trials draw."""

    low: float
    high: float
    log: bool = False  # evenly over the logarithm
    whole: bool = False

    def draw(self, random: np.random.Generator) -> float:
        """One of them."""
        if self.log:
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = random.uniform(self.low, self.high)
        if self.whole:
            return round(value)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


Space = Mapping[str, Any]
"""A list of values or a Range of each setting, by its name as an option of train-head."""


def read_space(given: Mapping[str, Any] | Sequence[str]) -> Space:
    """The space of ``{"layers": [1, 2]}``, or of texts ``layers=1,2`` and ``layers=1..4``.

    OptionError for what is no setting of a head's training, and for values that it cannot have.
    """
    texts = (given,) if isinstance(given, str) else given
    pairs = given.items() if isinstance(given, Mapping) else map(_pair, items_of("set", texts))
    space: dict[str, Any] = {}
    for name, values in pairs:
        if name not in SWEPT:
            near = did_you_mean(name, SWEPT.declared) or (
                f"; expected some of {', '.join(SWEPT.declared)}"
            )
            raise OptionError(f"{named('set')} {name}: found no such setting{near}")
        if name in space:
            raise OptionError(
                f"{named('set')} {name}: found it twice, expected all its values together, "
                f"{_EXAMPLE}"
            )
        one = SWEPT.declared[name]
        try:
            space[name] = _of_text(one, values) if isinstance(values, str) else _of_list(values)
        except OptionError as error:
            raise OptionError(f"{named('set')} {name}: {error}") from error
        for value in () if isinstance(space[name], Range) else space[name]:
            SWEPT.complete({name: value})
    if not space:
        raise OptionError(f"{named('set')}: found none, expected settings and values, {_EXAMPLE}")
    return space


def _pair(text: str) -> tuple[str, str]:
    name, equals, values = str(text).partition("=")
    if not (name and equals and values):
        raise OptionError(f"{named('set')} {text}: expected NAME=VALUES, {_EXAMPLE}")
    return name.strip().replace("-", "_"), values


def _of_list(values: Any) -> Sequence[Any] | Range:
    if isinstance(values, Range):
        return values
    values = plain_value(values)
    if not isinstance(values, list | tuple) or not values:
        raise OptionError(f"found {values!r}, expected a list of values")
    return list(
        dict.fromkeys(tuple(v) if isinstance(v, list) else v for v in map(plain_value, values))
    )


def _of_text(one: Declared, text: str) -> Sequence[Any] | Range:
    low, dots, high = text.removeprefix("log:").partition("..")
    if not dots:
        return list(dict.fromkeys(_value(one, part.strip()) for part in text.split(",")))
    found = Range(_number(low), _number(high), text.startswith("log:"), int in one.types)
    if not {int, float} & set(one.types):
        raise OptionError(f"found {text!r}, expected values with commas")
    if not found.low < found.high or (found.log and found.low <= 0):
        raise OptionError(f"found {text!r}, expected a range such as 0.1..0.5 or log:1e-5..1e-3")
    return found


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise OptionError(f"found {text!r}, expected a number")
    return found


def _value(one: Declared, text: str) -> Any:
    """A value as Python's keyword has it; + joins the words of one value, as in va+au."""
    if tuple in one.types:
        return tuple(text.split("+"))
    if NoneType in one.types and text == "none":
        return None
    if bool in one.types:
        if text not in ("true", "false"):
            raise OptionError(f"found {text!r}, expected true or false")
        return text == "true"
    if {int, float} & set(one.types):
        number = _number(text)
        return int(number) if int in one.types and number.is_integer() else number
    return text


def chosen_settings(space: Space, trials: int | None, seed: int) -> list[Settings]:
    """The settings of each trial: every combination, or ``trials`` drawn at random, all different.

    More trials with the same seed begin with the same ones. Fewer come where there are no more.
    """
    if trials is None:
        if ranges := [name for name, values in space.items() if isinstance(values, Range)]:
            raise OptionError(f"{named('set')} {ranges[0]}: a range needs {named('trials')}")
        sizes = math.prod(len(values) for values in space.values() if not isinstance(values, Range))
        if sizes > _MOST_TRIALS:
            raise OptionError(
                f"{named('set')}: found {sizes} combinations, expected at most {_MOST_TRIALS}; "
                f"draw some of them by {named('trials')}"
            )
        lists = [values for values in space.values() if not isinstance(values, Range)]
        return [dict(zip(space, values, strict=True)) for values in product(*lists)]
    return list(islice(_drawn(space, seed, 20 * trials), trials))


def _drawn(space: Space, seed: int, tries: int) -> Iterator[Settings]:
    seen = set()
    for number in range(tries):
        random = np.random.default_rng((seed, number))
        found = {
            name: values.draw(random)
            if isinstance(values, Range)
            else values[int(random.integers(len(values)))]
            for name, values in space.items()
        }
        if (key := trial_id(found)) not in seen:
            seen.add(key)
            yield found


def trial_id(settings: Settings) -> str:
    """What a trial's folder is called: the same for the same settings, in any sweep."""
    text = json.dumps(dict(sorted(settings.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def title_of(settings: Settings) -> str:
    """A trial's settings as one reads them, such as ``learning_rate=0.001, features=va+au``."""
    return ", ".join(f"{name}={shown_value(value)}" for name, value in settings.items())


def shown_value(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return "+".join(value) if isinstance(value, tuple) else f"{value}"
