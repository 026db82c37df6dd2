"""Settings, each declared once: a field of a frozen dataclass, annotated with what it may be.

    @dataclass(frozen=True)
    class FitConfig(Checked):
        batch_size: Annotated[int, Setting("Clips per step.", low=1)] = 4

The option of the command line, the keyword of Python's functions, the check, the JSON on disk and
the reference pages come from this declaration. A problem names the setting as Python knows it,
``batch_size``; the command line shows the option, ``--batch-size``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from facer.storage.errors import OptionError, named
from facer.storage.text.likeness import did_you_mean


@dataclass(frozen=True)
class Setting:
    """What a field holds, beside its type and its default."""

    help: str
    name: str = ""  # of the option and the keyword, where it is not the field's
    low: float | None = None
    high: float | None = None
    low_open: bool = False  # low itself is excluded
    high_open: bool = False
    choices: tuple[str, ...] = ()  # of a text; those of a Literal are known
    none: str = ""  # what None stands for, in words
    metavar: str = ""
    repeated: bool = False  # the option is given once for each value, not with commas
    inverted: bool = False  # the option and the keyword mean the opposite of the field
    pattern: str = ""  # that a text must match ...
    words: str = ""  # ... said in words
    code: bool = False  # a value with a colon names code, and is taken from no file
    option: str = ""  # without dashes, where it is not the keyword's
    read: Callable[[Any], Any] | None = None  # the field's value of texts, or of values as they are


DEVICE = Setting(
    "auto, cpu, cuda or cuda:N.", pattern=r"auto|cpu|cuda(:[0-9]+)?",
    words="auto, cpu, cuda or cuda:N", metavar="DEVICE",
)  # fmt: skip
MOST_SEED = 10**14  # torch's are made of it, in 64 bits
SEED = Setting("Of everything random.", low=0, high=MOST_SEED)


@dataclass(frozen=True)
class Declared:
    """One setting of a config class, with all that is known of it."""

    field: str
    setting: Setting
    types: tuple[type, ...]  # of values: bool, int, float, str, Path, tuple, NoneType
    items: type  # of the values of a tuple
    choices: tuple[str, ...]
    default: Any  # MISSING where it must be given

    @property
    def name(self) -> str:
        """As the keyword of Python's functions."""
        return self.setting.name or self.field

    @property
    def value(self) -> Any:
        """The default as the option and the keyword have it."""
        return not self.default if self.setting.inverted else self.default

    @property
    def expected(self) -> str:
        """What it may be, in words."""
        s, choices = self.setting, self.choices
        if s.words:
            return s.words
        if choices:
            return " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
        if s.low is not None and s.high is not None:
            if not (s.low_open or s.high_open):
                return f"{s.low:g} to {s.high:g}"
            signs = ("<" if s.low_open else "<=", "<" if s.high_open else "<=")
            return f"{s.low:g} {signs[0]} {self.name} {signs[1]} {s.high:g}"
        if s.low is not None:
            return f"> {s.low:g}" if s.low_open else f"{s.low:g} or more"
        return "a finite number"

    @property
    def kinds(self) -> str:
        """The types of its values, in words."""
        return " or ".join(dict.fromkeys(_KINDS.get(kind, kind.__name__) for kind in self.types))

    def problem(self, value: Any) -> str:
        """What is wrong with a value, or ""."""
        if value is None:
            return ""
        if self.setting.read is None and not self._is_of_its_types(value):
            return f"found {value!r}, expected {self.kinds}"
        if self.choices:
            values = value if isinstance(value, tuple) else (value,)
            wrong = [one for one in values if one not in self.choices]
            if not wrong:
                return ""
            near = did_you_mean(wrong[0], self.choices)
            return f"found {wrong[0]!r}, expected {self.expected}{near}"
        s = self.setting
        texts = value if isinstance(value, tuple) else (value,)
        for text in texts if s.pattern else ():
            if isinstance(text, str) and not re.fullmatch(s.pattern, text):
                return f"found {text!r}, expected {self.expected}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        fits = math.isfinite(value)
        if s.low is not None:
            fits = fits and (value > s.low if s.low_open else value >= s.low)
        if s.high is not None:
            fits = fits and (value < s.high if s.high_open else value <= s.high)
        return "" if fits else f"found {value}, expected {self.expected}"

    def _is_of_its_types(self, value: Any) -> bool:
        if isinstance(value, tuple) and tuple in self.types:
            return all(isinstance(one, self.items) for one in value)
        return isinstance(value, self.types) or (isinstance(value, int) and float in self.types)


_KINDS: Mapping[type, str] = {
    bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "text",
    tuple: "a list of words", NoneType: "None",
}  # fmt: skip
_known: dict[Any, Mapping[str, Declared]] = {}  # by config class


def declared(config: Any) -> Mapping[str, Declared]:
    """Return the settings of a config class by name; fields without a Setting are none."""
    if config not in _known:
        _known[config] = _declared(config)
    return _known[config]


def _declared(config: Any) -> Mapping[str, Declared]:
    hints, found = get_type_hints(config, include_extras=True), {}
    for field in fields(config):
        hint = hints[field.name]
        setting = next((m for m in get_args(hint)[1:] if isinstance(m, Setting)), None)
        if get_origin(hint) is not Annotated or setting is None:
            continue
        types, choices = _values(get_args(hint)[0])
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        items = Path if "Path" in str(hint) else str
        one = Declared(field.name, setting, types, items, setting.choices or choices, default)
        found[one.name] = one
    return found


def _values(hint: Any) -> tuple[tuple[type, ...], tuple[str, ...]]:
    """Types of values and the choices that an annotation allows."""
    if get_origin(hint) in (Union, UnionType):
        parts = [_values(part) for part in get_args(hint)]
        return tuple(t for types, _ in parts for t in types), tuple(
            c for _, cs in parts for c in cs
        )
    if get_origin(hint) is Literal:
        return (str,), get_args(hint)
    if get_origin(hint) is tuple:
        return (tuple,), _values(get_args(hint)[0])[1]
    return (hint if isinstance(hint, type) else get_origin(hint) or object,), ()


def check(config: Any) -> None:
    """Refuse a value out of its range or not among its choices; OptionError names the setting."""
    for one in declared(type(config)).values():
        if problem := one.problem(getattr(config, one.field)):
            raise OptionError(f"{named(one.name)}: {problem}")


class Checked:
    """Base of configs that are checked as they are made."""

    def __post_init__(self) -> None:
        check(self)


def flat(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a config and of the configs in it, by name."""
    names = {one.field: name for name, one in declared(type(config)).items()}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in names:
            one = declared(type(config))[names[field.name]]
            yield one.name, not value if one.setting.inverted else value
        elif is_dataclass(value):
            yield from flat(value)
